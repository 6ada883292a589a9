use std::time::Duration;

use rustix::process::Signal;
use scope_shim::demo::simulated::Profile;
use scope_shim::relay::{Stop, Wire, relay};
use scope_shim::ws::Close;
use scope_shim::ws::close::SERVICE_RESTART;
use scope_shim::ws::frame::{Opcode, encode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::command::Bench;
use crate::faults::{agree, asked};
use crate::modes::{before, said};
use crate::program::Program;
use crate::stage::{Shim, Stage, TOKEN, eventually};
use crate::support::client::{Connect, LEGACY, READ};
use crate::wire::{RawClient, masked};

#[tokio::test]
async fn what_is_left_is_sent_away_so_that_it_comes_back_at_once() {
    for mode in ["on", "observe", "off"] {
        let stage = Stage::with(Profile::Literal, |setup| {
            setup.config = format!("mode = \"{mode}\"\n[limits]\ndrain = \"0s\"\n");
        })
        .await;
        let connect = stage.through().device(&stage.paired(LEGACY));
        let mut sessions = vec![connect.clone().scopes(LEGACY).run().await.admitted()];
        if mode == "on" {
            sessions.push(connect.scopes(&[READ]).run().await.admitted());
        }
        let (_, ends) = tokio::join!(
            stage.shim.stop(),
            futures_util::future::join_all(sessions.iter_mut().map(|session| session.closed()))
        );
        for end in ends {
            assert_eq!(end, (1012, "service restart".to_owned()), "{mode}");
        }
    }
}

#[tokio::test]
async fn a_session_may_go_on_until_it_ends_where_that_is_configured() {
    let stage = Stage::with(Profile::Literal, |setup| {
        setup.config = "[limits]\ndrain = \"off\"\n".into();
    })
    .await;
    let connect = stage
        .through()
        .device(&stage.paired(LEGACY))
        .scopes(&[READ]);
    let mut session = connect.run().await.admitted();
    let address = stage.shim.addr;
    let mut stopping = tokio::spawn(stage.shim.stop());
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(session.letters().await, "r");
    let early = timeout(Duration::from_millis(100), &mut stopping).await;
    early.expect_err("the session is still there");
    session.close().await;
    timeout(Duration::from_secs(20), stopping)
        .await
        .expect("nothing is left to wait for")
        .unwrap();
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let bench = Bench::new(Profile::Literal).await;
    let config = format!("{}[limits]\ndrain = \"off\"\n", before(&bench));
    let mut program = Program::start(&bench, &config).await;
    let connect = bench.reader(program.listen);
    let mut session = connect.run().await.admitted();
    program.signal(Signal::TERM);
    program.hears("STOPPING=1").await;
    assert_eq!(session.letters().await, "r");
    program.signal(Signal::TERM);
    assert_eq!(session.closed().await, (1012, "service restart".to_owned()));
    assert!(program.ends().await);
}

#[tokio::test]
async fn a_request_under_way_is_answered() {
    let stage = Stage::with(Profile::Literal, |_| {}).await;
    let mut client = TcpStream::connect(stage.shim.addr).await.unwrap();
    client
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        .await
        .unwrap();
    let address = stage.shim.addr;
    let stopping = tokio::spawn(stage.shim.stop());
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    client.write_all(b"\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    stopping.await.unwrap();
}

#[tokio::test]
async fn the_service_manager_hears_that_the_shim_lives() {
    let bench = Bench::new(Profile::Literal).await;
    let program = Program::start(&bench, &before(&bench)).await;
    program.hears("WATCHDOG=1").await;
    program.hears("WATCHDOG=1").await;
    program.signal(Signal::HUP);
    let reloading = program.hears("RELOADING=1").await;
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    program.hears("READY=1").await;
}

#[tokio::test]
async fn a_service_manager_that_does_not_listen_holds_nobody_up() {
    let bench = Bench::new(Profile::Literal).await;
    let program = Program::start(&bench, &before(&bench)).await;
    let other = std::os::unix::net::UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    let socket = bench.dir.path().join("notify.sock");
    while other.send_to(b"STATUS=x", &socket).is_ok() {}
    for _ in 0..2 {
        let outcome = said(&bench, &["reload"]).await;
        assert!(outcome.starts_with("exit: 0"), "{outcome}");
    }
    let connect = bench.reader(program.listen);
    connect.run().await.admitted();
}

/// Both ends of a connection.
async fn pair() -> (TcpStream, Wire) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap());
    let (far, near) = tokio::join!(far, listener.accept());
    let wire = Wire {
        stream: near.unwrap().0.into(),
        unread: Default::default(),
    };
    (far.unwrap(), wire)
}

