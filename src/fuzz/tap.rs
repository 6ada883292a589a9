use std::cell::Cell;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{
    AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split,
};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::{Choices, run};
use crate::handshake::drive::{
    Answered, Deferred, Exchange, Limits, Opening, Request, Untouched, say_no,
};
use crate::handshake::message::{Challenge, challenge};
use crate::relay::{Client, Stop, Wire, relay};
use crate::stream::Stream;
use crate::ws::frame::encode;
use crate::ws::scan::Sender;
use crate::ws::{Close, Item, Opcode, Scanner};

/// A handshake out of any bytes of both sides, however they are cut and whoever is first, leaves early or does not
/// listen: each side gets the other's bytes, all of them and in their order, unless the shim says something else in their
/// place; and it ends in time.
pub fn tap(data: &[u8]) {
    let mut choices = Choices(data);
    let how = choices.byte();
    let way = [Way::Passed, Way::Delegated, Way::Deferred][usize::from(how & 3) % 3];
    let deaf = Both {
        client: how & 4 != 0,
        gateway: how & 8 != 0,
    };
    let script = script(&mut choices);
    let (sent, got, course) = run(play(&script, way, deaf));
    let (mut by_client, mut by_gateway) = (sent.client.as_slice(), sent.gateway.as_slice());
    let mut shown = got.client.as_slice();
    if way == Way::Deferred {
        shown = shown.strip_prefix(&*own_challenge()).unwrap();
        by_client = behind_controls(by_client);
        by_gateway = behind_challenge(by_gateway);
    }
    assert_shown(by_gateway, shown, &course);
    assert_asked(by_client, &got.gateway, &course);
}

/// How a handshake goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As it came.
    Passed,
    /// The delegate asks in the client's place.
    Delegated,
    /// The same, after the shim has begun by itself.
    Deferred,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Gateway,
}

/// Something of each side.
#[derive(Clone, Copy, Default)]
struct Both<T> {
    client: T,
    gateway: T,
}

/// One side says this, and perhaps nothing after it; what the shim makes of it is waited for, or not.
struct Turn<'a> {
    side: Side,
    settle: bool,
    last: bool,
    bytes: &'a [u8],
}

fn script<'a>(choices: &mut Choices<'a>) -> Vec<Turn<'a>> {
    let mut script = Vec::new();
    while !choices.is_over() && script.len() < 64 {
        let how = choices.byte();
        script.push(Turn {
            side: match how & 1 {
                0 => Side::Client,
                _ => Side::Gateway,
            },
            settle: how & 2 == 0,
            last: how & 4 != 0,
            bytes: choices.piece(),
        });
    }
    script
}

/// What came of a handshake.
struct Course {
    /// Whether the delegate asked.
    delegated: bool,
    /// What was left of the gateway's bytes when it let the delegate in, and what the client gets for it.
    hello: Option<(BytesMut, BytesMut)>,
    end: End,
}

enum End {
    /// There is nobody to go on with.
    Left,
    /// The client got this answer, and nothing after it; or nothing at all where it could not be told.
    Told(Vec<u8>),
    Relayed,
}

