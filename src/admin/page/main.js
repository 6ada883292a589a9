// Every two seconds, while somebody looks: ask, and bring the page up to date.

const PACE = 2000;
let timer = 0;
let asking = null;
let seen = null; // The last status, and when it came.

async function refresh() {
  if (asking) return asking;
  clearTimeout(timer);
  asking = look();
  await asking;
  asking = null;
  clearTimeout(timer);
  if (!document.hidden && $('enter').hidden) timer = setTimeout(refresh, PACE);
}

async function look() {
  try {
    const status = await get('/status');
    show(status);
  } catch (error) {
    if (error instanceof Refused && (error.status === 401 || error.status === 403)) enter(token ? 'The shim does not accept this token.' : '');
    else lost(error);
  }
}

function show(status) {
  const before = seen?.status;
  const wasLost = document.body.classList.contains('stale');
  seen = { status, at: Date.now() };
  document.body.classList.remove('stale');
  $('enter').hidden = true;
  $('main').hidden = false;
  const restarted = before && before.pid !== status.pid;
  setText($('about'), `${shown(status.version, 40)}, up ${age(status.now - status.started)}`);
  showNotices(status, before);
  showStats(status);
  showGateways(status);
  showWaiting(status);
  for (const plot of plots) plot.update(status);
  showSessions(status);
  showRecent(status);
  if (status.draining) link('doubt', `Draining: ${count(status.live ?? status.sessions.length, 'session')} left, no new ones`);
  else link('live', `Live, ${clock(seen.at)}`);
  if (restarted) say('good', before.version === status.version ? 'The shim was restarted.' : `The shim is now ${shown(status.version, 40)}. Reload this page for its own.`);
  else if (wasLost) speak('Connected again.');
  if (status.draining && !before?.draining) speak('The shim is draining: it takes no new sessions.');
  const waiting = (one) => one.gateways.reduce((sum, gateway) => sum + gateway.requests.length, 0);
  if (before && waiting(status) > waiting(before)) speak(`${count(waiting(status), 'request')} for approval.`);
  document.title = `${waiting(status) ? `(${waiting(status)}) ` : ''}scope-shim`;
}

function lost(error) {
  const first = !document.body.classList.contains('stale');
  document.body.classList.add('stale');
  const text = seen ? `Connection lost. Showing the state of ${clock(seen.at)}` : `No answer from the shim: ${shown(error instanceof Refused ? error.message : 'it cannot be reached', 200)}`;
  link('lost', text);
  if (first) speak(`${text}. Trying again.`);
}

function link(state, text) {
  $('link').dataset.state = state;
  setText($('link-text'), text);
}

function enter(wrong) {
  forgetToken();
  const first = $('enter').hidden;
  document.body.classList.remove('stale');
  $('main').hidden = true;
  $('enter').hidden = false;
  setText($('enter-wrong'), wrong);
  link('wait', 'Waiting for the token');
  if (first || wrong) { $('token').value = ''; $('token').focus(); }
}

const STATS = ['Live sessions', 'Handshakes', 'Accepted', 'Repaired', 'Refused', 'Held off'];
const stats = STATS.map((name) => {
  const [big, sub] = [el('dd', { class: 'big' }), el('dd', { class: 'sub' })];
  $('stats').append(el('div', { class: 'stat' }, el('dt', { text: name }), big, sub));
  return { big, sub };
});

function showStats({ live: running, sessions, hour, totals }) {
  const within = (values) => values.reduce((sum, value) => sum + value, 0);
  const repaired = sessions.filter((row) => row.outcome === 'delegated' || row.outcome === 'healed').length;
  const rows = [
    [running ?? sessions.length, repaired ? `now; ${number(repaired)} repaired` : 'now'],
    ...['handshakes', 'accepted', 'repaired', 'refused', 'repeated'].map((name) => [within(hour[name]), `${number(totals[name])} in all`]),
  ];
  rows.forEach(([big, sub], index) => { setText(stats[index].big, number(big)); setText(stats[index].sub, sub); });
}

makeTables();
$('requests-all').addEventListener('click', () => { allRequests = !allRequests; if (seen) showWaiting(seen.status); });
takeToken();
$('ask-form').addEventListener('submit', confirmed);
$('ask-no').addEventListener('click', () => $('ask').close());
$('ask').addEventListener('close', () => { asked = null; });
$('said-close').addEventListener('click', () => { $('said').hidden = true; });
$('enter-form').addEventListener('submit', (event) => {
  event.preventDefault();
  keepToken($('token').value.trim());
  $('enter').hidden = true;
  link('wait', 'Connecting…');
  refresh();
});
// A token that is pasted into the address of an open page.
addEventListener('hashchange', () => { takeToken(); refresh(); });
document.addEventListener('visibilitychange', () => { if (document.hidden) clearTimeout(timer); else refresh(); });
refresh();
