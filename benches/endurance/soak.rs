//! Sessions that stand and sessions that come and go for a long time, while everything around them changes.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::iter;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};

use crate::client::{Refused, Session, Traffic};
use crate::gateway::Gateway;
use crate::report::{Report, median};
use crate::shim::Shim;

#[derive(clap::Args)]
pub(crate) struct Wishes {
    /// How long it goes on, in minutes
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Sessions that stand
    #[arg(long, default_value_t = 2000)]
    sessions: usize,
    /// Sessions at a time that come and go
    #[arg(long, default_value_t = 20)]
    churn: usize,
    /// Seconds between two restarts of the gateway
    #[arg(long, default_value_t = 60)]
    restart: u64,
}

/// What all clients have seen.
#[derive(Default)]
struct Seen {
    opened: AtomicU64,
    echoes: AtomicU64,
    told_to_come_later: AtomicU64,
    not_connected: AtomicU64,
    ended_by_a_restart: AtomicU64,
    /// Refusals that no client should have met, and sessions that ended for no reason.
    wrong: Mutex<Vec<String>>,
    /// Grows when the gateway goes and when it comes.
    epoch: AtomicU64,
    over: AtomicBool,
}

impl Seen {
    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    /// A session of this device, however often it takes.
    async fn open(&self, shim: &Shim, number: usize) -> Session {
        loop {
            let since = self.epoch();
            let pause = match Session::open(shim.addr, number).await {
                Ok(session) => {
                    self.opened.fetch_add(1, Ordering::Relaxed);
                    return session;
                }
                Err(Refused::Later) => &self.told_to_come_later,
                Err(Refused::Broken(_)) if self.is_upset(since) => &self.not_connected,
                Err(refused) => {
                    self.wrong(refused.to_string());
                    &self.not_connected
                }
            };
            pause.fetch_add(1, Ordering::Relaxed);
            sleep(spread(number, 1.0)).await;
        }
    }

    /// Whether the gateway was away at some time since then, or is.
    fn is_upset(&self, since: u64) -> bool {
        !since.is_multiple_of(2) || self.epoch() != since
    }

    /// One message there and back; `false` where the session has ended.
    async fn echo(&self, session: &mut Session, number: usize) -> bool {
        let since = self.epoch();
        let length = 16 + number * 37 % 2000;
        match session.echo(length).await {
            Ok(_) => {
                self.echoes.fetch_add(1, Ordering::Relaxed);
                true
            }
            // A restart while nobody spoke is noticed only now.
            Err(_) if self.restarted_since(since) => {
                self.ended_by_a_restart.fetch_add(1, Ordering::Relaxed);
                false
            }
            Err(error) => {
                self.wrong(format!("a session ended for no reason: {error}"));
                false
            }
        }
    }

    fn restarted_since(&self, since: u64) -> bool {
        self.is_upset(since)
    }
}

