//! Every attack on a proof, with real keys.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;

const NOW: i64 = 1_790_000_000_000;
const RULES: ProofRules = ProofRules {
    skew_ms: 120_000,
    allow_v1: false,
    allow_v3: true,
};
const EARLY: ProofRules = ProofRules {
    skew_ms: 600_000,
    allow_v1: true,
    allow_v3: false,
};

struct Key(Ed25519KeyPair);

impl Key {
    fn new() -> Self {
        let der = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
        Self(Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap())
    }

    fn raw(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap()
    }

    fn prove(&self, version: PayloadVersion, claims: &Claims, nonce: &str) -> DeviceProof {
        let mut device = DeviceProof {
            id: device_id(&self.raw()).as_str().to_owned(),
            public_key: URL_SAFE_NO_PAD.encode(self.raw()),
            signature: String::new(),
            signed_at_ms: NOW,
            nonce: (version != PayloadVersion::V1).then(|| nonce.to_owned()),
        };
        let text = payload(version, claims, &device, nonce);
        device.signature = URL_SAFE_NO_PAD.encode(self.0.sign(text.as_bytes()));
        device
    }
}

fn claims() -> Claims {
    let mut claims = Claims {
        role: "operator".into(),
        scopes: vec!["operator.write".into(), "operator.read".into()],
        client_id: "cli".into(),
        client_mode: "cli".into(),
        platform: " Linux ".into(),
        device_family: Some("Server".into()),
        ..Claims::default()
    };
    claims.auth.token = Some("shared".into());
    claims
}

#[test]
fn an_honest_proof_of_every_version_holds() {
    let (key, claims) = (Key::new(), claims());
    for (version, rules) in [
        (PayloadVersion::V1, EARLY),
        (PayloadVersion::V2, EARLY),
        (PayloadVersion::V2, RULES),
        (PayloadVersion::V3, RULES),
    ] {
        let device = key.prove(version, &claims, "n1");
        assert_eq!(verify(&claims, &device, "n1", NOW, rules), Ok(version));
    }
}

#[test]
fn the_signed_text_is_the_one_that_the_gateways_build() {
    let key = Key::new();
    let device = key.prove(PayloadVersion::V3, &claims(), "n1");
    let id = &device.id;
    assert_eq!(
        payload(PayloadVersion::V3, &claims(), &device, "n1"),
        format!(
            "v3|{id}|cli|cli|operator|operator.write,operator.read|{NOW}|shared|n1|linux|server"
        )
    );
    assert_eq!(
        payload(PayloadVersion::V1, &claims(), &device, "n1"),
        format!("v1|{id}|cli|cli|operator|operator.write,operator.read|{NOW}|shared")
    );
}

#[test]
fn a_replayed_proof_does_not_hold_on_another_connection() {
    let (key, claims) = (Key::new(), claims());
    let device = key.prove(PayloadVersion::V2, &claims, "first connection");
    let verdict = verify(&claims, &device, "second connection", NOW, RULES);
    assert_eq!(verdict, Err(ProofError::ForeignNonce));
}

#[test]
fn a_replayed_proof_with_the_new_nonce_written_over_it_does_not_hold() {
    let (key, claims) = (Key::new(), claims());
    for version in [PayloadVersion::V1, PayloadVersion::V2, PayloadVersion::V3] {
        let mut device = key.prove(version, &claims, "first connection");
        device.nonce = Some("second connection".into());
        let verdict = verify(&claims, &device, "second connection", NOW, RULES);
        assert_eq!(verdict, Err(ProofError::BadSignature), "{version:?}");
    }
}

#[test]
fn a_stale_proof_does_not_hold_nor_one_from_the_future() {
    let (key, claims) = (Key::new(), claims());
    let device = key.prove(PayloadVersion::V2, &claims, "n1");
    assert!(verify(&claims, &device, "n1", NOW + 120_000, RULES).is_ok());
    assert!(verify(&claims, &device, "n1", NOW - 120_000, RULES).is_ok());
    for (now, off) in [(NOW + 121_000, 121), (NOW - 121_000, -121)] {
        let verdict = verify(&claims, &device, "n1", now, RULES);
        assert_eq!(verdict, Err(ProofError::Stale(off)));
    }
    let extreme = DeviceProof {
        signed_at_ms: i64::MIN,
        ..device
    };
    assert!(verify(&claims, &extreme, "n1", NOW, RULES).is_err());
}

