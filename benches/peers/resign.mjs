// What a user would write first: a WebSocket proxy that puts a device of its own into every handshake.
// node resign.mjs <listen port> <gateway port> <directory with node_modules/ws>
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { createRequire } from "node:module";

const [port, gateway, modules] = process.argv.slice(2);
const { WebSocket, WebSocketServer } = createRequire(`${modules}/`)("ws");

const { privateKey } = generateKeyPairSync("ed25519");
const publicKey = createPublicKey(privateKey).export({ format: "jwk" }).x;
const id = createHash("sha256").update(Buffer.from(publicKey, "base64url")).digest("hex");

function resigned(data, nonce) {
  const message = JSON.parse(data);
  const { client, role, scopes, auth } = message.params;
  const signedAt = Date.now();
  const text = ["v2", id, client.id, client.mode, role, scopes.join(","), signedAt, auth?.token ?? "", nonce].join("|");
  const signature = sign(null, Buffer.from(text), privateKey).toString("base64url");
  message.params.device = { id, publicKey, signature, signedAt, nonce };
  return JSON.stringify(message);
}

const options = { perMessageDeflate: false };
new WebSocketServer({ port: Number(port), host: "127.0.0.1", ...options }).on("connection", (client, request) => {
  const upstream = new WebSocket(`ws://127.0.0.1:${gateway}${request.url}`, options);
  const early = [];
  let nonce;
  let connected = false;
  const up = (data, binary) => {
    if (connected) return upstream.send(data, { binary });
    connected = true;
    upstream.send(resigned(data, nonce), { binary: false });
  };
  client.on("message", (data, binary) => {
    if (upstream.readyState === WebSocket.OPEN) up(data, binary);
    else early.push([data, binary]);
  });
  upstream.on("open", () => early.splice(0).forEach((message) => up(...message)));
  upstream.on("message", (data, binary) => {
    nonce ??= JSON.parse(data).payload?.nonce;
    client.send(data, { binary });
  });
  client.on("close", () => upstream.terminate());
  upstream.on("close", () => client.terminate());
  for (const end of [client, upstream]) end.on("error", () => end.terminate());
});
