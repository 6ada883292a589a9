//! The credential: F1 (a narrow token), F6 and F7.

use serde_json::Value;

use super::Case;
use super::draft::Draft;
use super::said::Credential as Said;
use super::text::{LONGEST_PLACE, Secrets};
use crate::device::{OperatorToken, is_paired_by_code};
use crate::findings::Code;
use crate::gateway::GatewayAuth;
use crate::profile::{ScopeCheck, Version};
use crate::scope::ScopeSet;
use crate::text::brief;

pub(super) fn explain(case: &Case<'_>, said: Said) -> Draft {
    if case.identity.is_by_device_token() {
        return match case.delegated {
            true => own_secret_is_stale(case),
            false => own_token(case),
        };
    }
    let draft = match said {
        Said::Bootstrap => setup_code(case),
        Said::Tailscale => tailscale(case),
        Said::DeviceScopes => narrow(case, None),
        Said::Missing | Said::Mismatch | Said::DeviceToken => shared_or_device(case, said),
    };
    draft
        .evidence("sent", sent(case))
        .evidence("gatewayAuth", mode(case.auth))
}

/// Its own token is the one on record, and the gateway refuses it nevertheless.
fn own_token(case: &Case<'_>) -> Draft {
    let scopes = case.record.and_then(|record| match &record.operator_token {
        OperatorToken::Live { scopes, .. } => Some(scopes),
        _ => None,
    });
    let asked = case.claims.requested();
    let covered = scopes.is_some_and(|scopes| match case.profile.scope_check {
        ScopeCheck::Literal => scopes.names_all(&asked),
        ScopeCheck::Implied | ScopeCheck::Unknown => scopes.implies_all(&asked),
    });
    if !covered {
        return narrow(case, scopes);
    }
    let again = Again::of(case);
    Draft::new(
        Code::StaleDeviceToken,
        "sent the device token that is on record, but the gateway does not take it any more: it was issued under an \
         earlier shared secret, or the record changed this moment",
        format!("{}, which issues a new one", again.words),
        format!("stale device token; {}", again.brief),
    )
    .command(again.command())
}

fn narrow(case: &Case<'_>, scopes: Option<&ScopeSet>) -> Draft {
    let secrets = Secrets::of(case.claims, case.challenge);
    let asked = case.claims.requested();
    let held = match scopes {
        Some(scopes) => format!("its device token holds {}", secrets.scopes(scopes)),
        None => "its device token holds less".to_owned(),
    };
    let record = case.record.map(|record| record.approved_scopes.clone());
    let approved = match &record {
        Some(approved) => format!(", while {} is approved", secrets.scopes(approved)),
        None => String::new(),
    };
    let again = Again::of(case);
    let covered = record
        .as_ref()
        .is_none_or(|approved| approved.implies_all(&asked));
    let mut draft = Draft::new(
        Code::NarrowToken,
        format!("asks for {}, but {held}{approved}", secrets.scopes(&asked)),
        match covered || again.by_code {
            true => format!("{}, which issues a wider token", again.words),
            false => format!(
                "{}, and approve the pairing request that this makes",
                again.words
            ),
        },
        format!("its device token is too narrow; {}", again.brief),
    )
    .command(again.command())
    .evidence(
        "tokenScopes",
        scopes.map_or(Value::Null, |scopes| secrets.list(scopes).into()),
    );
    draft.missing = scopes.map(|scopes| scopes.missing(&asked));
    draft.approved = record;
    draft
}

/// The shim took the client's device token for true, and sent the shared secret that it knows.
fn own_secret_is_stale(case: &Case<'_>) -> Draft {
    let command = case.invocation.command(&["reload"]);
    Draft::new(
        Code::SecretDrift,
        "proved itself, but the secret that scope-shim holds for the gateway is not the gateway's any more",
        format!("run {command}, so that it reads the gateway's new secret"),
        "scope-shim holds an old gateway secret; run: scope-shim reload",
    )
}

/// Nodes have codes of their own (2026.9.6).
fn setup_code(case: &Case<'_>) -> Draft {
    let joins = case.claims.client_id == "node-host"
        && case
            .profile
            .version
            .is_some_and(|version| version >= FIRST_WITH_JOIN_CODES);
    let command = if joins { NEW_JOIN_CODE } else { NEW_CODE };
    Draft::new(
        Code::WrongSecret,
        "sent a setup code that is invalid, expired or used up",
        format!("create a new one on the gateway's machine with: {command}"),
        "setup code invalid or used up",
    )
    .command(command.to_owned())
}

