// Handshakes and requests of a client elsewhere, through a proxy; and a client that never stops coming.
// usage: node proxies.mjs PACKAGE answers GATEWAY_PORT URL TOKEN [CHROMIUM]      prints [{ name, outcome, detail }, …]
//        node proxies.mjs PACKAGE stream GATEWAY_PORT URL TOKEN                  keeps connecting; see below
import { createRequire } from 'node:module';
import crypto from 'node:crypto';
import fs from 'node:fs';
import https from 'node:https';
import path from 'node:path';

const [, , gatewayPackage, what, gatewayPort, url, token, executablePath] = process.argv;
const require = createRequire(gatewayPackage + '/package.json');
const WebSocket = require('ws');

const ALL = ['operator.admin', 'operator.read', 'operator.write', 'operator.approvals', 'operator.pairing'];
const CLI = { id: 'cli', mode: 'cli' };
const ANSWER_TIME = 20_000;
// On this machine, and not an address that the gateway takes for a proxy's.
const LOCAL = '127.0.0.9';

function newDevice() {
  const { publicKey, privateKey } = crypto.generateKeyPairSync('ed25519');
  const raw = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32);
  return { privateKey, publicKey: raw.toString('base64url'), id: crypto.createHash('sha256').update(raw).digest('hex') };
}

function proof(device, scopes, nonce) {
  const signedAt = Date.now();
  const payload = ['v2', device.id, CLI.id, CLI.mode, 'operator', scopes.join(','), signedAt, token, nonce];
  const signature = crypto.sign(null, Buffer.from(payload.join('|')), device.privateKey).toString('base64url');
  return { id: device.id, publicKey: device.publicKey, signature, signedAt, nonce };
}

/** Opens a socket, answers its challenge and resolves to what became of it. */
function connect({ device, scopes = ALL, headers = {}, to = url, from }) {
  return new Promise((resolve) => {
    const socket = new WebSocket(to, { headers, localAddress: from, rejectUnauthorized: false });
    const pending = new Map();
    const settle = (result) => { clearTimeout(timer); socket.terminate(); resolve({ detail: '', ...result }); };
    const timer = setTimeout(() => settle({ outcome: 'no answer' }), ANSWER_TIME);
    const call = (method, params) => new Promise((done) => {
      const id = crypto.randomUUID();
      pending.set(id, done);
      socket.send(JSON.stringify({ type: 'req', id, method, params }));
    });
    socket.on('unexpected-response', (_, response) => settle({ outcome: `HTTP ${response.statusCode}` }));
    socket.on('error', (error) => settle({ outcome: 'connection failed', detail: error.message }));
    socket.on('close', (code, reason) => settle({ outcome: `close ${code}`, detail: String(reason) }));
    socket.on('message', async (data) => {
      const frame = JSON.parse(data);
      if (frame.type === 'res') return pending.get(frame.id)?.(frame);
      if (frame.event !== 'connect.challenge') return;
      const params = {
        minProtocol: 3, maxProtocol: 4, role: 'operator', scopes, auth: { token },
        client: { ...CLI, version: '1.0.0', platform: 'linux' },
      };
      if (device) params.device = proof(device, scopes, frame.payload.nonce);
      const response = await call('connect', params);
      if (!response.ok) {
        const { code, message, details } = response.error;
        return settle({ outcome: details?.code ? `${code}/${details.code}` : code, detail: message });
      }
      const { error } = await call('config.get', {});
      settle(error ? { outcome: 'no scope', detail: error.message } : { outcome: 'ok' });
    });
  });
}

function request(target, { method = 'GET', headers = {}, body } = {}) {
  return new Promise((resolve) => {
    const options = { method, headers: { ...headers }, rejectUnauthorized: false };
    const sent = https.request(url.replace('wss:', 'https:') + target, options, (response) => {
      let text = '';
      response.on('data', (chunk) => { text += chunk; });
      response.on('end', () => resolve({ status: response.statusCode, text }));
    });
    sent.on('error', (error) => resolve({ status: error.code, text: '' }));
    sent.end(body);
  });
}

