use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;
use scope_shim::demo::simulated::Profile;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::{Duration, timeout};

use crate::command::Bench;
use crate::modes::{before, said};
use crate::program::{Foundling, Program, ask, configure, free};
use crate::reshaping::entry;
use crate::stage::eventually;
use crate::support::client::{Connect, LEGACY, Session, WRITE};

/// Another version, in a few words of shell. The process before it hears what it says on file descriptor `$said`.
fn script(path: &Path, text: &str) {
    let _ = std::fs::remove_file(path);
    let text = format!("#!/bin/sh\nsaid=$((2 + LISTEN_FDS))\n{text}\n");
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

/// A program that runs from a path of its own, where another version can be put.
pub async fn installed(bench: &Bench) -> (PathBuf, Program) {
    let path = bench.dir.path().join("scope-shim");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_scope-shim"), &path).unwrap();
    let listen = free();
    configure(bench, &format!("listen = \"{listen}\"\n{}", before(bench)));
    let program = Program::of(&path, bench, listen, None).await;
    (path, program)
}

/// A client of it that asks to read, and a session of that.
async fn reader(bench: &Bench, program: &Program) -> (Connect, Session) {
    let connect = bench.reader(program.listen);
    let session = connect.clone().run().await.admitted();
    (connect, session)
}

pub async fn serving(bench: &Bench) -> u64 {
    let config = bench.dir.path().join("data/admin.sock");
    let live = crate::program::ask(&config, "/live").await;
    live["pid"].as_u64().unwrap()
}

#[tokio::test]
async fn a_new_version_takes_over_and_the_old_one_keeps_its_sessions() {
    let bench = Bench::new(Profile::Literal).await;
    let (_path, mut program) = installed(&bench).await;
    let (connect, mut delegated) = reader(&bench, &program).await;
    let mut untouched = connect.clone().scopes(LEGACY).run().await.admitted();
    let over = Arc::new(AtomicBool::new(false));
    let made = Arc::new(AtomicUsize::new(0));
    let coming = {
        let (over, made, connect) = (Arc::clone(&over), Arc::clone(&made), connect.clone());
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                connect.clone().run().await.admitted().close().await;
                made.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let old = u64::from(program.pid());
    let outcome = said(&bench, &["upgrade"]).await;
    assert!(outcome.starts_with("exit: 0\nupgraded: "), "{outcome}");
    let new = serving(&bench).await;
    let _ended_later = Foundling(u32::try_from(new).unwrap());
    assert_ne!(new, old);
    program.hears(&format!("MAINPID={new}")).await;
    let after = made.load(Ordering::Relaxed);
    eventually("new clients come in", || {
        (made.load(Ordering::Relaxed) > after + 3).then_some(())
    })
    .await;
    over.store(true, Ordering::Relaxed);
    coming.await.unwrap();
    assert_eq!(delegated.letters().await, "r");
    assert_eq!(untouched.letters().await, "rwAap");
    delegated.close().await;
    untouched.close().await;
    assert!(program.ends().await);
    assert!(program.log().contains("the last session has ended"));
    connect.run().await.admitted();
}

#[tokio::test]
async fn a_signal_upgrades_too_and_the_mode_goes_with_it() {
    let bench = Bench::new(Profile::Literal).await;
    let (_path, mut program) = installed(&bench).await;
    said(&bench, &["mode", "observe"]).await;
    program.signal(Signal::USR2);
    assert!(program.ends().await, "nothing was under way");
    let new = serving(&bench).await;
    let _ended_later = Foundling(u32::try_from(new).unwrap());
    let outcome = said(&bench, &["mode"]).await;
    assert!(outcome.contains("mode observe, switched by"), "{outcome}");
}

#[tokio::test]
async fn a_version_that_does_not_come_to_serve_changes_nothing() {
    let bench = Bench::new(Profile::Literal).await;
    let (path, program) = installed(&bench).await;
    let (connect, mut session) = reader(&bench, &program).await;
    let listen = program.listen;
    configure(&bench, "nonsense = 1\n");
    let broken = said(&bench, &["upgrade"]).await;
    assert!(broken.contains("unknown key `nonsense`"), "{broken}");
    configure(
        &bench,
        &format!("listen = \"{listen}\"\n{}", before(&bench)),
    );
    std::fs::remove_file(&path).unwrap();
    let gone = said(&bench, &["upgrade"]).await;
    assert!(
        gone.contains("cannot start ") && gone.starts_with("exit: 1\n"),
        "{gone}"
    );
    script(&path, "exit 3");
    let ended = said(&bench, &["upgrade"]).await;
    assert!(ended.contains("it ended (exit status: 3)"), "{ended}");
    assert_eq!(serving(&bench).await, u64::from(program.pid()));
    assert_eq!(session.letters().await, "r");
    connect.run().await.admitted();
}

/// Each of them takes the place of the admin socket away, as far as it can.
#[tokio::test]
async fn a_version_that_fails_late_leaves_the_old_one_to_be_asked() {
    let bench = Bench::new(Profile::Literal).await;
    let (path, program) = installed(&bench).await;
    let (connect, mut session) = reader(&bench, &program).await;
    let data = bench.dir.path().join("data");
    let taken = format!("rm {}/admin.sock", data.display());
    for (text, why) in [
        (format!("{taken}; exit 3"), "it ended (exit status: 3)"),
        (
            format!("echo ready >&$said; {taken}; exit 4"),
            "it ended (exit status: 4)",
        ),
        (
            format!("echo ready >&$said; head -c 3 <&$said; {taken}; echo no port >&$said; exit 5"),
            ": no port",
        ),
        (
            format!("{taken}; exec sleep 300"),
            "it did not come to serve within 8s",
        ),
    ] {
        script(&path, &text);
        let failed = match text.contains("sleep") {
            // It is the signal that asks, so that both ways are seen.
            true => {
                program.signal(Signal::USR2);
                eventually("it has failed", || {
                    let log = program.log();
                    log.contains(why).then_some(log)
                })
                .await
            }
            false => said(&bench, &["upgrade"]).await,
        };
        assert!(failed.contains(why), "{text}: {failed}");
        let socket = data.join("admin.sock");
        eventually("its socket is back", || socket.exists().then_some(())).await;
        assert_eq!(serving(&bench).await, u64::from(program.pid()), "{text}");
        assert_eq!(session.letters().await, "r", "{text}");
        connect.clone().run().await.admitted().close().await;
    }
    let left = std::fs::read_dir(&data).unwrap().flatten();
    let mut left = left.map(|entry| entry.file_name().into_string().unwrap());
    assert!(!left.any(|name| name.starts_with("older-")));
}

#[tokio::test]
async fn a_new_process_goes_on_alone_where_the_old_one_dies_before_it_has_taken_over() {
    let bench = Bench::new(Profile::Literal).await;
    let path = bench.dir.path().join("scope-shim");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_scope-shim"), &path).unwrap();
    // A gateway that accepts and says nothing: the new process waits for it before it says that it is ready.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = silent.local_addr().unwrap();
    let listen = free();
    let text = format!("listen = \"{listen}\"\n[gateway]\nurl = \"ws://{url}\"\n");
    configure(&bench, &text);
    let mut program = Program::of(&path, &bench, listen, None).await;
    let _first = silent.accept().await.unwrap();
    program.signal(Signal::USR2);
    let _second = silent.accept().await.unwrap();
    let old = u64::from(program.pid());
    program.signal(Signal::KILL);
    assert!(!program.ends().await);
    let socket = bench.dir.path().join("data/admin.sock");
    let served = async {
        while UnixStream::connect(&socket).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    let served = timeout(Duration::from_secs(20), served).await;
    served.expect("the new process can be asked");
    let new = serving(&bench).await;
    let _ended_later = Foundling(u32::try_from(new).unwrap());
    assert_ne!(new, old);
    TcpStream::connect(listen).await.unwrap();
}

#[tokio::test]
async fn a_stop_while_an_upgrade_is_under_way_ends_both_processes() {
    let bench = Bench::new(Profile::Literal).await;
    let (path, mut program) = installed(&bench).await;
    // What a shim starts writes where the shim may.
    let noted = bench.dir.path().join("data/heir");
    let text = format!(
        "echo $$ > {0}.draft; mv {0}.draft {0}; exec sleep 300",
        noted.display()
    );
    script(&path, &text);
    program.signal(Signal::USR2);
    let heir = eventually("the new process is there", || {
        std::fs::read_to_string(&noted).ok()
    })
    .await;
    program.signal(Signal::TERM);
    assert!(program.ends().await);
    let heir = rustix::process::Pid::from_raw(heir.trim().parse().unwrap()).unwrap();
    let there = rustix::process::test_kill_process(heir);
    assert_eq!(there, Err(rustix::io::Errno::SRCH), "it is gone, too");
}

#[tokio::test]
async fn the_old_process_is_shown_and_follows_the_mode_and_the_configuration() {
    let bench = Bench::new(Profile::Literal).await;
    let (_path, mut program) = installed(&bench).await;
    let (connect, mut reading) = reader(&bench, &program).await;
    let mut writing = connect.clone().scopes(&[WRITE]).run().await.admitted();
    let old = program.pid();
    said(&bench, &["upgrade"]).await;
    let new = u32::try_from(serving(&bench).await).unwrap();
    let _ended_later = Foundling(new);
    // An upgrade of the upgrade: the first process is found by the third.
    said(&bench, &["upgrade"]).await;
    let newest = u32::try_from(serving(&bench).await).unwrap();
    let _ended_later_too = Foundling(newest);
    assert_ne!(newest, new);
    let status = bench.run(&["status"]).await;
    let line = format!("an older process, pid {old} (0.1.0), still serves 2 sessions");
    assert!(status.contains(&line), "{status}");
    let older = bench.dir.path().join(format!("data/older-{old}.sock"));
    said(&bench, &["mode", "observe"]).await;
    let mode = crate::program::ask(&older, "/mode").await;
    assert_eq!(mode["gateways"][0]["mode"], "observe");
    let text = format!(
        "listen = \"{}\"\n{}[policy]\nmax_scopes = [\"operator.read\"]\n",
        program.listen,
        before(&bench)
    );
    configure(&bench, &text);
    said(&bench, &["reload"]).await;
    assert_eq!(writing.closed().await.0, 1008);
    assert_eq!(reading.letters().await, "r");
    program.signal(Signal::HUP);
    eventually("a signal to it is not lost", || {
        let log = program.log();
        log.contains("read the configuration again; nothing has changed")
            .then_some(())
    })
    .await;
    reading.close().await;
    assert!(program.ends().await);
    assert!(!older.exists());
    let status = bench.run(&["status"]).await;
    assert!(!status.contains("an older process"), "{status}");
}

/// Whichever comes first: the process that serves in the end knows of it.
#[tokio::test]
async fn what_is_switched_off_and_unpaired_during_an_upgrade_stays_so() {
    let bench = Bench::new(Profile::Literal).await;
    let (_path, program) = installed(&bench).await;
    eventually("paired", || {
        let paired = bench.gateway.paired().unwrap();
        (!paired.as_object().unwrap().is_empty()).then_some(())
    })
    .await;
    let old = serving(&bench).await;
    program.signal(Signal::USR2);
    let mut outcome = said(&bench, &["unpair"]).await;
    if outcome.contains("run this again") {
        outcome = said(&bench, &["unpair"]).await;
    }
    assert!(outcome.starts_with("exit: 0\n"), "{outcome}");
    eventually("the new process serves", || {
        program
            .log()
            .contains("a new process has taken over")
            .then_some(())
    })
    .await;
    let new = serving(&bench).await;
    let _ended_later = Foundling(u32::try_from(new).unwrap());
    assert_ne!(new, old);
    let mode = said(&bench, &["mode"]).await;
    assert!(mode.contains("mode off, switched by"), "{mode}");
    assert!(!bench.dir.path().join("data/delegate.key").exists());
    assert_eq!(bench.gateway.paired().unwrap(), serde_json::json!({}));
}

/// Two of them, and gateways that accept and say nothing: a new process waits for those before it says that it is ready.
#[tokio::test]
async fn a_door_that_is_opened_during_an_upgrade_is_the_new_processs_in_the_end() {
    let bench = Bench::new(Profile::Literal).await;
    let path = bench.dir.path().join("scope-shim");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_scope-shim"), &path).unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (listen, own) = (free(), free());
    for state in ["a", "c"] {
        std::fs::create_dir(bench.dir.path().join(state)).unwrap();
    }
    let gateway = |name: &str, more: &str, address| {
        let state = bench.dir.path().display().to_string();
        entry(name, more, address, name).replace("DIR", &state)
    };
    let one = gateway("a", "", silent.local_addr().unwrap());
    let one = format!("listen = \"{listen}\"\n{one}");
    let other = gateway("c", &format!("listen = \"{own}\""), bench.gateway.addr());
    configure(&bench, &one);
    let program = Program::of(&path, &bench, listen, None).await;
    let _first = silent.accept().await.unwrap();
    program.signal(Signal::USR2);
    let _second = silent.accept().await.unwrap();
    // The new process has read what was there; only the old one opens the door that comes now.
    configure(&bench, &format!("{one}{other}"));
    program.signal(Signal::HUP);
    eventually("a new process serves", || {
        let log = program.log();
        log.contains("a new process has taken over").then_some(())
    })
    .await;
    let new = serving(&bench).await;
    let _ended_later = Foundling(u32::try_from(new).unwrap());
    let socket = bench.dir.path().join("data/admin.sock");
    let both = async {
        loop {
            let status = ask(&socket, "/status").await;
            if status["gateways"].as_array().unwrap().len() == 2 {
                return status;
            }
            tokio::task::yield_now().await;
        }
    };
    let status = timeout(Duration::from_secs(20), both).await;
    let status = status.unwrap_or_else(|_| panic!("never both: {}", program.log()));
    assert_eq!(status["pid"], new);
    assert!(status["reload"]["refused"].is_null(), "{status}");
    TcpStream::connect(own).await.unwrap();
}

#[tokio::test]
async fn the_lines_of_both_processes_say_whose_they_are_while_there_are_two() {
    let bench = Bench::new(Profile::Literal).await;
    let (_path, mut program) = installed(&bench).await;
    let (connect, session) = reader(&bench, &program).await;
    let old = program.pid();
    assert!(!program.log().contains("process="));
    said(&bench, &["upgrade"]).await;
    let new = u32::try_from(serving(&bench).await).unwrap();
    let _ended_later = Foundling(new);
    connect.clone().run().await.admitted().close().await;
    session.close().await;
    assert!(program.ends().await);
    let (of_old, of_new) = (format!("process={old}"), format!("process={new}"));
    let mut after = 0;
    let alone = async {
        loop {
            connect.clone().run().await.admitted().close().await;
            let log = program.log();
            let line = |says: &str, of: &str| {
                let mut lines = log.lines();
                lines.any(|line| line.contains(says) && line.ends_with(of))
            };
            after += 1;
            let mut sessions = log.lines().filter(|line| line.contains(" INFO session "));
            let last = sessions.next_back().unwrap();
            if line("the last session has ended", &of_old)
                && line("listening on", &of_new)
                && line("decision=rewrite", &of_new)
                && !last.contains("process=")
            {
                return;
            }
        }
    };
    let alone = timeout(Duration::from_secs(20), alone).await;
    alone.unwrap_or_else(|_| panic!("{after}: {}", program.log()));
}
