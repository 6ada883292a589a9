use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use scope_shim::demo::simulated::Profile;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::interval;

use crate::command::Bench;
use crate::modes::{before, said};
use crate::program::{Program, configure, free};
use crate::stage::{Stage, until};
use crate::support::client::{LEGACY, READ};

#[tokio::test]
async fn a_store_that_is_rewritten_ten_thousand_times_a_minute_is_followed() {
    let stage = Stage::new(Profile::Literal).await;
    let device = stage.paired(LEGACY);
    let connect = stage.through().device(&device).scopes(&[READ]);
    let mut session = connect.clone().run().await.admitted();
    let path = stage.state().join("devices/paired.json");
    let text = fs::read(&path).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let rewriting = {
        let (path, over) = (path.clone(), Arc::clone(&over));
        tokio::spawn(async move {
            let mut pace = interval(Duration::from_millis(6));
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                pace.tick().await;
                let next = path.with_extension("next");
                fs::write(&next, &text).unwrap();
                fs::rename(&next, &path).unwrap();
                count += 1;
            }
            count
        })
    };
    for _ in 0..20 {
        assert_eq!(connect.clone().run().await.label().await, "ok r");
        assert_eq!(session.letters().await, "r");
    }
    over.store(true, Ordering::Relaxed);
    assert!(rewriting.await.unwrap() > 0);
    fs::write(&path, "{}").unwrap();
    let (code, reason) = session.closed().await;
    assert_eq!(code, 1008);
    assert!(
        reason.contains("was removed"),
        "the last of them counts: {reason}"
    );
}

#[tokio::test]
async fn sessions_are_shared_out_among_the_processors() {
    let processors = std::thread::available_parallelism().unwrap().get();
    let bench = Bench::new(Profile::Literal).await;
    let program = Program::start(&bench, &before(&bench)).await;
    let connect = bench.reader(program.listen);
    let mut sessions = Vec::new();
    for _ in 0..8 * processors {
        sessions.push(connect.clone().run().await.admitted());
    }
    // A session has two sockets; no other thread waits for so many.
    let waited_for = sockets_waited_for(program.pid());
    let busy = waited_for.iter().filter(|sockets| sockets.len() >= 10);
    assert_eq!(busy.count(), processors, "{waited_for:?}");
    for mut session in sessions {
        assert_eq!(session.letters().await, "r");
    }
}

/// The sockets that each of a process's epoll instances waits for, by descriptor; an instance may have two descriptors.
fn sockets_waited_for(pid: u32) -> HashSet<Vec<String>> {
    let is_socket = |fd: &str| {
        let file = fs::read_link(format!("/proc/{pid}/fd/{fd}"));
        file.is_ok_and(|file| file.to_string_lossy().starts_with("socket:"))
    };
    let instances = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let waited_for = instances.flatten().map(|instance| {
        let targets = fs::read_to_string(instance.path()).unwrap_or_default();
        let targets = targets.lines().filter_map(|line| line.strip_prefix("tfd:"));
        let targets = targets.filter_map(|line| line.split_whitespace().next());
        targets
            .filter(|fd| is_socket(fd))
            .map(str::to_owned)
            .collect()
    });
    waited_for.collect()
}

#[tokio::test]
async fn without_a_descriptor_left_sessions_go_on_and_whoever_waits_comes_in_later() {
    let bench = Bench::new(Profile::Literal).await;
    let program = Program::start(&bench, &before(&bench)).await;
    let connect = bench.reader(program.listen);
    let mut session = connect.clone().run().await.admitted();
    let pid = Pid::from_raw(i32::try_from(program.pid()).unwrap()).unwrap();
    let open = fs::read_dir(format!("/proc/{}/fd", program.pid()))
        .unwrap()
        .count();
    let few = Some(open as u64 + 6);
    prlimit(
        Some(pid),
        Resource::Nofile,
        Rlimit {
            current: few,
            maximum: few,
        },
    )
    .unwrap();
    let mut crowd = Vec::new();
    while !program.log().contains("cannot accept a client") {
        crowd.push(TcpStream::connect(program.listen).await.unwrap());
        tokio::task::yield_now().await;
    }
    assert_eq!(session.letters().await, "r");
    drop(crowd);
    until(&connect, "there is room again", |outcome| {
        outcome.session.is_some()
    })
    .await;
    assert_eq!(session.letters().await, "r");
}