/** A device that the gateway knows, as one that was paired at its own machine. */
async function paired() {
  const device = newDevice();
  let last;
  // A gateway that has just started may need a while for its first client.
  for (let attempt = 0; attempt < 5; attempt += 1) {
    last = await connect({ device, to: `ws://127.0.0.1:${gatewayPort}`, from: LOCAL });
    if (last.outcome === 'ok') return device;
  }
  throw new Error(`a local device is not paired: ${last.outcome}: ${last.detail}`);
}

/** The page in a browser: whether it is there, and what its handshake is told. */
async function page() {
  const { chromium } = require('playwright-core');
  const browser = await chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const opened = await context.newPage();
  const answered = new Promise((resolve) => {
    setTimeout(() => resolve('is never answered'), 60_000);
    opened.on('websocket', (socket) => {
      let asked;
      socket.on('framesent', ({ payload }) => {
        const frame = JSON.parse(payload);
        if (frame.method === 'connect') asked = frame.id;
      });
      socket.on('framereceived', ({ payload }) => {
        const frame = JSON.parse(payload);
        // Whatever a busy gateway puts off, the page asks for again.
        if (!asked || frame.id !== asked || frame.error?.code === 'UNAVAILABLE') return;
        resolve(frame.ok ? 'ok' : frame.error.details?.code ?? frame.error.code);
      });
    });
  });
  const response = await opened.goto(`${url.replace('wss:', 'https:')}/#token=${token}`, { waitUntil: 'domcontentloaded', timeout: 60_000 });
  const outcome = response.ok() ? `its handshake: ${await answered}` : `HTTP ${response.status()}`;
  await browser.close();
  return outcome;
}

async function answers() {
  const results = [];
  const add = (name, outcome, detail = '') => results.push({ name, outcome, detail });
  const shake = async (name, options) => {
    const { outcome, detail } = await connect(options);
    add(name, outcome, detail);
  };
  await shake('a paired device', { device: await paired() });
  await shake('an unknown device', { device: newDevice() });
  await shake('no device', {});
  for (const [header, said] of [['X-Forwarded-For', '127.0.0.1'], ['X-Real-IP', '127.0.0.1'], ['Forwarded', 'for=127.0.0.1'], ['X-Forwarded-User', 'root']]) {
    await shake(`an unknown device with ${header}: ${said}`, { device: newDevice(), headers: { [header]: said } });
    await shake(`no device, with ${header}: ${said}`, { headers: { [header]: said } });
  }
  const { status, text } = await request('/');
  add('the page', /<html/i.test(text) ? `HTTP ${status}, a page` : `HTTP ${status}`);
  const authorization = `Bearer ${token}`;
  const body = JSON.stringify({ tool: 'sessions_list', args: {} });
  const headers = { authorization, 'content-type': 'application/json' };
  add('a tool', `HTTP ${(await request('/tools/invoke', { method: 'POST', headers, body })).status}`);
  // Just below what the gateways take (2 MiB).
  const large = JSON.stringify({ tool: 'sessions_list', args: {}, padding: 'x'.repeat(2 * 1024 * 1024 - 1024) });
  add('a large upload', `HTTP ${(await request('/tools/invoke', { method: 'POST', headers, body: large })).status}`);
  if (executablePath) add('the Control UI in a browser', await page());
  console.log(JSON.stringify(results));
}

/** Connects again and again. Once it has gone well for a while it says so with a file, and when it is told by another
 * that something was killed, it goes on for the same while. */
async function stream() {
  const device = await paired();
  const failed = [];
  let good = 0;
  const run = async (until) => {
    while (!until()) {
      const { outcome, detail } = await connect({ device, headers: {} });
      if (outcome === 'ok') good += 1; else failed.push(`${outcome}: ${detail}`);
    }
  };
  await run(() => good >= 20);
  fs.writeFileSync(path.join(process.env.HOME, 'under-way'), '');
  await run(() => fs.existsSync(path.join(process.env.HOME, 'killed')));
  const before = good + failed.length;
  await run(() => good + failed.length >= before + 40);
  console.log(JSON.stringify([{ name: 'handshakes while a replica is killed', outcome: failed.length ? `${failed.length} failed` : 'ok', detail: failed[0] ?? '' }]));
}

await (what === 'stream' ? stream() : answers());
process.exit(0);
