//! What holds in every state.

use serde_json::Value;

use super::peers::{EARLY, Event, FRESH_NONCE, Heard, ISSUED, Walk};
use super::world::{Kind, World};
use crate::handshake::message::Connect;
use crate::ws::close::SERVICE_RESTART;
use crate::ws::scan::Sender;
use crate::ws::{Close, Item, Opcode, Scanner};

/// Fails where the session that walked this path broke a promise.
pub(super) fn hold(world: &World, path: &[Event], walk: &Walk) {
    nothing_is_invented(world, path, walk);
    one_grant(world, path, walk);
    nothing_early(world, path, walk);
    nothing_after_a_close(world, path, &walk.finally);
    assert!(
        world.engine.delegations.is_empty(),
        "{path:?}: still registered"
    );
}

/// Fails where a client that was still there when the shim ended was not told to come back.
pub(super) fn sent_away(path: &[Event], walk: &Walk) {
    let heard = &walk.finally.client;
    let closed_by_others = [Event::ClientEnd, Event::GatewayClose]
        .iter()
        .any(|end| path.contains(end));
    if walk.over_then || closed_by_others {
        return;
    }
    let close = Close::new(SERVICE_RESTART, "service restart").server_frame();
    assert!(
        heard.0.ends_with(&close) && heard.1,
        "{path:?}: not told that the shim ends"
    );
}

/// What a side says on this path.
fn said(world: &World, path: &[Event], of_client: bool) -> Vec<u8> {
    let of_side = |event: &&Event| event.is_clients() == of_client && !event.is_fresh();
    let events = path.iter().filter(of_side);
    events
        .filter_map(|event| event.bytes(world))
        .collect::<Vec<_>>()
        .concat()
}

/// Each side hears what the other said, in its order and from its beginning; only a request of the delegate, and an
/// answer to it, stand in the place of others.
fn nothing_is_invented(world: &World, path: &[Event], walk: &Walk) {
    let (client, gateway) = (said(world, path, true), said(world, path, false));
    let heard = &walk.finally;
    let own = delegates(world, &heard.gateway.0) + delegates(world, &heard.fresh.0);
    if own == 0 {
        assert!(
            client.starts_with(&heard.gateway.0),
            "{path:?}: the gateway heard what the client did not say"
        );
        assert!(
            heard.fresh.0.is_empty(),
            "{path:?}: heard on the second connection"
        );
        let told = told(&heard.client.0);
        assert!(
            gateway.starts_with(&heard.client.0) || (told && world.kind != Kind::Untouched),
            "{path:?}: the client heard what the gateway did not say"
        );
    }
    match world.kind {
        Kind::Untouched => {
            assert_eq!(
                own, 0,
                "{path:?}: a session that is to be left alone was not"
            );
            let complete = !path.contains(&Event::ClientEnd) && !path.contains(&Event::GatewayEnd);
            if complete {
                assert_eq!(heard.gateway.0, client, "{path:?}");
                assert_eq!(heard.client.0, gateway, "{path:?}");
            }
        }
        Kind::Told => assert_eq!(own, 0, "{path:?}: asked for a stranger"),
        Kind::Delegated | Kind::Healed => {}
    }
    // The nonce of another connection is the shim's alone.
    assert!(!has(&heard.client.0, FRESH_NONCE), "{path:?}");
}

