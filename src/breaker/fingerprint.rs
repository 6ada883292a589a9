//! What makes two attempts the same, as keyed digests: no name, token or key of a client is kept.

use aws_lc_rs::hmac;
use hyper::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN, USER_AGENT};
use hyper::{HeaderMap, Request};
use std::net::IpAddr;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::handshake::message::Connect;

/// A keyed digest.
pub(super) type Digest = [u8; 32];

/// The key of this process's digests.
#[derive(Debug)]
pub struct Fingerprints(hmac::Key);

/// The system has no randomness to give.
#[derive(Clone, Copy, Debug, Error)]
#[error("this system gave no random bytes for a key")]
pub struct NoRandomness;

/// What an upgrade request looks like, before its client has said a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Trace {
    /// Address, target, and all headers that tell clients apart.
    upgrade: Digest,
    /// Of these the address and the headers that the gateway's decision may depend on.
    standing: Digest,
}

impl Fingerprints {
    /// With a random key.
    pub(super) fn new() -> Result<Self, NoRandomness> {
        // The system's own: the first number of aws-lc's costs a hundred milliseconds of gathering entropy.
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key).map_err(|_| NoRandomness)?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &*key)))
    }

    /// Of an upgrade request, as the gateway gets it. `decisive` are the headers that its trusted-proxy mode
    /// goes by.
    #[must_use]
    pub fn trace<'a, B>(
        &self,
        address: IpAddr,
        request: &Request<B>,
        decisive: impl Iterator<Item = &'a str>,
    ) -> Trace {
        let headers = request.headers();
        let decisive = [ORIGIN.as_str(), AUTHORIZATION.as_str()]
            .into_iter()
            .chain(CAPS_AND_USERS)
            .chain(decisive)
            .map(|name| header(headers, name));
        // The address, too: later gateways let nodes of some networks in (`gateway.nodes.pairing.autoApproveCidrs`).
        let address = address.to_string().into_bytes();
        let standing = self.digest(std::iter::once(address).chain(decisive));
        let upgrade = self.digest([
            request.uri().to_string().into_bytes(),
            header(headers, HOST.as_str()),
            header(headers, USER_AGENT.as_str()),
            standing.to_vec(),
        ]);
        Trace { upgrade, standing }
    }

    /// Of everything that a client says, but for what is new in every attempt.
    pub(super) fn exact(&self, trace: &Trace, connect: &Connect, direct_local: bool) -> Digest {
        let mut params = connect.params();
        if let Some(mut device) = params.object("device") {
            device.retain(|name| name == "id" || name == "publicKey");
            params.set("device", &device);
        }
        if let Some(mut client) = params.object("client") {
            client.retain(|name| name != "instanceId");
            params.set("client", &client);
        }
        if params.get("scopes").is_some() {
            let requested = connect.claims.requested();
            params.set("scopes", &requested.iter().collect::<Vec<_>>());
        }
        self.digest([
            b"exact".to_vec(),
            trace.upgrade.to_vec(),
            vec![u8::from(direct_local)],
            params.to_text().into_bytes(),
        ])
    }

    /// Of a device that asks for a role: one request of it waits at a time, whatever scopes it asks for.
    pub(super) fn pairing(&self, trace: &Trace, connect: &Connect, direct_local: bool) -> Digest {
        let claims = &connect.claims;
        let device = claims.device.as_ref();
        let params = connect.params();
        self.digest([
            b"pairing".to_vec(),
            trace.standing.to_vec(),
            vec![u8::from(direct_local)],
            bytes(device.map(|device| device.id.as_str())),
            bytes(device.map(|device| device.public_key.as_str())),
            bytes(Some(&claims.role)),
            bytes(Some(&claims.platform)),
            bytes(claims.device_family.as_deref()),
            bytes(params.get("auth")),
        ])
    }

    fn digest(&self, parts: impl IntoIterator<Item = Vec<u8>>) -> Digest {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            // The length first, so that no two lists of parts run together to the same bytes.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(&part);
        }
        let mut digest = Digest::default();
        let tag = context.sign();
        digest.copy_from_slice(tag.as_ref());
        digest
    }
}

fn header(headers: &HeaderMap, name: &str) -> Vec<u8> {
    let Ok(name) = name.parse::<HeaderName>() else {
        return Vec::new();
    };
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| [value.as_bytes(), b"\n"].concat())
        .collect()
}

/// Absent is not the same as empty.
fn bytes(text: Option<&str>) -> Vec<u8> {
    text.map(|text| [b"=", text.as_bytes()].concat())
        .unwrap_or_default()
}

/// Headers that narrow a session or name its user.
const CAPS_AND_USERS: [&str; 2] = ["x-openclaw-scopes", "tailscale-user-login"];
