//! The gateways that run as this user, by what each leaves behind while it runs: a lock file, up to 2026.7.1 in the
//! directory for temporary files, in 2026.8.2 below its state directory; on 2026.9.6 a lease in its database, too.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::store::StoreLook;
use crate::config::{Config, Environment};
use crate::gateway::{GatewayAuth, Place, Reader, port_written};
use crate::identity::store::read_database;
use crate::secret::Secret;

/// A gateway that runs.
#[derive(Clone, Debug)]
pub struct GatewayProcess {
    /// Its process id.
    pub pid: u32,
    /// Its configuration file, where that is told.
    pub config: Option<PathBuf>,
    /// Its port, as far as it is written down.
    pub port: Option<u16>,
    /// Whether it runs on the configuration that is looked at.
    pub is_ours: bool,
    /// The shared secret in its environment, where that can be read.
    pub secret: Option<Secret>,
}

impl GatewayProcess {
    /// Its environment as a place for the secret.
    pub(super) fn place(&self) -> Option<Place> {
        let secret = self.secret.clone().filter(|_| self.is_ours)?;
        Some(Place {
            name: format!(
                "the environment of the running gateway, process {}",
                self.pid
            ),
            reader: Reader::Running,
            secret,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lock {
    pid: u32,
    config_path: PathBuf,
    /// From 2026.8.2.
    port: Option<u16>,
    /// The kernel's start time of the process, in clock ticks since boot (Linux).
    start_time: Option<u64>,
}

#[derive(Deserialize)]
struct Lease {
    owner: Owner,
    port: Option<u16>,
}

#[derive(Deserialize)]
struct Owner {
    pid: u32,
}

pub(super) fn look(
    config: &Config,
    environment: &Environment,
    store: &StoreLook,
) -> Vec<GatewayProcess> {
    let variable = match config.gateway.auth {
        GatewayAuth::Password(_) => "OPENCLAW_GATEWAY_PASSWORD",
        _ => "OPENCLAW_GATEWAY_TOKEN",
    };
    let own = config.gateway.facts.config_file.as_deref();
    let mut locks = locks(environment, config.gateway.state.as_deref());
    locks.sort_by_key(|lock| lock.pid);
    // From 2026.8.2 there is one for the configuration and one for the state.
    locks.dedup_by_key(|lock| lock.pid);
    let mut processes: Vec<GatewayProcess> = locks
        .into_iter()
        .filter(|lock| is_alive(lock.pid, lock.start_time))
        .map(|lock| GatewayProcess {
            pid: lock.pid,
            port: lock.port.or_else(|| port_written(&lock.config_path)),
            is_ours: own == Some(lock.config_path.as_path()),
            config: Some(lock.config_path),
            secret: None,
        })
        .collect();
    if let Some(lease) = store.state.as_deref().and_then(lease)
        && is_alive(lease.owner.pid, None)
        && processes
            .iter()
            .all(|process| process.pid != lease.owner.pid)
    {
        processes.push(GatewayProcess {
            pid: lease.owner.pid,
            config: own.map(Path::to_owned),
            port: lease.port,
            is_ours: true,
            secret: None,
        });
    }
    for process in processes.iter_mut().filter(|process| process.is_ours) {
        process.secret = variable_of(process.pid, variable);
    }
    processes.sort_by_key(|process| process.pid);
    processes
}

fn locks(environment: &Environment, state: Option<&Path>) -> Vec<Lock> {
    let temporary = PathBuf::from(environment.get("TMPDIR").unwrap_or("/tmp"));
    let name = user().map_or_else(|| "openclaw".to_owned(), |user| format!("openclaw-{user}"));
    let places = [Some(temporary), state.map(|state| state.join("tmp"))];
    let entries = places
        .into_iter()
        .flatten()
        .filter_map(|place| fs::read_dir(place.join(&name)).ok());
    let files = entries.flatten().flatten().map(|entry| entry.path());
    files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "lock")
                && path.is_file()
        })
        .filter_map(|path| serde_json::from_slice(&fs::read(path).ok()?).ok())
        .collect()
}

fn lease(state: &Path) -> Option<Lease> {
    let payload = read_database(state, |connection| {
        let sql = "SELECT payload_json FROM state_leases WHERE scope = 'gateway-owner'";
        connection.query_row(sql, [], |row| row.get::<_, String>(0))
    });
    serde_json::from_str(&payload.ok()?).ok()
}

#[cfg(unix)]
fn user() -> Option<u32> {
    Some(rustix::process::getuid().as_raw())
}

#[cfg(not(unix))]
fn user() -> Option<u32> {
    None
}

/// Whether the process runs and, where that can be told, is still the one that was meant.
#[cfg(unix)]
fn is_alive(pid: u32, start_time: Option<u64>) -> bool {
    let there = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .is_some_and(|pid| {
            !matches!(
                rustix::process::test_kill_process(pid),
                Err(rustix::io::Errno::SRCH)
            )
        });
    there && start_time.is_none_or(|start| started(pid).is_none_or(|actual| actual == start))
}

#[cfg(not(unix))]
fn is_alive(_pid: u32, _start_time: Option<u64>) -> bool {
    false
}

/// Field 22 of `/proc/<pid>/stat`.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

fn variable_of(pid: u32, name: &str) -> Option<Secret> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let start = format!("{name}=");
    let value = environment
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(start.as_bytes()))?;
    let value = std::str::from_utf8(value).ok()?.trim();
    (!value.is_empty()).then(|| Secret::new(value))
}