pub(crate) async fn run(program: &Path, wishes: &Wishes) -> bool {
    let shim = Arc::new(Shim::start(program).await);
    let gateway = Gateway::start(shim.gateway).await.unwrap();
    shim.is_ready().await;
    let at_rest = (shim.process().rss(), shim.descriptors());
    let seen = Arc::new(Seen::default());
    let length = Duration::from_secs_f64(wishes.minutes * 60.0);
    println!(
        "{} sessions, {} that come and go, {:.1} minutes",
        wishes.sessions, wishes.churn, wishes.minutes
    );

    let arriving = Instant::now();
    // Before the time runs: a crowd that comes at once is another bench.
    let arrived: Vec<_> = iter(0..wishes.sessions)
        .map(|number| {
            let opening = seen.open(&shim, number);
            async move { (number, opening.await) }
        })
        .buffer_unordered(GENTLY)
        .collect()
        .await;
    println!("all there after {:.0} s", arriving.elapsed().as_secs_f64());
    let standing: Vec<_> = arrived
        .into_iter()
        .map(|(number, session)| stands(number, session, &shim, &seen))
        .collect();
    let churning: Vec<_> = (0..wishes.churn)
        .map(|number| comes_and_goes(number, &shim, &seen))
        .collect();
    let watching = watch(&shim, &seen);
    let (gateway, upheavals) = upheave(&shim, gateway, &seen, wishes, length).await;
    seen.over.store(true, Ordering::Relaxed);
    join_all(churning).await;
    let mut sessions: Vec<_> = join_all(standing)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let samples = watching.await.unwrap();

    let mut report = Report::default();
    report.plot("resident memory", "MiB", &samples.memory);
    report.plot("descriptors", "", &samples.descriptors);
    report.plot("threads", "", &samples.threads);
    report.plot("sessions", "", &samples.sessions);
    report.fact("sessions opened", seen.opened.load(Ordering::Relaxed));
    report.fact(
        "messages there and back",
        seen.echoes.load(Ordering::Relaxed),
    );
    report.fact("upheavals", upheavals);
    report.fact(
        "told to come later",
        seen.told_to_come_later.load(Ordering::Relaxed),
    );
    report.fact(
        "not connected while the gateway was away",
        seen.not_connected.load(Ordering::Relaxed),
    );
    report.fact(
        "ended by a restart",
        seen.ended_by_a_restart.load(Ordering::Relaxed),
    );
    let wrong = seen.wrong.lock().unwrap().clone();
    report.held(
        "refused or ended for no reason",
        wrong.len(),
        wrong.is_empty(),
    );
    for what in wrong.iter().take(5) {
        println!("    {what}");
    }
    for (name, unit, series) in [
        ("memory", " MiB", &samples.memory),
        ("descriptors", "", &samples.descriptors),
        ("threads", "", &samples.threads),
    ] {
        let (early, late) = early_and_late(series);
        let grown = format!("{early:.1}{unit}, later {late:.1}{unit}");
        report.held(name, grown, late <= early * 1.1 + 1.0);
    }
    accounts(&shim, &mut sessions, &mut report).await;
    join_all(sessions.into_iter().map(Session::close)).await;
    emptied(&shim, at_rest, &mut report).await;
    gateway.stop().await;
    report.all_held()
}

