//! The log, and whoever reads it.

use std::io::PipeReader;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use scope_shim::demo::simulated::Profile;
use scope_shim::explain::Kept;
use scope_shim::ws::Opcode;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::unix::pipe::Receiver;
use tokio::time::{sleep, timeout};

use crate::command::Bench;
use crate::modes::before;
use crate::program::{Program, configure, fetch, free};
use crate::stage::{TOKEN, eventually};
use crate::support::client::{Connect, LEGACY, READ};
use crate::wire::{RawClient, masked};

/// A program whose log goes into a pipe that is full, and that nobody reads.
struct Unread {
    bench: Bench,
    program: Program,
    log: PipeReader,
}

impl Unread {
    async fn start() -> Self {
        let bench = Bench::new(Profile::Literal).await;
        let listen = free();
        let good = format!("listen = \"{listen}\"\n{}", before(&bench));
        configure(&bench, &good);
        let (log, stderr) = std::io::pipe().unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_scope-shim"));
        let program = Program::telling(stderr, program, &bench, listen, None).await;
        let unread = Self {
            bench,
            program,
            log,
        };
        // Each of these is a long line, and twice all of them are more than may wait.
        let slip = |number: usize| format!("{}{number} = 1\n", "x".repeat(300_000));
        let slips: String = (0..3).map(slip).collect();
        configure(&unread.bench, &format!("{slips}{good}"));
        for refused in 1..=2 {
            unread.program.signal(Signal::HUP);
            let refusal = async {
                let series = "scope_shim_reloads_total{result=\"refused\"}";
                while unread.metric(series).await < refused {
                    sleep(Duration::from_millis(20)).await;
                }
            };
            timeout(Duration::from_secs(30), refusal).await.unwrap();
        }
        assert!(unread.lost().await > 0);
        unread
    }

    fn connect(&self) -> Connect {
        Connect::to(self.program.listen)
            .token(TOKEN)
            .device(&self.bench.paired(LEGACY))
            .scopes(&[READ])
    }

    /// How many lines were lost so far.
    async fn lost(&self) -> u64 {
        self.metric("scope_shim_dropped_log_lines_total").await
    }

    async fn metric(&self, series: &str) -> u64 {
        self.program.listen_to();
        let socket = self.bench.dir.path().join("data/admin.sock");
        let metrics = fetch(&socket, "/metrics").await;
        let mut lines = metrics.lines();
        let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap().parse().unwrap()
    }
}

async fn line_with(log: &mut Lines<BufReader<Receiver>>, says: &str) -> String {
    let found = async {
        loop {
            let line = log.next_line().await.unwrap().expect(says);
            if line.contains(says) {
                return line;
            }
        }
    };
    timeout(Duration::from_secs(30), found).await.expect(says)
}

#[tokio::test]
async fn a_log_that_nobody_reads_costs_lines_and_no_session() {
    let mut unread = Unread::start().await;
    let connect = unread.connect();
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(connect.clone().run().await.admitted());
    }
    for session in &mut sessions {
        assert_eq!(session.letters().await, "r");
    }
    let log = Receiver::from_owned_fd(unread.log.try_clone().unwrap().into()).unwrap();
    let mut log = BufReader::new(log).lines();
    let told = line_with(&mut log, "lines of this log were lost").await;
    let (_, told) = told.rsplit_once("lost=").unwrap();
    assert_eq!(told.parse::<u64>().unwrap(), unread.lost().await);
    connect.run().await.admitted();
    line_with(&mut log, "decision=rewrite").await;
    drop(sessions);
    unread.program.signal(Signal::TERM);
    line_with(&mut log, " INFO stopped").await;
    assert!(unread.program.ends().await);
}

#[tokio::test]
async fn a_shim_whose_log_nobody_reads_can_be_stopped() {
    let mut unread = Unread::start().await;
    unread.program.signal(Signal::TERM);
    assert!(unread.program.ends().await);
}

#[tokio::test]
async fn the_log_and_explain_tell_the_same_duration() {
    let bench = Bench::new(Profile::Literal).await;
    let program = Program::start(&bench, &before(&bench)).await;
    let connect = Connect::to(program.listen)
        .token(TOKEN)
        .device(&bench.paired(LEGACY));
    for _ in 0..4 {
        connect.clone().scopes(&[READ]).run().await.admitted();
    }
    let data = bench.dir.path().join("data");
    let (traces, log) = eventually("both know them", || {
        let traces = Kept::read(&data).unwrap().traces;
        let log = program.log();
        let sessions = log.matches(" INFO session ").count();
        (traces.len() == 4 && sessions == 4).then_some((traces, log))
    })
    .await;
    for trace in traces {
        let mut lines = log.lines();
        let line = lines.find(|line| line.contains(&trace.session)).unwrap();
        assert!(line.ends_with(&format!(" ms={}", trace.ms)), "{line}");
    }
}

#[tokio::test]
async fn a_handshake_that_ends_before_its_request_is_told_with_who_ended_it() {
    let bench = Bench::new(Profile::Literal).await;
    let program = Program::start(&bench, &before(&bench)).await;
    let told = async |says: &str| {
        eventually(says, || {
            let log = program.log();
            let mut lines = log.lines();
            lines.find(|line| line.contains(says)).map(str::to_owned)
        })
        .await
    };
    let mut leaving = RawClient::upgrade(program.listen, "/", b"").await;
    leaving.nonce().await;
    drop(leaving);
    let line = told("the client left without a connect request").await;
    assert!(line.contains("from=127.0.0.1"), "{line}");
    assert!(line.contains("challenged=true"), "{line}");
    // One that closes in order is answered by the gateway, which may be the first to hang up then.
    let mut polite = RawClient::upgrade(program.listen, "/", b"").await;
    polite.nonce().await;
    polite.write(&masked(Opcode::Close, b"\x03\xe8")).await;
    assert_eq!(polite.closed().await.0, 1000);
    eventually("it is told like the other", || {
        let log = program.log();
        let told = log.matches("the client left without a connect request");
        (told.count() == 2).then_some(())
    })
    .await;
    assert!(!program.log().contains("no-answer"));
    let mut waiting = RawClient::upgrade(program.listen, "/", b"").await;
    waiting.nonce().await;
    bench.gateway.stop().await;
    let line = told("the gateway closed after its challenge").await;
    assert!(line.contains(" WARN "), "{line}");
    assert!(line.contains("finding=no-answer"), "{line}");
}
