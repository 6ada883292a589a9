//! The handshake, explored: every order in which its two peers can speak, leave and let time pass.
//!
//! Nothing is modelled beside the code: what runs is [`Session::begin`], with the engine that decides, over connections
//! in memory and on a clock that stands still until everybody waits. Only the peers are made up. A state is what each
//! side has said, in its order, and what each has heard; two ways to the same state are followed once. From each state
//! every event that is still possible is tried, breadth first, up to a depth; and from each the session is run to its
//! end: once with both peers silent until the handshake is over and then with both gone, once by the end of the shim.
//!
//! What must hold in every state is in [`promises`]: nothing of one peer reaches the other that must not, nothing comes
//! after a close, no session is granted twice, and no handshake outlives its time. The number of states is asserted, so
//! that the exploration cannot become empty unseen.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod peers;
mod promises;
mod world;

use std::collections::HashSet;

use peers::{Event, Heard, Then};
use world::World;

/// Everything reachable in so many events behind these; returns how many states that are.
fn explored(world: &World, behind: &[Event], alphabet: &[Event], depth: usize) -> usize {
    let mut seen = HashSet::new();
    let mut level = vec![behind.to_vec()];
    for events in 0..=depth {
        let mut next = Vec::new();
        for path in level {
            let (state, over) = visited(world, &path);
            if !seen.insert(state) || over || events == depth {
                continue;
            }
            let possible = alphabet.iter().filter(|event| event.may_follow(&path));
            next.extend(possible.map(|event| [path.as_slice(), &[*event]].concat()));
        }
        level = next;
    }
    seen.len()
}

/// What the state looks like at the end of a path, and whether the session is over there.
fn visited(world: &World, path: &[Event]) -> ((Vec<Event>, Vec<Event>, Heard), bool) {
    let walk = peers::walk(world, path, Then::Silence);
    promises::hold(world, path, &walk);
    promises::sent_away(path, &peers::walk(world, path, Then::Stop));
    let (of_client, others) = path.iter().copied().partition(|event| event.is_clients());
    ((of_client, others, walk.then), walk.over_then)
}

use Event::{
    Challenge, ClientClose, ClientEnd, ClientPing, Connect, Early, FreshChallenge, FreshEnd,
    FreshHello, FreshRefusal, GatewayClose, GatewayEnd, Hello, Later, Refusal, Stray, Tick,
};

/// What a client and a gateway do where all goes well, up to the answer.
const ASKED: [Event; 2] = [Challenge, Connect];

#[test]
fn a_session_that_the_delegate_asks_for_is_granted_once_and_leaks_nothing() {
    let alphabet = [
        Connect,
        Early,
        ClientPing,
        ClientClose,
        ClientEnd,
        Stray,
        Challenge,
        Hello,
        Refusal,
        Tick,
        GatewayClose,
        GatewayEnd,
        Later,
    ];
    let world = World::delegated();
    let states = explored(&world, &[], &alphabet, 3) + explored(&world, &ASKED, &alphabet, 3);
    assert!(states > 600, "{states}");
}

#[test]
fn a_session_that_is_healed_is_granted_once_and_its_first_refusal_stays_unseen() {
    let alphabet = [
        Early,
        ClientEnd,
        Hello,
        Tick,
        GatewayEnd,
        FreshChallenge,
        FreshHello,
        FreshRefusal,
        FreshEnd,
        Later,
    ];
    let refused = [Challenge, Connect, Refusal];
    let states = explored(&World::healed(), &refused, &alphabet, 3);
    assert!(states > 100, "{states}");
}

#[test]
fn a_session_that_is_refused_hears_why_and_nothing_after() {
    let alphabet = [
        Connect,
        Early,
        ClientClose,
        ClientEnd,
        Stray,
        Challenge,
        Refusal,
        Tick,
        GatewayClose,
        GatewayEnd,
        Later,
    ];
    let world = World::refused();
    let states = explored(&world, &[], &alphabet, 3) + explored(&world, &ASKED, &alphabet, 3);
    assert!(states > 400, "{states}");
}

#[test]
fn a_shim_that_is_off_or_only_observes_changes_no_byte() {
    let alphabet = [
        Connect,
        Early,
        ClientClose,
        ClientEnd,
        Stray,
        Challenge,
        Hello,
        Refusal,
        Tick,
        GatewayClose,
        GatewayEnd,
    ];
    let off = explored(&World::off(), &[], &alphabet, 3);
    let observing = explored(&World::observing(), &[], &alphabet, 3);
    assert!(off > 200 && observing > 200, "{off}, {observing}");
}
