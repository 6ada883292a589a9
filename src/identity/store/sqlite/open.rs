//! Reading a gateway's database without leaving a trace beside it.
//!
//! `mode=ro` alone is not enough: on a database in WAL mode SQLite creates the `-wal` and `-shm` files that it misses,
//! and leaves them behind under the reader's user. So the way in depends on what lies beside the database:
//!
//! | beside it | what that means | way in |
//! |---|---|---|
//! | neither `-wal` nor `-journal` | nothing but the file itself counts | `immutable=1`, and a look afterwards whether that was still so |
//! | `-wal` or `-journal` | a gateway is running, or was killed | `mode=ro&readonly_shm=1`, with SQLite's own locks |
//! | `-wal` without `-shm` | killed, and half of it removed | without locks and index file, and a look afterwards whether anything moved |

use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::identity::store::StoreError;
use crate::identity::store::stamp::{self, Stamp};

/// Runs `work` in one read transaction on the database at `path`. Blocks.
///
/// `work` may run several times, when the database changes meanwhile.
///
/// # Errors
///
/// [`StoreError::Missing`] where there is no database, [`StoreError::Locked`] where it did not come to rest in half a
/// second, and what SQLite finds otherwise.
pub(in crate::identity) fn read<T>(
    path: &Path,
    work: impl Fn(&Connection) -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (before, outcome) = attempt(path, &work)?;
        let error = match outcome {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        match error {
            Some(error) if !passes_by_itself(&error) => return Err(blame(path, &before, &error)),
            _ if Instant::now() >= deadline => {
                return Err(StoreError::Locked { path: path.into() });
            }
            _ => thread::sleep(PAUSE),
        }
    }
}

fn attempt<T>(
    path: &Path,
    work: &impl Fn(&Connection) -> rusqlite::Result<T>,
) -> Result<Attempt<T>, StoreError> {
    let before = Beside::look(path)?;
    if before.wal.is_none() && before.journal.is_none() {
        let outcome = run(open(path, Way::Immutable), work);
        let still = before.proves_unchanged(&Beside::look(path)?);
        return Ok((before, if still { outcome.map(Some) } else { Ok(None) }));
    }
    let outcome = run(open(path, Way::Locked), work);
    sweep(path, &before)?;
    match outcome {
        Err(error) if cannot_open(&error) => attempt_lockless(path, before, error, work),
        outcome => Ok((before, outcome.map(Some))),
    }
}

/// What is left when SQLite could not open one of the files.
fn attempt_lockless<T>(
    path: &Path,
    refused: Beside,
    error: rusqlite::Error,
    work: &impl Fn(&Connection) -> rusqlite::Result<T>,
) -> Result<Attempt<T>, StoreError> {
    let before = Beside::look(path)?;
    if before.looks_like(&refused) && before.shm.is_some() {
        return Ok((before, Err(error)));
    }
    // The gateway closes or opens it at this moment.
    if before.shm.is_some() || before.wal.is_none() || cfg!(not(unix)) {
        return Ok((before, Ok(None)));
    }
    let outcome = run(open(path, Way::Lockless), work);
    sweep(path, &before)?;
    let still = before.proves_unchanged(&Beside::look(path)?);
    Ok((before, if still { outcome.map(Some) } else { Ok(None) }))
}

/// What lay beside the database, and what came of it. `Ok(None)`: the database changed meanwhile, so that what was
/// read means nothing.
type Attempt<T> = (Beside, rusqlite::Result<Option<T>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The file alone, taken to be at rest.
    Immutable,
    /// With the locks of a living database.
    Locked,
    /// The file and its `-wal`, taken to be at rest.
    Lockless,
}

fn open(path: &Path, way: Way) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match way {
        Way::Immutable => Connection::open_with_flags(uri(path, "immutable=1"), flags),
        // Without readonly_shm SQLite creates a missing -shm, and rewrites one that a killed gateway left.
        Way::Locked => Connection::open_with_flags(uri(path, "mode=ro&readonly_shm=1"), flags),
        Way::Lockless => {
            Connection::open_with_flags_and_vfs(uri(path, "mode=ro"), flags, c"unix-none")
        }
    }?;
    // Else the last reader to close would move the -wal into the database and delete it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.busy_timeout(BUSY)?;
    if way == Way::Lockless {
        // With exclusive access SQLite keeps the index of the -wal in memory instead of in a -shm file.
        connection.pragma_update(None, "locking_mode", "exclusive")?;
    }
    Ok(connection)
}

fn run<T>(
    connection: rusqlite::Result<Connection>,
    work: &impl Fn(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let connection = connection?;
    let transaction = connection.unchecked_transaction()?;
    let value = work(&transaction)?;
    transaction.finish()?;
    Ok(value)
}

/// Removes the empty `-wal` that SQLite creates when the gateway closes its database between our look and our opening.
///
/// Only a connection that may write can, because removing it safely takes the lock that a starting gateway would
/// wait for. It writes nothing else: there is nothing in an empty log.
fn sweep(path: &Path, before: &Beside) -> Result<(), StoreError> {
    let after = Beside::look(path)?;
    let ours = after.wal.is_some_and(|wal| {
        wal.size() == 0 && !before.wal.is_some_and(|before| before.is_same_file(&wal))
    });
    if !ours {
        return Ok(());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let swept = Connection::open_with_flags(uri(path, "mode=rw"), flags).and_then(|connection| {
        connection.busy_timeout(BUSY)?;
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))
    });
    if let Err(error) = swept {
        tracing::debug!(code = ?error.sqlite_error_code(), "an empty -wal file stays behind");
    }
    Ok(())
}

