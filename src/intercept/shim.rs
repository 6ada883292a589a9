//! The shim that runs: who it runs as, and which port leads to which gateway.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hyper::StatusCode;
use serde_json::Value;
use tokio::net::UnixStream;

use super::Ids;
use crate::admin::{self, Client, ClientError};
use crate::config::{Config, GatewayUrl};

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
    /// Asks the shim that runs with this configuration.
    pub(super) async fn ask(config: &Config) -> Result<Self, ClientError> {
        let client = Client::new(config);
        client.get("/live").await?;
        let socket = admin::socket(&config.data);
        let peer = Peer::at(&socket)
            .await
            .map_err(|source| ClientError::NotRunning {
                socket: socket.clone(),
                source,
            })?;
        Ok(Self {
            doors: doors(&client, config).await?,
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

/// What the shim says of itself; one that does not say is taken to run as this configuration has it.
async fn doors(client: &Client, config: &Config) -> Result<Vec<Door>, ClientError> {
    let configured = || Door {
        listen: config.listen,
        gateway: config.gateway.url.clone(),
    };
    match client.get("/status").await {
        Ok(status) => {
            let said = said_doors(&status);
            Ok(if said.is_empty() {
                vec![configured()]
            } else {
                said
            })
        }
        Err(ClientError::Refused { status, .. }) if status == StatusCode::NOT_FOUND => {
            Ok(vec![configured()])
        }
        Err(error) => Err(error),
    }
}

fn said_doors(status: &Value) -> Vec<Door> {
    let gateways = status["gateways"].as_array().into_iter().flatten();
    let door = |gateway: &Value| {
        Some(Door {
            listen: gateway["listen"].as_str()?.parse().ok()?,
            gateway: GatewayUrl::parse(gateway["url"].as_str()?).ok()?,
        })
    };
    gateways.filter_map(door).collect()
}

#[cfg(test)]
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
            .map(|door| format!("{} {}", door.listen, door.gateway));
        assert_eq!(
            said.collect::<Vec<_>>(),
            [
                "127.0.0.1:18780 ws://127.0.0.1:18789",
                "[::1]:18880 ws://localhost:18889"
            ]
        );
        assert!(said_doors(&json!({})).is_empty());
    }
}
