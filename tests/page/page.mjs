// Looks at the status page in a browser, and judges. What has to happen behind the page is ordered from the program that runs
// this: a line of JSON on standard output, an answer on standard input. Every other line is for people.
// usage: node page.mjs '{"chromium","pictures","url","port","token"}'
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const place = JSON.parse(process.argv[2]);
const require = createRequire(import.meta.url);
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function order(name, more = {}) {
  console.log(JSON.stringify({ order: name, ...more }));
  return JSON.parse((await answers.next()).value);
}

const browser = await chromium.launch({
  executablePath: place.chromium,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

const failures = [];
async function check(name, look) {
  if (process.env.PAGE_ONLY && !name.includes(process.env.PAGE_ONLY)) return;
  try {
    await look();
    console.log(`ok      ${name}`);
  } catch (error) {
    failures.push(name);
    const line = /page\.mjs:\d+/.exec(error.stack.replace(/.*(expect|same|visible) .*\n/g, ''))?.[0];
    console.log(`FAILED  ${name}: ${line}: ${error.message.split('\n').slice(0, 4).join(' | ')}`);
  }
}
function expect(true_, what) { if (!true_) throw new Error(what); }
function same(found, expected, what) { expect(JSON.stringify(found) === JSON.stringify(expected), `${what}: ${JSON.stringify(found)} instead of ${JSON.stringify(expected)}`); }

/** A page in a context of its own; everything that a script of a stranger would cause is noted. */
async function visit(url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: 'light', ...options });
  const page = await context.newPage();
  page.trouble = [];
  page.on('pageerror', (error) => page.trouble.push(`error: ${error.message}`));
  page.on('dialog', (dialog) => { page.trouble.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  // That an answer is no success is told by the browser itself, and shown by the page.
  page.on('console', (message) => { if (!/Failed to load resource/.test(message.text())) page.trouble.push(`console: ${message.text()}`); });
  page.on('popup', () => page.trouble.push('a window opened'));
  page.on('request', (request) => { if (new URL(request.url()).origin !== new URL(url).origin && !request.url().startsWith('data:')) page.trouble.push(`request: ${request.url().slice(0, 200)}`); });
  if (options.prepare) await options.prepare(page);
  await page.goto(url);
  return page;
}
const live = (page) => page.waitForSelector('#link[data-state=live]');
const leave = (page) => page.context().close();
async function visible(page, selector, text) {
  const there = page.waitForFunction(([where, words]) => document.querySelector(where)?.innerText.includes(words), [selector, text]);
  await there.catch(async () => { throw new Error(`${text} is not in ${selector}: ${(await page.innerText(selector)).slice(0, 600)}; said: ${await page.innerText('#said')}`.replaceAll('\n', ' ')); });
}
const focused = (page) => page.evaluate(() => { const at = document.activeElement; return `${at.tagName.toLowerCase()}${at.id && `#${at.id}`}${at.value ? `=${at.value}` : ''}`; });
/** Until the page has asked `times` times more. */
async function rounds(page, times) {
  for (let round = 0; round < times; round += 1) await page.waitForResponse((response) => response.url().endsWith('/status'));
  await page.evaluate(() => new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next))));
}

function ask(port, path, headers, method = 'GET') {
  const { hostname, port: number } = new URL(port);
  return new Promise((resolve, reject) => {
    const request = http.request({ hostname, port: number, path, method, headers }, (response) => {
      let body = '';
      response.on('data', (part) => { body += part; });
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }));
    });
    request.on('error', reject);
    request.end();
  });
}

await check('the address leads to the status, and the token leaves it at once', async () => {
  const page = await visit(place.url);
  await live(page);
  same(page.url().includes('token'), false, 'the token is in the address');
  same(await page.evaluate(() => history.length <= 2 && !document.documentElement.outerHTML.includes(sessionStorage['scope-shim-token'])), true, 'the token is in the document or the history');
  await visible(page, '#gateways .state', 'Up');
  await page.reload();
  await live(page);
  same(page.trouble, [], 'trouble');
  await leave(page);
});

