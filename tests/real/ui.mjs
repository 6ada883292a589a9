// Opens the Control UI twice in one browser: as a browser the gateway has never seen, and as the one it then knows.
// usage: node ui.mjs PACKAGE CHROMIUM URL TOKEN    prints [{ visit, loaded, connected, sessions, problems }, …]
import { createRequire } from 'node:module';

const [, , gatewayPackage, executablePath, url, token] = process.argv;
const { chromium } = createRequire(gatewayPackage + '/package.json')('playwright-core');

const TIME_TO_LIST = 60_000;
const TIME_TO_SETTLE = 20_000;
const QUIET = 1_500;
const TROUBLE = /missing scope|pairing required|scope upgrade|unauthorized|forbidden|device identity|not allowed|mismatch|disconnected \(\d+\)/i;

/** What one page said to its gateway, and what it was told. */
class Conversation {
  asked = new Map();
  connected = false;
  sessions = '';
  problems = [];
  lastFrame = Date.now();

  listen(socket) {
    socket.on('framesent', ({ payload }) => this.sent(JSON.parse(payload)));
    socket.on('framereceived', ({ payload }) => this.received(JSON.parse(payload)));
  }

  sent(frame) {
    this.lastFrame = Date.now();
    if (frame.type === 'req') this.asked.set(frame.id, frame.method);
  }

  received(frame) {
    this.lastFrame = Date.now();
    const method = this.asked.get(frame.id);
    if (frame.type !== 'res' || !method) return;
    this.asked.delete(frame.id);
    if (frame.payload?.type === 'hello-ok') this.connected = true;
    if (method === 'sessions.list' && this.sessions !== 'ok') this.sessions = frame.ok ? 'ok' : frame.error.message;
    if (!frame.ok && (method === 'connect' || method === 'sessions.list' || TROUBLE.test(frame.error.message))) this.problems.push(`${method}: ${frame.error.message}`);
  }

  isOver() {
    return this.asked.size === 0 && Date.now() - this.lastFrame > QUIET;
  }
}

async function until(limit, fulfilled) {
  const deadline = Date.now() + limit;
  while (!fulfilled() && Date.now() < deadline) await new Promise((next) => setTimeout(next, 50));
}

async function visit(name, context) {
  const conversation = new Conversation();
  const page = await context.newPage();
  page.on('websocket', (socket) => conversation.listen(socket));
  const response = await page.goto(`${url}/sessions#token=${token}`, { waitUntil: 'domcontentloaded', timeout: TIME_TO_LIST });
  await until(TIME_TO_LIST, () => conversation.sessions || conversation.problems.length);
  await until(TIME_TO_SETTLE, () => conversation.isOver());
  const text = await page.innerText('body');
  const visible = text.split('\n').filter((line) => /missing scope|pairing required|scope upgrade|unauthorized/i.test(line));
  await page.close();
  const { connected, sessions, problems } = conversation;
  return { visit: name, loaded: response.ok(), connected, sessions, problems: [...problems, ...visible.map((line) => `shown: ${line}`)] };
}

const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const context = await browser.newContext({ viewport: { width: 1200, height: 800 } });
const visits = [await visit('a new browser', context), await visit('a paired browser', context)];
console.log(JSON.stringify(visits));
await browser.close();
