//! The catalogue of findings: everything that the shim can say is wrong, by one stable code each.
//!
//! A refused client, `doctor`, the log and the README speak of the same things in the same words. The families F1 to
//! F19 are those of the users' reports that the project started from.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! catalogue {
    ($($(#[doc = $doc:literal])+ $name:ident => $code:literal, $family:literal, $shim:ident, $title:literal, $remedy:literal;)+) => {
        /// What is wrong, from a closed list. The text of a code never changes once it was released.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// Every code, in the order of the families.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// What the catalogue says about it.
            #[must_use]
            pub const fn entry(self) -> Entry {
                match self {
                    $(Self::$name => Entry {
                        code: $code,
                        family: $family,
                        shim: Shim::$shim,
                        title: $title,
                        remedy: $remedy,
                    },)+
                }
            }
        }
    };
}

/// What the catalogue says about one code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The stable name, for machines and for searching.
    pub code: &'static str,
    /// The family of reports that it belongs to; empty where it is the shim's own.
    pub family: &'static str,
    /// What the shim does about it.
    pub shim: Shim,
    /// What it is, in one line.
    pub title: &'static str,
    /// What ends it, in general; a finding at hand names the exact command.
    pub remedy: &'static str,
}

/// What the shim does about a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shim {
    /// Sessions are rewritten where the device is entitled.
    Rewrites,
    /// The shim's own session with the gateway approves it, by itself or on command.
    Approves,
    /// Sessions that go through the shim carry the right headers.
    SetsHeaders,
    /// It only says what is wrong and what ends it.
    Tells,
}

