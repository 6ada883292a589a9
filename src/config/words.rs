//! The settings that are one word of a few.

use super::show::Show;

/// A setting that is one word of a few.
pub(crate) trait Word: Copy + 'static {
    /// Every meaning, with the word for it.
    const WORDS: &'static [(&'static str, Self)];
}

macro_rules! words {
    ($($(#[$about:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $word:literal,)* })*) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$each])* $variant,)*
        }

        impl $name {
            /// The word for it in flags, variables and files.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// What a word means.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl Word for $name {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant),)*];
        }

        impl Show for $name {
            fn show(&self) -> String {
                self.as_str().to_owned()
            }
        }
    )*};
}

words! {
    /// What the shim does with handshakes.
    Mode {
        /// Rewrites what the gateway wrongly refuses.
        On = "on",
        /// Decides and reports, changes nothing.
        Observe = "observe",
        /// Forwards everything untouched.
        Off = "off",
    }

    /// Whether the proxies in front of the shim name their clients by the PROXY protocol.
    #[derive(Default)]
    ProxyProtocol {
        /// They do not.
        #[default]
        Off = "off",
        /// All of them do, and nobody else gets in.
        Required = "required",
    }

    /// The form of a log line.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }

    /// How important a log line has to be.
    LogLevel {
        /// Nothing is written.
        Off = "off",
        /// What failed.
        Error = "error",
        /// What may need somebody.
        Warn = "warn",
        /// One line a session.
        Info = "info",
        /// Why each decision came about.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }

    /// Whether the last sessions are kept, without their secrets, for `scope-shim explain`.
    SessionLog {
        /// In `sessions.jsonl` in the data directory, 8 MiB at the most.
        On = "on",
        /// Nowhere.
        Off = "off",
    }

    /// Where device records are read.
    StoreKind {
        /// Whichever the gateway uses, found by what is there.
        Auto = "auto",
        /// `devices/paired.json` in the state directory.
        Json = "json",
        /// `state/openclaw.sqlite` in the state directory.
        Sqlite = "sqlite",
        /// The gateway's own `device.pair.list`, asked over a connection.
        Control = "control",
    }

    /// What becomes of a local client that shows no device.
    DeviceLess {
        /// A client on this machine with the shared secret stands for this machine's own CLI device.
        Local = "local",
        /// Its handshake passes untouched.
        Off = "off",
    }

    /// What becomes of a paired device's pairing request for nothing but what its approved scopes cover.
    EntitledRepairs {
        /// The shim approves it: it widens nothing.
        Approve = "approve",
        /// It waits for somebody.
        Off = "off",
    }

    /// What becomes of a paired device of this machine that asks for more than was approved for it.
    LocalUpgrades {
        /// Its request waits for somebody.
        Ask = "ask",
        /// The shim approves it, as gateways before and after 2026.4.21 to 2026.7.1 do by themselves.
        Approve = "approve",
    }

    /// Whether the process gives up to write outside of its own directories.
    Sandbox {
        /// Where the kernel can see to it.
        Auto = "auto",
        /// It does not.
        Off = "off",
    }

    /// What becomes of connections that would leave this machine, or come from outside, unencrypted.
    Plaintext {
        /// The configuration is refused.
        Refused = "refused",
        /// The operator has said that they may.
        Allowed = "allowed",
    }
}
