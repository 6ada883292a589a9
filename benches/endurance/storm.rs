//! All clients at once, as they come back when a gateway was restarted.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::iter;
use tokio::time::sleep;

use crate::client::{Refused, Session};
use crate::gateway::Gateway;
use crate::report::{Report, share};
use crate::shim::Shim;

#[derive(clap::Args)]
pub(crate) struct Wishes {
    /// Sessions that stand, and come back together
    #[arg(long, default_value_t = 5000)]
    sessions: usize,
    /// How often
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

pub(crate) async fn run(program: &Path, wishes: &Wishes) -> bool {
    let shim = Shim::start(program).await;
    let mut gateway = Gateway::start(shim.gateway).await.unwrap();
    shim.is_ready().await;
    let numbers = 0..wishes.sessions;
    let mut sessions: Vec<_> = iter(numbers.clone())
        .map(|number| Session::open(shim.addr, number))
        .buffer_unordered(GENTLY)
        .map(Result::unwrap)
        .collect()
        .await;
    let mut report = Report::default();
    let mebibytes = shim.process().rss() as f64 / f64::from(1 << 20);
    report.fact(
        "sessions that stand",
        format!("{}, {mebibytes:.0} MiB", sessions.len()),
    );
    for round in 1..=wishes.rounds {
        gateway.stop().await;
        // Each has to see that its session is over before it can come back.
        join_all(sessions.drain(..).map(ended)).await;
        gateway = Gateway::start(shim.gateway).await.unwrap();
        let storm = Arc::new(Storm::new());
        let back = numbers
            .clone()
            .map(|number| storm.comes_back(&shim, number));
        let times: Vec<_> = join_all(back)
            .await
            .into_iter()
            .map(|(session, seconds)| {
                sessions.push(session);
                seconds
            })
            .collect();
        let times_text = format!(
            "half after {:.1} s, 99 of 100 after {:.1} s, all after {:.1} s",
            share(&times, 0.5),
            share(&times, 0.99),
            share(&times, 1.0 - f64::EPSILON)
        );
        report.held(
            &format!("storm {round}: back"),
            times_text,
            sessions.len() == wishes.sessions,
        );
        let told = storm.told_to_come_later.load(Ordering::Relaxed);
        report.fact("    told to come later", told);
        let odd = storm.refused_otherwise.load(Ordering::Relaxed);
        report.held("    refused otherwise", odd, odd == 0);
        let most = gateway.seen.most_unfinished.load(Ordering::Relaxed);
        report.held(
            "    unfinished handshakes at the gateway",
            most,
            most <= BUDGET,
        );
    }
    drop(sessions);
    gateway.stop().await;
    report.all_held()
}

struct Storm {
    begun: Instant,
    told_to_come_later: AtomicU64,
    refused_otherwise: AtomicU64,
}

impl Storm {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            told_to_come_later: AtomicU64::new(0),
            refused_otherwise: AtomicU64::new(0),
        }
    }

    /// The client's next session, and how many seconds after the storm began it has it.
    async fn comes_back(&self, shim: &Shim, number: usize) -> (Session, f64) {
        let mut pause = FIRST_PAUSE;
        loop {
            match Session::open(shim.addr, number).await {
                Ok(session) => return (session, self.begun.elapsed().as_secs_f64()),
                Err(Refused::Later) => &self.told_to_come_later,
                Err(refused) => {
                    println!("    a client was {refused}");
                    &self.refused_otherwise
                }
            }
            .fetch_add(1, Ordering::Relaxed);
            sleep(pause).await;
            pause = pause.mul_f64(1.7).min(LONGEST_PAUSE);
        }
    }
}

async fn ended(mut session: Session) {
    while session.echo(1).await.is_ok() {}
}

/// Handshakes at a time while there is no storm.
const GENTLY: usize = 32;
/// How many unfinished handshakes of one address gateways from 2026.4.21 on bear.
const BUDGET: usize = 32;
/// How Control UIs wait before they come back: 800 ms, each time 1.7 times longer, 15 s at the most.
const FIRST_PAUSE: Duration = Duration::from_millis(800);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
