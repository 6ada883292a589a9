//! Who is taken for whom, and who is not.

#![expect(clippy::panic, reason = "a panic is a failed test")]

use super::*;
use crate::config::UserPolicy;
use crate::fixture;
use crate::profile::Version;
use crate::scope::ScopeSet;

const LOCAL: Circumstances = Circumstances {
    direct_local: true,
    has_origin: false,
};

fn token_mode() -> GatewayAuth {
    GatewayAuth::Token(Secret::new("shared"))
}

fn with_token(token: &str) -> Claims {
    let mut claims = Claims::default();
    claims.auth.token = Some(token.into());
    claims
}

fn stands(claims: &Claims, circumstances: Circumstances, auth: &GatewayAuth) -> bool {
    stands_for_host(claims, circumstances, auth, DeviceLess::Local).is_ok()
}

#[test]
fn a_direct_local_client_with_the_shared_secret_stands_for_the_host() {
    assert!(stands(&with_token("shared"), LOCAL, &token_mode()));
    let mut password = Claims::default();
    password.auth.password = Some("pw".into());
    assert!(stands(
        &password,
        LOCAL,
        &GatewayAuth::Password(Secret::new("pw"))
    ));
    assert!(
        stands(&Claims::default(), LOCAL, &GatewayAuth::None),
        "a gateway without a secret"
    );
}

#[test]
fn nobody_else_does() {
    let claims = with_token("shared");
    let browser = Circumstances {
        has_origin: true,
        ..LOCAL
    };
    let remote = Circumstances {
        direct_local: false,
        ..LOCAL
    };
    assert!(!stands(&claims, browser, &token_mode()), "a web page");
    assert!(
        !stands(&claims, remote, &token_mode()),
        "a remote client, or one behind a proxy"
    );
    assert!(
        !stands(&with_token("wrong"), LOCAL, &token_mode()),
        "a wrong secret"
    );
    assert!(
        !stands(&Claims::default(), LOCAL, &token_mode()),
        "no secret"
    );
    assert!(
        !stands(&claims, LOCAL, &GatewayAuth::Unknown),
        "a secret that the shim cannot check"
    );
    let password = GatewayAuth::Password(Secret::new("shared"));
    assert!(
        !stands(&claims, LOCAL, &password),
        "the password sent as a token"
    );
    let mut more = with_token("shared");
    more.auth.device_token = Some("d".into());
    assert!(
        !stands(&more, LOCAL, &token_mode()),
        "somebody with a token of a device"
    );
    let mut unknown = with_token("shared");
    unknown.auth.has_unknown = true;
    assert!(
        !stands(&unknown, LOCAL, &token_mode()),
        "a credential of a later version"
    );
}

#[test]
fn the_configuration_can_switch_it_off() {
    let verdict = stands_for_host(&with_token("shared"), LOCAL, &token_mode(), DeviceLess::Off);
    assert_eq!(verdict, Err(Unidentified::DeviceLessOff));
}

/// The all-zero key is not one that anybody can sign with, but it is one that can be compared.
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn record() -> DeviceRecord {
    DeviceRecord {
        operator_token: OperatorToken::Live {
            token: Secret::new("its own"),
            scopes: ScopeSet::new(),
        },
        ..fixture::record("d", KEY, &[])
    }
}

fn recognised(
    claims: &Claims,
    record: DeviceRecord,
    auth: &GatewayAuth,
) -> Result<Credential, Unidentified> {
    let profile = Profile::of_version(Version::v2026(9, 6));
    recognised_by(&profile, claims, record, auth)
}

