// The sessions that run, and the handshakes that needed help or got none.

/** So many rows are drawn; thousands would be slow, and nobody reads them. */
const MOST_ROWS = 200;
const MOST_CARDS = 20;
const narrow = matchMedia('(max-width: 52rem)');

const COLUMNS = [
  { name: 'Who', width: '14%', key: (row) => row.who ?? '', draw: who },
  { name: 'Client', width: '18%', key: (row) => row.client ?? '', draw: client },
  { name: 'Asked', width: '13%', key: (row) => row.requested ?? '', draw: (row) => [shown(row.requested, 200)] },
  { name: 'Approved', width: '14%', key: (row) => row.approved ?? '', draw: (row) => [shown(row.approved, 200)] },
  { name: 'Decision', width: '23%', key: (row) => row.decision ?? '', draw: decision },
  { name: 'Age', width: '9%', number: true, key: (row) => row.age_ms, draw: (row) => [age(row.age_ms)] },
  { name: 'Traffic', width: '9%', number: true, key: (row) => row.bytes_to_gateway + row.bytes_to_client, draw: (row) => [`↑ ${bytes(row.bytes_to_gateway)}`, `↓ ${bytes(row.bytes_to_client)}`] },
];
const [AGE, TRAFFIC] = [5, 6];
const PAST_COLUMNS = [
    { name: 'Who', width: '15%', draw: who },
  { name: 'Client', width: '18%', draw: client },
  { name: 'Asked', width: '13%', draw: (row) => [shown(row.requested, 200)] },
  { name: 'Approved', width: '14%', draw: (row) => [shown(row.approved, 200)] },
  { name: 'What came of it', width: '31%', draw: (row) => [...decision(row), row.finding ? `finding: ${shown(findingCode(row.finding), 40)}` : null] },
  { name: 'When', width: '9%', number: true, draw: (row) => [clock(row.at), row.times > 1 ? `${number(row.times)} times` : `in ${duration(row.took_ms)}`] },
];

function who(row) {
  return [shown(row.who ?? 'not known yet', 60), row.gateways > 1 ? `at ${shown(row.gateway, 40)}` : null];
}

function client(row) { return [shown(row.client ?? 'not known yet', 80), `from ${shown(row.from, 60)}`]; }
const findingCode = (finding) => (typeof finding === 'string' ? finding : finding.code);

function decision(row) {
  if (!row.decision) return ['handshake under way', null];
  // An answer that is no `hello-ok` is a code and what was said with it.
  const [code, ...said] = String(row.answer).split(': ');
  const verb = row.decision === 'answer' ? 'answered by the shim' : shown(row.decision, 40);
  return [`${verb}, ${shown(code, 60)}`, shown(row.why, 300), shown(said.join(': '), 240)];
}

const KINDS = { delegated: 'repaired', healed: 'repaired', accepted: 'pass', refused: 'refused', repeated: 'refused', degraded: 'doubt', unanswered: 'refused', 'sent-back': 'doubt', left: 'doubt' };
const kind = (row) => (row.decision ? KINDS[row.outcome] ?? 'pass' : 'wait');

let sort = { column: AGE, descending: false };
let lastStatus = null;
let helpings = 1;

function makeTables() {
  const heads = COLUMNS.map((column, index) => el('th', { role: 'columnheader', scope: 'col', class: column.number ? 'num' : undefined },
    el('button', { type: 'button', class: 'sort', text: column.name, on: { click: () => sortBy(index) } })));
  $('sessions-head').append(...heads);
  $('recent-head').append(...PAST_COLUMNS.map((column) => el('th', { role: 'columnheader', scope: 'col', class: column.number ? 'num' : undefined, text: column.name })));
  for (const [id, columns] of [['sessions-head', COLUMNS], ['recent-head', PAST_COLUMNS]])
    columns.forEach((column, index) => { $(id).children[index].style.width = column.width; });
  $('filter').addEventListener('input', () => lastStatus && showSessions(lastStatus));
  $('sessions-wider').addEventListener('click', () => { helpings += 1; if (lastStatus) showSessions(lastStatus); });
  $('recent-all').addEventListener('click', () => { allRecent = !allRecent; if (lastStatus) showRecent(lastStatus); });
  markSort();
}