#[test]
fn the_id_of_another_device_does_not_hold_with_ones_own_key() {
    let (victim, attacker, claims) = (Key::new(), Key::new(), claims());
    let mut device = attacker.prove(PayloadVersion::V2, &claims, "n1");
    device.id = device_id(&victim.raw()).as_str().to_owned();
    assert_eq!(
        verify(&claims, &device, "n1", NOW, RULES),
        Err(ProofError::ForeignId)
    );
}

#[test]
fn the_id_and_key_of_another_device_do_not_hold_without_its_private_key() {
    let (victim, attacker, claims) = (Key::new(), Key::new(), claims());
    let honest = victim.prove(PayloadVersion::V2, &claims, "n1");
    let forged = DeviceProof {
        signature: attacker.prove(PayloadVersion::V2, &claims, "n1").signature,
        ..honest
    };
    assert_eq!(
        verify(&claims, &forged, "n1", NOW, RULES),
        Err(ProofError::BadSignature)
    );
}

type Alteration = (&'static str, fn(&mut Claims));

#[test]
fn whatever_is_signed_cannot_be_altered() {
    let (key, honest) = (Key::new(), claims());
    let alterations: [Alteration; 8] = [
        ("scopes added", |claims| {
            claims.scopes.push("operator.admin".into())
        }),
        ("scopes reordered", |claims| claims.scopes.reverse()),
        ("scopes joined", |claims| {
            claims.scopes = vec!["operator.write,operator.read".into(); 2]
        }),
        ("role", |claims| claims.role = "node".into()),
        ("client id", |claims| claims.client_id = "test".into()),
        ("client mode", |claims| claims.client_mode = "probe".into()),
        ("token", |claims| claims.auth.token = Some("other".into())),
        ("token left out", |claims| claims.auth.token = None),
    ];
    for version in [PayloadVersion::V2, PayloadVersion::V3] {
        let device = key.prove(version, &honest, "n1");
        for (name, alter) in alterations {
            let mut altered = honest.clone();
            alter(&mut altered);
            let verdict = verify(&altered, &device, "n1", NOW, RULES);
            assert_eq!(
                verdict,
                Err(ProofError::BadSignature),
                "{name}, {version:?}"
            );
        }
    }
    let device = key.prove(PayloadVersion::V3, &honest, "n1");
    for alter in [
        |claims: &mut Claims| claims.platform = "darwin".into(),
        |claims: &mut Claims| {
            claims.device_family = None;
        },
    ] {
        let mut altered = honest.clone();
        alter(&mut altered);
        let verdict = verify(&altered, &device, "n1", NOW, RULES);
        assert_eq!(
            verdict,
            Err(ProofError::BadSignature),
            "version 3 covers platform and family"
        );
    }
}

#[test]
fn a_proof_without_a_nonce_holds_only_where_the_gateway_takes_one() {
    let (key, claims) = (Key::new(), claims());
    let device = key.prove(PayloadVersion::V1, &claims, "");
    assert_eq!(
        verify(&claims, &device, "n1", NOW, EARLY),
        Ok(PayloadVersion::V1)
    );
    assert_eq!(
        verify(&claims, &device, "n1", NOW, RULES),
        Err(ProofError::NoNonce)
    );
}

#[test]
fn garbage_is_named_and_never_panics() {
    let (key, claims) = (Key::new(), claims());
    let honest = key.prove(PayloadVersion::V2, &claims, "n1");
    for public_key in [
        "",
        "!",
        "AAAA",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
    ] {
        let device = DeviceProof {
            public_key: public_key.into(),
            ..honest.clone()
        };
        assert_eq!(
            verify(&claims, &device, "n1", NOW, RULES),
            Err(ProofError::BadKey),
            "{public_key}"
        );
    }
    for signature in ["", "!", "AAAA"] {
        let device = DeviceProof {
            signature: signature.into(),
            ..honest.clone()
        };
        let verdict = verify(&claims, &device, "n1", NOW, RULES);
        assert_eq!(verdict, Err(ProofError::BadSignature), "{signature}");
    }
}

#[test]
fn a_key_is_the_same_written_as_pem() {
    let key = Key::new();
    let der: Vec<u8> = SPKI_PREFIX.iter().copied().chain(key.raw()).collect();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(der)
    );
    assert_eq!(raw_public_key(&pem), Some(key.raw()));
    assert_eq!(
        raw_public_key(&URL_SAFE_NO_PAD.encode(key.raw())),
        Some(key.raw())
    );
    assert_eq!(
        raw_public_key(&format!("{}=", URL_SAFE_NO_PAD.encode(key.raw()))),
        Some(key.raw())
    );
}
