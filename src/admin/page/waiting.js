// What waits for somebody, and what is wrong: with what ends it.

function showWaiting(status) {
  const several = status.gateways.length > 1;
  const requests = status.gateways.flatMap((gateway) => gateway.requests.map((request) => ({ ...request, gateway: gateway.name, several })));
  const findings = status.gateways.flatMap((gateway) => gateway.findings.map((finding) => ({ ...finding, gateway: gateway.name, several, now: status.now, asks: requests.find((request) => finding.request && request.id === finding.request && request.gateway === gateway.name) })));
  tally('requests', requests.length);
  tally('findings', findings.length);
  setHidden($('requests-all'), requests.length <= FEW_REQUESTS);
  setText($('requests-all'), allRequests ? `Show only the first ${FEW_REQUESTS}` : `Show all ${Math.min(MOST, requests.length)}`);
  keyed($('requests'), requests.slice(0, allRequests ? MOST : FEW_REQUESTS), (request) => `${request.gateway} ${request.id}`, makeRequest, $('h-requests'));
  keyed($('findings'), findings.slice(0, MOST), (finding) => `${finding.gateway} ${finding.code}`, makeFinding, $('h-findings'));
}

/** More would be a flood, and no list to read. */
const MOST = 50;
const FEW_REQUESTS = 4;
let allRequests = false;

function tally(name, length) {
  setText($(`${name}-tally`), length ? (length > MOST ? `${MOST} of ${number(length)}` : number(length)) : '');
  setHidden($(`${name}-none`), length > 0);
  setHidden($(name), length === 0);
}

const device = (request) => (request.device ? `device ${shown(request.device, 16)}` : 'a device');

function makeRequest() {
  let current = null;
  const title = el('h3');
  const meta = el('p', { class: 'meta' });
  const where = el('span', { class: 'tag' });
  const asks = el('ul', { class: 'chips' });
  const held = el('ul', { class: 'chips' });
  const noScope = el('span', { class: 'meta', text: 'no scope' });
  const nothing = el('span', { class: 'meta', text: 'nothing: it is not paired yet' });
  const [askChips, heldChips] = [chips(asks), chips(held)];
  const fix = command();
  const button = el('button', { type: 'button', class: 'button strong', text: 'Approve…', on: { click: () => approve(current) } });
  const node = el('li', { class: 'card item' },
    el('div', { class: 'line' }, el('div', {}, title, meta), where),
    el('dl', { class: 'rows' }, el('dt', { text: 'Asks for' }), el('dd', {}, asks, noScope), el('dt', { text: 'Holds' }), el('dd', {}, held, nothing)),
    el('div', { class: 'does' }, button, fix.node));
  return { node, update(request) {
    current = request;
    setText(title, `${shown(request.client ?? 'an unnamed client', 60)} as ${shown(request.role, 40)}`);
    setText(meta, `${device(request)}${request.several ? ` at ${shown(request.gateway, 40)}` : ''}, asked ${request.age_ms === null ? 'at an unknown time' : `${age(request.age_ms)} ago`}`);
    setText(where, request.remote ? 'from another machine' : 'this machine');
    where.classList.toggle('remote', Boolean(request.remote));
    askChips.set(request.scopes, request.held ?? []);
    setHidden(asks, !request.scopes.length);
    setHidden(noScope, request.scopes.length > 0);
    heldChips.set(request.held ?? []);
    setHidden(nothing, Boolean(request.held?.length));
    setHidden(held, !request.held?.length);
    setHidden(fix.node, !request.command);
    if (request.command) fix.set(request.command, `that approves ${shown(request.id, 40)}`);
    setAttribute(button, 'aria-label', `Approve… ${shown(request.client ?? 'an unnamed client', 80)}, ${device(request)}`);
  } };
}

function approve(request) {
  const [asks, held] = [el('ul', { class: 'chips' }), request.held ?? []];
  chips(asks).set(request.scopes, held);
  const fresh = request.scopes.filter((scope) => !covers(held, scope));
  const grants = fresh.length ? `New to it: ${fresh.map(scopeName).join(', ')}.` : 'It holds all of that already; the approval only puts its record right.';
  ask({
    title: 'Approve this request?',
    body: [
      el('p', { text: `${shown(request.client ?? 'An unnamed client', 80)}, ${device(request)}, ${request.remote ? 'on another machine' : 'on this machine'}, asks to connect as ${shown(request.role, 40)}${request.scopes.length ? ' with' : ', with no scope.'}` }),
      request.scopes.length ? asks : null,
      request.scopes.length ? el('p', { text: grants }) : null,
      el('p', { class: 'meta', text: `Request ${shown(request.id, 80)}. It is approved only if it still asks for just this, and noted in audit.jsonl.` }),
    ].filter(Boolean),
    yes: fresh.length ? `Approve ${count(fresh.length, 'scope')}` : 'Approve',
    run: () => sendApproval(request),
    after: () => $('h-requests').focus({ preventScroll: true }),
  });
}

async function sendApproval({ id, gateway, scopes }) {
  const { approved } = await post('/approve', { request: id, gateway, scopes });
  const holds = approved.after.map(scopeName).join(', ') || 'nothing';
  say('good', `Approved: ${shown(approved.client ?? 'the device', 60)}, device ${shown(approved.device, 16)}, now holds ${holds}. ${capital(shown(approved.next, 300))}.`);
  refresh();
}

function makeFinding() {
  let current = null;
  const title = el('h3');
  const meta = el('p', { class: 'meta' });
  const family = el('span', { class: 'tag' });
  const sentence = el('p');
  const fix = command();
  const button = el('button', { type: 'button', class: 'button strong', text: 'Approve its request…', on: { click: () => approve(current.asks) } });
  const does = el('div', { class: 'does' }, button, fix.node);
  const node = el('li', { class: 'card item' }, el('div', { class: 'line' }, el('div', {}, title, meta), family), sentence, does);
  return { node, update(finding) {
    current = finding;
    setText(title, capital(shown(finding.title, 200)));
    const seen = [finding.count > 1 ? `${number(finding.count)} times` : 'once', finding.last ? `last ${age(finding.now - finding.last)} ago` : null];
    setText(meta, [shown(finding.code, 40), finding.several ? `at ${shown(finding.gateway, 40)}` : null, seen.filter(Boolean).join(', ')].filter(Boolean).join(' · '));
    setText(family, shown(finding.family, 8));
    setHidden(family, !finding.family);
    setText(sentence, capital(shown(finding.sentence, 800)));
    setHidden(fix.node, !finding.command);
    if (finding.command) fix.set(finding.command, `against ${shown(finding.code, 40)}`);
    setHidden(button, !finding.asks);
    setHidden(does, !finding.asks && !finding.command);
    if (finding.asks) setAttribute(button, 'aria-label', `Approve its request… ${shown(finding.asks.client ?? 'an unnamed client', 80)}, ${device(finding.asks)}`);
  } };
}