/// The gateway would have believed Tailscale's word for it.
fn tailscale(case: &Case<'_>) -> Draft {
    let auth = &case.claims.auth;
    let code = match auth.token.is_some() || auth.password.is_some() {
        true => Code::WrongSecret,
        false => Code::MissingSecret,
    };
    let kind = kind(case.auth);
    Draft::new(
        code,
        "came without an identity that Tailscale vouches for",
        format!("{}, or open it through Tailscale Serve", give(case, kind)),
        format!("no Tailscale identity; use the gateway's {kind}, or Tailscale Serve"),
    )
}

/// Nobody can send what the gateway does not have.
pub(super) fn unconfigured(kind: &str) -> Draft {
    Draft::new(
        Code::MissingSecret,
        format!("meets a gateway that asks for a {kind} and has none itself"),
        set_one(kind),
        format!("the gateway itself has no {kind}; set gateway.auth.{kind}"),
    )
}

/// The value is the operator's to choose, so this is no command that can be run as it is.
fn set_one(kind: &str) -> String {
    format!(
        "set one on the gateway's machine with `openclaw config set gateway.auth.{kind} <{kind}>`, restart the gateway, and \
         give the client the same"
    )
}

fn kind(auth: &GatewayAuth) -> &'static str {
    match auth {
        GatewayAuth::Password(_) => "password",
        _ => "token",
    }
}

fn shared_or_device(case: &Case<'_>, said: Said) -> Draft {
    let auth = &case.claims.auth;
    let (token, password) = (auth.token.is_some(), auth.password.is_some());
    match case.auth {
        GatewayAuth::Token(secret) => match auth.token.as_deref() {
            Some(sent) if secret.matches(sent) => drift(case, "token"),
            Some(sent) if secret.matches(sent.trim()) => blank(case, "token"),
            Some(_) => wrong(case, "token", said),
            None if auth.device_token.is_some() => stale_device_token(case),
            None if password => other_kind(case, "password", "token"),
            None => missing(case, "token"),
        },
        GatewayAuth::Password(secret) => match auth.password.as_deref() {
            Some(sent) if secret.matches(sent) => drift(case, "password"),
            Some(sent) if secret.matches(sent.trim()) => blank(case, "password"),
            Some(_) => wrong(case, "password", said),
            None if auth.device_token.is_some() => stale_device_token(case),
            None if token => other_kind(case, "token", "password"),
            None => missing(case, "password"),
        },
        _ if auth.device_token.is_some() && !token && !password => stale_device_token(case),
        _ if token => wrong(case, "token", said),
        _ if password => wrong(case, "password", said),
        _ => missing(case, "token"),
    }
}

fn missing(case: &Case<'_>, kind: &str) -> Draft {
    Draft::new(
        Code::MissingSecret,
        format!("sent no {kind}"),
        format!("{}; {}", give(case, kind), holder(case, kind)),
        format!("no {kind} sent; {}", the_right_one(case, kind)),
    )
}

fn other_kind(case: &Case<'_>, sent: &str, wanted: &str) -> Draft {
    Draft::new(
        Code::WrongSecret,
        format!("sent a {sent}, but the gateway asks for a {wanted}"),
        format!("{}; {}", give(case, wanted), holder(case, wanted)),
        format!("sent a {sent}; the gateway asks for a {wanted}"),
    )
}

fn blank(case: &Case<'_>, kind: &str) -> Draft {
    Draft::new(
        Code::WrongSecret,
        format!("sent the gateway's {kind} with blanks or a line end around it"),
        format!("remove them; {}", holder(case, kind)),
        format!("the {kind} has blanks around it"),
    )
}

