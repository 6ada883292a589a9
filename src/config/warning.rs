//! The closed list of what loading and checking a configuration can warn of, by one stable code each.

macro_rules! warnings {
    ($($(#[doc = $doc:literal])+ $name:ident => $code:literal, $title:literal;)+) => {
        /// What a warning is about. The text of a code never changes once it was released.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Warning {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Warning {
            /// Every warning, in the order of the README.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }

            /// What it is, in one line.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)+
                }
            }
        }
    };
}

warnings! {
    /// Somebody listens already where clients are to come in.
    ListenUnavailable => "listen-unavailable", "somebody listens already where clients are to come in";
    /// An address from which the gateway is to be met is none of this machine.
    SourceUnavailable => "source-unavailable", "an address from which the gateway is to be met is none of this machine";
    /// The gateway takes local clients for remote ones, as it trusts the address that they come from.
    LocalSourceTrusted => "local-source-trusted", "the gateway takes local clients for remote ones, as it trusts the address that they come from";
    /// The gateway does not trust the address from which clients of other machines come to it.
    RemoteSourceUntrusted => "remote-source-untrusted", "the gateway does not trust the address from which clients of other machines come to it";
    /// Nothing tells whether the gateway trusts that address.
    TrustedProxiesUnknown => "trusted-proxies-unknown", "nothing tells whether the gateway trusts that address";
    /// Trusted_proxies believes whoever connects.
    TrustsAnybody => "trusts-anybody", "trusted_proxies believes whoever connects";
    /// Policy.users maps users whom nothing names.
    UsersWithoutEffect => "users-without-effect", "policy.users maps users whom nothing names";
    /// A scope that no gateway tried knows.
    UnknownScope => "unknown-scope", "a scope that no gateway tried knows";
    /// A client that no gateway tried knows.
    UnknownClient => "unknown-client", "a client that no gateway tried knows";
    /// A variable SCOPE_SHIM_… that sets nothing.
    UnknownVariable => "unknown-variable", "a variable SCOPE_SHIM_… that sets nothing";
    /// Others can write the configuration file.
    ConfigurationExposed => "configuration-exposed", "others can write the configuration file";
    /// Others can read a file that holds a secret.
    SecretExposed => "secret-exposed", "others can read a file that holds a secret";
    /// Others can read the key of the certificate.
    TlsKeyReadable => "tls-key-readable", "others can read the key of the certificate";
    /// The certificate ends soon, has ended, or does not hold yet.
    TlsCertificateEnds => "tls-certificate-ends", "the certificate ends soon, has ended, or does not hold yet";
    /// Another mode holds than the configuration says.
    ModeSwitched => "mode-switched", "another mode holds than the configuration says";
    /// The mode that was switched to cannot be read.
    ModeUnreadable => "mode-unreadable", "the mode that was switched to cannot be read";
    /// Nothing can be written where the shim keeps its own data.
    DataFull => "data-full", "nothing can be written where the shim keeps its own data";
    /// A gateway that was taken out of the configuration still knows the shim's own device.
    DelegateLeft => "delegate-left", "a gateway that was taken out of the configuration still knows the shim's own device";
    /// The shim was given another kind of secret than the gateway takes.
    AuthMismatch => "auth-mismatch", "the shim was given another kind of secret than the gateway takes";
    /// Nothing answers at the gateway's address.
    GatewaySilent => "gateway-silent", "nothing answers at the gateway's address";
    /// What answers at the gateway's address speaks no TLS where it should, or other than it should.
    GatewayTls => "gateway-tls", "what answers at the gateway's address speaks no TLS where it should, or other than it should";
    /// The gateway speaks TLS, and its address says ws://.
    GatewaySpeaksTls => "gateway-speaks-tls", "the gateway speaks TLS, and its address says ws://";
    /// Nothing tells the gateway's token or password.
    GatewaySecretUnknown => "gateway-secret-unknown", "nothing tells the gateway's token or password";
    /// Gateway.auth.mode says what no gateway tried knows.
    GatewayAuthModeUnknown => "gateway-auth-mode-unknown", "gateway.auth.mode says what no gateway tried knows";
    /// The gateway takes users from a proxy, and says no header for them.
    GatewayUserHeaderMissing => "gateway-user-header-missing", "the gateway takes users from a proxy, and says no header for them";
    /// The gateway takes users from a proxy, but from none on loopback, where the shim is.
    GatewayTrustedProxyLoopback => "gateway-trusted-proxy-loopback", "the gateway takes users from a proxy, but from none on loopback, where the shim is";
    /// Gateway.trustedProxies holds what is no address.
    GatewayTrustedProxyInvalid => "gateway-trusted-proxy-invalid", "gateway.trustedProxies holds what is no address";
    /// The environment and openclaw.json say different ports.
    GatewayPortDoubt => "gateway-port-doubt", "the environment and openclaw.json say different ports";
    /// The gateway listens on its tailnet address alone, which is not looked up.
    GatewayBindTailnet => "gateway-bind-tailnet", "the gateway listens on its tailnet address alone, which is not looked up";
    /// Openclaw.json is a client's: no gateway runs from it.
    GatewayModeRemote => "gateway-mode-remote", "openclaw.json is a client's: no gateway runs from it";
    /// There is no openclaw.json where it would be.
    GatewayConfigMissing => "gateway-config-missing", "there is no openclaw.json where it would be";
    /// Openclaw.json cannot be read.
    GatewayConfigUnusable => "gateway-config-unusable", "openclaw.json cannot be read";
    /// Openclaw.json holds a value of the wrong type.
    GatewayConfigType => "gateway-config-type", "openclaw.json holds a value of the wrong type";
    /// A file that openclaw.json includes cannot be read.
    GatewayIncludeUnusable => "gateway-include-unusable", "a file that openclaw.json includes cannot be read";
    /// Openclaw.json takes a variable that the shim does not have.
    GatewayVariableUnset => "gateway-variable-unset", "openclaw.json takes a variable that the shim does not have";
    /// The gateway's state directory cannot be read.
    StateUnreadable => "state-unreadable", "the gateway's state directory cannot be read";
    /// Neither a home directory nor a variable tells where the gateway keeps its state.
    NoHome => "no-home", "neither a home directory nor a variable tells where the gateway keeps its state";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::findings::Code;

    #[test]
    fn every_code_is_named_once_here_and_in_the_catalogue_of_findings() {
        let warnings = Warning::ALL.iter().map(|warning| warning.as_str());
        let codes = Code::ALL.iter().map(|code| code.as_str());
        let names: HashSet<_> = warnings.chain(codes).collect();
        assert_eq!(names.len(), Warning::ALL.len() + Code::ALL.len());
    }

    #[test]
    fn the_readme_has_every_warning() {
        let readme = include_str!("../../README.md");
        let rows = Warning::ALL.iter();
        let table: String = rows
            .map(|warning| format!("| `{}` | {} |\n", warning.as_str(), warning.title()))
            .collect();
        assert!(
            readme.contains(&format!("|---|---|\n{table}\n")),
            "the README's table should be:\n{table}"
        );
    }
}