#[tokio::test]
async fn without_memory_the_program_ends_with_a_word_and_the_next_one_serves() {
    let bench = Bench::new(Profile::Literal).await;
    let mut program = Program::start(&bench, &before(&bench)).await;
    let listen = program.listen;
    let connect = bench.reader(listen);
    let pid = Pid::from_raw(i32::try_from(program.pid()).unwrap()).unwrap();
    let most = Some(address_space(program.pid()) + (4 << 20));
    prlimit(
        Some(pid),
        Resource::As,
        Rlimit {
            current: most,
            maximum: most,
        },
    )
    .unwrap();
    // Each of them has most of a request's head kept for it.
    let head = [
        &b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: "[..],
        &[b'x'; 60_000],
    ]
    .concat();
    let crowd = async {
        let mut crowd = Vec::new();
        loop {
            if let Ok(mut client) = TcpStream::connect(listen).await {
                let _ = client.write_all(&head).await;
                crowd.push(client);
            }
            tokio::task::yield_now().await;
        }
    };
    let well = tokio::select! {
        () = crowd => true,
        well = program.ends() => well,
    };
    assert!(!well);
    let log = program.log();
    assert!(log.contains("memory allocation of"), "{log}");
    let _next = Program::again(&bench, listen, None).await;
    until(&connect, "served again", |outcome| {
        outcome.session.is_some()
    })
    .await;
}

/// What a process has of the address space, in bytes.
fn address_space(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kib = size.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() * 1024
}

/// The data directory of this program is its own, small and full. Only root may make such a thing.
#[tokio::test]
async fn with_a_full_disk_clients_are_served_and_what_cannot_be_kept_is_said() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let bench = Bench::new(Profile::Literal).await;
    let dir = bench.dir.path();
    let listen = free();
    let config = format!(
        "listen = \"{listen}\"\n{}[admin]\nsocket = {:?}\n",
        before(&bench),
        dir.join("admin.sock")
    );
    configure(&bench, &config);
    let mut program = Program::again(&bench, listen, None).await;
    let connect = bench.reader(listen);
    connect.clone().run().await.admitted().close().await;
    program.signal(Signal::TERM);
    assert!(program.ends().await);

    let script = dir.join("on-a-full-disk");
    fs::write(&script, ON_A_FULL_DISK).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.join("program"), env!("CARGO_BIN_EXE_scope-shim")).unwrap();
    let mut program = Program::of(&script, &bench, listen, None).await;
    assert!(
        program.log().contains("code=\"data-full\""),
        "{}",
        program.log()
    );
    let mut session = connect.clone().run().await.admitted();
    assert_eq!(session.letters().await, "r");
    // Who switches it off in an incident is not held up by a disk, and is told.
    let outcome = said(&bench, &["mode", "off"]).await;
    assert!(outcome.contains("does not survive a restart"), "{outcome}");
    assert!(outcome.contains("No space left on device"), "{outcome}");
    assert!(!outcome.starts_with("exit: 0"), "{outcome}");
    assert!(connect.clone().run().await.session.is_none());
    let back = said(&bench, &["mode", "on"]).await;
    assert!(back.starts_with("exit: 0"), "{back}");
    assert_eq!(connect.run().await.label().await, "ok r");
    assert_eq!(session.letters().await, "r");
    session.close().await;
    program.signal(Signal::TERM);
    assert!(program.ends().await);
}

/// Puts a file system that is full in the place of the data directory, with what was in it, and runs the program there.
const ON_A_FULL_DISK: &str = r#"#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
[ "$1" = inside ] || exec unshare --mount "$0" inside "$@"
shift
cp -a "$SCOPE_SHIM_DATA" "$HOME/kept"
mount -t tmpfs -o size=256k,nr_inodes=64,mode=0700 none "$SCOPE_SHIM_DATA"
cp -a "$HOME/kept/." "$SCOPE_SHIM_DATA"
dd if=/dev/zero of="$SCOPE_SHIM_DATA/fill" bs=4096 2>/dev/null
while mkdir "$SCOPE_SHIM_DATA/$((n=n+1))" 2>/dev/null; do :; done
exec "$(cat "$HOME/program")" "$@"
"#;