await check('it is served with a policy that lets nothing else in', async () => {
  for (const port of [place.port, new URL(place.url).origin]) {
    const { status, headers } = await ask(port, '/', {});
    same(status, 200, port);
    const policy = headers['content-security-policy'];
    for (const part of ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "connect-src 'self'"]) expect(policy.includes(part), `${part} is not in ${policy}`);
    expect(!policy.includes('unsafe'), policy);
    same([headers['cache-control'], headers['x-content-type-options'], headers['referrer-policy']], ['no-store', 'nosniff', 'no-referrer'], 'headers');
  }
});

await check('without the right token, and by another name or from another page, nothing is told', async () => {
  const relay = new URL(place.url);
  for (const [port, token] of [[place.port, place.token], [relay.origin, relay.hash.slice('#token='.length)]]) {
    const { host } = new URL(port);
    const good = { authorization: `Bearer ${token}` };
    same((await ask(port, '/status', good)).status, 200, `${port} with the token`);
    for (const [what, path, headers, method] of [
      ['no token', '/status', {}], ['a wrong token', '/status', { authorization: 'Bearer wrong' }], ['no token', '/mode', {}, 'POST'],
      ['a rebound name', '/status', { ...good, host: 'evil.example' }], ['a rebound name with the port', '/', { ...good, host: `evil.example:${new URL(port).port}` }],
      ['another origin', '/status', { ...good, origin: 'http://evil.example' }], ['an opaque origin', '/mode', { ...good, origin: 'null' }, 'POST'],
      ['another port', '/approve', { ...good, origin: 'http://127.0.0.1:1' }, 'POST'],
    ]) {
      const { status, body } = await ask(port, path, headers, method);
      expect(status === 401 || status === 403 || status === 421, `${what}: ${status}`);
      expect(!body.includes('gateways') && !body.includes('<html'), `${what}: ${body.slice(0, 100)}`);
    }
    same((await ask(port, '/status', { ...good, origin: `http://${host}` })).status, 200, 'its own origin');
  }
  const stranger = http.createServer((_, response) => response.end('<!doctype html><title>stranger</title>'));
  await new Promise((listening) => stranger.listen(0, '127.0.0.1', listening));
  const page = await visit(`http://127.0.0.1:${stranger.address().port}/`);
  const got = await page.evaluate(async ([port, token]) => {
    const attempts = [fetch(`${port}/status`, { headers: { authorization: `Bearer ${token}` } }), fetch(`${port}/`), fetch(`${port}/mode`, { method: 'POST', mode: 'cors', body: '{"mode":"off"}' })];
    const results = await Promise.allSettled(attempts);
    const framed = document.createElement('iframe');
    framed.src = port;
    document.body.append(framed);
    await new Promise((loaded) => { framed.onload = loaded; });
    let inside = 'unreadable';
    try { inside = framed.contentDocument?.body?.innerText ?? inside; } catch { /* It is another origin's. */ }
    return [...results.map((result) => result.status), inside.includes('scope-shim') ? 'framed' : 'not framed'];
  }, [place.port, place.token]);
  same(got, ['rejected', 'rejected', 'rejected', 'not framed'], 'what a page of another origin gets');
  await leave(page);
  stranger.close();
  same(await order('mode'), 'on', 'the mode');
});

await check('a wrong token is said to be wrong, and the right one typed in is enough', async () => {
  const page = await visit(`${place.port}/#token=wrong`);
  await visible(page, '#enter-wrong', 'does not accept');
  same(await focused(page), 'input#token', 'the focus');
  same(await page.evaluate(() => Object.keys(sessionStorage)), [], 'a wrong token is kept');
  await visible(page, '#enter', 'admin.token');
  await page.keyboard.type('wröng\u202e again');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelector('#token').value === '' && !document.querySelector('#enter').hidden);
  await page.keyboard.type(place.token);
  await page.keyboard.press('Enter');
  await live(page);
  same(page.trouble, [], 'trouble');
  await leave(page);
  const bare = await visit(`${place.port}/`);
  await bare.waitForSelector('#enter:not([hidden])');
  same(await bare.innerText('#enter-wrong'), '', 'nobody was wrong');
  await leave(bare);
});

