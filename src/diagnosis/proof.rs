//! The proof of a device does not hold: F15.

use super::Case;
use super::draft::Draft;
use super::said::Fault;
use crate::findings::Code;

pub(super) fn explain(case: &Case<'_>, fault: Fault) -> Draft {
    match fault {
        Fault::Expired => clock(case),
        Fault::NonceMissing => invalid(
            "sent a proof without a nonce, as clients up to 2026.2.21 do",
            "update the client",
            "its proof has no nonce; update the client",
            "nonce-missing",
        ),
        Fault::NonceForeign => invalid(
            "sent a proof with the nonce of another connection, so an old handshake was sent again, or something \
             between client and gateway mixes connections",
            "let it connect anew, directly to scope-shim",
            "its proof carries the nonce of another connection",
            "nonce-foreign",
        ),
        Fault::DeviceId => invalid(
            "sent a device id that does not belong to its public key",
            "delete the client's device identity (identity/device.json, or the browser's site data) and let it pair \
             anew",
            "its device id does not belong to its key; pair it anew",
            "device-id",
        ),
        Fault::PublicKey => invalid(
            "sent a public key that is no Ed25519 key",
            "delete the client's device identity (identity/device.json, or the browser's site data) and let it pair \
             anew",
            "its public key is no Ed25519 key; pair it anew",
            "public-key",
        ),
        Fault::Signature if case.profile.early => invalid(
            "sent a signature that does not match what it sent; gateways up to 2026.2.21 know only the payloads v1 \
             and v2",
            "update the gateway, or use a client of its version",
            "its signature does not match what it sent; update the gateway",
            "signature",
        ),
        Fault::Signature => invalid(
            "sent a signature that does not match what it sent: it signed another token or other scopes, or something \
             on the way changed them",
            "update the client, and let nothing but scope-shim between it and the gateway change its messages",
            "its signature does not match what it sent; update the client",
            "signature",
        ),
    }
}

fn invalid(what: &str, way_out: &str, brief: &str, fault: &str) -> Draft {
    Draft::new(Code::InvalidProof, what, way_out, brief).evidence("fault", fault)
}

/// Three clocks: the client's in its proof, the gateway's in its challenge, and the shim's own.
fn clock(case: &Case<'_>) -> Draft {
    let shim = case.now_ms;
    let signed = match &case.claims.device {
        Some(device) if !case.delegated => device.signed_at_ms,
        // The shim signs in the client's place, just now.
        _ => shim,
    };
    let gateway = case.challenge.and_then(|challenge| challenge.ts_ms);
    let off = seconds(signed.saturating_sub(gateway.unwrap_or(shim)));
    let gateway_off = gateway.map(|gateway| seconds(gateway.saturating_sub(shim)));
    let gateway_is_wrong = gateway_off.is_some_and(|off| off.abs() > TOLERANCE)
        && seconds(signed.saturating_sub(shim)).abs() <= TOLERANCE;
    let linux = case.claims.platform.trim().eq_ignore_ascii_case("linux");
    let limit = if case.profile.early { 600 } else { 120 };
    let draft = if gateway_is_wrong {
        let off = gateway_off.unwrap_or_default();
        Draft::new(
            Code::ClockSkew,
            format!(
                "has the same time as scope-shim, but the gateway's clock is {} it; {limit} s are allowed",
                distance(off)
            ),
            format!("set the clock of the gateway's machine: {NTP}"),
            format!("the gateway's clock is {} the client's", distance(off)),
        )
        .command(NTP.to_owned())
        .evidence("wrongClock", "gateway")
    } else if case.visit.circumstances.direct_local && off < 0 {
        Draft::new(
            Code::ClockSkew,
            format!(
                "signed its handshake {} s before it sent it, by the clock of this machine that both share; {limit} s \
                 are allowed",
                off.abs()
            ),
            "let it sign a new one: restart the client",
            format!("its handshake was signed {} s ago; restart the client", off.abs()),
        )
        .evidence("wrongClock", "none")
    } else {
        Draft::new(
            Code::ClockSkew,
            format!(
                "has a clock that is {} the gateway's; {limit} s are allowed",
                distance(off)
            ),
            match linux {
                true => format!("set the clock of the client's machine: {NTP}"),
                false => "set the clock of the client's machine (automatic time in its settings)"
                    .to_owned(),
            },
            format!("the client's clock is {} the gateway's", distance(off)),
        )
        .command(linux.then(|| NTP.to_owned()))
        .evidence("wrongClock", "client")
    };
    draft
        .evidence("clientOffBySeconds", off)
        .evidence("gatewayOffBySeconds", gateway_off)
        .evidence("allowedSeconds", limit)
}

/// "612 s behind".
fn distance(seconds: i64) -> String {
    let side = if seconds < 0 { "behind" } else { "ahead of" };
    format!("{} s {side}", seconds.abs())
}

fn seconds(ms: i64) -> i64 {
    ms / 1000
}

/// So far two clocks may be apart and still count as the same, in seconds.
const TOLERANCE: i64 = 60;
const NTP: &str = "sudo timedatectl set-ntp true";
