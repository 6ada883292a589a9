// Handshakes that no well-behaved client makes, or that a command line makes too rarely to wait for.
// usage: node raw.mjs PACKAGE URL TOKEN    prints [{ name, outcome, detail }, …]
import { createRequire } from 'node:module';
import crypto from 'node:crypto';

const [, , gatewayPackage, url, token] = process.argv;
const WebSocket = createRequire(gatewayPackage + '/package.json')('ws');

const ALL = ['operator.admin', 'operator.read', 'operator.write', 'operator.approvals', 'operator.pairing'];
const LEGACY = ['operator.admin', 'operator.approvals', 'operator.pairing'];
const CLI = { id: 'cli', mode: 'cli' };
const NODE = { id: 'node-host', mode: 'node' };
const ANSWER_TIME = 20_000;
/** From here on a close without an answer is the gateway's own timer for handshakes (10 s, 15 s on newer ones), and says that the machine is busy. */
const GATEWAY_GAVE_UP = 9_500;

function newDevice() {
  const { publicKey, privateKey } = crypto.generateKeyPairSync('ed25519');
  const raw = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32);
  return { privateKey, publicKey: raw.toString('base64url'), id: crypto.createHash('sha256').update(raw).digest('hex') };
}

function proof(device, { client, role, scopes, auth, nonce, signedAt }) {
  const payload = ['v2', device.id, client.id, client.mode, role, scopes.join(','), signedAt, auth?.token ?? auth?.deviceToken ?? '', nonce];
  const signature = crypto.sign(null, Buffer.from(payload.join('|')), device.privateKey).toString('base64url');
  return { id: device.id, publicKey: device.publicKey, signature, signedAt, nonce };
}

/** Opens a socket, answers its challenge and resolves to what became of it; asks what the session may do if it is let in. */
function connect({ device, scopes = ALL, role = 'operator', client = CLI, auth = { token }, headers = {}, age = 0, protocols = [3, 4], spoil, first }) {
  return new Promise((resolve) => {
    const socket = new WebSocket(url, { headers });
    const pending = new Map();
    const begun = Date.now();
    let answer;
    let deviceToken;
    const settle = (result) => { clearTimeout(timer); socket.terminate(); resolve({ deviceToken, took: Date.now() - begun, ...result }); };
    const timer = setTimeout(() => settle({ outcome: 'no answer' }), ANSWER_TIME);
    const call = (method, params) => new Promise((done) => {
      const id = crypto.randomUUID();
      pending.set(id, done);
      socket.send(JSON.stringify({ type: 'req', id, method, params }));
    });
    socket.on('unexpected-response', (_, response) => settle({ outcome: `HTTP ${response.statusCode}` }));
    socket.on('error', (error) => settle({ outcome: 'connection failed', detail: error.message }));
    socket.on('close', (code, reason) => settle(answer ? { ...answer, outcome: `${answer.outcome}, close ${code}` } : { outcome: `close ${code}`, detail: String(reason) }));
    socket.on('message', async (data) => {
      const frame = JSON.parse(data);
      if (frame.type === 'res') return pending.get(frame.id)?.(frame);
      if (frame.event !== 'connect.challenge') return;
      if (first) return call(first, {});
      const signedAt = Date.now() - age;
      const nonce = frame.payload.nonce;
      const params = {
        minProtocol: protocols[0], maxProtocol: protocols[1], role, scopes, auth,
        client: { ...client, version: '1.0.0', platform: process.platform },
      };
      if (device) params.device = proof(device, { client, role, scopes, auth, nonce, signedAt });
      spoil?.(params);
      const response = await call('connect', params);
      if (!response.ok) {
        const { code, message, details } = response.error;
        answer = { outcome: details?.code ? `${code}/${details.code}` : code, detail: message };
        return; // the close that follows settles it
      }
      deviceToken = response.payload.auth?.deviceToken;
      settle({ outcome: role === 'node' ? 'ok' : `ok ${await powers(call)}` });
    });
  });
}

/** One letter for each guard that lets the session through, tried with requests too empty to do anything. */
async function powers(call) {
  const guards = { r: 'system-presence', w: 'chat.abort', A: 'config.set', a: 'exec.approval.resolve', p: 'device.pair.list' };
  let letters = '';
  for (const [letter, method] of Object.entries(guards)) {
    const { error } = await call(method, {});
    if (!/missing scope/.test(error?.message ?? '')) letters += letter;
  }
  return letters || 'without any scope';
}

const spoiled = (signature) => (signature.startsWith('A') ? 'B' : 'A') + signature.slice(1);
const gaveUp = ({ outcome, took }) => outcome === 'close 1000' && took >= GATEWAY_GAVE_UP;
const results = [];
async function scenario(name, options) {
  let result = await connect(options);
  if (gaveUp(result)) result = await connect(options);
  const { outcome, detail, deviceToken, took } = result;
  results.push({ name, outcome, detail: detail || `after ${took} ms` });
  return deviceToken;
}

await scenario('an unknown device on this host', { device: newDevice() });
await scenario('an unknown device in a page of this host', { device: newDevice(), headers: { origin: 'http://127.0.0.1:9' } });
await scenario('an unknown device in a foreign page', { device: newDevice(), headers: { origin: 'http://203.0.113.9' } });
await scenario('an unknown device behind another proxy', { device: newDevice(), headers: { 'x-forwarded-for': '203.0.113.9' } });
await scenario('a node', { device: newDevice(), role: 'node', client: NODE, scopes: [] });
await scenario('no device at all', {});
await scenario('a probe without a device', { client: { id: 'cli', mode: 'probe' }, scopes: ['operator.read'] });

const legacy = newDevice();
const legacyToken = await scenario('a device pairs with the legacy scopes', { device: legacy, scopes: LEGACY });
await scenario('the legacy device asks for read', { device: legacy, scopes: ['operator.read'] });
await scenario('the legacy device asks for write', { device: legacy, scopes: ['operator.write'] });
await scenario('the legacy device asks for everything', { device: legacy });
await scenario('the legacy device uses its own token', { device: legacy, scopes: LEGACY, auth: { token: legacyToken } });

const reader = newDevice();
await scenario('a device pairs with read', { device: reader, scopes: ['operator.read'] });
await scenario('the reader asks for admin', { device: reader, scopes: ['operator.admin'] });

await scenario('a wrong signature', { device: legacy, spoil: (p) => { p.device.signature = spoiled(p.device.signature); } });
await scenario('a proof for fewer scopes than asked for', { device: reader, scopes: ['operator.read'], spoil: (p) => { p.scopes = ALL; } });
await scenario('a foreign nonce', { device: legacy, spoil: (p) => { Object.assign(p.device, proof(legacy, { client: CLI, role: p.role, scopes: p.scopes, auth: p.auth, nonce: crypto.randomUUID(), signedAt: p.device.signedAt })); } });
await scenario('a proof from an hour ago', { device: legacy, age: 3_600_000 });
await scenario('the id of another device', { device: newDevice(), spoil: (p) => { p.device.id = legacy.id; } });
await scenario('a wrong token', { device: newDevice(), auth: { token: 'wrong' } });
await scenario('a wrong token without a device', { auth: { token: 'wrong' } });
await scenario('no token', { device: newDevice(), auth: {} });
await scenario('an ancient protocol', { device: newDevice(), protocols: [1, 1] });
await scenario('a parameter that does not exist', { device: newDevice(), spoil: (p) => { p.surprise = true; } });
await scenario('something else than connect', { first: 'health' });

console.log(JSON.stringify(results));
process.exit(0);