await check('the mode is switched by keyboard, and off only after a question', async () => {
  const page = await visit(place.url);
  await live(page);
  for (let presses = 0; (await focused(page)) !== 'input=on'; presses += 1) { expect(presses < 10, 'the switch is not reached'); await page.keyboard.press('Tab'); }
  await page.keyboard.press('ArrowRight');
  await visible(page, '#said', 'mode observe');
  same(await order('mode'), 'observe', 'the mode');
  const [who] = /Switched by .*/.exec(await page.innerText('#gateways .mode')) ?? [];
  expect(/^Switched by the status page at 2\d{3}-\d\d-\d\dT.*; the configuration says on\.$/.test(who), `who switched it: ${who}`);
  await page.keyboard.press('ArrowRight');
  await page.waitForSelector('#ask[open]');
  same(await focused(page), 'button#ask-no', 'the focus in the question');
  same(await order('mode'), 'observe', 'the mode before the answer');
  await page.keyboard.press('Escape');
  await page.waitForSelector('#ask:not([open])', { state: 'attached' });
  same(await focused(page), 'input=off', 'the focus after the question');
  same(await page.$$eval('#gateways input', (inputs) => inputs.filter((input) => input.checked).map((input) => input.value)), ['observe'], 'what is shown');
  await page.keyboard.press('Space');
  await page.waitForSelector('#ask[open]');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await visible(page, '#said', 'mode off');
  same(await order('mode'), 'off', 'the mode');
  await page.keyboard.press('ArrowRight');
  await visible(page, '#said', 'mode on');
  same(await order('mode'), 'on', 'the mode');
  await page.waitForFunction(() => document.querySelector('#spoken').textContent.includes('mode on'));
  await visible(page, '#gateways .mode', 'As the configuration says.');
  await leave(page);
});

await check('a switch that fails says so, and shows the mode that is', async () => {
  const page = await visit(place.url, { prepare: (page) => page.route('**/mode', (route) => route.fulfill({ status: 500, json: { error: { message: 'the mode cannot be kept: disk full' } } })) });
  await live(page);
  await page.locator('#gateways input[value=observe]').check({ force: true }).catch(() => {});
  await visible(page, '#said', 'is still on: the mode cannot be kept: disk full');
  same(await page.$$eval('#gateways input', (inputs) => inputs.filter((input) => input.checked).map((input) => input.value)), ['on'], 'what is shown');
  await leave(page);
});

await check('a repaired session is shown with its reason, and goes when it ends', async () => {
  const page = await visit(place.url);
  await live(page);
  const version = await order('session');
  await visible(page, '#sessions-rows', version);
  const row = page.locator('#sessions-rows tr', { hasText: version });
  for (const text of ['rewrite', 'hello-ok', 'no device', 'cli/probe', 'from 127.0.0.1']) expect((await row.innerText()).includes(text), `${text} is not in ${await row.innerText()}`);
  same(await row.locator('.verdict').getAttribute('data-kind'), 'repaired', 'its kind');
  await page.fill('#filter', 'no such session');
  await visible(page, '#sessions-more', '0 sessions of');
  await page.fill('#filter', version);
  await visible(page, '#sessions-more', '1 session of');
  await page.fill('#filter', '');
  await page.focus('#sessions-head button');
  await page.keyboard.press('Enter');
  same(await page.$eval('#sessions-head th', (head) => head.getAttribute('aria-sort')), 'ascending', 'the order');
  await order('end');
  await page.waitForFunction((text) => !document.querySelector('#sessions-rows').innerText.includes(text), version);
  await leave(page);
});