#[tokio::test]
async fn the_close_waits_for_the_end_of_the_frame_under_way() {
    let frame = encode(Opcode::Text, &vec![b'x'; 300_000], None);
    let close = Close::new(SERVICE_RESTART, "service restart");
    for (framed, sent_first) in [(true, 1), (true, 5), (true, 150_000), (false, 150_000)] {
        let (mut client, client_end) = pair().await;
        let (mut gateway, gateway_end) = pair().await;
        let (stop, stopped) = oneshot::channel();
        let stopped = Box::pin(async { stopped.await.unwrap() });
        let stop_at = if framed {
            Stop::Between(stopped)
        } else {
            Stop::Anywhere(stopped)
        };
        let relaying = tokio::spawn(relay(
            client_end,
            gateway_end,
            None,
            stop_at,
            None,
            Default::default(),
            (),
        ));
        gateway.write_all(&frame[..sent_first]).await.unwrap();
        let mut received = vec![0; sent_first];
        client.read_exact(&mut received).await.unwrap();
        stop.send(close.clone()).unwrap();
        if framed {
            gateway.write_all(&frame[sent_first..]).await.unwrap();
        }
        client.read_to_end(&mut received).await.unwrap();
        let expected = if framed {
            [frame.clone(), close.server_frame()].concat()
        } else {
            frame[..sent_first].to_vec()
        };
        assert!(received == expected, "{framed} {sent_first}");
        drop(client);
        relaying.await.unwrap().unwrap_err();
    }
}

#[tokio::test]
async fn a_close_does_not_land_in_a_frame_that_began_before_the_request() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = "[limits]\ndrain = \"0s\"\n";
    let shim = Shim::start(listener.local_addr().unwrap(), &dir, config).await;
    let mut client = RawClient::asks_for_upgrade(shim.addr, "/", b"").await;
    let mut gateway = asked(&listener).await;
    agree(&mut gateway).await;
    client.head().await;
    let event = encode(Opcode::Text, &vec![b'x'; 3_000], None);
    let (half, other_half) = event.split_at(1_000);
    gateway.write_all(half).await.unwrap();
    let sent = masked(Opcode::Text, b"not a connect request");
    client.write(&sent).await;
    gateway.read_exact(&mut vec![0; sent.len()]).await.unwrap();
    let mut heard = client.exactly(half.len()).await;
    let stopping = tokio::spawn(shim.stop());
    gateway.write_all(other_half).await.unwrap();
    heard.extend(client.rest().await);
    let close = Close::new(SERVICE_RESTART, "service restart").server_frame();
    assert!(heard == [event, close].concat());
    drop(client);
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_restart_on_a_socket_that_was_handed_over_refuses_nobody() {
    let bench = Bench::new(Profile::Literal).await;
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = socket.local_addr().unwrap();
    let text = format!(
        "listen = \"{listen}\"\n{}[limits]\ndrain = \"0s\"\n",
        before(&bench)
    );
    crate::program::configure(&bench, &text);
    let mut program = Program::again(&bench, listen, Some(&socket)).await;
    let connect = Connect::to(listen)
        .token(TOKEN)
        .device(&bench.paired(LEGACY))
        .scopes(LEGACY);
    connect.clone().run().await.admitted();
    let (stop, mut stopped) = oneshot::channel::<()>();
    let knocking = tokio::spawn(async move {
        let mut admitted = 0;
        while stopped.try_recv().is_err() {
            let answered = TcpStream::connect(listen).await.map(drop);
            answered.expect("nobody is refused");
            admitted += 1;
            tokio::task::yield_now().await;
        }
        admitted
    });
    // A client that asks while nobody serves is answered by whoever serves next.
    program.signal(Signal::TERM);
    assert!(program.ends().await);
    let waiting = tokio::spawn(connect.clone().run());
    let program = Program::again(&bench, listen, Some(&socket)).await;
    waiting.await.unwrap().admitted();
    connect.run().await.admitted();
    stop.send(()).unwrap();
    assert!(knocking.await.unwrap() > 0);
    eventually("the log does not speak of a socket of its own", || {
        (!program.log().contains("was handed over; bound it")).then_some(())
    })
    .await;
}
