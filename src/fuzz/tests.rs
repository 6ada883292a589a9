//! The corpus, what a few changes make of it, and what only a generator finds.
//!
//! libFuzzer is guided by what it has reached and goes further. This needs nothing but the stable toolchain, so it runs
//! wherever the tests do: every seed, and then so many changed ones, always the same.
//! `SCOPE_SHIM_FUZZ_SECONDS` says how long each target goes on instead.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::ws::Opcode;
use crate::ws::frame::encode;

macro_rules! targets {
    ($($name:ident: $promise:ident),* $(,)?) => {$(
        #[test]
        fn $promise() {
            replay(stringify!($name), super::$name);
        }
    )*};
}

targets! {
    frames: frames_are_found_however_they_are_cut,
    tap: a_handshake_of_any_bytes_loses_none_and_ends,
    connect: a_rewritten_request_says_what_it_said,
    paired: a_pairing_file_says_no_more_than_it_says,
    config: a_gateway_configuration_is_read_or_told_of,
    rows: a_pairing_table_says_no_more_than_it_says,
    proxy: a_proxy_header_makes_nobody_local,
    headers: no_header_makes_a_client_somebody_else,
}

fn replay(name: &str, target: fn(&[u8])) {
    let seeds = seeds(name);
    assert!(seeds.len() > 2, "the corpus of {name} is gone");
    for seed in &seeds {
        tried(target, seed);
    }
    let mut changes = Changes(0x9e37_79b9_7f4a_7c15);
    let started = Instant::now();
    let longer = seconds();
    let mut done = 0;
    while longer.map_or(done < CHANGED, |time| started.elapsed() < time) {
        tried(target, &changes.of(&seeds));
        done += 1;
    }
}

fn seconds() -> Option<Duration> {
    let seconds = std::env::var("SCOPE_SHIM_FUZZ_SECONDS").ok()?;
    Some(Duration::from_secs(seconds.parse().unwrap()))
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut files: Vec<_> = fs::read_dir(corpus.join(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Shows the input that broke a promise.
#[expect(clippy::print_stderr, reason = "a test shows what it failed on")]
fn tried(target: fn(&[u8]), input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        eprintln!("broken by b\"{}\"", input.escape_ascii());
        resume_unwind(panic);
    }
}

/// A row of changes that looks random and is the same every time (xorshift).
struct Changes(u64);

impl Changes {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 32).unwrap() % limit.max(1)
    }

    /// Up to four changes of one of the seeds.
    fn of(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            let (from, to) = (self.below(input.len() + 1), self.below(input.len() + 1));
            let (from, to) = (from.min(to), from.max(to));
            match self.below(6) {
                0 if from < input.len() => input[from] ^= 1 << self.below(8),
                1 => input.truncate(from),
                2 => drop(input.drain(from..to.min(from + 8))),
                3 => {
                    let other = &seeds[self.below(seeds.len())];
                    let start = self.below(other.len() + 1);
                    let end = other.len().min(start + 1 + self.below(64));
                    input.splice(from..to, other[start..end].iter().copied());
                }
                4 => {
                    let word = WORDS[self.below(WORDS.len())];
                    input.splice(from..from, word.iter().copied());
                }
                _ => {
                    let twice = input[from..to.min(from + 64)].to_vec();
                    input.splice(from..from, twice);
                }
            }
        }
        input.truncate(4096);
        input
    }
}

/// What the formats turn on.
const WORDS: [&[u8]; 16] = [
    b"\"",
    b"{\"a\":",
    b"null",
    b"[",
    b"\\ud83d",
    b"operator.admin",
    b"\"deviceId\":\"d1\",",
    b"\x81\x7e\x00\x7e",
    b"\x88\x02\x03\xe8",
    b"\x89\x00",
    b"\xff\xff\xff\xff",
    b"\x00",
    b"\r\n",
    b"x-forwarded-for: 127.0.0.1\n",
    b"/*",
    b"${A}",
];
const CHANGED: usize = 1_000;

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(json!("operator.admin")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any_key(), inner), 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// Any key, and often one that means something somewhere.
fn any_key() -> impl Strategy<Value = String> {
    const KNOWN: [&str; 11] = [
        "auth",
        "client",
        "device",
        "deviceFamily",
        "platform",
        "scopes",
        "token",
        "deviceToken",
        "role",
        "a/b",
        "__proto__",
    ];
    prop_oneof![
        prop::sample::select(&KNOWN[..]).prop_map(str::to_owned),
        ".{0,6}"
    ]
}

