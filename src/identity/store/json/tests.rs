#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::device::{DeviceId, OperatorToken};
use crate::identity::store::fuzz::paired;

/// A record as 2026.6.11 writes it.
const REAL: &str = r#"{
  "d1": {
    "deviceId": "d1",
    "publicKey": "CZdqNRrbZJFMEgx6GPo2F6dYCHeHOadWIu91bAp6D-E",
    "platform": "linux",
    "clientId": "cli",
    "clientMode": "cli",
    "role": "operator",
    "roles": ["operator"],
    "scopes": ["operator.pairing"],
    "approvedScopes": ["operator.pairing", "operator.read"],
    "tokens": {
      "operator": {
        "token": "tok-1",
        "role": "operator",
        "scopes": ["operator.pairing"],
        "createdAtMs": 1795354637845
      }
    },
    "createdAtMs": 1795354637845,
    "approvedAtMs": 1795354637845,
    "lastSeenAtMs": 1795354637816,
    "lastSeenReason": "connect"
  }
}"#;

struct State(TempDir);

impl State {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("devices")).unwrap();
        Self(directory)
    }

    fn paired(&self) -> PathBuf {
        self.0.path().join("devices/paired.json")
    }

    fn write(&self, text: impl AsRef<[u8]>) {
        fs::write(self.paired(), text).unwrap();
    }

    fn store(&self) -> JsonStore {
        JsonStore::new(self.0.path())
    }
}

fn only(text: &str) -> Result<Arc<crate::device::DeviceRecord>, Vec<String>> {
    let (devices, problems) = paired(text.as_bytes()).unwrap();
    devices.into_values().next().ok_or(problems)
}

#[tokio::test]
async fn a_record_of_2026_6_11_is_read_whole() {
    let state = State::new();
    state.write(REAL);
    let snapshot = state.store().snapshot().await.unwrap();
    let record = &snapshot.devices[&DeviceId::new("d1")];
    assert_eq!(
        record.public_key,
        "CZdqNRrbZJFMEgx6GPo2F6dYCHeHOadWIu91bAp6D-E"
    );
    assert_eq!(record.platform.as_deref(), Some("linux"));
    assert_eq!(record.roles, ["operator"]);
    assert_eq!(record.approved_scopes.to_string(), "pairing, read");
    assert_eq!(record.last_seen_at_ms, Some(1_795_354_637_816));
    let OperatorToken::Live { token, scopes } = &record.operator_token else {
        unreachable!("the token is live")
    };
    assert!(token.matches("tok-1"));
    assert_eq!(scopes.to_string(), "pairing");
}

#[tokio::test]
async fn the_pending_requests_come_along_and_cost_nothing_when_damaged() {
    let state = State::new();
    state.write(REAL);
    let pending = state.0.path().join("devices/pending.json");
    fs::write(
        &pending,
        r#"{"r1":{"requestId":"r1","deviceId":"d2","publicKey":"k","role":"operator","roles":["operator"],
            "scopes":["operator.read"],"clientId":"cli","clientMode":"cli","platform":"linux",
            "silent":false,"isRepair":true,"ts":5,"remoteIp":"203.0.113.9"},"r2":{"deviceId":7}}"#,
    )
    .unwrap();
    let store = state.store();
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.pending.len(), 1);
    assert_eq!(snapshot.pending[0].request_id, "r1");
    assert!(snapshot.pending[0].is_repair);
    fs::write(&pending, "{").unwrap();
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!((snapshot.devices.len(), snapshot.pending.len()), (1, 0));
}

#[test]
fn of_two_records_of_one_device_the_last_counts_even_where_it_is_broken() {
    let wide = r#""d":{"publicKey":"k","role":"operator","scopes":["operator.admin"]}"#;
    let broken = r#""d":{"role":"operator","scopes":[]}"#;
    let read = |text: String| paired(text.as_bytes()).unwrap();
    let (devices, problems) = read(format!("{{{wide},{broken}}}"));
    assert!(devices.is_empty());
    assert_eq!(problems.len(), 1);
    let (devices, _) = read(format!("{{{broken},{wide}}}"));
    assert_eq!(devices.len(), 1);
}