await check('what waits is approved after a question that names the scopes, and only as it was shown', async () => {
  const page = await visit(place.url);
  await live(page);
  await order('more', { scopes: 1 });
  await visible(page, '#requests', 'cli as operator');
  const item = page.locator('#requests > li', { hasText: 'cli as operator' }).first();
  expect((await item.innerText()).includes('from another machine'), await item.innerText());
  await item.locator('button', { hasText: 'Approve' }).focus();
  await page.keyboard.press('Enter');
  await visible(page, '#ask', 'New to it: admin.');
  same(await page.innerText('#ask-yes'), 'Approve 1 scope', 'the button');
  await order('more', { scopes: 2 });
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await visible(page, '#ask', 'and now asks for');
  same((await order('approved')).scopes, ['operator.read'], 'what grew behind the question');
  await page.keyboard.press('Escape');
  await visible(page, '#requests', '+ write');
  await page.locator('#requests > li', { hasText: '+ write' }).first().locator('button', { hasText: 'Approve' }).click();
  await visible(page, '#ask', 'New to it: admin, write.');
  await page.click('#ask-yes');
  await visible(page, '#said', 'Approved: cli');
  await page.waitForFunction(() => document.querySelector('#spoken').textContent.includes('Approved: cli'));
  const { scopes, audit } = await order('approved');
  same([...scopes].sort(), ['operator.admin', 'operator.read', 'operator.write'], 'what it holds now');
  same(audit.at(-1).rule, 'page', 'who approved it');
  await page.waitForFunction(() => !document.querySelector('#requests').innerText.includes('cli as operator'));
  same(await focused(page), 'h2#h-requests', 'the focus once the button is gone');
  await leave(page);
});

const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

const HOSTILE = [
  '<img src=x onerror="window.owned=1;alert(1)">', 'javascript:alert(1)', '"><script>window.owned=1</script>', "';alert(1)//", '</script><svg onload=alert(1)>',
  '\u202Egnp.exe\u202C', 'x'.repeat(10_000), 'bell\u0007 esc\u001b[31m\u001b]0;t\u0007 null\u0000 line\nline', '👩‍👩‍👧‍👦🏳️‍🌈', 'Z\u0338\u0321\u035da\u0337l\u0335g\u0338o', '{{constructor.constructor("alert(1)")()}}', '%3Cscript%3E', '__proto__',
];

await check('hostile names are text and nothing else', async () => {
  const page = await visit(place.url);
  await live(page);
  await order('hostile', { names: HOSTILE });
  await visible(page, '#requests', 'onerror');
  await visible(page, '#sessions-rows', 'onerror');
  // The last few are shown; the first of these names was not among the last.
  await page.click('#recent-all');
  await visible(page, '#recent-rows', 'onerror');
  await page.click('#requests-all');
  await rounds(page, 2);
  for (const item of await page.locator('#requests button', { hasText: 'Approve' }).all()) {
    await item.click();
    await page.waitForSelector('#ask[open]');
    await page.keyboard.press('Escape');
  }
  same(await page.evaluate(() => window.owned), undefined, 'a script ran');
  same(page.trouble, [], 'trouble');
  same(await page.$$eval('img, iframe, a[href^="javascript"], #main script, object, embed', (found) => found.map((one) => one.outerHTML)), [], 'markup from names');
  const text = await page.evaluate(() => document.body.innerText);
  expect(!/[\u202a-\u202e\u2066-\u2069\u0000-\u0008\u001b]/.test(text), 'what cannot be seen is shown as it is');
  expect(text.includes('\\u{202e}'), 'the override is not spelled out');
  expect(!text.includes('x'.repeat(500)), 'a name of 10 kB is shown whole');
  same(await overflow(page), 0, 'the width');
  await page.setViewportSize({ width: 360, height: 740 });
  same(await overflow(page), 0, 'the width on a phone');
  await page.screenshot({ path: `${place.pictures}/hostile-phone.png`, fullPage: true });
  await leave(page);
});

/** The texts that contrast too little with what is behind them, by the rule of WCAG 2 AA. */
const faint = (page) => page.evaluate(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const parse = (color) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
  const luminance = ([r, g, b]) => { const part = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4); return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b); };
  const behind = (node) => { for (let at = node; at; at = at.parentElement) { const color = parse(getComputedStyle(at).backgroundColor); if (color[3] === 1) return color; } return [255, 255, 255, 1]; };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const node = text.parentElement;
    if (!text.data.trim() || !node.checkVisibility() || node.closest('.unseen, script, style, [disabled]') || node instanceof SVGElement && !node.closest('svg')) continue;
    const style = getComputedStyle(node);
    const [one, two] = [luminance(parse(node instanceof SVGElement ? style.fill : style.color)), luminance(behind(node))];
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) found.push(`${ratio.toFixed(2)} ${text.data.trim().slice(0, 40)}`);
  }
  return found;
});

