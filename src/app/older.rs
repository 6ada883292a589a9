//! The processes before this one. Each of them keeps the sessions that it had when a new version took its place, and
//! ends with the last of them.
//!
//! Until then it answers at a socket of its own beside the key, `older-<pid>.sock`: whoever serves now, and a command
//! where nobody does, finds all of them by looking, however many upgrades ago they were the newest. What changes a
//! gateway's mode, configuration or device is told to them, too, so that none of them goes on by what was so once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;
use tracing::warn;

use super::{Reloaded, Shim};
use crate::admin::{Client, ClientError};
use crate::config::Problems;
use crate::text::safe;

/// A process before this one.
#[derive(Debug)]
pub struct Older {
    /// Its id.
    pub pid: u32,
    socket: PathBuf,
}

/// What one of them said.
#[derive(Debug)]
pub struct Said {
    /// Its id.
    pub pid: u32,
    /// Its answer, or why there is none.
    pub answer: Result<Value, String>,
    /// What ends it.
    pub end: String,
}

/// Where a process answers whose place another has taken.
#[must_use]
pub fn socket(base: &Path, pid: u32) -> PathBuf {
    base.join(format!("{PREFIX}{pid}{SUFFIX}"))
}

/// Those of the shim with this data directory.
#[must_use]
pub fn find(base: &Path) -> Vec<Older> {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    let mut found: Vec<Older> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let pid = name.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
            Some(Older {
                pid: pid.parse().ok()?,
                socket: entry.path(),
            })
        })
        .filter(|older| older.pid != std::process::id())
        .collect();
    found.sort_by_key(|older| older.pid);
    found
}

/// Tells all of them, at once.
pub async fn tell(base: &Path, path: &str, body: &Value, patience: Duration) -> Vec<Said> {
    let each = find(base).into_iter().map(|older| async move {
        let client = Client::at(&older.socket);
        let answer = timeout(patience, client.post(path, body)).await;
        older.said(answer).await
    });
    join_all(each).await.into_iter().flatten().collect()
}

/// Asks all of them what they still do.
pub async fn ask(base: &Path) -> Vec<Said> {
    let each = find(base).into_iter().map(|older| async move {
        let client = Client::at(&older.socket);
        let answer = timeout(GLANCE, client.get("/live")).await;
        older.said(answer).await
    });
    join_all(each).await.into_iter().flatten().collect()
}

/// Warns of those that were told something and did not do it.
pub fn warn_of_deaf(said: &[Said]) {
    for Said { pid, answer, .. } in said {
        if let Err(why) = answer {
            warn!(
                pid,
                "the process before this one, which keeps its sessions, did not do the same: {why}"
            );
        }
    }
}

impl Older {
    /// Nothing where it has ended.
    async fn said<E>(&self, answer: Result<Result<Value, ClientError>, E>) -> Option<Said> {
        let answer = match answer {
            Ok(Err(ClientError::NotRunning { source, .. })) if is_gone(&source) => {
                let _ = fs::remove_file(&self.socket);
                return None;
            }
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err("it does not answer".to_owned()),
        };
        Some(Said {
            pid: self.pid,
            answer,
            end: self.end().await,
        })
    }

    /// The command that ends it, by the process that the kernel knows to listen there: a file may have any name, and root
    /// may be told to type this.
    async fn end(&self) -> String {
        match listener(&self.socket).await {
            Some(pid) => format!("kill {pid}"),
            None => format!(
                "end the process that listens on {}",
                safe(&self.socket.display().to_string())
            ),
        }
    }
}

#[cfg(unix)]
async fn listener(socket: &Path) -> Option<i32> {
    let connecting = tokio::net::UnixStream::connect(socket);
    let stream = timeout(GLANCE, connecting).await.ok()?.ok()?;
    // Of another namespace's it says 0, and to that the command would mean every process of the group.
    let pid = stream.peer_cred().ok()?.pid()?;
    (pid > 0).then_some(pid)
}

#[cfg(not(unix))]
async fn listener(_socket: &Path) -> Option<i32> {
    None
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    matches!(error.kind(), ConnectionRefused | NotFound)
}

impl Shim {
    /// Tells the processes before this one; one whose own place was taken tells nobody.
    pub async fn tell_older(&self, path: &str, body: &Value, patience: Duration) -> Vec<Said> {
        match self.configs().first() {
            Some(config) if self.successor().is_none() => {
                tell(&config.base, path, body, patience).await
            }
            _ => Vec::new(),
        }
    }

    /// What the processes before this one still do.
    pub async fn older(&self) -> Vec<Said> {
        match self.configs().first() {
            Some(config) => ask(&config.base).await,
            None => Vec::new(),
        }
    }

    /// Reads the configuration again, and has the processes before this one do so.
    ///
    /// # Errors
    ///
    /// When it cannot be used here; then nobody else is asked to.
    pub async fn reload_everywhere(self: &Arc<Self>) -> Result<Reloaded, Problems> {
        let reloaded = self.reload().await?;
        warn_of_deaf(
            &self
                .tell_older("/older/reload", &json!({}), RELOADING)
                .await,
        );
        Ok(reloaded)
    }
}

const PREFIX: &str = "older-";
const SUFFIX: &str = ".sock";
const GLANCE: Duration = Duration::from_millis(500);
const RELOADING: Duration = Duration::from_secs(5);

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_to_end_is_who_listens_and_not_what_the_file_is_called() {
        let dir = tempfile::tempdir().unwrap();
        let (listens, plain) = (socket(dir.path(), 1), socket(dir.path(), 2));
        let _listener = tokio::net::UnixListener::bind(&listens).unwrap();
        fs::write(&plain, "").unwrap();
        let older = find(dir.path());
        let pids: Vec<u32> = older.iter().map(|older| older.pid).collect();
        assert_eq!(pids, [1, 2]);
        assert_eq!(older[0].end().await, format!("kill {}", std::process::id()));
        let said = format!("end the process that listens on {}", plain.display());
        assert_eq!(older[1].end().await, said);
    }
}
