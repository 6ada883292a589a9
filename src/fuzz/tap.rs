use std::cell::{Cell, RefCell};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};
use tokio::task::yield_now;

use super::{Choices, run};
use crate::handshake::drive::{Answered, Exchange, Limits, Opening};
use crate::relay::{Client, Stop, Wire, relay};
use crate::stream::Stream;
use crate::ws::scan::Sender;
use crate::ws::{Item, Scanner};

/// A handshake out of any bytes of both sides, however they are cut and whoever is first: each side gets the other's
/// bytes, all of them and in their order, unless the shim says something else in their place; and it ends in time.
pub fn tap(data: &[u8]) {
    let mut choices = Choices(data);
    let delegated = choices.flag();
    let script = script(&mut choices);
    let (sent, got, outcome) = run(play(&script, delegated));
    match outcome {
        Outcome::Left => {
            assert!(sent.by_client.starts_with(&got.by_gateway));
            assert!(sent.by_gateway.starts_with(&got.by_client));
        }
        Outcome::Relayed => {
            assert_eq!(got.by_gateway, sent.by_client);
            assert_eq!(got.by_client, sent.by_gateway);
        }
        Outcome::Delegated => assert_delegated(&sent.by_client, &got.by_gateway),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Gateway,
}

/// One side says this; what the shim makes of it is waited for, or not.
struct Turn<'a> {
    side: Side,
    settle: bool,
    bytes: &'a [u8],
}

fn script<'a>(choices: &mut Choices<'a>) -> Vec<Turn<'a>> {
    let mut script = Vec::new();
    while !choices.is_over() && script.len() < 64 {
        let how = choices.byte();
        let side = match how & 1 {
            0 => Side::Client,
            _ => Side::Gateway,
        };
        let (settle, bytes) = (how & 2 == 0, choices.piece());
        script.push(Turn {
            side,
            settle,
            bytes,
        });
    }
    script
}

#[derive(Default)]
struct Talk {
    by_client: Vec<u8>,
    by_gateway: Vec<u8>,
}

enum Outcome {
    Left,
    Relayed,
    Delegated,
}

async fn play(script: &[Turn<'_>], delegated: bool) -> (Talk, Talk, Outcome) {
    let (client, client_end) = duplex(ROOM);
    let (gateway, gateway_end) = duplex(ROOM);
    let limits = Limits {
        connect_frame: 4096,
        timeout: Duration::from_secs(10),
    };
    let mut client_end = Client::from(wire(client_end));
    let over = Cell::new(false);
    let shim = async {
        let exchange = Exchange::new(&mut client_end, wire(gateway_end), limits);
        let (gateway, outcome) = handshake(exchange, delegated).await;
        over.set(true);
        if !matches!(outcome, Outcome::Left) {
            let stop = Stop::Never;
            let relayed = relay(
                client_end,
                gateway,
                None,
                stop,
                None,
                Default::default(),
                (),
            );
            relayed.await.unwrap();
        }
        outcome
    };
    let got = RefCell::new(Talk::default());
    let (mut from_client, mut to_client) = split(client);
    let (mut from_gateway, mut to_gateway) = split(gateway);
    let peers = async {
        let mut sent = Talk::default();
        for turn in script {
            let (peer, said) = match turn.side {
                Side::Client => (&mut to_client, &mut sent.by_client),
                Side::Gateway => (&mut to_gateway, &mut sent.by_gateway),
            };
            said.extend_from_slice(turn.bytes);
            let _ = peer.write_all(turn.bytes).await;
            for _ in 0..if turn.settle { 16 } else { 0 } {
                yield_now().await;
            }
        }
        // Nobody leaves before the handshake is over: it ends by itself.
        while !over.get() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let _ = to_client.shutdown().await;
        let _ = to_gateway.shutdown().await;
        sent
    };
    let hear_gateway = async {
        let mut bytes = Vec::new();
        let _ = from_client.read_to_end(&mut bytes).await;
        got.borrow_mut().by_client = bytes;
    };
    let hear_client = async {
        let mut bytes = Vec::new();
        let _ = from_gateway.read_to_end(&mut bytes).await;
        got.borrow_mut().by_gateway = bytes;
    };
    let all = async { tokio::join!(shim, peers, hear_gateway, hear_client) };
    let (outcome, sent, (), ()) = tokio::time::timeout(LONGEST, all).await.unwrap();
    (sent, got.into_inner(), outcome)
}

async fn handshake(mut exchange: Exchange<'_>, delegated: bool) -> (Wire, Outcome) {
    let request = match exchange.open().await.unwrap() {
        Opening::Connect(request) => request,
        Opening::Untouched(_) => return (exchange.gateway, Outcome::Relayed),
        Opening::Left(_) => return (exchange.gateway, Outcome::Left),
    };
    let outcome = if delegated {
        exchange.send_instead(&request, INSTEAD).await.unwrap();
        Outcome::Delegated
    } else {
        exchange.send_original(&request).await.unwrap();
        Outcome::Relayed
    };
    let id = &request.connect.claims.request_id;
    let outcome = match exchange.answer(id).await.unwrap() {
        Answered::Left => Outcome::Left,
        Answered::Hello(_) | Answered::Refused { .. } | Answered::Nothing => outcome,
    };
    (exchange.gateway, outcome)
}

/// The gateway got everything but the request, and the other in its place.
fn assert_delegated(sent: &[u8], got: &[u8]) {
    let (mut scanner, mut at) = (Scanner::new(Sender::Client, 4096), 0);
    let (controls, raw) = loop {
        match scanner.next(&sent[at..]).unwrap().unwrap() {
            Item::Control { raw, .. } => at += raw,
            Item::Message { controls, raw, .. } => break (controls, raw),
        }
    };
    let before = [&sent[..at], &controls].concat();
    assert!(got.starts_with(&before));
    let mut scanner = Scanner::new(Sender::Client, 4096);
    match scanner.next(&got[before.len()..]).unwrap().unwrap() {
        Item::Message {
            payload, raw: its, ..
        } => {
            assert_eq!(payload, INSTEAD);
            assert_eq!(got[before.len() + its..], sent[at + raw..]);
        }
        Item::Control { .. } => unreachable!("the request comes first"),
    }
}

fn wire(stream: DuplexStream) -> Wire {
    Wire {
        stream: Stream::Memory(stream),
        unread: BytesMut::new(),
    }
}

const INSTEAD: &[u8] = b"the delegate's own request";
const ROOM: usize = 512;
/// The handshake's own time, and what a side may stay open for after the other.
const LONGEST: Duration = Duration::from_secs(90);
