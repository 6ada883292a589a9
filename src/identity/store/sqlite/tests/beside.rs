//! What a read leaves behind beside the database: nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use super::*;

type Listing = BTreeMap<PathBuf, (Vec<u8>, SystemTime)>;

/// Every file beside the database: its name, content and time.
fn listing(state: &Path) -> Listing {
    let entries = fs::read_dir(state.join("state")).unwrap();
    let file = |path: PathBuf| {
        let modified = path.metadata().unwrap().modified().unwrap();
        (path.clone(), (fs::read(&path).unwrap(), modified))
    };
    entries.map(|entry| file(entry.unwrap().path())).collect()
}

fn names(state: &Path) -> Vec<String> {
    let listing = listing(state);
    listing
        .keys()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect()
}

fn devices(state: &Path) -> Result<usize, StoreError> {
    let (snapshot, _) = read(&database_below(state), rows::snapshot)?.unwrap();
    Ok(snapshot.devices.len())
}

/// A gateway with one device in the database file and one more that only the `-wal` holds.
fn running() -> Gateway {
    let mut gateway = Gateway::start();
    gateway.commit(gateway::SCHEMA);
    gateway.commit(&gateway::pair("in-the-database"));
    gateway.commit("PRAGMA wal_checkpoint(TRUNCATE)");
    gateway.commit(&gateway::pair("in-the-wal"));
    gateway
}

const ALONE: [&str; 1] = ["openclaw.sqlite"];
const ALL: [&str; 3] = [
    "openclaw.sqlite",
    "openclaw.sqlite-shm",
    "openclaw.sqlite-wal",
];

#[test]
fn beside_a_running_gateway_the_newest_row_is_read_and_nothing_touched() {
    let gateway = running();
    assert_eq!(names(gateway.state()), ALL);
    let before = listing(gateway.state());
    assert_eq!(devices(gateway.state()).unwrap(), 2);
    assert!(
        before == listing(gateway.state()),
        "the read touched something"
    );
    let state = gateway.stop();
    assert_eq!(names(state.path()), ALONE, "the gateway can still tidy up");
}

#[test]
fn of_a_cleanly_closed_database_every_row_is_read_and_nothing_touched() {
    let state = running().stop();
    assert_eq!(names(state.path()), ALONE);
    let before = listing(state.path());
    assert_eq!(devices(state.path()).unwrap(), 2);
    assert!(
        before == listing(state.path()),
        "the read touched something"
    );
}

#[test]
fn of_a_killed_gateways_database_the_newest_row_is_read_and_nothing_touched() {
    let state = running().kill();
    assert_eq!(names(state.path()), ALL);
    let before = listing(state.path());
    assert_eq!(devices(state.path()).unwrap(), 2);
    assert!(
        before == listing(state.path()),
        "the read touched something"
    );
}

#[cfg(unix)]
#[test]
fn of_a_killed_gateways_database_without_its_index_the_newest_row_is_read_and_nothing_touched() {
    let state = running().kill();
    fs::remove_file(state.path().join("state/openclaw.sqlite-shm")).unwrap();
    let before = listing(state.path());
    assert_eq!(devices(state.path()).unwrap(), 2);
    assert!(
        before == listing(state.path()),
        "the read touched something"
    );
}

#[cfg(unix)]
#[test]
fn a_directory_that_cannot_be_written_is_no_obstacle() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |state: &TempDir, mode| {
        fs::set_permissions(state.path().join("state"), fs::Permissions::from_mode(mode)).unwrap();
    };
    for state in [running().stop(), running().kill()] {
        mode(&state, 0o555);
        let before = listing(state.path());
        assert_eq!(devices(state.path()).unwrap(), 2);
        assert!(
            before == listing(state.path()),
            "the read touched something"
        );
        mode(&state, 0o755);
    }
}

