//! Bytes go both ways as they came, whatever happens meanwhile.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[cfg(target_os = "linux")]
mod bulk;

use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::task::yield_now;

use super::*;
use crate::fuzz::run;
use crate::ws::Opcode;
use crate::ws::frame::encode;

/// One side of a session: what it says, in which pieces, and how willingly it listens.
#[derive(Clone, Debug)]
struct Side {
    /// What the handshake has read of it already.
    unread: Vec<u8>,
    pieces: Vec<Vec<u8>>,
    /// How much its connection holds before the other end has to wait, in bytes.
    room: usize,
    /// How much it reads at once, in bytes.
    gulp: usize,
    /// How long it looks away between two reads, in milliseconds.
    pause_ms: u64,
    /// How long before it says its next piece.
    silence_ms: u64,
}

impl Side {
    fn says(&self) -> Vec<u8> {
        [self.unread.clone(), self.pieces.concat()].concat()
    }
}

fn bytes(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..longest)
}

prop_compose! {
    fn side()(
        unread in bytes(40),
        pieces in prop::collection::vec(bytes(300), 0..8),
        room in 1usize..200, gulp in 1usize..200, pause_ms in 0u64..3, silence_ms in 0u64..3,
    ) -> Side {
        Side { unread, pieces, room, gulp, pause_ms, silence_ms }
    }
}

/// Both ends of a connection: the shim's, and the side's own, to speak and to listen.
fn connected(side: &Side) -> (Wire, WriteHalf<DuplexStream>, ReadHalf<DuplexStream>) {
    let (near, far) = duplex(side.room);
    let (listens, speaks) = split(far);
    let wire = Wire {
        stream: Stream::Memory(near),
        unread: BytesMut::from(side.unread.as_slice()),
    };
    (wire, speaks, listens)
}

/// Says everything, and then no more; what comes back is still heard.
async fn speak(side: &Side, mut to: impl AsyncWrite + Unpin) {
    for piece in &side.pieces {
        wait(side.silence_ms).await;
        // A relay that has ended takes nothing any more.
        let _ = to.write_all(piece).await;
    }
    let _ = to.shutdown().await;
}

async fn listen(side: &Side, mut from: impl AsyncRead + Unpin) -> Vec<u8> {
    let (mut heard, mut gulp) = (Vec::new(), vec![0; side.gulp]);
    loop {
        wait(side.pause_ms).await;
        match from.read(&mut gulp).await {
            Ok(0) | Err(_) => return heard,
            Ok(read) => heard.extend_from_slice(&gulp[..read]),
        }
    }
}

async fn wait(ms: u64) {
    match ms {
        0 => yield_now().await,
        ms => sleep(Duration::from_millis(ms)).await,
    }
}

/// What the gateway heard, what the client heard, and what was counted.
async fn talk(client: &Side, gateway: &Side) -> (Vec<u8>, Vec<u8>, RelayStats) {
    let (client_wire, client_speaks, client_listens) = connected(client);
    let (gateway_wire, gateway_speaks, gateway_listens) = connected(gateway);
    let relayed = relay(
        client_wire,
        gateway_wire,
        None,
        Stop::Never,
        None,
        Arc::default(),
        (),
    );
    let (stats, (), (), by_client, by_gateway) = tokio::join!(
        relayed,
        speak(client, client_speaks),
        speak(gateway, gateway_speaks),
        listen(client, client_listens),
        listen(gateway, gateway_listens),
    );
    (by_gateway, by_client, stats.unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn both_sides_get_every_byte_in_its_order_and_the_end_of_the_other(client in side(), gateway in side()) {
        let (to_gateway, to_client, stats) = run(talk(&client, &gateway));
        prop_assert_eq!(to_gateway.len() as u64, stats.to_gateway);
        prop_assert_eq!(to_client.len() as u64, stats.to_client);
        prop_assert_eq!(to_gateway, client.says());
        prop_assert_eq!(to_client, gateway.says());
    }

    #[test]
    fn a_session_that_is_stopped_ends_with_a_close_between_two_frames(
        payloads in prop::collection::vec(bytes(300), 1..8),
        cut in 8usize..200, room in 1usize..200, silence_ms in 0u64..3, stop_ms in 0u64..40,
    ) {
        let frames: Vec<_> = payloads.iter().map(|payload| encode(Opcode::Binary, payload, None)).collect();
        let whole = frames.concat();
        let pieces = whole.chunks(cut).map(<[u8]>::to_vec).collect();
        let gateway = Side { unread: Vec::new(), pieces, room, gulp: 1, pause_ms: 0, silence_ms };
        let client = Side { unread: Vec::new(), pieces: Vec::new(), room, gulp: 50, pause_ms: 0, silence_ms };
        let close = Close::new(1012, "service restart");
        let goodbye = close.server_frame();
        let heard = run(async {
            let (client_wire, _client_speaks, client_listens) = connected(&client);
            let (gateway_wire, mut gateway_speaks, _gateway_listens) = connected(&gateway);
            let stop = async move { sleep(Duration::from_millis(stop_ms)).await; close };
            let relayed = relay(client_wire, gateway_wire, None, Stop::Between(stop.boxed()), None, Arc::default(), ());
            let says = async {
                for piece in &gateway.pieces {
                    wait(silence_ms).await;
                    let _ = gateway_speaks.write_all(piece).await;
                }
            };
            let (stopped, (), heard) = tokio::join!(relayed, says, listen(&client, client_listens));
            assert!(was_stopped(&stopped.unwrap_err()));
            heard
        });
        let ends: Vec<usize> = frames.iter().scan(0, |at, frame| { *at += frame.len(); Some(*at) }).collect();
        let said = heard.len() - goodbye.len();
        prop_assert!(heard.ends_with(&goodbye));
        prop_assert!(whole.starts_with(&heard[..said]));
        prop_assert!(said == 0 || ends.contains(&said), "{said} of {ends:?}");
    }
}