prop_compose! {
    /// A well-formed request with anything beside what is known.
    fn any_connect()(
        mut params in prop::collection::vec((any_key(), any_json()), 0..5),
        client in prop::collection::vec((any_key(), any_json()), 0..4),
        at in any::<prop::sample::Index>(),
        (scopes, auth) in (
            prop::collection::vec("(operator\\.)?.{0,6}", 0..4),
            prop::option::of(prop::sample::select(&["token", "password", "deviceToken"][..])),
        ),
    ) -> Value {
        params.retain(|(key, _)| !["auth", "device", "role", "scopes", "client"].contains(&key.as_str()));
        let mut client: serde_json::Map<String, Value> = client.into_iter().collect();
        for (key, value) in [("id", "cli"), ("mode", "cli"), ("platform", "darwin"), ("deviceFamily", "mac")] {
            client.insert(key.to_owned(), value.into());
        }
        let at = at.index(params.len() + 1);
        params.insert(at, ("client".to_owned(), Value::Object(client)));
        params.push(("scopes".to_owned(), json!(scopes)));
        if let Some(key) = auth {
            params.insert(at, ("auth".to_owned(), json!({key: "a secret", "other": [1]})));
        }
        let params: serde_json::Map<String, Value> = params.into_iter().collect();
        json!({"type": "req", "id": "c1", "method": "connect", "params": params, "trailing": 1.5})
    }
}

/// One turn of a handshake: who speaks, what, and in how many pieces.
fn any_turn() -> impl Strategy<Value = (bool, Vec<u8>)> {
    let key = Some([0x11, 0x22, 0x33, 0x44]);
    let connect = json!({"type": "req", "id": "c1", "method": "connect", "params": {
        "client": {"id": "cli", "mode": "cli", "platform": "linux"}}})
    .to_string();
    let challenge =
        json!({"type": "event", "event": "connect.challenge", "payload": {"nonce": "n", "ts": 1}});
    let gateway = [
        challenge,
        json!({"type": "event", "event": "tick"}),
        json!({"type": "res", "id": "c1", "ok": true, "payload": {"type": "hello-ok"}}),
        json!({"type": "res", "id": "c1", "ok": false, "error": {"code": "NOT_PAIRED"}}),
    ];
    let gateway: Vec<_> = gateway
        .iter()
        .map(|message| {
            (
                true,
                encode(Opcode::Text, message.to_string().as_bytes(), None),
            )
        })
        .chain([(true, encode(Opcode::Ping, b"?", None))])
        .collect();
    let client = vec![
        (false, encode(Opcode::Text, connect.as_bytes(), key)),
        (false, encode(Opcode::Ping, b"!", key)),
        (false, encode(Opcode::Binary, &[7; 300], key)),
        (false, encode(Opcode::Close, &[3, 232], key)),
    ];
    prop_oneof![
        prop::sample::select(gateway),
        prop::sample::select(client),
        (any::<bool>(), prop::collection::vec(any::<u8>(), 0..16)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_request_is_rewritten_in_the_named_fields_alone(connect in any_connect(), secret in 0u8..3) {
        let text = connect.to_string();
        prop_assert!(crate::handshake::message::Connect::parse(text.as_bytes()).is_ok());
        super::connect(&[&[secret], text.as_bytes()].concat());
    }

    #[test]
    fn any_order_and_cut_of_a_handshake_loses_no_byte(
        how in 0u8..16,
        turns in prop::collection::vec((any_turn(), any::<bool>(), any::<prop::sample::Index>()), 0..10),
    ) {
        let mut input = vec![how];
        for ((gateway, bytes), settle, cut) in turns {
            let (first, second) = bytes.split_at(cut.index(bytes.len() + 1));
            for piece in [first, second] {
                input.push(u8::from(gateway) | u8::from(!settle) << 1);
                input.extend_from_slice(&u16::try_from(piece.len()).unwrap().to_le_bytes());
                input.extend_from_slice(piece);
            }
        }
        super::tap(&input);
    }
}
