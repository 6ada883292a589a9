//! `scope-shim page`: the status page of the shim that runs, on a port of this machine for as long as the command runs.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Args;
use tempfile::TempPath;
use zeroize::Zeroizing;

use super::{Missed, Settings, Target};
use crate::admin::Client;
use crate::admin::relay::Relay;
use crate::app::Failure;
use crate::secret::Secret;

/// How to show the status page.
#[derive(Args, Debug)]
pub struct Page {
    #[command(flatten)]
    #[expect(missing_docs, reason = "it would be shown as help")]
    pub settings: Settings,

    /// Open it in this user's browser, too
    #[arg(long)]
    pub open: bool,
}

/// Prints the page's address and serves it until the command is told to stop.
///
/// # Errors
///
/// When no shim runs with this configuration, or there is no port.
pub async fn run(target: &Target, options: &Page) -> Result<(), Missed> {
    let client = target.client()?;
    let live = client.get("/live").await;
    live.map_err(|error| target.missed(error))?;
    let shown = show(client, options).await;
    shown.map_err(Missed::Failed)
}

async fn show(client: &Client, options: &Page) -> Result<(), Failure> {
    let relay = Relay::open(client.clone()).await?;
    let url = relay.url();
    tell(&url)?;
    // The file is there for as long as this is.
    let _way = options
        .open
        .then(|| open(client.data(), &url))
        .transpose()?;
    tokio::select! {
        never = relay.serve() => match never {},
        () = told_to_stop() => Ok(()),
    }
}

fn tell(url: &Secret) -> io::Result<()> {
    let text = Zeroizing::new(format!(
        "The status page, until Ctrl-C; whoever has this address can switch modes and approve devices:\n\n  {}\n\n",
        url.reveal()
    ));
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Opens the browser by way of a file that only this user can read: the arguments of a program are for every user of the
/// machine to see, and the address has the token in it.
fn open(data: &Path, url: &Secret) -> io::Result<TempPath> {
    let mut file = tempfile::Builder::new()
        .prefix("page-")
        .suffix(".html")
        .tempfile_in(data)?;
    let address = url.reveal();
    write!(
        file,
        "<!doctype html><meta http-equiv=\"refresh\" content=\"0; url={address}\">"
    )?;
    let path = file.into_temp_path();
    let opened = Command::new(OPENER)
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = opened {
        writeln!(
            io::stderr(),
            "no browser could be opened ({OPENER}: {error}); the address works in any on this machine"
        )?;
    }
    Ok(path)
}

/// Completes at Ctrl-C, or when the process is told to end in another way.
async fn told_to_stop() {
    let interrupt = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (terminate, hangup) = (
            signal(SignalKind::terminate()),
            signal(SignalKind::hangup()),
        );
        if let (Ok(mut terminate), Ok(mut hangup)) = (terminate, hangup) {
            tokio::select! {
                () = interrupt => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            return;
        }
    }
    interrupt.await;
}

/// What opens a file with the program that the user chose for it.
const OPENER: &str = if cfg!(target_os = "macos") {
    "open"
} else if cfg!(windows) {
    "explorer"
} else {
    "xdg-open"
};
