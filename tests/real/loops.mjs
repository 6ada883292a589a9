// Two clients of 2026.2 that never stop asking: the package's own client and the Control UI, each with a device that
// may only read, each asking for more.
// usage: node loops.mjs PACKAGE CHROMIUM GATEWAY_URL URL TOKEN
// prints { client, device } for each, and { client, device, letInAt } when it gets in
import { createRequire } from 'node:module';
import crypto from 'node:crypto';
import fs from 'node:fs';

const [, , gatewayPackage, executablePath, gatewayUrl, url, token] = process.argv;
const { chromium } = createRequire(gatewayPackage + '/package.json')('playwright-core');
const GatewayClient = await importGatewayClient();

/** The package's chunks have names that change with every build. One of the two with the client is the command line. */
async function importGatewayClient() {
  const chunks = gatewayPackage + '/dist/';
  for (const chunk of fs.readdirSync(chunks)) {
    if (!/^client-.*\.js$/.test(chunk)) continue;
    const code = fs.readFileSync(chunks + chunk, 'utf8');
    const exported = /\bGatewayClient as (\w+)/.exec(code);
    if (exported && !code.includes('"./entry.js"')) return (await import(chunks + chunk))[exported[1]];
  }
  throw new Error('the package exports no GatewayClient');
}

function newDevice() {
  const { publicKey, privateKey } = crypto.generateKeyPairSync('ed25519');
  const raw = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32);
  return {
    deviceId: crypto.createHash('sha256').update(raw).digest('hex'),
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }),
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    stored: {
      publicKey: raw.toString('base64url'),
      privateKey: privateKey.export({ type: 'pkcs8', format: 'der' }).subarray(-32).toString('base64url'),
    },
  };
}

/** Pairs the device with the gateway itself, for reading. */
function pair(deviceIdentity) {
  return new Promise((paired) => {
    const client = new GatewayClient({ url: gatewayUrl, token, deviceIdentity, scopes: ['operator.read'], onHelloOk: () => { client.stop(); paired(); } });
    client.start();
  });
}

function report(client, { deviceId: device }, letInAt) {
  console.log(JSON.stringify({ client, device, letInAt }));
}

/** The package's client as its callers use it: it asks for `operator.admin`. */
function startClient(deviceIdentity) {
  return new Promise((over) => {
    const client = new GatewayClient({ url, token, deviceIdentity, onHelloOk: () => { report('client', deviceIdentity, Date.now()); client.stop(); over(); } });
    client.start();
  });
}

async function openControlUi(browser, device) {
  const context = await browser.newContext();
  const { deviceId, stored } = device;
  await context.addInitScript((identity) => localStorage.setItem('openclaw-device-identity-v1', identity), JSON.stringify({ version: 1, deviceId, ...stored, createdAtMs: Date.now() }));
  const page = await context.newPage();
  const over = new Promise((over) => page.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => {
    if (JSON.parse(payload).payload?.type === 'hello-ok') { report('Control UI', device, Date.now()); over(); }
  })));
  await page.goto(`${url.replace('ws:', 'http:')}/sessions#token=${token}`, { waitUntil: 'domcontentloaded', timeout: 60_000 });
  return over;
}

const [reader, readingBrowser] = [newDevice(), newDevice()];
await pair(reader);
await pair(readingBrowser);
report('client', reader);
report('Control UI', readingBrowser);
const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
await Promise.all([startClient(reader), openControlUi(browser, readingBrowser)]);
await browser.close();
process.exit(0);
