// Text for people: numbers with their units, times, and words of strangers made harmless to look at.

/** What cannot be seen or moves other text about: controls, format characters such as a right-to-left override, lone surrogates. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const PLAIN = /^[\x20-\x7e]*$/;

/** The text with everything invisible spelled out, cut to `most` characters. Emoji keep the joiners that hold them together. */
function shown(text, most = 120) {
  const whole = String(text ?? '');
  if (whole.length <= most && PLAIN.test(whole)) return whole;
  const letters = [...whole.slice(0, 2 * most + 2)];
  const cut = whole.length > 2 * most + 2 || letters.length > most;
  const kept = letters.slice(0, most).join('').replace(UNSEEN, (letter, at, all) => {
    const joins = letter === '\u200d' && /\p{Extended_Pictographic}[\ufe0f\u{1f3fb}-\u{1f3ff}]?$/u.test(all.slice(0, at));
    return joins ? letter : `\\u{${letter.codePointAt(0).toString(16)}}`;
  });
  return cut ? `${kept}… (${number(whole.length)} characters)` : kept;
}

const number = (value) => Math.round(value).toLocaleString('en').replaceAll(',', '\u202f');
const count = (value, noun) => `${number(value)} ${noun}${value === 1 ? '' : 's'}`;

/** 1.2 kB: powers of a thousand. */
function bytes(value) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return `${unit > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)}\u00a0${units[unit]}`;
}

/** 4 ms, 1.2 s, 3 min, 2 h 5 min, 3 d 4 h. */
function duration(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))}\u00a0ms`;
  if (ms < 9950) return `${(ms / 1000).toFixed(1)}\u00a0s`;
  return age(ms);
}

function age(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (big, bigUnit, small, smallUnit) => (small ? `${big}\u00a0${bigUnit}\u00a0${small}\u00a0${smallUnit}` : `${big}\u00a0${bigUnit}`);
  if (seconds < 60) return `${seconds}\u00a0s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}\u00a0min`;
  if (seconds < 86400) return two(Math.floor(seconds / 3600), 'h', Math.floor(seconds / 60) % 60, 'min');
  return two(Math.floor(seconds / 86400), 'd', Math.floor(seconds / 3600) % 24, 'h');
}

const two = (value) => String(value).padStart(2, '0');
function minute(at) { const date = new Date(at); return `${two(date.getHours())}:${two(date.getMinutes())}`; }
function clock(at) { return `${minute(at)}:${two(new Date(at).getSeconds())}`; }

/** operator.read is read to people; anything else stays as it is. */
const scopeName = (scope) => shown(scope, 60).replace(/^operator\./, '');
