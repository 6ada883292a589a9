//! Bulk, over sockets of the system: what goes through a pipe arrives as what is copied does.

use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Builder;
use tokio::task::yield_now;

use super::super::bulk::spliced;
use super::super::pump::tests::{connected, wire};
use super::super::*;
use crate::ws::Opcode;
use crate::ws::frame::encode;

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}

/// Frames of these sizes, each with bytes of its own.
fn frames(sizes: &[usize]) -> Vec<Vec<u8>> {
    let frame = |(number, &size): (usize, &usize)| {
        let byte = |at: usize| (at * 31 + number * 7 + at / 251) as u8;
        let payload: Vec<u8> = (0..size).map(byte).collect();
        encode(Opcode::Binary, &payload, None)
    };
    sizes.iter().enumerate().map(frame).collect()
}

/// Reads to the end, so much at once, and looks away in between.
async fn hear(mut from: impl AsyncRead + Unpin, gulp: usize) -> Vec<u8> {
    let (mut heard, mut buffer) = (Vec::new(), vec![0; gulp]);
    loop {
        yield_now().await;
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return heard,
            Ok(read) => heard.extend_from_slice(&buffer[..read]),
        }
    }
}

/// Small ones, large ones, and some around the size at which it is worth it.
fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![
        0usize..2_000,
        16_000usize..17_000,
        65_000usize..66_000,
        200_000usize..600_000,
    ];
    prop::collection::vec(size, 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn large_and_small_frames_arrive_whole_both_ways_at_once(
        sizes in sizes(), up in 0usize..3_000_000, gulp in 1_000usize..300_000,
    ) {
        let down = frames(&sizes).concat();
        let up: Vec<u8> = (0..up).map(|at| (at * 13 + at / 255) as u8).collect();
        let (to_gateway, to_client, stats) = run(async {
            let ((client, client_end), (gateway, gateway_end)) = tokio::join!(connected(), connected());
            let never = Stop::Between(pending().boxed());
            let relayed = relay(wire(client_end), wire(gateway_end), None, never, None, Arc::default(), ());
            let ((client_hears, mut client_says), (gateway_hears, mut gateway_says)) =
                (client.into_split(), gateway.into_split());
            let says_up = async {
                client_says.write_all(&up).await.unwrap();
                client_says.shutdown().await.unwrap();
            };
            let says_down = async {
                gateway_says.write_all(&down).await.unwrap();
                gateway_says.shutdown().await.unwrap();
            };
            let (stats, (), (), by_client, by_gateway) = tokio::join!(
                relayed, says_up, says_down, hear(client_hears, gulp), hear(gateway_hears, gulp),
            );
            (by_gateway, by_client, stats.unwrap())
        });
        prop_assert_eq!((stats.to_gateway, stats.to_client), (up.len() as u64, down.len() as u64));
        prop_assert!(to_gateway == up, "{} of {} bytes up", to_gateway.len(), up.len());
        prop_assert!(to_client == down, "{} of {} bytes down", to_client.len(), down.len());
    }

    #[test]
    fn a_stop_in_the_middle_of_bulk_comes_between_two_frames(
        sizes in sizes(), heard_first in 1usize..3_000_000,
    ) {
        let frames = frames(&sizes);
        let whole = frames.concat();
        let close = Close::new(1012, "service restart");
        let goodbye = close.server_frame();
        let heard = run(async {
            let ((mut client, client_end), (mut gateway, gateway_end)) = tokio::join!(connected(), connected());
            let (stop, stopped) = tokio::sync::oneshot::channel();
            let stopped = Stop::Between(stopped.map(move |_: Result<(), _>| close).boxed());
            let relayed = relay(wire(client_end), wire(gateway_end), None, stopped, None, Arc::default(), ());
            let says = async {
                // A relay that has ended takes nothing any more.
                let _ = gateway.write_all(&whole).await;
                gateway
            };
            let hears = async {
                let mut first = vec![0; heard_first.min(whole.len())];
                client.read_exact(&mut first).await.unwrap();
                stop.send(()).unwrap();
                [first, hear(&mut client, 100_000).await].concat()
            };
            let (stopped, _gateway, heard) = tokio::join!(relayed, says, hears);
            assert!(was_stopped(&stopped.unwrap_err()));
            heard
        });
        let ends = frames.iter().scan(0, |at, frame| { *at += frame.len(); Some(*at) });
        let said = heard.len() - goodbye.len();
        prop_assert!(heard.ends_with(&goodbye));
        prop_assert!(whole.starts_with(&heard[..said]));
        prop_assert!(ends.into_iter().any(|end| end == said), "{said} of {}", whole.len());
    }
}

#[test]
fn large_frames_are_not_copied_and_small_ones_are() {
    let through = |sizes: &[usize]| {
        let before = spliced();
        let down = frames(sizes).concat();
        let heard = run(async {
            let ((client, client_end), (mut gateway, gateway_end)) =
                tokio::join!(connected(), connected());
            let never = Stop::Between(pending().boxed());
            let (client_end, gateway_end) = (wire(client_end), wire(gateway_end));
            let relayed = relay(
                client_end,
                gateway_end,
                None,
                never,
                None,
                Arc::default(),
                (),
            );
            let says = async {
                gateway.write_all(&down).await.unwrap();
                gateway.shutdown().await.unwrap();
            };
            let (hears, mut ends) = client.into_split();
            let hears = async {
                let heard = hear(hears, 1 << 20).await;
                ends.shutdown().await.unwrap();
                heard
            };
            let (_, (), heard) = tokio::join!(relayed, says, hears);
            heard
        });
        assert!(heard == down);
        (spliced() - before, down.len() as u64)
    };
    let (spliced, all) = through(&[8 << 20]);
    assert!(spliced > all / 2, "{spliced} of {all}");
    let (spliced, all) = through(&[500; 10_000]);
    assert_eq!(spliced, 0, "of {all}");
}
