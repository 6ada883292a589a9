//! The files a gateway's state directory holds beside the pairing store.

use std::fs;
use std::io;
use std::net::SocketAddr;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::Options;
use super::proof;
use super::random;
use super::store;
use super::world::{World, now_ms};

/// `openclaw.json`, with what a proxy beside the gateway looks for.
pub(super) fn write_config(options: &Options, addr: SocketAddr) -> io::Result<()> {
    let auth = match (&options.token, &options.password) {
        (Some(token), _) => json!({ "mode": "token", "token": token }),
        (None, Some(password)) => json!({ "mode": "password", "password": password }),
        (None, None) => json!({ "mode": "none" }),
    };
    let mut gateway = json!({
        "mode": "local",
        "port": addr.port(),
        "bind": "loopback",
        "auth": auth,
    });
    if !options.trusted_proxies.is_empty() {
        gateway["trustedProxies"] = json!(options.trusted_proxies);
    }
    if !options.allowed_origins.is_empty() {
        gateway["controlUi"] = json!({ "allowedOrigins": options.allowed_origins });
    }
    if !options.auto_approve_local {
        gateway["nodes"] = json!({ "pairing": { "autoApproveLocal": false } });
    }
    store::write(
        &options.state_dir.join("openclaw.json"),
        &json!({ "gateway": gateway }),
    )
}

/// The host's own device, unless there is one already: where the CLI and the gateway keep their key.
pub(super) fn create_identity(world: &World) -> io::Result<()> {
    let directory = world.state_dir.join("identity");
    let file = directory.join("device.json");
    if file.exists() {
        return Ok(());
    }
    let seed = random::bytes::<32>()?;
    let key = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(io::Error::other)?;
    let public = key.public_key().as_ref();
    let device_id = proof::device_id(public);
    let public_pem = pem("PUBLIC KEY", SPKI_PREFIX, public);
    let private_pem = pem("PRIVATE KEY", PKCS8_PREFIX, &seed);
    if world.save_host_identity(&device_id, &public_pem, &private_pem)? {
        return Ok(());
    }
    fs::create_dir_all(&directory)?;
    let identity = json!({
        "version": 1,
        "deviceId": device_id,
        "publicKeyPem": public_pem,
        "privateKeyPem": private_pem,
        "createdAtMs": now_ms(),
    });
    store::write(&file, &identity)
}

fn pem(label: &str, prefix: &[u8], key: &[u8]) -> String {
    let body = STANDARD.encode([prefix, key].concat());
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

/// DER in front of a raw Ed25519 public key (RFC 8410).
const SPKI_PREFIX: &[u8] = &[
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// DER in front of an Ed25519 seed, the PKCS#8 that Node writes.
const PKCS8_PREFIX: &[u8] = &[
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