catalogue! {
    /// A session without a device was let in and lost its scopes.
    DeviceLess => "device-less", "F1", Rewrites,
        "connected without a device, so the gateway took its scopes away",
        "let the client keep a device identity, or run it on the gateway's machine with the shared secret";
    /// A device token holds less than the session asks for, or than its device was approved for.
    NarrowToken => "narrow-token", "F1", Rewrites,
        "the device's own token is narrower than what was approved for the device",
        "reconnect once with the shared secret, which issues a wider token";
    /// `x-openclaw-scopes` narrows the session.
    ScopeCap => "scope-cap", "F1", Tells,
        "policy.max_scopes, or the header x-openclaw-scopes, keeps scopes from the session",
        "widen policy.max_scopes, or the header in the proxy that sets it";
    /// A local probe without a device.
    LocalProbe => "local-probe", "F2", Rewrites,
        "local status and audit probes come without a device and lose their scopes",
        "go through the shim, or update the gateway";
    /// The gateway compares scope names literally.
    LiteralScopes => "literal-scopes", "F3", Rewrites,
        "this gateway does not take operator.admin for operator.read or operator.write",
        "go through the shim, or rotate the device's token with every scope listed";
    /// A paired device asks for more than was approved.
    ScopeUpgrade => "scope-upgrade", "F3", Approves,
        "the device asks for more than was approved for it",
        "approve its pairing request";
    /// A device that can never approve its own upgrade.
    PinnedDevice => "pinned-device", "F3", Approves,
        "a device is pinned to the few scopes of its first command",
        "approve its next pairing request, or pair it again with a command that asks for more";
    /// Nobody who is paired may approve.
    ApprovalDeadlock => "approval-deadlock", "F4", Approves,
        "no paired device may approve what is waiting",
        "approve through the shim";
    /// A request waits for somebody.
    PendingRequest => "pending-request", "F5", Approves,
        "a pairing request waits for a decision",
        "approve or reject it";
    /// Requests replace one another faster than anybody can approve them.
    RequestChurn => "request-churn", "F5", Approves,
        "each attempt replaces the pairing request, so its id is stale when it is approved",
        "stop the client while approving, or go through the shim, which keeps one request";
    /// The device token is not the one on record.
    StaleDeviceToken => "stale-device-token", "F6", Rewrites,
        "the device's own token was rotated, revoked or cleared",
        "reconnect once with the shared secret, which issues a new token";
    /// The shared secret is not the gateway's.
    WrongSecret => "wrong-secret", "F7", Tells,
        "the shared secret is not the gateway's",
        "give the client the secret that the gateway runs with";
    /// No credential at all.
    MissingSecret => "missing-secret", "F7", Tells,
        "no credential was sent",
        "give the client the gateway's secret";
    /// The same secret is configured in several places, differently.
    SecretDrift => "secret-drift", "F7", Tells,
        "places that should hold the same secret hold different ones",
        "make them the same, and restart what reads them at its start";
    /// The gateway locked an address out.
    RateLimited => "rate-limited", "F7", Tells,
        "the gateway locked this address out after too many wrong credentials",
        "stop the client that sends the wrong one and wait";
    /// A page that cannot sign.
    InsecureContext => "insecure-context", "F8", Tells,
        "a browser on plain HTTP cannot prove a device",
        "open the page through HTTPS or on localhost";
    /// No device where the gateway demands one.
    DeviceRequired => "device-required", "F8", Tells,
        "the gateway demands a device identity",
        "use a client that has one, or the shared secret on the gateway's machine";
    /// The page's address is not allowed.
    OriginNotAllowed => "origin-not-allowed", "F9", Tells,
        "the gateway does not allow pages of this address",
        "add the address to gateway.controlUi.allowedOrigins";
    /// Forwarding headers from a proxy that the gateway does not trust.
    UntrustedProxy => "untrusted-proxy", "F10", SetsHeaders,
        "a proxy that is not trusted added forwarding headers",
        "list the proxy as trusted where its requests arrive";
    /// The gateway does not trust the shim.
    ShimNotTrusted => "shim-not-trusted", "F10", Tells,
        "gateway.trustedProxies does not fit the shim",
        "list the shim's address for remote clients, and not 127.0.0.1";
    /// A proxy authenticated the user, and the session has no scopes.
    ProxyUser => "proxy-user", "F11", Tells,
        "a session that a proxy authenticated has no scopes of its own",
        "let the user's browser pair, or map the user to scopes";
    /// The platform is not the one that was pinned.
    MetadataChanged => "metadata-changed", "F12", Rewrites,
        "the device reports another platform than when it was paired",
        "go through the shim, or approve its pairing request";
    /// New devices all the time.
    RegeneratedIdentity => "regenerated-identity", "F13", Tells,
        "one client makes itself a new identity at every start",
        "keep the client's state directory between starts";
    /// A node waits for approval.
    NodePairing => "node-pairing", "F14", Tells,
        "a node's pairing request waits among the devices, not among the nodes",
        "approve it as a device";
    /// The clocks differ.
    ClockSkew => "clock-skew", "F15", Tells,
        "the client's clock and the gateway's differ too much",
        "set the clock that is off";
    /// The proof does not hold.
    InvalidProof => "invalid-proof", "F15", Tells,
        "the proof of the device does not hold",
        "update the client, or let it pair anew";
    /// Another protocol generation.
    ProtocolMismatch => "protocol-mismatch", "F16", Tells,
        "the client and the gateway speak different protocol versions",
        "update the older side";
    /// A page of another build.
    StaleBuild => "stale-build", "F16", Tells,
        "the page is of another build than the gateway",
        "reload the page";
    /// No answer to the handshake.
    NoAnswer => "no-answer", "F17", Tells,
        "the gateway closed or fell silent before it answered the handshake",
        "look at the gateway's load and log";
    /// The gateway is starting.
    GatewayStarting => "gateway-starting", "F17", Tells,
        "the gateway is still starting",
        "wait";
    /// The gateway cannot be reached.
    GatewayDown => "gateway-down", "F17", Tells,
        "the gateway cannot be reached",
        "start it, or correct its address";
    /// The store does not belong to the gateway that runs.
    StoreMismatch => "store-mismatch", "F18", Tells,
        "the pairing store does not belong to the gateway that runs",
        "point the shim at the right state directory, or finish the migration";
    /// The store cannot be read.
    StoreUnreadable => "store-unreadable", "F18", Tells,
        "the pairing store cannot be read",
        "run as the gateway's user, or repair the file";
    /// More than anybody asked for.
    OverWideGrant => "over-wide-grant", "F19", Tells,
        "a device holds more than its client ever asks for",
        "rotate its token with fewer scopes, or remove it and pair it again";
    /// A device that nobody has approved yet.
    NotPaired => "not-paired", "", Approves,
        "the device is not paired with this gateway",
        "approve its pairing request";
    /// A paired device asks for another role.
    RoleUpgrade => "role-upgrade", "", Tells,
        "a device that is paired for one role asks for another",
        "approve its pairing request";
    /// The shim's own device is not paired.
    DelegateNotPaired => "delegate-not-paired", "", Tells,
        "scope-shim's own device is not paired with the gateway",
        "approve its pairing request";
    /// Two gateways where one is meant.
    TwoGateways => "two-gateways", "", Tells,
        "more than one gateway is meant by this configuration",
        "stop one of them";
    /// Anything else that the gateway said.
    Refused => "refused", "", Tells,
        "the gateway refused the session",
        "see the gateway's own message";
}

impl Code {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.entry().code
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Shim {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rewrites => "rewrites",
            Self::Approves => "approves",
            Self::SetsHeaders => "sets headers",
            Self::Tells => "tells",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_code_is_named_once() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
    }

    #[test]
    fn every_family_of_reports_has_a_finding() {
        let families: HashSet<_> = Code::ALL.iter().map(|code| code.entry().family).collect();
        for family in 1..=19 {
            assert!(
                families.contains(format!("F{family}").as_str()),
                "F{family}"
            );
        }
    }

    #[test]
    fn the_readme_has_the_catalogue() {
        let readme = include_str!("../README.md");
        let table: String = Code::ALL
            .iter()
            .map(|code| {
                let Entry {
                    code,
                    family,
                    shim,
                    title,
                    remedy,
                } = code.entry();
                format!(
                    "| `{code}` | {family} | {title} | {} | {remedy} |\n",
                    shim.as_str()
                )
            })
            .collect();
        assert!(
            readme.contains(&table),
            "the README's table should be:\n{table}"
        );
    }
}