fn wrong(case: &Case<'_>, kind: &str, said: Said) -> Draft {
    let with_device = case.claims.device.is_some();
    let known = case.auth.secret().is_some();
    let nor = match (
        with_device,
        &case.record.map(|record| &record.operator_token),
    ) {
        (false, _) => "",
        (true, Some(OperatorToken::Live { .. })) if known => {
            ", nor the token that is on record for its device"
        }
        (true, Some(OperatorToken::Revoked)) => {
            " (and the token that its device once had was revoked)"
        }
        (true, _) if said == Said::DeviceToken => ", nor a valid token of its device",
        (true, _) => "",
    };
    Draft::new(
        Code::WrongSecret,
        format!("sent a {kind} that is not the gateway's{nor}"),
        format!("{}; {}", give(case, kind), holder(case, kind)),
        format!("wrong {kind}; {}", the_right_one(case, kind)),
    )
}

/// The files say that it is right.
fn drift(case: &Case<'_>, kind: &str) -> Draft {
    let source = source(case, kind);
    Draft::new(
        Code::SecretDrift,
        format!("sent the {kind} that stands in {source}, but the running gateway has another one"),
        "restart the gateway, so that it reads it, or look for the one in its service unit",
        format!("the running gateway's {kind} is not the configured one; restart it"),
    )
    .command("openclaw gateway restart".to_owned())
}

fn stale_device_token(case: &Case<'_>) -> Draft {
    let (state, why) = match case.record.map(|record| &record.operator_token) {
        None => (
            "not valid any more",
            "and its device is not known to be paired",
        ),
        Some(OperatorToken::Revoked) => ("revoked", "because it was revoked"),
        Some(OperatorToken::None) => ("cleared", "because it was cleared"),
        Some(OperatorToken::Live { .. }) => (
            "rotated",
            "because it was rotated: another one is on record",
        ),
        Some(OperatorToken::Withheld) => (
            "not valid any more",
            "because it was rotated, revoked or cleared",
        ),
    };
    let again = Again::of(case);
    Draft::new(
        Code::StaleDeviceToken,
        format!("sent a device token that is not valid any more, {why}"),
        format!("{}, which issues a new one", again.words),
        format!("stale device token ({state}); {}", again.brief),
    )
    .command(again.command())
    .evidence("deviceToken", state)
}

/// How a device comes by a token of its own again.
struct Again {
    words: &'static str,
    brief: &'static str,
    /// The client pairs with a setup code, and never has the shared secret.
    by_code: bool,
}

impl Again {
    fn of(case: &Case<'_>) -> Self {
        match is_paired_by_code(&case.claims.client_id) {
            true => Self {
                words: "pair it again with `openclaw qr`",
                brief: "pair it again",
                by_code: true,
            },
            false => Self {
                words: RECONNECT,
                brief: RECONNECT,
                by_code: false,
            },
        }
    }

    fn command(&self) -> Option<String> {
        self.by_code.then(|| NEW_CODE.to_owned())
    }
}

/// What the client must be given, and where it stands; whoever is not on this machine is told no paths.
fn give(case: &Case<'_>, kind: &str) -> String {
    if made_its_own(case, kind) {
        return format!(
            "the gateway's configuration holds no token, so it made itself one for this run only, which nobody can know \
             (unless it is started with {}): {}",
            variable(kind),
            set_one(kind)
        );
    }
    format!("give it the gateway's {kind} ({})", source(case, kind))
}

/// The same in a few words, without the directory.
fn the_right_one(case: &Case<'_>, kind: &str) -> String {
    if made_its_own(case, kind) {
        return format!("the gateway has none that lasts; set gateway.auth.{kind}");
    }
    let source = source(case, kind);
    let file = source.rsplit('/').next().unwrap_or(&source);
    format!("the gateway's is in {file}")
}

/// Whether the gateway makes itself a token at every start (seen in 2026.7.35 and 2026.9.6). Up to 2026.3.24 it writes the
/// one that it makes into its configuration.
fn made_its_own(case: &Case<'_>, kind: &str) -> bool {
    let writes_it = case.profile.early
        || case
            .profile
            .version
            .is_some_and(|version| version <= LAST_TO_WRITE_ITS_TOKEN);
    kind == "token"
        && case.facts.lacks_token
        && matches!(case.auth, GatewayAuth::Unknown)
        && !writes_it
}

fn source(case: &Case<'_>, kind: &str) -> String {
    let from = &case.facts.auth_from;
    match case.visit.circumstances.direct_local && !from.is_empty() {
        true => brief(from, LONGEST_PLACE),
        false => format!("gateway.auth.{kind} on its machine"),
    }
}