fn recognised_by(
    profile: &Profile,
    claims: &Claims,
    record: DeviceRecord,
    auth: &GatewayAuth,
) -> Result<Credential, Unidentified> {
    let device = DeviceProof {
        id: "d".into(),
        public_key: KEY.into(),
        signature: String::new(),
        signed_at_ms: 0,
        nonce: None,
    };
    match recognise(
        claims,
        &device,
        PayloadVersion::V2,
        Some(Arc::new(record)),
        auth,
        profile,
    ) {
        Identity::Device { credential, .. } => Ok(credential),
        Identity::Unknown(why) => Err(why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_device_authenticates_with_the_shared_secret_or_its_own_token() {
    let auth = token_mode();
    assert_eq!(
        recognised(&with_token("shared"), record(), &auth),
        Ok(Credential::Shared)
    );
    let own_in_token = with_token("its own");
    assert_eq!(
        recognised(&own_in_token, record(), &auth),
        Ok(Credential::DeviceToken)
    );
    let mut own = Claims::default();
    own.auth.device_token = Some("its own".into());
    assert_eq!(
        recognised(&own, record(), &auth),
        Ok(Credential::DeviceToken)
    );
    let mut both = with_token("shared");
    both.auth.device_token = Some("stale".into());
    assert_eq!(
        recognised(&both, record(), &auth),
        Ok(Credential::Shared),
        "a right secret wins"
    );
    let mut stale_secret = with_token("stale");
    stale_secret.auth.device_token = Some("its own".into());
    assert_eq!(
        recognised(&stale_secret, record(), &auth),
        Ok(Credential::DeviceToken)
    );
}

#[test]
fn any_other_credential_is_the_gateways_to_judge() {
    let auth = token_mode();
    let judged = Err(Unidentified::Credential);
    assert_eq!(recognised(&with_token("wrong"), record(), &auth), judged);
    assert_eq!(recognised(&Claims::default(), record(), &auth), judged);
    let mut setup_code = with_token("shared");
    setup_code.auth.bootstrap_token = Some("b".into());
    assert_eq!(recognised(&setup_code, record(), &auth), judged);
    let withheld = DeviceRecord {
        operator_token: OperatorToken::Withheld,
        ..record()
    };
    assert_eq!(recognised(&with_token("its own"), withheld, &auth), judged);
}

#[test]
fn a_device_without_a_token_is_nobody_where_the_gateway_goes_by_tokens() {
    for (month, patch, expected) in [
        (9, 6, Err(Unidentified::Revoked)),
        (4, 21, Err(Unidentified::Revoked)),
        (3, 24, Ok(Credential::Shared)),
        (2, 19, Ok(Credential::Shared)),
    ] {
        let profile = Profile::of_version(Version::v2026(month, patch));
        let record = DeviceRecord {
            operator_token: OperatorToken::None,
            ..record()
        };
        let claims = with_token("shared");
        let found = recognised_by(&profile, &claims, record, &token_mode());
        assert_eq!(found, expected, "2026.{month}.{patch}");
    }
}

#[test]
fn a_device_whose_token_was_revoked_is_the_gateways_to_judge_whatever_it_authenticates_with() {
    let auth = token_mode();
    for token in ["shared", "its own", "wrong"] {
        let record = DeviceRecord {
            operator_token: OperatorToken::Revoked,
            ..record()
        };
        let judged = Err(Unidentified::Revoked);
        assert_eq!(recognised(&with_token(token), record, &auth), judged);
    }
}

#[test]
fn a_device_is_its_key_and_its_role() {
    let foreign = DeviceRecord {
        public_key: KEY.replace('A', "B"),
        ..record()
    };
    let auth = token_mode();
    assert_eq!(
        recognised(&with_token("shared"), foreign, &auth),
        Err(Unidentified::ForeignKey)
    );
    let node = DeviceRecord {
        roles: vec!["node".into()],
        ..record()
    };
    assert_eq!(
        recognised(&with_token("shared"), node, &auth),
        Err(Unidentified::NotAnOperator)
    );
}

#[test]
fn an_unpaired_device_is_nobody() {
    let claims = with_token("shared");
    let device = DeviceProof {
        id: "d".into(),
        public_key: KEY.into(),
        signature: String::new(),
        signed_at_ms: 0,
        nonce: None,
    };
    let identity = recognise(
        &claims,
        &device,
        PayloadVersion::V2,
        None,
        &token_mode(),
        &Profile::of_version(Version::v2026(9, 6)),
    );
    assert!(matches!(
        identity,
        Identity::Unknown(Unidentified::NotPaired)
    ));
    assert!(identity.device().is_none());
    assert_eq!(
        identity.device().map(DeviceId::short).unwrap_or_default(),
        ""
    );
}

#[test]
fn a_user_with_a_credential_of_its_own_is_the_gateways_to_judge() {
    let auth = GatewayAuth::TrustedProxy {
        user_header: "x-forwarded-user".into(),
        required_headers: Vec::new(),
        password: None,
        allow_users: Vec::new(),
    };
    let held = UserPolicy {
        scopes: ["operator.admin"].into_iter().collect(),
    };
    let policy = Policy {
        users: [("alice".to_owned(), held)].into(),
        ..Policy::default()
    };
    let is_user = |claims: &AuthClaims| user("alice", claims, &auth, &policy).is_some();
    assert!(is_user(&AuthClaims::default()));
    for own in [
        AuthClaims {
            bootstrap_token: Some("b".into()),
            ..AuthClaims::default()
        },
        AuthClaims {
            device_token: Some("d".into()),
            ..AuthClaims::default()
        },
        AuthClaims {
            has_unknown: true,
            ..AuthClaims::default()
        },
    ] {
        assert!(!is_user(&own), "{own:?}");
    }
}
