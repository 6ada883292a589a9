//! A run of the program: from its first listener to its last session.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use super::opening::{Prepared, Running};
use super::signals::{Signal, Signals};
use super::succession::{Asked, Start, Wishes};
use super::{Failure, Loader, Shim, doors, signals, systemd};
use crate::config::Config;

/// Listens where the configurations say and runs until the process is told to stop, or another has taken its place and
/// the last session has ended.
///
/// # Errors
///
/// When a port cannot be bound or the delegate's key cannot be used.
pub async fn run(configs: Vec<Config>, again: Loader, mut start: Start) -> Result<(), Failure> {
    let outcome = run_as(configs, again, &mut start).await;
    if let Err(error) = &outcome {
        start.failed(&error.to_string());
    }
    outcome
}

async fn run_as(configs: Vec<Config>, again: Loader, start: &mut Start) -> Result<(), Failure> {
    crate::log::name_process(start.takes_over());
    let mut signals = Signals::listen()?;
    let listeners = doors::listen_at(&configs, &start.sockets).await?;
    let (wishes, mut wished) = Wishes::new();
    let sockets = Arc::clone(&start.sockets);
    let prepared = Prepared::new(configs, again, listeners, sockets, wishes)?;
    let takes_over = start.takes_over();
    if takes_over {
        prepared.settle().await;
        tokio::select! {
            () = start.turn() => {}
            () = signals.stop() => return Err("told to stop".into()),
        }
        prepared.catch_up().await;
    }
    let mut running = prepared.open(takes_over).await;
    start.serves();
    systemd::ready();
    let watchdog = AbortOnDropHandle::new(tokio::spawn(systemd::watchdog()));
    let handed_over = running.work(&mut signals, &mut wished, start).await;
    start.sockets.close();
    drop((watchdog, wished));
    if handed_over && running.outlast(&mut signals).await {
        info!("the last session has ended; the new process goes on alone");
        return Ok(());
    }
    running.stop(signals.stop()).await;
    Ok(())
}

impl Running {
    /// Serves until the process is told to stop, or another has taken its place; whether one has.
    async fn work(
        &mut self,
        signals: &mut Signals,
        wished: &mut mpsc::Receiver<Asked>,
        start: &Start,
    ) -> bool {
        loop {
            let asked = tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Stop => return false,
                    Signal::Reload => {
                        reload(&self.shim);
                        continue;
                    }
                    Signal::Upgrade => None,
                },
                asked = wished.recv() => asked,
            };
            let shim = Arc::clone(&self.shim);
            let outcome = {
                let handing_over = self.hand_over(start);
                tokio::pin!(handing_over);
                loop {
                    tokio::select! {
                        outcome = &mut handing_over => break outcome,
                        signal = signals.next() => match signal {
                            // The new process, which nobody but this one knows yet, ends with the attempt.
                            Signal::Stop => return false,
                            Signal::Reload => reload(&shim),
                            Signal::Upgrade => {}
                        },
                    }
                }
            };
            let done = outcome.is_ok();
            if let Some(asked) = asked {
                let _ = asked.send(outcome);
            }
            if done {
                return true;
            }
        }
    }

    /// Lives on for the sessions that it has, after another process has taken its place; whether the last has ended,
    /// and not been told to.
    async fn outlast(&mut self, signals: &mut Signals) -> bool {
        self.lock_up();
        self.admin.resign();
        info!(
            sessions = self.shim.sessions.len(),
            "the live sessions stay with this process until they end"
        );
        loop {
            tokio::select! {
                () = self.idle() => break,
                signal = signals.next() => match signal {
                    Signal::Stop => return false,
                    Signal::Reload => reload(&self.shim),
                    Signal::Upgrade => info!("not upgraded: another process has taken over already"),
                },
            }
        }
        self.answered().await;
        true
    }
}

/// What comes of it is in the log, and whatever it waits for, the shim can be stopped.
fn reload(shim: &Arc<Shim>) {
    let shim = Arc::clone(shim);
    tokio::spawn(async move {
        match (shim.successor(), shim.change().await) {
            (None, Ok(_turn)) => {
                let _ = shim.reload_everywhere().await;
            }
            // It was meant for whoever serves, which has changed since.
            (None, Err(successor)) => signals::reload(successor),
            (Some(_), _) => {
                let _ = shim.reload().await;
            }
        }
    });
}
