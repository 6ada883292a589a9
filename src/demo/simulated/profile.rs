//! Which gateway is simulated, and the facts that differ between them.

use std::time::Duration;

/// A generation of gateway behaviour, named after what it is known for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Profile {
    /// 2026.2.19: scopes are compared letter by letter, `operator.admin` does not imply `operator.read`.
    Literal,
    /// 2026.3.13: the scopes of a session without a device are cleared.
    Clearing,
    /// 2026.4.21: a local device that asks for more scopes waits for approval.
    Pending,
    /// 2026.9.6: pairing in SQLite, protocol 4, proxies must attribute their clients.
    Latest,
}

impl Profile {
    /// Every profile, oldest first.
    pub const ALL: [Self; 4] = [Self::Literal, Self::Clearing, Self::Pending, Self::Latest];

    /// The published version that behaves like this.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Self::Literal => "2026.2.19",
            Self::Clearing => "2026.3.13",
            Self::Pending => "2026.4.21",
            Self::Latest => "2026.9.6",
        }
    }

    /// The profile that stands for a published version, for versions that have one.
    #[must_use]
    pub fn of_version(version: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.version() == version)
    }

    /// What `hello-ok` says: up to 2026.2.26 a gateway started by hand calls itself `dev`.
    pub(super) fn announced_version(self) -> &'static str {
        match self {
            Self::Literal => "dev",
            _ => self.version(),
        }
    }

    pub(super) fn protocol(self) -> i64 {
        match self {
            Self::Latest => 4,
            _ => 3,
        }
    }

    /// How far `signedAt` may be from the gateway's clock.
    pub(super) fn signature_skew(self) -> Duration {
        match self {
            Self::Literal => Duration::from_secs(600),
            _ => Duration::from_secs(120),
        }
    }

    /// The largest message before `hello-ok`; 2026.2 has only the general limit.
    pub(super) fn handshake_message_limit(self) -> usize {
        match self {
            Self::Literal => MESSAGE_LIMIT,
            _ => 64 * 1024,
        }
    }

    pub(super) fn handshake_timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::Clearing => 3,
            Self::Literal | Self::Pending => 10,
            Self::Latest => 15,
        })
    }

    /// How many sockets of one client may be unauthenticated at once (2026.4.21 and later).
    pub(super) fn unauthenticated_budget(self) -> Option<usize> {
        (self >= Self::Pending).then_some(32)
    }

    /// 2026.2.19 sends no `details` with its errors, except a pairing request's id.
    pub(super) fn explains_errors(self) -> bool {
        self != Self::Literal
    }

    /// The error code of `missing scope`; it became `FORBIDDEN` in 2026.8.
    pub(super) fn scope_denial(self) -> &'static str {
        match self {
            Self::Latest => "FORBIDDEN",
            _ => "INVALID_REQUEST",
        }
    }
}

/// The largest message once connected, as `policy.maxPayload` tells clients.
pub(super) const MESSAGE_LIMIT: usize = 25 * 1024 * 1024;