/// What each side said, what each side got, and why.
async fn play(
    script: &[Turn<'_>],
    way: Way,
    deaf: Both<bool>,
) -> (Both<Vec<u8>>, Both<Vec<u8>>, Course) {
    let (client, client_end) = duplex(ROOM);
    let (gateway, gateway_end) = duplex(ROOM);
    let over = Cell::new(false);
    let shim = async {
        let mut client = Client::from(wire(client_end));
        let (gateway, course) = handshake(&mut client, wire(gateway_end), way).await;
        over.set(true);
        if let Some(gateway) = gateway {
            let stop = Stop::Never;
            let relayed = relay(client, gateway, None, stop, None, Default::default(), ());
            relayed.await.unwrap();
        }
        course
    };
    let (from_client, to_client) = split(client);
    let (from_gateway, to_gateway) = split(gateway);
    let all = async {
        tokio::join!(
            shim,
            speak(script, to_client, to_gateway, &over),
            hear(from_client, deaf.client),
            hear(from_gateway, deaf.gateway),
        )
    };
    let (course, sent, client, gateway) = timeout(LONGEST, all).await.unwrap();
    (sent, Both { client, gateway }, course)
}

/// Both sides keep to the script, and stay until the handshake is over where it does not say otherwise.
async fn speak(
    script: &[Turn<'_>],
    to_client: WriteHalf<DuplexStream>,
    to_gateway: WriteHalf<DuplexStream>,
    over: &Cell<bool>,
) -> Both<Vec<u8>> {
    let (mut client, mut gateway) = (Some(to_client), Some(to_gateway));
    let mut sent = Both::<Vec<u8>>::default();
    for turn in script {
        let (mouth, said) = match turn.side {
            Side::Client => (&mut client, &mut sent.client),
            Side::Gateway => (&mut gateway, &mut sent.gateway),
        };
        let Some(speaker) = mouth else { continue };
        said.extend_from_slice(turn.bytes);
        let _ = speaker.write_all(turn.bytes).await;
        if turn.last {
            let _ = speaker.shutdown().await;
            *mouth = None;
        }
        for _ in 0..if turn.settle { 4 } else { 0 } {
            yield_now().await;
        }
    }
    while !over.get() {
        sleep(Duration::from_secs(1)).await;
    }
    for mut speaker in [client, gateway].into_iter().flatten() {
        let _ = speaker.shutdown().await;
    }
    sent
}

/// All that one side gets. One that is deaf does not read before the handshake has taken all of its time.
async fn hear(mut from: ReadHalf<DuplexStream>, deaf: bool) -> Vec<u8> {
    if deaf {
        sleep(2 * LIMITS.timeout).await;
    }
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes).await;
    bytes
}

/// A handshake, and the gateway's end of the session if it goes on.
async fn handshake(client: &mut Client, gateway: Wire, way: Way) -> (Option<Wire>, Course) {
    let mut course = Course {
        delegated: false,
        hello: None,
        end: End::Left,
    };
    let (opening, exchange) = match way {
        Way::Deferred => deferred(client, gateway).await,
        Way::Passed | Way::Delegated => {
            let mut exchange = Exchange::new(client, gateway, LIMITS);
            (exchange.open().await.unwrap(), Some(exchange))
        }
    };
    let Some(mut exchange) = exchange else {
        return (None, course);
    };
    let request = match opening {
        Opening::Connect(request) => request,
        Opening::Left(_) => return (None, course),
        Opening::Untouched(_) => {
            course.end = End::Relayed;
            return (Some(exchange.gateway), course);
        }
    };
    course.delegated = way != Way::Passed;
    if course.delegated {
        exchange.send_instead(&request, INSTEAD).await.unwrap();
    } else {
        exchange.send_original(&request).await.unwrap();
    }
    answered(exchange, &request, course).await
}

/// A handshake that the shim begins by itself, until it has a gateway.
async fn deferred(client: &mut Client, gateway: Wire) -> (Opening, Option<Exchange<'_>>) {
    let mut deferred = Deferred::new(client, LIMITS);
    let own = Challenge {
        nonce: NONCE.to_owned(),
        ts_ms: None,
    };
    let opening = deferred.open(&own).await.unwrap();
    let exchange = match opening {
        Opening::Left(_) | Opening::Untouched(Untouched::Silent) => None,
        Opening::Connect(_) | Opening::Untouched(_) => deferred.join(gateway).await.ok(),
    };
    (opening, exchange.map(|(exchange, _)| exchange))
}

/// What the gateway says to the request, and what the client is shown of it.
async fn answered(
    mut exchange: Exchange<'_>,
    request: &Request,
    mut course: Course,
) -> (Option<Wire>, Course) {
    let claims = &request.connect.claims;
    match exchange.answer(&claims.request_id).await.unwrap() {
        Answered::Left => return (None, course),
        Answered::Hello(hello) if course.delegated => {
            let before = exchange.gateway.unread.clone();
            exchange.show_instead(&hello.of_delegated(claims));
            course.hello = Some((before, exchange.gateway.unread.clone()));
        }
        Answered::Refused { message, .. } if course.delegated => {
            let close = Close::new(exchange.close_code().await, "no");
            let answer = encode(Opcode::Text, message.to_string().as_bytes(), None);
            course.end = End::Told([answer, close.server_frame()].concat());
            let _ = say_no(exchange.client, &message, &close).await;
            return (None, course);
        }
        Answered::Hello(_) | Answered::Refused { .. } | Answered::Nothing => {}
    }
    course.end = End::Relayed;
    (Some(exchange.gateway), course)
}

/// The client got what the gateway said, but for the answer where the delegate had asked.
fn assert_shown(said: &[u8], shown: &[u8], course: &Course) {
    match (&course.end, &course.hello) {
        (End::Relayed, None) => assert_same(shown, said),
        (End::Relayed, Some((hello, instead))) => {
            let mut places = 0..=said.len() - hello.len();
            assert!(places.any(|at| {
                let (before, rest) = said.split_at(at);
                let rest = rest.strip_prefix(&**hello);
                rest.is_some_and(|rest| [before, instead, rest].concat() == shown)
            }));
        }
        (End::Told(answer), _) => match shown.strip_suffix(answer.as_slice()) {
            Some(before) => assert!(said.starts_with(before)),
            None => assert!(said.starts_with(shown) && !can_be_told(shown)),
        },
        (End::Left, _) => assert!(said.starts_with(shown)),
    }
}

/// Whether a client that got this can be told anything more: it is whole frames, and no close is among them.
fn can_be_told(mut shown: &[u8]) -> bool {
    let mut scanner = Scanner::new(Sender::Gateway, usize::MAX);
    loop {
        match scanner.next(shown) {
            Ok(None) => return shown.is_empty(),
            Ok(Some(Item::Control {
                opcode: Opcode::Close,
                ..
            }))
            | Err(_) => return false,
            Ok(Some(Item::Control { raw, .. } | Item::Message { raw, .. })) => {
                shown = &shown[raw..];
            }
        }
    }
}

/// The gateway got what the client said, but for the request where the delegate asked.
fn assert_asked(said: &[u8], asked: &[u8], course: &Course) {
    let (said, asked) = match course.delegated {
        true => behind_request(said, asked),
        false => (said, asked),
    };
    match course.end {
        End::Relayed => assert_same(asked, said),
        End::Left | End::Told(_) => assert!(said.starts_with(asked)),
    }
}

fn assert_same(got: &[u8], said: &[u8]) {
    assert!(
        got == said,
        "\"{}\" came of \"{}\"",
        got.escape_ascii(),
        said.escape_ascii()
    );
}

/// What the client said after its request, and what the gateway got after the one in its place.
fn behind_request<'a>(said: &'a [u8], asked: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let rest = behind_controls(said);
    let mut scanner = Scanner::new(Sender::Client, LIMITS.connect_frame);
    let Ok(Some(Item::Message { controls, raw, .. })) = scanner.next(rest) else {
        unreachable!("there was a request")
    };
    let before = [&said[..said.len() - rest.len()], &controls].concat();
    let asked = asked.strip_prefix(&*before).unwrap();
    let mut scanner = Scanner::new(Sender::Client, LIMITS.connect_frame);
    match scanner.next(asked) {
        Ok(Some(Item::Message {
            payload, raw: its, ..
        })) => {
            assert_eq!(payload, INSTEAD);
            (&rest[raw..], &asked[its..])
        }
        other => unreachable!("the request comes first, not {other:?}"),
    }
}