/// The delegate asks once at most, never beside the client on the same connection, and what is issued to it stays with
/// the shim; the client is let in once at most.
fn one_grant(world: &World, path: &[Event], walk: &Walk) {
    let heard = &walk.finally;
    let (first, second) = (
        delegates(world, &heard.gateway.0),
        delegates(world, &heard.fresh.0),
    );
    assert!(first + second <= 1, "{path:?}: the delegate asked twice");
    let clients = connects(&heard.gateway.0)
        .into_iter()
        .filter(|connect| !is_delegates(world, connect))
        .count();
    assert!(
        first + clients <= 1,
        "{path:?}: two asked on one connection"
    );
    let accepted = messages(&heard.client.0, Sender::Gateway)
        .into_iter()
        .filter(|message| message["id"] == "c1" && message["ok"] == true)
        .count();
    assert!(accepted <= 1, "{path:?}: let in twice");
    if first + second == 1 && walk.asked {
        let fresh = second == 1 && !path.contains(&Event::Hello);
        assert!(
            !has(&heard.client.0, ISSUED) || !(fresh || first == 1),
            "{path:?}: the client has the delegate's token"
        );
    }
    if second == 1 {
        let refused = messages(&heard.client.0, Sender::Gateway)
            .into_iter()
            .any(|message| message["id"] == "c1" && message["ok"] == false);
        assert!(!(refused && accepted == 1), "{path:?}: refused and let in");
    }
}

/// What the client sends behind its request waits for the answer.
fn nothing_early(world: &World, path: &[Event], walk: &Walk) {
    let answers = [
        Event::Hello,
        Event::Refusal,
        Event::GatewayClose,
        Event::GatewayEnd,
        Event::Later,
        Event::Stray,
    ];
    let order = |event| path.iter().position(|other| *other == event);
    let behind = order(Event::Connect) < order(Event::Early) && order(Event::Connect).is_some();
    let unanswered = !path.iter().any(|event| answers.contains(event));
    let looked_at = world.kind == Kind::Delegated || world.kind == Kind::Told;
    if looked_at && behind && unanswered {
        assert!(
            !has(&walk.then.gateway.0, EARLY),
            "{path:?}: sent on too early"
        );
    }
}

/// After the shim's own close frame there is nothing, and the connection ends.
fn nothing_after_a_close(world: &World, path: &[Event], heard: &Heard) {
    if path.contains(&Event::GatewayClose) || world.kind == Kind::Untouched {
        return;
    }
    let mut scanner = Scanner::new(Sender::Gateway, usize::MAX);
    let mut at = 0;
    while let Ok(Some(item)) = scanner.next(&heard.client.0[at..]) {
        let (Item::Control { raw, .. } | Item::Message { raw, .. }) = &item;
        at += raw;
        if matches!(
            item,
            Item::Control {
                opcode: Opcode::Close,
                ..
            }
        ) {
            assert_eq!(at, heard.client.0.len(), "{path:?}: more after a close");
            let left = path.contains(&Event::ClientEnd);
            assert!(heard.client.1 || left, "{path:?}: closed, and still open");
        }
    }
}

fn messages(bytes: &[u8], sender: Sender) -> Vec<Value> {
    let mut scanner = Scanner::new(sender, usize::MAX);
    let (mut at, mut found) = (0, Vec::new());
    while let Ok(Some(item)) = scanner.next(&bytes[at..]) {
        let (Item::Control { raw, .. } | Item::Message { raw, .. }) = &item;
        at += raw;
        if let Item::Message { payload, .. } = item {
            found.extend(serde_json::from_slice::<Value>(&payload));
        }
    }
    found
}

/// The requests among what a gateway heard.
pub(super) fn connects(bytes: &[u8]) -> Vec<Connect> {
    let requests = messages(bytes, Sender::Client).into_iter();
    let parsed = requests.map(|message| Connect::parse(message.to_string().as_bytes()));
    parsed.filter_map(Result::ok).collect()
}

/// How often the delegate asked.
fn delegates(world: &World, bytes: &[u8]) -> usize {
    let connects = connects(bytes);
    let own = connects
        .iter()
        .filter(|connect| is_delegates(world, connect));
    own.count()
}

fn is_delegates(world: &World, connect: &Connect) -> bool {
    let delegate = world.engine.delegate.device_id();
    let device = connect.claims.device.as_ref();
    device.is_some_and(|device| device.id == delegate.as_str())
}

/// Whether the client was told why by the shim.
fn told(bytes: &[u8]) -> bool {
    has(bytes, "scopeShim") || has(bytes, "scope-shim")
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}
