//! The shim that runs: who it runs as, and which port leads to which gateway.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hyper::StatusCode;
use serde_json::Value;
use tokio::net::UnixStream;

use super::plan::{Configuration, Refused};
use super::{Ids, Meant};
use crate::admin::{Client, ClientError};
use crate::config::GatewayUrl;

/// A shim that answered.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) socket: PathBuf,
    pub(super) pid: Option<u32>,
    pub(super) ids: Ids,
    pub(super) doors: Vec<Door>,
}

/// Where it listens, and for which gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Door {
    pub(super) listen: SocketAddr,
    pub(super) gateway: GatewayUrl,
}

impl Running {
    /// Asks the shim that is meant.
    pub(super) async fn ask(meant: Meant<'_>) -> Result<Self, Refused> {
        let socket = meant.socket();
        let client = match meant.configs.first() {
            Some(config) => Client::new(config),
            None => Client::at(&socket),
        };
        client.get("/live").await?;
        let peer = Peer::at(&socket)
            .await
            .map_err(|source| ClientError::NotRunning {
                socket: socket.clone(),
                source,
            })?;
        Ok(Self {
            doors: doors(&client, meant).await?,
            pid: peer.pid,
            ids: peer.ids,
            socket,
        })
    }
}

/// Who listens on an admin socket, as the kernel noted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) pid: Option<u32>,
    pub(super) ids: Ids,
}

impl Peer {
    /// Connects and looks who is there.
    pub(super) async fn at(socket: &Path) -> std::io::Result<Self> {
        let credentials = UnixStream::connect(socket).await?.peer_cred()?;
        Ok(Self {
            pid: credentials.pid().and_then(|pid| u32::try_from(pid).ok()),
            ids: Ids {
                user: credentials.uid(),
                group: Some(credentials.gid()),
            },
        })
    }
}

/// The doors that the configuration names, and the shim as well. One that does not say is taken to run as it has them.
async fn doors(client: &Client, meant: Meant<'_>) -> Result<Vec<Door>, Refused> {
    let said = match client.get("/status").await {
        Ok(status) => said_doors(&status),
        Err(ClientError::Refused { status, .. }) if status == StatusCode::NOT_FOUND => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let is_meant = |name: &str| meant.configs.iter().any(|config| config.name == name);
    let said = said.into_iter();
    let said = said.filter(|(name, _)| meant.all || is_meant(name));
    let said: Vec<Door> = said.map(|(_, door)| door).collect();
    let configured = meant.configs.iter().map(|config| Door {
        listen: config.listen,
        gateway: config.gateway.url.clone(),
    });
    let configured: Vec<Door> = configured.collect();
    let file = meant.configs.first().and_then(|config| config.file.clone());
    agreed(&configured, &said, file)?;
    Ok(configured)
}

/// Whether the shim says what the configuration says: as root redirects, neither a port that the shim's user alone names
/// may be taken from the machine, nor one be led to where the shim is not.
fn agreed(configured: &[Door], said: &[Door], file: Option<PathBuf>) -> Result<(), Refused> {
    let unnamed = |door: &&Door| !configured.iter().any(|named| named.same_ports(door));
    if let Some(door) = said.iter().find(unnamed) {
        return Err(Refused::NotConfigured {
            listen: door.listen,
            gateway: door.gateway.authority(),
            by: Configuration(file),
        });
    }
    let unserved =
        |door: &&Door| !said.is_empty() && !said.iter().any(|said| said.same_ports(door));
    match configured.iter().find(unserved) {
        Some(door) => Err(Refused::NotServed {
            listen: door.listen,
            gateway: door.gateway.authority(),
            by: Configuration(file),
        }),
        None => Ok(()),
    }
}

impl Door {
    fn same_ports(&self, other: &Self) -> bool {
        let ports = |door: &Self| (door.listen.port(), door.gateway.port);
        ports(self) == ports(other)
    }
}

/// What the shim says of itself: each gateway's name, and the door to it.
fn said_doors(status: &Value) -> Vec<(String, Door)> {
    let gateways = status["gateways"].as_array().into_iter().flatten();
    let door = |gateway: &Value| {
        let name = gateway["name"].as_str()?.to_owned();
        let door = Door {
            listen: gateway["listen"].as_str()?.parse().ok()?,
            gateway: GatewayUrl::parse(gateway["url"].as_str()?).ok()?,
        };
        Some((name, door))
    };
    gateways.filter_map(door).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_shim_says_where_it_listens_and_for_which_gateway() {
        let status = json!({"gateways": [
            {"name": "a", "listen": "127.0.0.1:18780", "url": "ws://127.0.0.1:18789", "hosts": []},
            {"name": "b", "listen": "[::1]:18880", "url": "ws://localhost:18889"},
            {"name": "c", "listen": 1, "url": "ws://localhost:18889"},
        ]});
        let said = said_doors(&status);
        let said = said
            .iter()
            .map(|(name, door)| format!("{name} {} {}", door.listen, door.gateway));
        assert_eq!(
            said.collect::<Vec<_>>(),
            [
                "a 127.0.0.1:18780 ws://127.0.0.1:18789",
                "b [::1]:18880 ws://localhost:18889"
            ]
        );
        assert!(said_doors(&json!({})).is_empty());
    }

    #[test]
    fn only_what_the_configuration_names_and_the_shim_says_is_redirected() {
        let door = |listen: &str, gateway: &str| Door {
            listen: listen.parse().unwrap(),
            gateway: GatewayUrl::parse(gateway).unwrap(),
        };
        let named = door("127.0.0.1:18780", "ws://127.0.0.1:18789");
        let same = door("0.0.0.0:18780", "ws://localhost:18789");
        let named = std::slice::from_ref(&named);
        assert!(agreed(named, std::slice::from_ref(&same), None).is_ok());
        assert!(agreed(named, &[], None).is_ok(), "one that does not say");
        let file = Some(PathBuf::from("/etc/scope-shim/scope-shim.toml"));
        for (said, file, part) in [
            (
                vec![same.clone(), door("127.0.0.1:18780", "ws://127.0.0.1:22")],
                file.clone(),
                "the gateway at 127.0.0.1:22, which /etc/scope-shim/scope-shim.toml does not name",
            ),
            (
                vec![door("127.0.0.1:18781", "ws://127.0.0.1:18789")],
                None,
                "127.0.0.1:18781 leads to the gateway at 127.0.0.1:18789, which what is set here does not name",
            ),
        ] {
            let refused = agreed(named, &said, file).unwrap_err().to_string();
            assert!(refused.contains(part), "{refused}");
        }
        let second = [
            named[0].clone(),
            door("127.0.0.1:18880", "ws://127.0.0.1:18889"),
        ];
        let refused = agreed(&second, &[same], file).unwrap_err().to_string();
        assert!(refused.contains("127.0.0.1:18880 leads to"), "{refused}");
    }
}
