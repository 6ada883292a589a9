// What is to be known about the shim itself, in the words of `scope-shim status`.

function showNotices(status, before) {
  const notices = noticesOf(status);
  setHidden($('notices').parentElement, !notices.length);
  keyed($('notices'), notices, (notice) => notice.key, makeNotice);
  const known = before && noticesOf(before).map((notice) => notice.key);
  const fresh = known ? notices.filter((notice) => !known.includes(notice.key)) : [];
  if (fresh.length) speak(fresh.map((notice) => `${notice.title}: ${notice.text}.`).join(' '));
}

/** What is refused, what waits for a restart, and which processes go on beside this one. */
function noticesOf({ now, reload, older }) {
  const notices = [];
  if (reload?.refused) notices.push({ key: `refused ${reload.refused.at}`, kind: 'bad', title: 'Reload', text: refusal(reload.refused, now) });
  if (reload?.waiting) notices.push({ key: `waiting ${reload.waiting.at}`, kind: 'doubt', title: 'Restart', text: restart(reload.waiting, now) });
  for (const one of (older ?? []).slice(0, MOST)) notices.push({ key: `older ${one.pid}`, kind: 'doubt', title: 'Upgrade', text: olderProcess(one) });
  return notices;
}

function refusal({ at, problems, fix }, now) {
  // Its first line: what follows is a hint.
  const why = shown((problems[0] ?? '').split('\n')[0], 600);
  const more = problems.length > 1 ? ` (and ${number(problems.length - 1)} more)` : '';
  return `Refused ${age(now - at)} ago: ${why}${more}; ${shown(fix, 200)}`;
}

function restart({ at, changes, fix }, now) {
  const keys = [...new Set(changes.map((change) => change.key))];
  return `Needed for ${keys.map((key) => shown(key, 80)).join(', ')}, read ${age(now - at)} ago; ${shown(fix, 200)}`;
}

function olderProcess({ pid, version, sessions, why }) {
  const serves = Number.isInteger(sessions)
    ? `still serves ${count(sessions, 'session')}, and ends with ${sessions === 1 ? 'it' : 'them'}`
    : `may still serve sessions: ${shown(why ?? 'it does not say', 300)}`;
  return `An older process, pid ${shown(pid, 20)}${version ? ` (${shown(version, 40)})` : ''}, ${serves}`;
}

function makeNotice({ kind, title }) {
  const text = el('p');
  const node = el('li', { class: 'card item', 'data-kind': kind }, el('h3', { text: title }), text);
  return { node, update(notice) { setText(text, notice.text); } };
}