/// The database and what lies beside it.
#[derive(Debug)]
struct Beside {
    database: Stamp,
    wal: Option<Stamp>,
    journal: Option<Stamp>,
    shm: Option<Stamp>,
}

impl Beside {
    fn look(path: &Path) -> Result<Self, StoreError> {
        // The -wal first: if it vanishes in between, the database's own stamp is the later one.
        let wal = look(&wal_of(path))?.map(Stamp::without_change_time);
        // A journal without content is what some journal modes leave after each transaction.
        let journal = look(&beside(path, "-journal"))?.filter(|journal| journal.size() > 0);
        let shm = look(&beside(path, "-shm"))?;
        let database = look(path)?.ok_or_else(|| StoreError::Missing { path: path.into() })?;
        // Opening a pipe that stands in the file's place would wait for ever.
        if !path.is_file() {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
            return Err(StoreError::unreadable(path, error));
        }
        Ok(Self {
            database,
            wal,
            journal,
            shm,
        })
    }

    fn looks_like(&self, other: &Self) -> bool {
        let alike = |one: &Option<Stamp>, other: &Option<Stamp>| match (one, other) {
            (Some(one), Some(other)) => one.looks_like(other),
            (None, None) => true,
            _ => false,
        };
        alike(&self.wal, &other.wal) && alike(&self.shm, &other.shm)
    }

    fn proves_unchanged(&self, later: &Self) -> bool {
        self.database.proves_unchanged(&later.database)
            && stamp::unchanged(self.wal.as_ref(), later.wal.as_ref())
            && stamp::unchanged(self.journal.as_ref(), later.journal.as_ref())
            && self.shm.is_some() == later.shm.is_some()
    }
}

fn look(path: &Path) -> Result<Option<Stamp>, StoreError> {
    Stamp::of(path).map_err(|source| StoreError::unreadable(path, source))
}

/// The log beside a database.
///
/// Its stamp is taken without the change time, which moves whenever a reader that runs as root opens the log.
pub(super) fn wal_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A `file:` URI for `path`; every byte that could mean something in one is escaped.
fn uri(path: &Path, parameters: &str) -> String {
    let mut uri = String::from(if path.is_absolute() {
        "file://"
    } else {
        "file:"
    });
    if cfg!(windows) {
        uri.push('/');
    }
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'\\' if cfg!(windows) => uri.push('/'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte))
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push('?');
    uri.push_str(parameters);
    uri
}

fn cannot_open(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::CannotOpen)
}

/// Whether an error is one of those that another process causes and takes away again.
fn passes_by_itself(error: &rusqlite::Error) -> bool {
    // A read-only open is called an attempt to write while the index of the -wal is being built.
    let passing = [
        ErrorCode::DatabaseBusy,
        ErrorCode::DatabaseLocked,
        ErrorCode::ReadOnly,
    ];
    error
        .sqlite_error_code()
        .is_some_and(|code| passing.contains(&code))
}

/// Names who has to act. SQLite's own messages may quote the database, so none of them is passed on.
fn blame(path: &Path, before: &Beside, error: &rusqlite::Error) -> StoreError {
    let Some(code) = error.sqlite_error_code() else {
        return StoreError::Unsupported {
            path: path.into(),
            what: "a column is not of the expected type".to_owned(),
        };
    };
    let refused = |what: &str| {
        StoreError::unreadable(path, io::Error::new(io::ErrorKind::PermissionDenied, what))
    };
    match code {
        ErrorCode::DatabaseCorrupt => StoreError::Corrupt {
            path: path.into(),
            what: "its pages do not fit together".to_owned(),
        },
        ErrorCode::NotADatabase => StoreError::Corrupt {
            path: path.into(),
            what: "it is not an SQLite database".to_owned(),
        },
        ErrorCode::CannotOpen if before.wal.is_some() => {
            refused("SQLite cannot open it, or the -wal and -shm beside it")
        }
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied => refused("SQLite cannot open it"),
        ErrorCode::SystemIoFailure => {
            StoreError::unreadable(path, io::Error::other("reading it fails"))
        }
        code => StoreError::Unsupported {
            path: path.into(),
            what: format!("SQLite answers {code:?}"),
        },
    }
}

/// How long a read is tried: a tenth of what the shortest handshake leaves (3 s in 2026.3.13), and some more.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long SQLite itself waits for a lock.
const BUSY: Duration = Duration::from_millis(100);
/// The time between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// What an attempt does when it saw a `-wal` that is gone by the time that SQLite opens it.
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
pub(super) fn as_if_the_log_had_just_vanished(path: &Path) {
    let before = Beside::look(path).unwrap();
    for way in [Way::Locked, Way::Lockless] {
        let _ = run(open(path, way), &|connection| {
            connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))
        });
        assert!(
            beside(path, "-wal").exists(),
            "SQLite no longer creates it: sweep() can go"
        );
        sweep(path, &before).unwrap();
    }
}