#[test]
fn a_gateway_that_closes_its_database_while_we_open_it_leaves_no_empty_log() {
    let state = running().stop();
    let path = database_below(state.path());
    let before = listing(state.path());
    open::as_if_the_log_had_just_vanished(&path);
    assert!(
        before == listing(state.path()),
        "the read touched something"
    );
    assert_eq!(devices(state.path()).unwrap(), 2);
}

#[test]
fn a_database_that_another_process_keeps_for_itself_is_locked() {
    for journal in ["WAL", "DELETE"] {
        let mut gateway = running();
        gateway.commit(&format!("PRAGMA journal_mode = {journal}"));
        gateway.commit("PRAGMA locking_mode = EXCLUSIVE");
        gateway.commit("BEGIN EXCLUSIVE");
        gateway.commit(&gateway::pair("not-yet"));
        gateway.commit("PRAGMA cache_spill = 1");
        let before = names(gateway.state());
        let began = Instant::now();
        let error = devices(gateway.state()).unwrap_err();
        assert!(
            matches!(error, StoreError::Locked { .. }),
            "{journal}: {error}"
        );
        assert!(began.elapsed() < Duration::from_secs(2));
        assert_eq!(before, names(gateway.state()));
        gateway.commit("ROLLBACK");
        gateway.commit("PRAGMA locking_mode = NORMAL");
        gateway.commit("SELECT count(*) FROM device_pairing_paired");
        assert_eq!(devices(gateway.state()).unwrap(), 2, "{journal}");
    }
}

#[test]
fn a_database_on_network_storage_with_its_rollback_journal_is_read_too() {
    let mut gateway = running();
    gateway.commit("PRAGMA journal_mode = DELETE");
    assert_eq!(names(gateway.state()), ALONE);
    let before = listing(gateway.state());
    assert_eq!(devices(gateway.state()).unwrap(), 2);
    assert!(
        before == listing(gateway.state()),
        "the read touched something"
    );
}

#[test]
fn every_read_beside_a_writer_that_never_rests_sees_one_moment() {
    let mut gateway = running();
    gateway.commit("CREATE TABLE one (n); INSERT INTO one VALUES (0); CREATE TABLE two (n); INSERT INTO two VALUES (0)");
    gateway.commit("PRAGMA wal_autocheckpoint = 3");
    let path = database_below(gateway.state());
    let writing = std::thread::spawn(move || {
        for _ in 0..300 {
            gateway.commit("BEGIN; UPDATE one SET n = n + 1; UPDATE two SET n = n + 1; COMMIT");
        }
        gateway.stop()
    });
    let mut latest = 0;
    while !writing.is_finished() {
        let (one, two): (i64, i64) = read(&path, |connection| {
            let one = connection.query_row("SELECT n FROM one", [], |row| row.get(0))?;
            Ok((
                one,
                connection.query_row("SELECT n FROM two", [], |row| row.get(0))?,
            ))
        })
        .unwrap();
        assert_eq!(one, two);
        assert!(one >= latest);
        latest = one;
    }
    let state = writing.join().unwrap();
    assert_eq!(devices(state.path()).unwrap(), 2);
}

#[test]
fn a_gateway_that_restarts_again_and_again_is_never_misread_and_left_no_stray_files() {
    let state = running().stop();
    let path = database_below(state.path());
    let restarting = std::thread::spawn(move || {
        let mut state = state;
        for round in 0..15 {
            let mut gateway = Gateway::start_on(state);
            gateway.commit(&gateway::pair(&format!("d{round}")));
            state = gateway.stop();
        }
        state
    });
    let mut latest = 2;
    while !restarting.is_finished() {
        let (snapshot, _) = read(&path, rows::snapshot).unwrap().unwrap();
        assert!(snapshot.devices.len() >= latest);
        latest = snapshot.devices.len();
    }
    // The last shutdown may have met a reader, and left its own files for the next start.
    let state = Gateway::start_on(restarting.join().unwrap()).stop();
    assert_eq!(names(state.path()), ALONE);
    assert_eq!(devices(state.path()).unwrap(), 17);
}