function sortBy(column) {
  sort = { column, descending: sort.column === column ? !sort.descending : column === TRAFFIC };
  markSort();
  if (lastStatus) showSessions(lastStatus);
  speak(`Sorted by ${COLUMNS[column].name}, ${sort.descending ? 'descending' : 'ascending'}.`);
}

function markSort() {
  [...$('sessions-head').children].forEach((head, index) => setAttribute(head, 'aria-sort', index === sort.column ? (sort.descending ? 'descending' : 'ascending') : null));
}

function showSessions(status) {
  lastStatus = status;
  const gateways = status.gateways.length;
  const words = $('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
  const matching = words.length ? status.sessions.filter((row) => matches(row, words)) : status.sessions;
  const rows = ordered(matching).slice(0, helpings * (narrow.matches ? MOST_CARDS : MOST_ROWS));
  const live = status.live ?? status.sessions.length;
  setText($('sessions-tally'), live ? number(live) : '');
  setHidden($('sessions-none'), status.sessions.length > 0);
  setHidden($('sessions-table'), rows.length === 0);
  keyed($('sessions-rows'), rows.map((row) => ({ ...row, gateways })), (row, index) => row.session ?? `under way ${index}`, () => makeRow(COLUMNS), $('filter'));
  // The shim names the newest of thousands; the others are counted.
  const unnamed = live - status.sessions.length;
  const hidden = matching.length - rows.length + (words.length ? 0 : unnamed);
  const filtered = words.length ? `${count(matching.length, 'session')} of ${unnamed > 0 ? `the newest ${number(status.sessions.length)}` : number(status.sessions.length)} match${matching.length === 1 ? 'es' : ''}.` : '';
  setHidden($('sessions-wider'), matching.length <= rows.length);
  setText($('sessions-more'), [filtered, hidden > 0 ? `… and ${number(hidden)} more.` : ''].filter(Boolean).join(' '));
}

function matches(row, words) {
  const text = [row.session, row.gateway, row.from, row.who, row.client, row.requested, row.approved, row.decision, row.why, row.answer, row.outcome, row.finding && findingCode(row.finding)].join(' ').toLowerCase();
  return words.every((word) => text.includes(word));
}

function ordered(rows) {
  const { key } = COLUMNS[sort.column];
  const turn = sort.descending ? -1 : 1;
  const compare = (a, b) => (typeof a === 'number' ? a - b : a < b ? -1 : a > b ? 1 : 0);
  return [...rows].sort((a, b) => turn * compare(key(a), key(b)) || a.age_ms - b.age_ms);
}

function makeRow(columns) {
  const cells = columns.map((column, index) => {
    const first = el('span', { class: /Decision|came/.test(column.name) ? 'verdict' : index === 0 && !column.number ? 'who' : undefined });
    const others = [1, 2, 3].map(() => el('span', { class: 'second' }));
    // The first cell names the row.
    const cell = el(index === 0 ? 'th' : 'td', { role: index === 0 ? 'rowheader' : 'cell', scope: index === 0 ? 'row' : undefined, class: column.number ? 'num' : undefined, 'data-label': column.name }, el('div', {}, first, ...others));
    return { cell, parts: [first, ...others], draw: column.draw };
  });
  return { node: el('tr', { role: 'row' }, ...cells.map(({ cell }) => cell)), update(row) {
    for (const { parts, draw } of cells) {
      const texts = draw(row);
      parts.forEach((part, index) => { setText(part, texts[index] ?? ''); setHidden(part, !texts[index]); });
      if (parts[0].className === 'verdict') setAttribute(parts[0], 'data-kind', kind(row));
    }
    setAttribute(cells[0].cell, 'title', row.session ? `scope-shim explain ${shown(row.session, 40)}` : null);
  } };
}

let allRecent = false;
const FEW = 10;

function showRecent(status) {
  const gateways = status.gateways.length;
  const all = [...status.recent].sort((a, b) => b.at - a.at);
  const rows = allRecent ? all : all.slice(0, FEW);
  setText($('recent-tally'), all.length ? number(all.length) : '');
  setHidden($('recent-none'), all.length > 0);
  setHidden($('recent-table'), all.length === 0);
  keyed($('recent-rows'), rows.map((row) => ({ ...row, gateways })), (row, index) => row.session ?? `${row.at} ${index}`, () => makeRow(PAST_COLUMNS));
  setHidden($('recent-all'), all.length <= FEW);
  setText($('recent-all'), allRecent ? `Show only the last ${FEW}` : `Show all ${all.length}`);
}
