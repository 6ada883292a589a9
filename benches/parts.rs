//! What each part of a handshake costs by itself: `cargo bench --bench parts`.

#![expect(clippy::unwrap_used, reason = "a bench that fails has nothing to say")]

#[path = "peers/fixture.rs"]
#[expect(dead_code, unreachable_pub, reason = "shared with the other benches")]
mod fixture;

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use scope_shim::clock;
use scope_shim::config::Policy;
use scope_shim::decide::{Case, Decision, decide};
use scope_shim::delegate::Delegate;
use scope_shim::device::DeviceId;
use scope_shim::handshake::message::Connect;
use scope_shim::identity::identify::Credential;
use scope_shim::identity::proof::{PayloadVersion, ProofRules, verify};
use scope_shim::identity::store::{DeviceStore as _, JsonStore};
use scope_shim::identity::{CacheSettings, Identity, Resolver};
use scope_shim::profile::{Profile, Version};
use scope_shim::rewrite;
use scope_shim::scope::{self, ScopeSet};
use scope_shim::ws::scan::Sender;
use scope_shim::ws::{Header, Opcode, Scanner, frame};
use tokio::runtime::Runtime;

use fixture::{Device, NONCE, Way, device_id, write_paired};

criterion_group!(
    parts, frames, messages, proofs, decisions, rewriting, reloads, lookups
);
criterion_main!(parts);

fn frames(c: &mut Criterion) {
    let small = frame::encode(Opcode::Text, &[b'x'; 256], Some([1, 2, 3, 4]));
    c.bench_function("frame: header of 256 B", |b| {
        b.iter(|| Header::parse(black_box(&small)));
    });
    let connect = Device::nth(0).connect(Way::Pass);
    let connect = frame::encode(Opcode::Text, connect.as_bytes(), Some([1, 2, 3, 4]));
    c.bench_function("frame: a whole connect request", |b| {
        b.iter(|| Scanner::new(Sender::Client, 65536).next(black_box(&connect)));
    });
}

fn messages(c: &mut Criterion) {
    let text = Device::nth(0).connect(Way::Pass);
    c.bench_function("message: connect request", |b| {
        b.iter(|| Connect::parse(black_box(text.as_bytes())));
    });
    let hello = fixture::hello_ok();
    c.bench_function("message: hello-ok", |b| {
        b.iter(|| {
            scope_shim::handshake::message::Answer::parse(black_box(hello.as_bytes()), fixture::ID)
        });
    });
}

fn proofs(c: &mut Criterion) {
    let claims = connect(Way::Pass).claims;
    let device = claims.device.clone().unwrap();
    let rules = ProofRules {
        skew_ms: i64::MAX,
        allow_v1: false,
        allow_v3: true,
    };
    let check = || verify(&claims, &device, NONCE, clock::now_ms(), rules);
    check().unwrap();
    c.bench_function("proof: verify", |b| b.iter(check));
}

fn decisions(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    write_paired(directory.path(), 1);
    let snapshot = runtime
        .block_on(JsonStore::new(directory.path()).snapshot())
        .unwrap();
    let record = Arc::clone(snapshot.devices.values().next().unwrap());
    let identity = Identity::Device {
        record,
        credential: Credential::Shared,
        payload: PayloadVersion::V3,
    };
    let delegate: ScopeSet = scope::ALL.into_iter().collect();
    let (profile, policy) = (Profile::of_version(Version::v2026(7, 1)), Policy::default());
    for (name, way) in [("pass", Way::Pass), ("rewrite", Way::Rewrite)] {
        let claims = connect(way).claims;
        let case = Case {
            claims: &claims,
            identity: &identity,
            profile: &profile,
            policy: &policy,
            cap: None,
            delegate: Some(&delegate),
        };
        let rewrites = matches!(decide(case), Decision::Rewrite(_));
        assert_eq!(rewrites, way == Way::Rewrite);
        c.bench_function(&format!("decision: {name}"), |b| {
            b.iter(|| decide(black_box(case)));
        });
    }
}

fn rewriting(c: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let delegate = Delegate::load_or_create(directory.path()).unwrap();
    let request = connect(Way::Rewrite);
    c.bench_function("rewrite: connect request, signed", |b| {
        b.iter(|| rewrite::connect(black_box(&request), &delegate, NONCE, clock::now_ms(), None));
    });
}

fn reloads(c: &mut Criterion) {
    reading(c, "store: first read, devices", |_, state| {
        JsonStore::new(state)
    });
    let after_a_change = |runtime: &Runtime, state: &Path| {
        let file = state.join("devices/paired.json");
        let store = JsonStore::new(state);
        runtime.block_on(store.snapshot()).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let (from, to) = match text.contains("darwin") {
            true => ("darwin", "linux"),
            false => ("linux", "darwin"),
        };
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        store
    };
    let name = "store: reload after one has changed, devices";
    reading(c, name, after_a_change);
}

/// What it takes to read the store that `prepared` makes of a state directory.
fn reading(c: &mut Criterion, name: &str, prepared: impl Fn(&Runtime, &Path) -> JsonStore) {
    let runtime = Runtime::new().unwrap();
    let mut group = c.benchmark_group(name);
    group.sample_size(10);
    for devices in SIZES {
        let state = tempfile::tempdir().unwrap();
        write_paired(state.path(), devices);
        let read = |store: JsonStore| {
            let snapshot = runtime.block_on(store.snapshot()).unwrap();
            assert_eq!(snapshot.devices.len(), devices);
            (store, snapshot)
        };
        group.bench_function(BenchmarkId::from_parameter(devices), |b| {
            let prepared = || prepared(&runtime, state.path());
            b.iter_batched(prepared, read, BatchSize::PerIteration);
        });
    }
}

fn lookups(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = c.benchmark_group("store: cached lookup, devices");
    for devices in SIZES {
        let directory = tempfile::tempdir().unwrap();
        let resolver = resolver(directory.path(), devices);
        let step = devices.div_ceil(ASKED);
        let asked: Vec<_> = (0..devices)
            .step_by(step)
            .map(|number| DeviceId::new(device_id(number)))
            .collect();
        group.bench_function(BenchmarkId::from_parameter(devices), |b| {
            b.iter_custom(|times| {
                runtime.block_on(async {
                    for device in &asked {
                        assert!(resolver.resolve(device).await.unwrap().is_some());
                    }
                    let began = Instant::now();
                    for device in asked.iter().cycle().take(usize::try_from(times).unwrap()) {
                        let _ = black_box(resolver.resolve(device).await);
                    }
                    began.elapsed()
                })
            });
        });
    }
}

fn resolver(directory: &Path, devices: usize) -> Resolver {
    fs::create_dir_all(directory).unwrap();
    write_paired(directory, devices);
    let store = Arc::new(JsonStore::new(directory));
    Resolver::new(store, CacheSettings::default())
}

fn connect(way: Way) -> Connect {
    Connect::parse(Device::nth(0).connect(way).as_bytes()).unwrap()
}

/// How many devices a store holds.
const SIZES: [usize; 3] = [1, 1_000, 100_000];
/// How many of them are asked for by turns.
const ASKED: usize = 1_000;
