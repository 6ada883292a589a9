//! Clients that a bad line leads to the shim: it delays and loses, or is cut.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use scope_shim::demo::simulated::Profile;
use serde_json::json;
use tokio::time::timeout;

use crate::command::Bench;
use crate::held::metric;
use crate::line::{FAR, Line, Quality};
use crate::program::{Program, configure};
use crate::stage::{TOKEN, eventually};
use crate::support::client::{Connect, LEGACY, READ, Session};
use crate::support::device::TestDevice;

/// A shim at the far end of a line, and its gateway behind it.
struct Scene {
    bench: Arc<Bench>,
    program: Program,
    shim: SocketAddr,
}

impl Scene {
    async fn at_the_far_end(line: &Line, limits: &'static str) -> Self {
        let shim = SocketAddr::new(FAR.parse().unwrap(), 18_780);
        let started = async move {
            let bench = Bench::new(Profile::Literal).await;
            let config = format!(
                "listen = \"{shim}\"\n{}[tls]\nplaintext = \"allowed\"\n[limits]\n{limits}\n",
                crate::modes::before(&bench)
            );
            configure(&bench, &config);
            let program = Program::again(&bench, shim, None).await;
            // What it opens for itself is open before anybody is counted.
            eventually("the delegate is paired", || {
                program
                    .log()
                    .contains("the delegate is paired")
                    .then_some(())
            })
            .await;
            (Arc::new(bench), program)
        };
        let (bench, program) = line.far.run(started).await;
        Self {
            bench,
            program,
            shim,
        }
    }

    /// What the shim holds: descriptors, and sessions.
    async fn held(&self) -> (usize, f64) {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.program.pid()));
        let sessions = metric(&self.bench.dir.path().join("data"), "scope_shim_sessions").await;
        (descriptors.unwrap().count(), sessions)
    }

    /// Waits until it holds no session, and no more descriptors than before.
    async fn gives_back(&self, before: (usize, f64)) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.held().await;
            if now.0 <= before.0 + FEW && now.1 == 0.0 {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "it held {before:?} before, and now {now:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A paired device that asks for these scopes.
    fn client(&self, scopes: &[&str]) -> Connect {
        let device = self.bench.paired(LEGACY);
        Connect::to(self.shim)
            .token(TOKEN)
            .device(&device)
            .scopes(scopes)
    }
}

/// Comes back until it is let in, as clients do when a handshake has taken too long.
async fn is_let_in(connect: Connect) -> Session {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let outcome = connect.clone().run().await;
        let why = format!("{outcome:?}");
        if let Some(session) = outcome.session {
            return session;
        }
        assert!(Instant::now() < deadline, "never let in: {why}");
    }
}

/// Says much that comes back, and sees that it is the same.
async fn converses(session: &mut Session, number: usize) {
    for turn in 0..2 {
        let words = (0..).map(|word| format!("client {number}, turn {turn}, word {word}; "));
        let id: String = words.take(LONG).collect();
        assert!(
            session.answered_under(&id).await == id,
            "something else came back"
        );
    }
}

#[tokio::test]
async fn on_a_line_that_loses_one_packet_in_five_sessions_come_about_and_every_byte_arrives() {
    let Some(mut line) = Line::lay(&Quality {
        delay: 0.1,
        loss: 0.2,
    }) else {
        return;
    };
    let scene = Scene::at_the_far_end(&line, "").await;
    let before = scene.held().await;
    // Two of them as they are, two repaired.
    let clients = [(LEGACY, "rwAap"), (&[READ], "r")].repeat(2);
    let conversations = clients
        .into_iter()
        .enumerate()
        .map(|(number, (scopes, may))| {
            let connect = scene.client(scopes);
            line.near.run(async move {
                let mut session = is_let_in(connect).await;
                converses(&mut session, number).await;
                assert_eq!(session.letters().await, may);
                session.close().await;
            })
        });
    let all = futures_util::future::join_all(conversations);
    timeout(PATIENCE, all)
        .await
        .expect("every conversation ends");
    assert!(line.lost() > 20, "the line was no bad one");
    scene.gives_back(before).await;
}

#[tokio::test]
async fn a_client_that_vanishes_without_a_word_takes_up_nothing_for_long() {
    let Some(mut line) = Line::lay(&Quality {
        delay: 0.0,
        loss: 0.0,
    }) else {
        return;
    };
    let scene = Scene::at_the_far_end(&line, "vanished_timeout = \"3s\"").await;
    let before = scene.held().await;
    let (silent, told) = (scene.client(&[READ]), scene.client(LEGACY));
    let admitted = async { (silent.run().await.admitted(), told.run().await.admitted()) };
    let (mut silent, mut told) = line.near.run(admitted).await;
    assert!(scene.held().await > before);
    line.cut();
    // One of them is sent something that never arrives: that a request waits.
    let (bench, asking) = (Arc::clone(&scene.bench), scene.bench.direct());
    let asking = asking.device(&TestDevice::new()).scopes(&[READ]).remote();
    line.far.run(async move { bench.ask(asking).await }).await;
    scene.gives_back(before).await;
    // When they are back, they learn it at once, and find a shim as ever.
    line.mend();
    let back = async move {
        for session in [&mut silent, &mut told] {
            let answer = session.call("system-presence", json!({})).await;
            assert_eq!(answer.unwrap_err()["closed"], 1006);
        }
    };
    line.near.run(back).await;
    let again = scene.client(&[READ]);
    line.near.run(async { again.run().await.admitted() }).await;
}

/// In words: some packets.
const LONG: usize = 250;
/// Descriptors of whoever asks at that moment: fewer than two sessions have.
const FEW: usize = 3;
const PATIENCE: Duration = Duration::from_secs(120);