#[test]
fn scopes_stand_in_for_approved_scopes_and_the_role_for_the_roles() {
    let record =
        only(r#"{"d":{"publicKey":"k","role":"operator","scopes":["operator.read"]}}"#).unwrap();
    assert!(record.is_operator());
    assert!(record.approved_scopes.names("operator.read"));
    let record =
        only(r#"{"d":{"publicKey":"k","scopes":["operator.read"],"approvedScopes":[]}}"#).unwrap();
    assert!(record.approved_scopes.is_empty());
}

#[test]
fn a_revoked_a_missing_and_an_empty_token_are_no_credential() {
    let token = |text: &str| {
        let file = format!(r#"{{"d":{{"publicKey":"k","tokens":{text}}}}}"#);
        only(&file).unwrap().operator_token.clone()
    };
    for revoked in ["5", "0", "\"yes\"", "true", "{}", "[1]", "-1", "1.5"] {
        let text = format!(r#"{{"operator":{{"token":"t","scopes":[],"revokedAtMs":{revoked}}}}}"#);
        assert!(matches!(token(&text), OperatorToken::Revoked), "{revoked}");
    }
    let not_revoked = r#"{"operator":{"token":"t","revokedAtMs":null}}"#;
    assert!(matches!(token(not_revoked), OperatorToken::Live { .. }));
    for none in [
        "{}",
        "null",
        r#"{"node":{"token":"t"}}"#,
        r#"{"operator":{"token":""}}"#,
    ] {
        assert!(matches!(token(none), OperatorToken::None), "{none}");
    }
}

#[test]
fn a_field_that_lies_about_its_type_costs_one_record_and_is_told_without_its_content() {
    let lies = [
        r#""publicKey":7"#,
        r#""publicKey":"k","scopes":"operator.secret-admin""#,
        r#""publicKey":"k","approvedScopes":{"0":"operator.secret-admin"}"#,
        r#""publicKey":"k","roles":[["operator"]]"#,
        r#""publicKey":"k","tokens":{"operator":{"token":["secret"]}}"#,
        r#""publicKey":"k","deviceId":"secret-other""#,
        r#""scopes":[]"#,
    ];
    for lie in lies {
        let file = format!(r#"{{"0123456789abcdef":{{{lie}}},"good":{{"publicKey":"k"}}}}"#);
        let (devices, problems) = paired(file.as_bytes()).unwrap();
        assert!(devices.contains_key(&DeviceId::new("good")), "{lie}");
        assert_eq!((devices.len(), problems.len()), (1, 1), "{lie}");
        assert!(
            problems[0].contains("0123456789ab…") && !problems[0].contains("secret"),
            "{problems:?}"
        );
    }
    for harmless in [
        r#""displayName":[1]"#,
        r#""approvedAtMs":-1.5"#,
        r#""lastSeenAtMs":{"a":{}}"#,
    ] {
        assert!(only(&format!(r#"{{"d":{{"publicKey":"k",{harmless}}}}}"#)).is_ok());
    }
}

#[test]
fn a_name_that_was_cut_in_the_middle_of_a_character_does_not_cost_the_record() {
    let file = r#"{"d":{"publicKey":"k","displayName":"a \ud83d","scopes":["operator.read"]}}"#;
    let record = only(file).unwrap();
    assert_eq!(record.display_name.as_deref(), Some("a \u{fffd}"));
    let whole = r#"{"d":{"publicKey":"k","displayName":"\ud83d\ude00 \\ud83d"}}"#;
    assert_eq!(
        only(whole).unwrap().display_name.as_deref(),
        Some("😀 \\ud83d")
    );
}

#[test]
fn every_half_written_file_is_an_error_that_says_where_and_tells_no_token() {
    for end in 0..REAL.len() {
        let what = paired(&REAL.as_bytes()[..end]).unwrap_err();
        assert!(what.contains("line") && !what.contains("tok-1"), "{what}");
    }
    for other in [
        "[]",
        "null",
        "7",
        "\"d1\"",
        "{\"d\":1,}",
        "\u{feff}{}",
        "{}{}",
    ] {
        assert!(paired(other.as_bytes()).is_err(), "{other}");
    }
}

#[test]
fn a_deep_file_does_not_exhaust_the_stack() {
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let (devices, problems) = paired(format!(r#"{{"d":{deep}}}"#).as_bytes()).unwrap();
    assert_eq!((devices.len(), problems.len()), (0, 1));
    let inside = format!(r#"{{"d":{{"publicKey":"k","later":{deep},"displayName":{deep}}}}}"#);
    let (devices, _) = paired(inside.as_bytes()).unwrap();
    assert_eq!(devices.len(), 1);
    assert!(paired(deep.as_bytes()).is_err());
}

#[tokio::test]
async fn no_file_is_an_empty_store_and_no_directory_is_a_missing_one() {
    let state = State::new();
    assert!(state.store().snapshot().await.unwrap().devices.is_empty());
    fs::remove_dir(state.0.path().join("devices")).unwrap();
    assert!(state.store().snapshot().await.unwrap().devices.is_empty());
    let nowhere = JsonStore::new(state.0.path().join("nowhere"));
    let error = nowhere.snapshot().await.unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
}

#[tokio::test]
async fn what_is_no_file_or_too_large_is_refused() {
    let state = State::new();
    fs::create_dir(state.paired()).unwrap();
    let error = state.store().snapshot().await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
    fs::remove_dir(state.paired()).unwrap();
    File::create(state.paired())
        .unwrap()
        .set_len(MAX_BYTES + 1)
        .unwrap();
    let error = state.store().snapshot().await.unwrap_err();
    assert!(error.to_string().contains("128 MiB"), "{error}");
}

#[tokio::test]
async fn an_unchanged_file_is_parsed_once_and_any_rewrite_is_seen() {
    let state = State::new();
    state.write(REAL);
    let old = SystemTime::now() - Duration::from_secs(3600);
    let store = state.store();
    let mut before = store.snapshot().await.unwrap();
    // A file that was only just written may still change without a trace, and is read again until it has settled.
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    loop {
        let again = store.snapshot().await.unwrap();
        if Arc::ptr_eq(&before, &again) {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "the file never settled"
        );
        before = again;
    }
    for round in 0..50 {
        let name = format!("k{:02}", round % 100);
        state.write(REAL.replace("CZd", &name));
        File::open(state.paired())
            .unwrap()
            .set_modified(old)
            .unwrap();
        let after = store.snapshot().await.unwrap();
        assert!(
            after.devices[&DeviceId::new("d1")]
                .public_key
                .starts_with(&name)
        );
    }
}

#[tokio::test]
async fn reading_leaves_the_directory_as_it_was() {
    let state = State::new();
    state.write(REAL);
    let before = listing(state.0.path());
    state.store().snapshot().await.unwrap();
    assert_eq!(before, listing(state.0.path()));
}

fn listing(directory: &Path) -> Vec<(PathBuf, u64, Option<SystemTime>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.metadata().unwrap();
        if metadata.is_dir() {
            found.extend(listing(&path));
        }
        found.push((path, metadata.len(), metadata.modified().ok()));
    }
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn a_mutation_of_a_real_file_is_read_the_same_whatever_was_read_before(
        edits in prop::collection::vec((any::<prop::sample::Index>(), mutation()), 1..6),
    ) {
        let mut text = REAL.as_bytes().to_vec();
        for (at, edit) in edits {
            let at = at.index(text.len() + 1);
            edit.to(&mut text, at);
        }
        let _ = parse::pending(&text);
        is_read_the_same(&text, REAL)?;
    }

    #[test]
    fn a_file_in_which_records_came_went_and_changed_is_read_the_same_whatever_was_read_before(
        edits in prop::collection::vec((any::<prop::sample::Index>(), change()), 0..4),
        damage in prop::option::of((any::<prop::sample::Index>(), mutation())),
    ) {
        let before = crowd(6);
        let inside = before.trim_start_matches('{').trim_end_matches('}');
        let mut records: Vec<_> = inside.split(",\n  \"0").map(str::to_owned).collect();
        for (at, edit) in edits {
            let at = at.index(records.len());
            match edit {
                Change::Removed if records.len() > 1 => { records.remove(at); }
                Change::Removed => {}
                Change::Again => { let again = records[at].clone(); records.push(again); }
                Change::Moved => records.rotate_left(at),
                Change::Other => records[at] = records[at].replace("tok-1", "tok-2"),
                Change::Broken => records[at] = records[at].replace("\"publicKey\"", "\"key\""),
                Change::Spaced => records[at].push(' '),
            }
        }
        let mut text = format!("{{{}}}", records.join(",\n  \"0")).into_bytes();
        if let Some((at, damage)) = damage {
            let at = at.index(text.len() + 1);
            damage.to(&mut text, at);
        }
        is_read_the_same(&text, &before)?;
    }
}

/// As if it were read first.
fn is_read_the_same(text: &[u8], before: &str) -> Result<(), TestCaseError> {
    let first = Known::default();
    let known = parse::paired(before.as_bytes(), &first).unwrap().known;
    match (paired(text), parse::paired(text, &known)) {
        (Ok((devices, problems)), Ok(read)) => {
            let snapshot = |devices| Snapshot {
                devices,
                ..Snapshot::default()
            };
            prop_assert_eq!(&problems, &read.problems);
            prop_assert!(snapshot(devices.clone()).same_standing(&snapshot(read.devices)));
            // And so is the next one, which knows what this one left.
            let again = parse::paired(text, &read.known).unwrap();
            prop_assert_eq!(problems, again.problems);
            prop_assert!(snapshot(devices).same_standing(&snapshot(again.devices)));
        }
        (Err(why), Err(read)) => prop_assert_eq!(why, read),
        (alone, _) => {
            prop_assert!(
                false,
                "it is read otherwise: {:?}",
                alone.map(|read| read.1)
            );
        }
    }
    Ok(())
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug)]
enum Change {
    Removed,
    Again,
    Moved,
    Other,
    Broken,
    Spaced,
}

fn change() -> impl Strategy<Value = Change> {
    use Change::{Again, Broken, Moved, Other, Removed, Spaced};
    prop::sample::select(vec![Removed, Again, Moved, Other, Broken, Spaced])
}

#[derive(Clone, Debug)]
enum Mutation {
    Insert(Vec<u8>),
    Remove(usize),
    Flip(u8),
}

impl Mutation {
    fn to(self, text: &mut Vec<u8>, at: usize) {
        match self {
            Self::Insert(bytes) => {
                text.splice(at..at, bytes);
            }
            Self::Remove(count) => {
                text.drain(at..(at + count).min(text.len()));
            }
            Self::Flip(mask) => {
                if let Some(byte) = text.get_mut(at) {
                    *byte ^= mask;
                }
            }
        }
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let fragments = [
        "null", "[]", "{}", "\"", "\\ud800", "1e999", "-0", "}", "]", ",", "\u{0}", "{\"a\":",
    ];
    prop_oneof![
        prop::sample::select(fragments.to_vec()).prop_map(|text| Mutation::Insert(text.into())),
        prop::collection::vec(any::<u8>(), 1..4).prop_map(Mutation::Insert),
        (1..40_usize).prop_map(Mutation::Remove),
        (1..=255_u8).prop_map(Mutation::Flip),
    ]
}

/// A file of that many devices, as long for each as a gateway writes it.
fn crowd(count: usize) -> String {
    let one = REAL.trim_start_matches("{\n").trim_end_matches("\n}");
    let records = (0..count).map(|index| one.replace("d1", &format!("{index:064x}")));
    format!("{{\n{}\n}}", records.collect::<Vec<_>>().join(",\n"))
}

#[tokio::test]
async fn what_stands_in_the_file_as_before_is_not_read_again() {
    let state = State::new();
    let store = state.store();
    let [before, after] = [crowd(3), crowd(4).replacen("tok-1", "tok-2", 1)];
    state.write(before);
    let before = store.snapshot().await.unwrap();
    state.write(after);
    let after = store.snapshot().await.unwrap();
    let id = |index: usize| DeviceId::new(format!("{index:064x}"));
    let same = |index| Arc::ptr_eq(&before.devices[&id(index)], &after.devices[&id(index)]);
    assert!(!same(0) && same(1) && same(2));
    assert!(matches!(
        &after.devices[&id(0)].operator_token,
        OperatorToken::Live { token, .. } if token.matches("tok-2")
    ));
    assert_eq!(after.devices.len(), 4);
}

#[test]
fn of_a_large_file_every_record_arrives_whoever_reads_it() {
    for count in [999, 1_001, 5_003] {
        let (devices, problems) = paired(crowd(count).as_bytes()).unwrap();
        assert_eq!((devices.len(), problems.len()), (count, 0));
    }
    let text = crowd(5_000).replace("\"publicKey\"", "\"publicKey\":7,\"later\"");
    let (devices, problems) = paired(text.as_bytes()).unwrap();
    assert_eq!((devices.len(), problems.len()), (0, 5_000));
}
