//! What the command line of the gateway's host keeps for itself: its device, and the token it was issued.
//!
//! Up to 2026.7.1 in `identity/device.json` and `identity/device-auth.json`; from 2026.8.2 in the tables
//! `device_identities` and `device_auth_tokens`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::device::DeviceId;
use crate::identity::host::own_device;
use crate::identity::store::read_database;
use crate::scope::ScopeSet;
use crate::secret::Secret;

/// What the host's own command line keeps.
#[derive(Debug, Default)]
pub struct ClientTokens {
    /// Its device.
    pub own_device: Option<DeviceId>,
    /// Why its device cannot be read.
    pub unreadable: Option<String>,
    /// The tokens for the role `operator` that it was issued.
    pub tokens: Vec<StoredToken>,
}

/// A device token on the client's side.
#[derive(Debug)]
pub struct StoredToken {
    /// The device that it was issued to.
    pub device: DeviceId,
    /// Where it is kept.
    pub place: String,
    /// The token.
    pub token: Secret,
    /// The scopes that the client believes it to carry.
    pub scopes: ScopeSet,
}

pub(super) async fn look(state: Option<&Path>) -> ClientTokens {
    let Some(state) = state.map(Path::to_owned) else {
        return ClientTokens::default();
    };
    let look = tokio::task::spawn_blocking(move || look_below(&state));
    look.await.unwrap_or_default()
}

fn look_below(state: &Path) -> ClientTokens {
    let (own_device, unreadable) = match own_device(state) {
        Ok(device) => (device, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let file = state.join("identity").join("device-auth.json");
    let tokens = from_file(&file).map_or_else(|| from_database(state), |token| vec![token]);
    ClientTokens {
        own_device,
        unreadable,
        tokens,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthFile {
    device_id: String,
    tokens: Tokens,
}

#[derive(Deserialize)]
struct Tokens {
    operator: Option<Token>,
}

#[derive(Deserialize)]
struct Token {
    token: String,
    #[serde(default)]
    scopes: Vec<String>,
}

fn from_file(path: &PathBuf) -> Option<StoredToken> {
    if !path.is_file() {
        return None;
    }
    let file = File::open(path).ok()?.take(MAX_BYTES);
    let stored: AuthFile = serde_json::from_reader(file).ok()?;
    let token = stored.tokens.operator?;
    Some(StoredToken {
        device: DeviceId::new(stored.device_id),
        place: path.display().to_string(),
        token: Secret::new(token.token),
        scopes: token.scopes.into_iter().collect(),
    })
}

fn from_database(state: &Path) -> Vec<StoredToken> {
    let rows = read_database(state, |connection| {
        let sql =
            "SELECT device_id, token, scopes_json FROM device_auth_tokens WHERE role = 'operator'";
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            let scopes: Option<String> = row.get(2)?;
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, scopes))
        })?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    });
    let stored = |(device, token, scopes): (String, String, Option<String>)| {
        let scopes: Vec<String> =
            serde_json::from_str(&scopes.unwrap_or_default()).unwrap_or_default();
        StoredToken {
            device: DeviceId::new(device),
            place: "device_auth_tokens of state/openclaw.sqlite".to_owned(),
            token: Secret::new(token),
            scopes: scopes.into_iter().collect(),
        }
    };
    rows.unwrap_or_default().into_iter().map(stored).collect()
}

/// Far more than the half kilobyte that it takes.
const MAX_BYTES: u64 = 64 << 10;
