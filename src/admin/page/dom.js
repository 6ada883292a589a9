// The document, built and brought up to date in place: what has not changed is not touched, so that focus, scrolling, selections
// and open details stay. Texts are only ever set as text.

const $ = (id) => document.getElementById(id);

/** An element; `properties` are attributes, but for `text`, `on` (listeners) and what is undefined. */
function el(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === 'text') node.textContent = value;
    else if (key === 'on') for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function setText(node, text) { if (node.textContent !== text) node.textContent = text; }
/** A path breaks behind its slashes. */
function setPath(node, text) {
  if (node.textContent === text) return;
  node.replaceChildren(...text.split(/(?<=[^/:\\][/\\])/).flatMap((part) => [part, document.createElement('wbr')]));
}
function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}
function setHidden(node, hidden) { if (node.hidden !== hidden) node.hidden = hidden; }

const kept = new WeakMap();

/**
 * One child for each item, in their order. `make(item)` returns `{ node, update(item) }` for a key that is new. Where the focus
 * was in a child that goes, `refuge` gets it.
 */
function keyed(parent, items, keyOf, make, refuge) {
  const before = kept.get(parent) ?? new Map();
  const now = new Map();
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  items.forEach((item, index) => {
    let key = keyOf(item, index);
    while (now.has(key)) key += '+';
    const part = before.get(key) ?? make(item);
    part.update(item);
    now.set(key, part);
  });
  for (const [key, part] of before) if (!now.has(key)) part.node.remove();
  let next = parent.firstChild;
  for (const { node } of now.values()) {
    if (node === next) next = next.nextSibling;
    else parent.insertBefore(node, next);
  }
  kept.set(parent, now);
  if (focused && document.activeElement !== focused) {
    if (focused.isConnected) focused.focus({ preventScroll: true });
    else refuge?.focus({ preventScroll: true });
  }
}

/** The rows of a list of facts, made once. */
function facts(names) {
  const cells = names.map((name) => ({ term: el('dt', { text: name }), value: el('dd') }));
  const pairs = cells.map(({ term, value }) => el('div', {}, term, value));
  return { pairs, set(index, text) { setPath(cells[index].value, text); } };
}

/** A command line and a button that copies just what is seen. */
function command() {
  const code = el('code');
  const button = el('button', { type: 'button', class: 'button small', text: 'Copy', on: { click: () => copy(code) } });
  return {
    node: el('div', { class: 'command' }, code, button),
    set(text, what) {
      setText(code, shown(text, 2000));
      setAttribute(button, 'aria-label', `Copy the command ${what}`);
    },
  };
}

async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    say('good', 'Copied.');
  } catch {
    getSelection().selectAllChildren(code);
    say('bad', 'This browser does not let the page copy. The command is selected: copy it with the keyboard.');
  }
}

function chips(list) {
  return {
    set(scopes, held) {
      keyed(list, scopes, (scope) => scope, () => {
        const node = el('li', { class: 'chip' });
        return { node, update(scope) {
          const fresh = held && !covers(held, scope);
          setText(node, fresh ? `+ ${scopeName(scope)}` : scopeName(scope));
          node.classList.toggle('new', Boolean(fresh));
        } };
      });
    },
  };
}

/** Whether these approved scopes cover another, as the gateways themselves mean it: admin is every operator scope, write is read. */
function covers(held, scope) {
  return held.includes(scope)
    || (scope.startsWith('operator.') && held.includes('operator.admin'))
    || (scope === 'operator.read' && held.includes('operator.write'));
}
