//! A redirect that is there as long as the shim behind it answers, and as long as the process that watches it.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::nft::{self, Hold};
use super::standing::End;
use super::table::Table;
use super::{Error, Family, Meant, Plan, Redirect, Uncovered, proof, sockets, standing};

/// Keeps the redirect in place while the shim answers, until the process is told to stop. `settled` is called once it
/// is known whether it could be put in place.
///
/// # Errors
///
/// When another process does the same already, or the kernel's rules cannot be changed.
pub async fn watch(
    meant: Meant<'_>,
    other_machines: bool,
    mut settled: impl FnMut(),
) -> Result<(), Error> {
    if let Some(pid) = nft::list()?.and_then(|table| table.watcher) {
        return Err(Error::Watched(pid));
    }
    let mut watch = Watch {
        meant,
        other_machines,
        hold: None,
        plan: None,
        said: String::new(),
    };
    let stop = stop();
    tokio::pin!(stop);
    loop {
        let next = watch.step().await?;
        settled();
        tokio::select! {
            () = sleep(next) => {}
            () = &mut stop => {
                info!("stopped: clients reach the gateway directly");
                return Ok(());
            }
        }
    }
}

struct Watch<'a> {
    meant: Meant<'a>,
    other_machines: bool,
    hold: Option<Hold>,
    /// What is in place; `None` while the shim does not answer.
    plan: Option<Plan>,
    /// Why nothing is redirected, so that it is said once.
    said: String,
}

impl Watch<'_> {
    /// Looks once, and says when to look again.
    async fn step(&mut self) -> Result<Duration, Error> {
        let held = self.hold.as_mut().is_some_and(Hold::lasts);
        match &self.plan {
            Some(plan) if held => match wrong(plan).await {
                // A shim that took over from another has the second loopback address only when that one has stopped.
                None if covers_more(plan) => self.try_up(held).await,
                None => Ok(WHILE_UP),
                Some(why) => {
                    self.give_way(why)?;
                    Ok(WHILE_DOWN)
                }
            },
            _ => self.try_up(held).await,
        }
    }

    async fn try_up(&mut self, held: bool) -> Result<Duration, Error> {
        let plan = match Plan::make(self.meant, self.other_machines).await {
            Ok(plan) => plan,
            Err(refused) if held && self.said == refused.to_string() => return Ok(WHILE_DOWN),
            Err(refused) => {
                self.give_way(refused.to_string())?;
                return Ok(WHILE_DOWN);
            }
        };
        self.hold = None;
        self.hold = Some(Hold::put(&plan.table(Some(std::process::id())).script())?);
        match proof::prove_all(&plan.redirects).await {
            Ok(proofs) => {
                for proof in proofs {
                    let (gateway, shim) = (proof.redirect.gateway(), proof.redirect.shim());
                    info!(exempt = %plan.exempt, "{gateway} leads to the shim at {shim}");
                }
                for uncovered in &plan.uncovered {
                    warn!(
                        "{} is not redirected: the shim does not listen on {}",
                        uncovered.gateway, uncovered.shim
                    );
                }
                self.said.clear();
                self.plan = Some(plan);
                Ok(WHILE_UP)
            }
            Err(unproven) => {
                self.give_way(unproven.to_string())?;
                Ok(AFTER_A_FAILED_PROOF)
            }
        }
    }

    /// Lets clients reach the gateway directly, at once; what says so comes after.
    fn give_way(&mut self, why: String) -> Result<(), Error> {
        self.hold = None;
        self.plan = None;
        if self.said != why {
            warn!("nothing is redirected, clients reach the gateway directly: {why}");
            self.said = why;
        }
        // Without it, neither `status` nor `down` would know of this process.
        let waiting = Table {
            exempt: None,
            owner: 0,
            redirects: Vec::new(),
            for_others: Vec::new(),
            socket: self.meant.socket(),
            watcher: Some(std::process::id()),
        };
        self.hold = Some(Hold::put(&waiting.script())?);
        Ok(())
    }
}

/// What is wrong with a redirect that is in place.
async fn wrong(plan: &Plan) -> Option<String> {
    let end = |redirect: &Redirect| {
        let listeners = sockets::listeners(redirect.to).unwrap_or_default();
        End::of(&listeners, Some(plan.shim.user), |socket| {
            socket.accepts(redirect.family)
        })
    };
    let lost = plan.redirects.iter().find_map(|redirect| {
        let at = redirect.shim();
        match end(redirect) {
            End::Shim => None,
            End::Nobody => Some(format!("the shim does not listen on {at} any more")),
            End::Another(user) => Some(format!(
                "a process of user {user} listens on {at}, where the shim was"
            )),
        }
    });
    if lost.is_some() {
        return lost;
    }
    match timeout(PATIENCE, standing::look(&plan.socket)).await {
        Err(_) => Some(format!("the shim has not answered for {PATIENCE:?}")),
        Ok(None) => Some("the shim does not answer any more".to_owned()),
        Ok(Some(peer)) => (!plan.exempt.covers(peer.ids))
            .then(|| format!("the shim does not run as {} any more", plan.exempt)),
    }
}

/// Whether the shim listens by now where it did not when the redirect was put in place.
fn covers_more(plan: &Plan) -> bool {
    plan.uncovered.iter().any(|Uncovered { shim, .. }| {
        let family = if shim.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        let listeners = sockets::listeners(shim.port()).unwrap_or_default();
        let end = End::of(&listeners, Some(plan.shim.user), |socket| {
            socket.accepts(family)
        });
        end == End::Shim
    })
}

async fn stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).ok();
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = async {
            match &mut terminate {
                Some(terminate) => { terminate.recv().await; }
                None => std::future::pending().await,
            }
        } => {}
    }
}

/// Whether the process is a `scope-shim intercept up --watch`. Ids are given anew, and may mean another process in
/// another namespace.
pub(super) fn is_watcher(pid: u32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    words.contains(&b"intercept".as_slice()) && words.contains(&b"--watch".as_slice())
}

/// Asks the watcher to end, and waits until the table is gone.
pub(super) fn end(pid: u32) -> Result<(), Error> {
    let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(id) = id {
        // One that has ended in the meantime is as good.
        let _ = kill_process(id, Signal::TERM);
    }
    let begun = Instant::now();
    while begun.elapsed() < TIME_TO_END {
        if nft::list()?.is_none() {
            return Ok(());
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
    Err(Error::Stuck(pid))
}

/// How long a shim that lives may take to say so.
const PATIENCE: Duration = Duration::from_millis(700);
/// A look costs some hundred microseconds.
const WHILE_UP: Duration = Duration::from_millis(250);
const WHILE_DOWN: Duration = Duration::from_millis(500);
const AFTER_A_FAILED_PROOF: Duration = Duration::from_secs(5);

const TIME_TO_END: Duration = Duration::from_secs(5);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