/// A client that stays, and comes back when it is sent away; in the end its session.
fn stands(
    number: usize,
    mut session: Session,
    shim: &Arc<Shim>,
    seen: &Arc<Seen>,
) -> JoinHandle<Session> {
    let (shim, seen) = (Arc::clone(shim), Arc::clone(seen));
    tokio::spawn(async move {
        loop {
            let mut since = seen.epoch();
            while !seen.is_over() {
                sleep(spread(number, 4.0)).await;
                if seen.restarted_since(since) {
                    // Whatever it says now may find a session that has ended.
                    since = seen.epoch();
                    if session.echo(1).await.is_err() {
                        seen.ended_by_a_restart.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                } else if !seen.echo(&mut session, number).await {
                    break;
                }
            }
            if seen.is_over() && session.echo(1).await.is_ok() {
                return session;
            }
            session = seen.open(&shim, number).await;
        }
    })
}

/// A client that comes and goes: as it should, without a word, or in the middle of its handshake.
fn comes_and_goes(number: usize, shim: &Arc<Shim>, seen: &Arc<Seen>) -> JoinHandle<()> {
    let (shim, seen) = (Arc::clone(shim), Arc::clone(seen));
    tokio::spawn(async move {
        for turn in number.. {
            if seen.is_over() {
                return;
            }
            if turn % 5 == 4 {
                let _ = Session::upgraded(shim.addr).await;
                continue;
            }
            let mut session = seen.open(&shim, turn).await;
            if seen.echo(&mut session, turn).await && !turn.is_multiple_of(3) {
                let _ = session.close().await;
            }
            sleep(Duration::from_millis(200)).await;
        }
    })
}

/// Changes everything around the sessions, each thing at its own time.
async fn upheave(
    shim: &Shim,
    mut gateway: Gateway,
    seen: &Seen,
    wishes: &Wishes,
    length: Duration,
) -> (Gateway, String) {
    let begun = Instant::now();
    let mut seconds = interval(Duration::from_secs(1));
    let (mut flips, mut reloads, mut stores, mut restarts) = (0, 0, 0, 0);
    let mut second = 0_u64;
    while begun.elapsed() < length {
        seconds.tick().await;
        second += 1;
        if second.is_multiple_of(5) {
            let mode = ["observe", "off", "on"][flips % 3];
            if !shim.says(&["mode", mode]).await {
                seen.wrong(format!("mode {mode} was refused"));
            }
            flips += 1;
        }
        if second.is_multiple_of(7) {
            shim.reload();
            reloads += 1;
        }
        if second.is_multiple_of(3) {
            shim.change_store();
            stores += 1;
        }
        // The last minute's sessions are to stand in the end.
        if second.is_multiple_of(wishes.restart) && begun.elapsed() + SETTLE < length {
            gateway = restarted(shim, gateway, seen).await;
            restarts += 1;
        }
    }
    shim.says(&["mode", "on"]).await;
    let upheavals = format!(
        "{flips} modes, {reloads} reloads, {stores} stores, {restarts} restarts of the gateway"
    );
    (gateway, upheavals)
}

async fn restarted(shim: &Shim, gateway: Gateway, seen: &Seen) -> Gateway {
    seen.epoch.fetch_add(1, Ordering::Relaxed);
    gateway.stop().await;
    sleep(Duration::from_secs(2)).await;
    let gateway = Gateway::start(shim.gateway).await.unwrap();
    // Who was told before that it is away is told nothing new.
    sleep(Duration::from_secs(1)).await;
    seen.epoch.fetch_add(1, Ordering::Relaxed);
    gateway
}

/// What the process was at every second.
#[derive(Default)]
struct Samples {
    memory: Vec<f64>,
    descriptors: Vec<f64>,
    threads: Vec<f64>,
    sessions: Vec<f64>,
}

/// What a series was once everybody was there, and at the end.
fn early_and_late(series: &[f64]) -> (f64, f64) {
    let fifth = series.len() / 5;
    let early = &series[fifth..2 * fifth];
    let late = &series[series.len() - fifth..];
    (median(early), median(late))
}

fn watch(shim: &Arc<Shim>, seen: &Arc<Seen>) -> JoinHandle<Samples> {
    let (shim, seen) = (Arc::clone(shim), Arc::clone(seen));
    tokio::spawn(async move {
        let mut samples = Samples::default();
        let mut seconds = interval(Duration::from_secs(1));
        while !seen.is_over() {
            seconds.tick().await;
            samples
                .memory
                .push(shim.process().rss() as f64 / f64::from(1 << 20));
            samples.descriptors.push(shim.descriptors() as f64);
            samples.threads.push(shim.threads() as f64);
            let sessions = shim.metric("scope_shim_sessions", "").await;
            samples.sessions.push(sessions.unwrap_or_default());
        }
        samples
    })
}

/// Whether the shim counts the same bytes as its clients, when nothing else goes on.
async fn accounts(shim: &Shim, sessions: &mut [Session], report: &mut Report) {
    let before = shim.traffic().await.unwrap();
    let spoken = join_all(
        sessions
            .iter_mut()
            .enumerate()
            .map(|(number, session)| async move {
                let mut total = Traffic::default();
                for turn in 0..5 {
                    total += session
                        .echo(1 + (number + turn) * 101 % 5000)
                        .await
                        .unwrap();
                }
                total
            }),
    );
    let mut sent = Traffic::default();
    for traffic in spoken.await {
        sent += traffic;
    }
    let after = shim.traffic().await.unwrap();
    let counted = Traffic {
        to_gateway: after.to_gateway - before.to_gateway,
        to_client: after.to_client - before.to_client,
    };
    let text = format!(
        "{} to the gateway, {} back; counted {} and {}",
        sent.to_gateway, sent.to_client, counted.to_gateway, counted.to_client
    );
    report.held(
        "bytes of five more messages a session",
        text,
        sent == counted,
    );
}

/// Whether everything is given back once everybody has left.
async fn emptied(shim: &Shim, at_rest: (u64, usize), report: &mut Report) {
    let begun = Instant::now();
    let empty = async {
        while shim.metric("scope_shim_sessions", "").await != Some(0.0)
            || shim.descriptors() > at_rest.1 + FEW
        {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let emptied = timeout(Duration::from_secs(30), empty).await.is_ok();
    let text = format!(
        "{} descriptors, before {}; after {:.1} s",
        shim.descriptors(),
        at_rest.1,
        begun.elapsed().as_secs_f64()
    );
    report.held("all sessions closed", text, emptied);
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let text = format!(
        "{:.1} MiB, before any session {:.1} MiB",
        mebibytes(shim.process().rss()),
        mebibytes(at_rest.0)
    );
    report.fact("memory without a session", text);
}

/// Some part of so many seconds, another one for each client.
fn spread(number: usize, seconds: f64) -> Duration {
    let part = (number * 7919 % 1000) as f64 / 1000.0;
    Duration::from_secs_f64(seconds * (0.5 + part / 2.0))
}

/// Handshakes at a time while everybody arrives.
const GENTLY: usize = 32;
/// How long before the end the gateway is left alone.
const SETTLE: Duration = Duration::from_secs(30);
/// Descriptors of whoever asks at that moment.
const FEW: usize = 4;