/// Where a client of this kind keeps the one that it sends.
pub(super) fn holder(case: &Case<'_>, kind: &str) -> String {
    let variable = variable(kind);
    match case.claims.client_id.as_str() {
        "openclaw-control-ui" | "webchat-ui" | "webchat" => {
            "the page keeps its own in its connection settings; `openclaw dashboard` opens it with the right one"
                .to_owned()
        }
        "node-host" => of_a_node(case, kind),
        "openclaw-macos" | "openclaw-ios" | "openclaw-android" => {
            "the app keeps its own in its connection settings".to_owned()
        }
        _ => format!(
            "the client takes its own from --{kind}, {variable} (shell, .env or service unit) or gateway.remote.{kind} in \
             its openclaw.json"
        ),
    }
}

/// A node's service unit holds the token that its installation was given from 2026.3.13, the password in 2026.9.6.
fn of_a_node(case: &Case<'_>, kind: &str) -> String {
    let variable = variable(kind);
    let first = match kind {
        "password" => FIRST_UNIT_WITH_PASSWORD,
        _ => FIRST_UNIT_WITH_TOKEN,
    };
    let version = case.claims.client_version.as_deref().unwrap_or_default();
    // Up to 2026.2.26 a version may be `dev`.
    let is_in_unit = Version::parse(version).map_or(version != "dev", |version| version >= first);
    match is_in_unit {
        true => format!(
            "a node keeps its own in {variable} of its service unit; `{variable}=<{kind}> openclaw node install --force` \
             writes it anew"
        ),
        false => format!(
            "this node takes its own from {variable} of its environment, or from gateway.remote.{kind} or \
             gateway.auth.{kind} in its openclaw.json; its service unit holds none by itself"
        ),
    }
}

fn variable(kind: &str) -> &'static str {
    match kind {
        "password" => "OPENCLAW_GATEWAY_PASSWORD",
        _ => "OPENCLAW_GATEWAY_TOKEN",
    }
}

pub(super) fn rate_limited(case: &Case<'_>) -> Draft {
    let kind = kind(case.auth);
    let error = |key: &str| case.message.pointer(&format!("/error/{key}"));
    let after = error("retryAfterMs").and_then(Value::as_u64);
    let wait = match after {
        Some(ms) => format!("{} s", ms.div_ceil(1000)),
        None => "up to 5 minutes".to_owned(),
    };
    let who = match case.visit.origin.is_some() && case.visit.circumstances.direct_local {
        true => "browsers of this machine".to_owned(),
        false => case.address.to_string(),
    };
    Draft::new(
        Code::RateLimited,
        format!("is locked out, because the gateway saw too many wrong credentials from {who}"),
        format!(
            "stop what sends the wrong one there and wait {wait}; {}",
            holder(case, kind)
        ),
        format!("locked out after wrong credentials from {who}; wait {wait}"),
    )
    .evidence("retryAfterMs", after)
}

fn sent(case: &Case<'_>) -> Vec<&'static str> {
    let auth = &case.claims.auth;
    let kinds = [
        ("token", auth.token.is_some()),
        ("password", auth.password.is_some()),
        ("deviceToken", auth.device_token.is_some()),
        ("bootstrapToken", auth.bootstrap_token.is_some()),
    ];
    let sent = kinds.into_iter().filter(|(_, sent)| *sent);
    sent.map(|(kind, _)| kind).collect()
}

fn mode(auth: &GatewayAuth) -> &'static str {
    match auth {
        GatewayAuth::None => "none",
        GatewayAuth::Token(_) => "token",
        GatewayAuth::Password(_) => "password",
        GatewayAuth::TrustedProxy { .. } => "trusted-proxy",
        GatewayAuth::Unknown => "unknown",
    }
}

const RECONNECT: &str = "reconnect once with the shared secret";
const NEW_CODE: &str = "openclaw qr";
const NEW_JOIN_CODE: &str = "openclaw devices join-code";
const FIRST_WITH_JOIN_CODES: Version = Version::v2026(9, 6);
const LAST_TO_WRITE_ITS_TOKEN: Version = Version::v2026(3, 24);
const FIRST_UNIT_WITH_TOKEN: Version = Version::v2026(3, 13);
const FIRST_UNIT_WITH_PASSWORD: Version = Version::v2026(9, 6);