/// What a client said from its first message on, or from where its bytes are no frames.
fn behind_controls(mut said: &[u8]) -> &[u8] {
    let mut scanner = Scanner::new(Sender::Client, LIMITS.connect_frame);
    while let Ok(Some(Item::Control { raw, .. })) = scanner.next(said) {
        said = &said[raw..];
    }
    said
}

/// What a gateway said behind its challenge, which a client does not see that has had one.
fn behind_challenge(mut said: &[u8]) -> &[u8] {
    let mut scanner = Scanner::new(Sender::Gateway, usize::MAX);
    loop {
        match scanner.next(said) {
            Ok(Some(Item::Control { raw, .. })) => said = &said[raw..],
            Ok(Some(Item::Message { raw, payload, .. })) => {
                said = &said[raw..];
                if challenge(&payload).is_some() {
                    return said;
                }
            }
            Ok(None) | Err(_) => return &[],
        }
    }
}

/// The frame in which the shim challenges a client by itself.
fn own_challenge() -> Vec<u8> {
    let event = serde_json::json!({
        "type": "event", "event": "connect.challenge", "payload": {"nonce": NONCE, "ts": null},
    });
    encode(Opcode::Text, event.to_string().as_bytes(), None)
}

fn wire(stream: DuplexStream) -> Wire {
    Wire {
        stream: Stream::Memory(stream),
        unread: BytesMut::new(),
    }
}

const LIMITS: Limits = Limits {
    connect_frame: 4096,
    timeout: Duration::from_secs(10),
};
const NONCE: &str = "the shim's own nonce";
const INSTEAD: &[u8] = b"the delegate's own request";
const ROOM: usize = 512;
/// The handshake's own time, what a side may be deaf, and what one may stay open for after the other.
const LONGEST: Duration = Duration::from_secs(110);
