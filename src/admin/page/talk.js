// What is asked of the shim, and what the page says about it: one line at the foot of the window, spoken politely.

const STORED = 'scope-shim-token';
let token = null;

/** The token comes in the fragment, which no server sees, and leaves the address at once. */
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (location.hash) history.replaceState(null, '', location.pathname);
  if (given) keepToken(given);
  else try { token = sessionStorage.getItem(STORED); } catch { token = null; }
}

function keepToken(given) {
  token = given;
  try { sessionStorage.setItem(STORED, given); } catch { /* Then it lives as long as this page. */ }
}

function forgetToken() {
  token = null;
  try { sessionStorage.removeItem(STORED); } catch { /* It was not kept. */ }
}

class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function call(method, path, body) {
  const headers = body ? { 'Content-Type': 'application/json' } : {};
  // A header cannot carry anything else, and no token has it.
  if (token && /^[\x21-\x7e]+$/.test(token)) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(path, {
    method, headers, body: body && JSON.stringify(body), cache: 'no-store', credentials: 'omit', redirect: 'error',
    signal: AbortSignal.timeout(method === 'GET' ? 15_000 : 70_000),
  });
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  throw new Refused(response.status, answer?.error?.message ?? `the shim answered with HTTP status ${response.status}`);
}

const get = (path) => call('GET', path);

/** Has something done. Why it was not is said in whole sentences. */
async function post(path, body) {
  try {
    return await call('POST', path, body);
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Error(error.name === 'TimeoutError' ? 'the shim did not answer within 70 s; whether it was done is not known' : 'the shim cannot be reached');
  }
}

let saidFor = 0;
function say(kind, text) {
  const line = $('said');
  line.dataset.kind = kind;
  setText($('said-text'), text);
  line.hidden = false;
  speak(text);
  clearTimeout(saidFor);
  if (kind === 'good') saidFor = setTimeout(() => { if (!line.contains(document.activeElement)) line.hidden = true; }, 8000);
}

let unspoken = [];
/** For whoever listens and does not look. What is said at once is spoken together. */
function speak(text) {
  const spoken = $('spoken');
  spoken.textContent = '';
  unspoken.push(text);
  if (unspoken.length > 1) return;
  setTimeout(() => { spoken.textContent = unspoken.join(' '); unspoken = []; }, 50);
}

let asked = null;

/** Asks before something is done; a failure is told in the dialog, which then stays. */
function ask({ title, body, yes, danger, run, after }) {
  asked = { run, after };
  setText($('ask-title'), title);
  $('ask-body').replaceChildren(...body);
  setText($('ask-wrong'), '');
  const button = $('ask-yes');
  setText(button, yes);
  button.className = `button ${danger ? 'danger' : 'strong'}`;
  button.disabled = false;
  $('ask').showModal();
  $('ask-no').focus();
}

async function confirmed(event) {
  event.preventDefault();
  const doing = asked;
  if (!doing || $('ask-yes').disabled) return;
  const yes = $('ask-yes').textContent;
  $('ask-yes').disabled = true;
  setText($('ask-yes'), 'One moment…');
  setText($('ask-wrong'), '');
  try {
    await doing.run();
    if (asked === doing) { $('ask').close(); doing.after?.(); }
  } catch (error) {
    if (asked === doing) { setText($('ask-wrong'), capital(shown(error.message, 600))); setText($('ask-yes'), yes); $('ask-yes').disabled = false; $('ask-yes').focus(); }
    else say('bad', capital(shown(error.message, 600)));
  }
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
