use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;
use scope_shim::demo::simulated::Profile;

use crate::command::Bench;
use crate::modes::{before, said};
use crate::program::{Foundling, Program, configure, free};
use crate::stage::{TOKEN, eventually};
use crate::support::client::{Connect, LEGACY, READ};

/// A program that runs from a path of its own, where another version can be put.
async fn installed(bench: &Bench) -> (PathBuf, Program) {
    let path = bench.dir.path().join("scope-shim");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_scope-shim"), &path).unwrap();
    let listen = free();
    configure(bench, &format!("listen = \"{listen}\"\n{}", before(bench)));
    let program = Program::of(&path, bench, listen, None).await;
    (path, program)
}

async fn serving(bench: &Bench) -> u64 {
    let config = bench.dir.path().join("data/admin.sock");
    let live = crate::program::ask(&config, "/live").await;
    live["pid"].as_u64().unwrap()
}

#[tokio::test]
async fn a_new_version_takes_over_and_the_old_one_keeps_its_sessions() {
    let bench = Bench::new(Profile::Literal).await;
    let (_path, mut program) = installed(&bench).await;
    let connect = Connect::to(program.listen)
        .token(TOKEN)
        .device(&bench.paired(LEGACY))
        .scopes(&[READ]);
    let mut delegated = connect.clone().run().await.admitted();
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
    let connect = Connect::to(program.listen)
        .token(TOKEN)
        .device(&bench.paired(LEGACY))
        .scopes(&[READ]);
    let mut session = connect.clone().run().await.admitted();
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
    std::fs::write(&path, "#!/bin/sh\nexit 3\n").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let ended = said(&bench, &["upgrade"]).await;
    assert!(ended.contains("it ended (exit status: 3)"), "{ended}");
    assert_eq!(serving(&bench).await, u64::from(program.pid()));
    assert_eq!(session.letters().await, "r");
    connect.run().await.admitted();
}
