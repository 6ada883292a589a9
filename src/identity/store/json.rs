//! `devices/paired.json` and `devices/pending.json`: the store of every gateway up to 2026.7.1.

pub(super) mod known;
pub(super) mod parse;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use self::known::Known;
use super::findings::Findings;
use super::shared::Shared;
use super::stamp::{self, Stamp};
use super::{BoxFuture, DeviceStore, Snapshot, StoreError};

/// The pairing files below one state directory.
///
/// An existing state directory without them is a gateway that has paired nobody yet.
#[derive(Debug)]
pub struct JsonStore {
    files: Arc<Files>,
    reads: Shared<Reading>,
    findings: Mutex<Findings>,
}

#[derive(Debug)]
struct Files {
    state: PathBuf,
    paired: PathBuf,
    pending: PathBuf,
}

/// What one read found, and what the files looked like.
#[derive(Clone, Debug)]
struct Reading {
    paired: Option<Stamp>,
    pending: Option<Stamp>,
    snapshot: Arc<Snapshot>,
    problems: Arc<[String]>,
    known: Arc<Known>,
}

impl JsonStore {
    /// The store below `state`, the directory that the gateway knows as `OPENCLAW_STATE_DIR`.
    #[must_use]
    pub fn new(state: impl Into<PathBuf>) -> Self {
        let state = state.into();
        let files = Files {
            paired: state.join("devices").join("paired.json"),
            pending: state.join("devices").join("pending.json"),
            state,
        };
        Self {
            files: Arc::new(files),
            reads: Shared::new(),
            findings: Mutex::default(),
        }
    }
}

impl DeviceStore for JsonStore {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<Snapshot>, StoreError>> {
        Box::pin(async move {
            let files = Arc::clone(&self.files);
            let work = move |previous| files.read(previous);
            let reading = self.reads.read(&self.files.paired, work).await?;
            let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
            findings.tell(reading.problems.iter());
            Ok(reading.snapshot)
        })
    }

    fn describe(&self) -> String {
        self.files.paired.display().to_string()
    }

    fn watched(&self) -> Vec<PathBuf> {
        vec![self.files.paired.clone(), self.files.pending.clone()]
    }
}

impl Files {
    fn read(&self, previous: Option<Reading>) -> Result<Reading, StoreError> {
        let paired = stamp_of(&self.paired)?;
        let pending = stamp_of(&self.pending)?;
        if let Some(previous) = &previous
            && stamp::unchanged(previous.paired.as_ref(), paired.as_ref())
            && stamp::unchanged(previous.pending.as_ref(), pending.as_ref())
            && (paired.is_some() || self.state.is_dir())
        {
            return Ok(previous.clone());
        }
        let Some((paired, text)) = read_capped(&self.paired)? else {
            return self.empty_or_missing();
        };
        let before = previous.map_or_else(Arc::default, |previous| previous.known);
        let read = parse::paired(&text, &before).map_err(|what| StoreError::Corrupt {
            path: self.paired.clone(),
            what,
        })?;
        let mut problems = read.problems;
        let (pending, requests) = self.read_pending(&mut problems);
        Ok(Reading {
            paired: Some(paired),
            pending,
            snapshot: Arc::new(Snapshot {
                devices: read.devices,
                pending: requests,
            }),
            problems: problems.into(),
            known: read.known.into(),
        })
    }

    fn empty_or_missing(&self) -> Result<Reading, StoreError> {
        if !self.state.is_dir() {
            return Err(StoreError::Missing {
                path: self.state.clone(),
            });
        }
        let mut problems = Vec::new();
        let (pending, requests) = self.read_pending(&mut problems);
        Ok(Reading {
            paired: None,
            pending,
            snapshot: Arc::new(Snapshot {
                pending: requests,
                ..Snapshot::default()
            }),
            problems: problems.into(),
            known: Arc::default(),
        })
    }

    /// The pending requests. They decide nothing, so a problem with them costs nothing but them.
    fn read_pending(
        &self,
        problems: &mut Vec<String>,
    ) -> (Option<Stamp>, Vec<super::PendingRequest>) {
        let problem = match read_capped(&self.pending) {
            Ok(None) => return (None, Vec::new()),
            Ok(Some((stamp, text))) => match parse::pending(&text) {
                Ok((requests, flaws)) => {
                    problems.extend(flaws);
                    return (Some(stamp), requests);
                }
                Err(what) => StoreError::Corrupt {
                    path: self.pending.clone(),
                    what,
                },
            },
            Err(error) => error,
        };
        problems.push(problem.to_string());
        (None, Vec::new())
    }
}

fn stamp_of(path: &Path) -> Result<Option<Stamp>, StoreError> {
    Stamp::of(path).map_err(|source| StoreError::unreadable(path, source))
}

/// The stamp and the text of a file, or `None` where there is none.
fn read_capped(path: &Path) -> Result<Option<(Stamp, Vec<u8>)>, StoreError> {
    match try_read_capped(path) {
        Ok(read) => Ok(Some(read)),
        Err(error) if stamp::is_absence(&error) => Ok(None),
        Err(error) => Err(StoreError::unreadable(path, error)),
    }
}

fn try_read_capped(path: &Path) -> io::Result<(Stamp, Vec<u8>)> {
    // Asked of the path first: opening a pipe that stands in the file's place would wait for ever.
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    let mut file = File::open(path)?;
    let stamp = Stamp::from_metadata(&file.metadata()?);
    let mut text =
        Vec::with_capacity(usize::try_from(stamp.size().min(MAX_BYTES)).unwrap_or_default());
    (&mut file).take(MAX_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        let message = format!("it is larger than {} MiB", MAX_BYTES >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok((stamp, text))
}

/// The most that is read of one file.
///
/// A gateway takes about 850 bytes to write down one device: this is room for 150 000 of them.
const MAX_BYTES: u64 = 128 << 20;

#[cfg(test)]
mod tests;