/** The names of all that can be used, as a screen reader is told them. */
async function unnamed(page) {
  const devtools = await page.context().newCDPSession(page);
  const { nodes } = await devtools.send('Accessibility.getFullAXTree');
  const roles = ['button', 'radio', 'textbox', 'searchbox', 'link', 'checkbox', 'table', 'figure', 'image', 'radiogroup', 'group', 'dialog', 'DisclosureTriangle'];
  return nodes.filter((node) => !node.ignored && roles.includes(node.role?.value) && !node.name?.value?.trim()).map((node) => node.role.value).filter((role) => role !== 'figure' && role !== 'group');
}

await order('session');
await order('more', { scopes: 3 });
for (const scheme of ['light', 'dark']) {
  for (const [size, width, height] of [['phone', 360, 740], ['tablet', 768, 1024], ['desktop', 1280, 900], ['wide', 1920, 1080]]) {
    await check(`it looks as it should: ${scheme}, ${size}`, async () => {
      const page = await visit(place.url, { viewport: { width, height }, colorScheme: scheme, bypassCSP: true });
      await live(page);
      await rounds(page, 1);
      same(await overflow(page), 0, 'the width');
      same(await faint(page), [], 'contrast');
      same(await unnamed(page), [], 'controls without a name');
      await page.screenshot({ path: `${place.pictures}/${size}-${scheme}.png` });
      await page.screenshot({ path: `${place.pictures}/${size}-${scheme}-whole.png`, fullPage: true });
      if (size === 'tablet' || size === 'wide') return leave(page);
      await page.evaluate(axe);
      const judge = async (what) => {
        const { violations } = await page.evaluate(() => globalThis.axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
        same(violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes[0].html.slice(0, 120)}`), [], `axe-core, ${what}`);
      };
      await judge('the page');
      await page.$$eval('details', (all) => all.forEach((one) => { one.open = true; }));
      await judge('the tables of the plots');
      same(await overflow(page), 0, 'the width with the tables');
      await page.locator('#requests button', { hasText: 'Approve' }).first().click();
      await page.waitForSelector('#ask[open]');
      await judge('the question');
      same(await faint(page), [], 'contrast with the question');
      await page.screenshot({ path: `${place.pictures}/question-${size}-${scheme}.png` });
      return leave(page);
    });
  }
}

await check('everything is reached by keyboard, in order, and the focus is seen', async () => {
  const page = await visit(place.url);
  await live(page);
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  same(await focused(page), 'main#main', 'where the skip link leads');
  await page.evaluate(() => { document.activeElement.blur(); scrollTo(0, 0); });
  await page.reload();
  await live(page);
  const wanted = await page.evaluate(() => {
    const groups = new Set();
    return [...document.querySelectorAll('a[href], button, input, summary, [tabindex="0"]')].filter((node) => {
      if (!node.checkVisibility() || node.disabled || node.closest('details:not([open]) > :not(summary)')) return false;
      if (node.type !== 'radio') return true;
      return !groups.has(node.name) && groups.add(node.name);
    }).length;
  });
  const seen = [];
  for (let presses = 0; presses < wanted; presses += 1) {
    await page.keyboard.press('Tab');
    seen.push(await page.evaluate(() => {
      const at = document.activeElement;
      const shown = at.type === 'radio' ? at.closest('label') : at;
      const style = getComputedStyle(shown);
      const box = shown.getBoundingClientRect();
      const covered = document.querySelector('.top').getBoundingClientRect().bottom;
      const hidden = box.bottom <= covered && !at.closest('.top') && !at.classList.contains('skip');
      return { name: at.outerHTML.slice(0, 80), outline: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2, inside: box.bottom > 0 && box.top < innerHeight && !hidden, place: [box.left, box.top + scrollY], body: at === document.body };
    }));
  }
  same(seen.filter((one) => one.body).length, 0, 'the focus left the page early');
  same(new Set(seen.map((one) => `${one.name}${one.place}`)).size, wanted, 'how many are reached');
  same(seen.filter((one) => !one.outline).map((one) => one.name), [], 'a focus that is not seen');
  same(seen.filter((one) => !one.inside).map((one) => one.name), [], 'a focus outside the window');
  await leave(page);
});

await check('an update moves nothing, and keeps focus, scrolling and open details', async () => {
  const page = await visit(place.url);
  await live(page);
  await page.$eval('details', (one) => { one.open = true; });
  await page.focus('details .scroll');
  await page.evaluate(() => {
    globalThis.shift = 0;
    globalThis.before = [document.activeElement, document.querySelector('#sessions-rows tr'), document.querySelector('#gateways article')];
    scrollTo(0, 300);
    new PerformanceObserver((list) => { for (const entry of list.getEntries()) if (!entry.hadRecentInput) globalThis.shift += entry.value; }).observe({ type: 'layout-shift' });
  });
  const scrolled = await page.evaluate(() => scrollY);
  await rounds(page, 3);
  same(await page.evaluate(() => globalThis.before[0] === document.activeElement && globalThis.before.every((node) => node.isConnected)), true, 'focus and elements');
  same(await page.evaluate(() => [scrollY, document.querySelector('details').open]), [scrolled, true], 'scrolling and details');
  const shift = await page.evaluate(() => globalThis.shift);
  expect(shift < 0.001, `the layout shifted by ${shift}`);
  await leave(page);
});

await check('it asks nothing while nobody looks', async () => {
  const page = await visit(place.url);
  await live(page);
  await page.evaluate(() => { Object.defineProperty(document, 'hidden', { configurable: true, get: () => true }); document.dispatchEvent(new Event('visibilitychange')); });
  let asked = 0;
  page.on('request', () => { asked += 1; });
  // One may be under way. Nothing else tells that something does not happen.
  await page.waitForTimeout(5000);
  expect(asked <= 1, `it asked ${asked} times`);
  await page.evaluate(() => { Object.defineProperty(document, 'hidden', { configurable: true, get: () => false }); document.dispatchEvent(new Event('visibilitychange')); });
  await rounds(page, 1);
  await leave(page);
});

await check('five thousand sessions do not stop it', async () => {
  const page = await visit(place.url, { prepare: (page) => page.route('**/status', async (route) => {
    const status = await (await route.fetch()).json();
    const [model] = status.sessions;
    status.sessions = Array.from({ length: 5000 }, (_, index) => ({ ...model, session: `s${index}`, who: `device${index}`, age_ms: index * 1000 }));
    status.live = 5000;
    await route.fulfill({ json: status });
  }) });
  await live(page);
  await visible(page, '#sessions-more', 'and 4 800 more'.replace(' 800', '\u202f800'));
  same(await page.locator('#sessions-rows tr').count(), 200, 'rows');
  const longest = await page.evaluate(async () => {
    let most = 0;
    new PerformanceObserver((list) => { for (const { duration } of list.getEntries()) most = Math.max(most, duration); }).observe({ type: 'longtask' });
    const field = document.querySelector('#filter');
    for (const text of ['device4', 'device49', 'device499', '']) { field.value = text; field.dispatchEvent(new Event('input')); await new Promise((next) => setTimeout(next, 1200)); }
    return most;
  });
  expect(longest < 1000, `something took ${longest} ms`);
  console.log(`        the longest task with 5000 sessions took ${Math.round(longest)} ms`);
  await leave(page);
});

/** What a screen reader finds in the list of what is to be known about the shim itself. */
const notices = (page) => page.getByRole('region', { name: 'The shim itself' }).getByRole('listitem').allInnerTexts();

await check('a reload that was refused, and keys that wait for a restart, are said until they are settled', async () => {
  const page = await visit(place.url, { bypassCSP: true });
  await live(page);
  same(await notices(page), [], 'what is said of a shim with which all is well');
  await order('reload', { more: 'probes = "127.0.0.1:1"\n' });
  await visible(page, '#notices', 'Needed for admin.probes, read');
  await visible(page, '#notices', 'restart scope-shim, or run: scope-shim upgrade');
  await page.waitForFunction(() => document.querySelector('#spoken').textContent.includes('Restart: Needed for admin.probes'));
  await order('reload', { more: `[policy]\nmax_scopes = [${JSON.stringify(`${HOSTILE[0]}\u202e${'x'.repeat(2000)}`)}, "other"]\n` });
  await visible(page, '#notices', 'correct that, and run: scope-shim reload');
  await page.waitForFunction(() => document.querySelector('#spoken').textContent.includes('Reload: Refused'));
  const [refused, waiting, ...more] = await notices(page);
  same(more, [], 'what else is said');
  expect(/Refused \d+\ss ago: .*policy\.max_scopes.*onerror/.test(refused), refused);
  expect(waiting.includes('Needed for admin.probes'), 'what waits for a restart still does');
  expect(!refused.includes('\u202e') && refused.length < 1000, refused);
  same(await page.evaluate(() => window.owned), undefined, 'a script ran');
  same(await page.$$eval('#notices img', (found) => found.length), 0, 'markup from the file');
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run('#main'));
  same(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 120)}`), [], 'axe-core');
  same(await faint(page), [], 'contrast');
  await page.screenshot({ path: `${place.pictures}/notices.png` });
  await page.setViewportSize({ width: 360, height: 740 });
  same(await overflow(page), 0, 'the width on a phone');
  await order('reload', { more: '' });
  await page.waitForSelector('#h-notices', { state: 'hidden' });
  same(page.trouble, [], 'trouble');
  await leave(page);
});

await check('the processes that an upgrade left are said, with their sessions', async () => {
  let older = [];
  const page = await visit(place.url, { prepare: (page) => page.route('**/status', async (route) => {
    const status = await (await route.fetch()).json();
    await route.fulfill({ json: { ...status, older } });
  }) });
  await live(page);
  same(await notices(page), [], 'processes that are not there');
  older = [
    { pid: 41, version: '0.0.8', sessions: 1, why: null }, { pid: 42, version: '0.0.9', sessions: 1234, why: null },
    { pid: 43, version: null, sessions: null, why: `${HOSTILE[0]}\u202e` }, { pid: 44, version: null, sessions: null, why: null },
  ];
  await visible(page, '#notices', 'pid 41');
  same(await notices(page), [
    'Upgrade\n\nAn older process, pid 41 (0.0.8), still serves 1 session, and ends with it',
    'Upgrade\n\nAn older process, pid 42 (0.0.9), still serves 1\u202f234 sessions, and ends with them',
    `Upgrade\n\nAn older process, pid 43, may still serve sessions: ${HOSTILE[0]}\\u{202e}`,
    'Upgrade\n\nAn older process, pid 44, may still serve sessions: it does not say',
  ], 'what is said');
  await page.waitForFunction(() => document.querySelector('#spoken').textContent.includes('pid 42 (0.0.9), still serves'));
  same(await page.evaluate(() => window.owned), undefined, 'a script ran');
  older = [];
  await page.waitForSelector('#h-notices', { state: 'hidden' });
  same(page.trouble, [], 'trouble');
  await leave(page);
});

await check('draining and a newer version are said', async () => {
  let draining = true;
  const page = await visit(place.url, { prepare: (page) => page.route('**/status', async (route) => {
    const status = await (await route.fetch()).json();
    await route.fulfill({ json: draining ? { ...status, draining } : { ...status, pid: status.pid + 1, version: '9.9.9' } });
  }) });
  await visible(page, '#link', 'Draining');
  draining = false;
  await visible(page, '#said', 'The shim is now 9.9.9');
  await leave(page);
});

await check('a shim that is gone is said to be gone, and found again', async () => {
  const page = await visit(place.url);
  await live(page);
  await order('stop');
  await page.waitForSelector('#link[data-state=lost]');
  expect(/^Connection lost\. Showing the state of \d\d:\d\d:\d\d$/.test(await page.innerText('#link-text')), await page.innerText('#link-text'));
  await visible(page, '#gateways', 'Up');
  await page.waitForFunction(() => document.querySelector('#spoken').textContent.includes('Connection lost'));
  same(await faint(page), [], 'contrast while it is lost');
  await page.screenshot({ path: `${place.pictures}/lost.png` });
  await page.locator('#gateways input[value=observe]').check({ force: true }).catch(() => {});
  await page.waitForFunction(() => document.querySelector('#said').innerText.includes('still on'));
  await order('start');
  await live(page);
  await visible(page, '#said', 'restarted');
  same(page.trouble, [], 'trouble');
  await leave(page);
});

await browser.close();
console.log(failures.length ? `${failures.length} FAILED: ${failures.join('; ')}` : 'all is well');
process.exit(failures.length ? 1 : 0);
