use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Signal, geteuid};
use scope_shim::demo::simulated::Profile;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::command::Bench;
use crate::modes::{before, said};
use crate::policing::edit_store;
use crate::program::{Foundling, Program, configure, free, tell};
use crate::stage::{TOKEN, eventually, until};
use crate::succession::{installed, serving};
use crate::support::client::{Connect, LEGACY, Outcome, READ, Session};
use crate::support::device::TestDevice;

/// A kernel that cannot confine, or is not asked to, is no place for these tests.
fn can_confine(program: &Program) -> bool {
    let cannot = program
        .log()
        .contains("not confined to its own directories");
    if cannot {
        eprintln!("skipped: this kernel has no Landlock that could confine a process");
    }
    !cannot
}

/// Puts a directory elsewhere in the place of the data directory, as whoever could replace it would, and has the shim
/// write there; what it says, and whether it did.
async fn has_it_write_elsewhere(bench: &Bench, elsewhere: &TempDir) -> (String, bool) {
    let data = bench.dir.path().join("data");
    let own = bench.dir.path().join("own-data");
    fs::rename(&data, &own).unwrap();
    symlink(own.join("admin.sock"), elsewhere.path().join("admin.sock")).unwrap();
    symlink(elsewhere.path(), &data).unwrap();
    let outcome = said(bench, &["mode", "observe"]).await;
    (outcome, elsewhere.path().join("mode.json").exists())
}

#[tokio::test]
async fn a_shim_that_runs_can_write_nowhere_but_in_its_own_directories() {
    let bench = Bench::new(Profile::Literal).await;
    let program = Program::start(&bench, &before(&bench)).await;
    if !can_confine(&program) {
        return;
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let (outcome, wrote) = has_it_write_elsewhere(&bench, &elsewhere).await;
    assert!(outcome.contains("Permission denied"), "{outcome}");
    assert!(!wrote, "{outcome}");
}

#[tokio::test]
async fn a_shim_that_was_told_not_to_confine_itself_can() {
    let bench = Bench::new(Profile::Literal).await;
    let config = format!("sandbox = \"off\"\n{}", before(&bench));
    let _program = Program::start(&bench, &config).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let (outcome, wrote) = has_it_write_elsewhere(&bench, &elsewhere).await;
    assert!(wrote, "{outcome}");
}

#[tokio::test]
async fn a_reload_that_needs_another_directory_says_that_it_takes_a_restart() {
    let bench = Bench::new(Profile::Literal).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let gateway = |name: &str, more: &str| {
        let section = before(&bench).replace("[gateway]", "[[gateway]]");
        format!("{section}\nname = \"{name}\"\n{more}\n")
    };
    let one = gateway("one", "");
    let program = Program::start(&bench, &one).await;
    if !can_confine(&program) {
        return;
    }
    let add_another = |more: &str| {
        let more = format!("listen = \"{}\"\n{more}", free());
        let two = gateway("two", &more);
        let text = format!("listen = \"{}\"\n{one}{two}", program.listen);
        configure(&bench, &text);
    };
    add_another(&format!("data = {:?}", elsewhere.path().join("two")));
    let outcome = said(&bench, &["reload"]).await;
    assert!(
        outcome.contains("when this process confined itself"),
        "{outcome}"
    );
    assert!(outcome.contains("start it again"), "{outcome}");
    assert!(!elsewhere.path().join("two").exists());
    add_another("");
    let outcome = said(&bench, &["reload"]).await;
    assert!(outcome.starts_with("exit: 0\n"), "{outcome}");
}

#[tokio::test]
async fn a_version_that_takes_over_is_as_confined_and_says_so_where_that_is_in_the_way() {
    let bench = Bench::new(Profile::Literal).await;
    let (_path, program) = installed(&bench).await;
    if !can_confine(&program) {
        return;
    }
    let old = u64::from(program.pid());
    let outcome = said(&bench, &["upgrade"]).await;
    assert!(outcome.starts_with("exit: 0\nupgraded: "), "{outcome}");
    let new = serving(&bench).await;
    let _ended_later = Foundling(u32::try_from(new).unwrap());
    assert_ne!(new, old);
    let elsewhere = tempfile::tempdir().unwrap();
    let (outcome, wrote) = has_it_write_elsewhere(&bench, &elsewhere).await;
    assert!(outcome.contains("Permission denied") && !wrote, "{outcome}");
    // Its data directory is elsewhere now, where it may not write.
    let outcome = said(&bench, &["upgrade"]).await;
    assert!(
        outcome.contains("and whatever it starts, may write"),
        "{outcome}"
    );
}

/// The program at a place from which everybody may start it.
fn for_everybody(dir: &Path) -> PathBuf {
    let (program, copy) = (env!("CARGO_BIN_EXE_scope-shim"), dir.join("scope-shim"));
    fs::hard_link(program, &copy)
        .or_else(|_| fs::copy(program, &copy).map(|_| ()))
        .unwrap();
    copy
}

/// What the kernel says of a process.
fn status(pid: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// Only root can start a program as another user.
fn can_be_another_user() -> bool {
    let can = geteuid().is_root();
    if !can {
        eprintln!("skipped: only root can start a program as another user");
    }
    can
}

/// A shim of nobody's beside the gateway's files.
struct Stranger {
    bench: Bench,
    /// A paired device.
    device: TestDevice,
    program: Child,
    listen: SocketAddr,
    dir: PathBuf,
}

impl Stranger {
    /// It may read the store and write its own data.
    async fn start() -> Self {
        let bench = Bench::new(Profile::Literal).await;
        let device = bench.paired(LEGACY);
        let dir = bench.dir.path().to_owned();
        let (data, state) = (dir.join("data"), dir.join("state"));
        fs::create_dir(&data).unwrap();
        chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
        for path in [&dir, &state, &state.join("devices")] {
            permit(path, 0o755);
        }
        permit(&state.join("devices/paired.json"), 0o644);
        let listen = free();
        let program = Command::new(for_everybody(&dir))
            .args(["run", "--listen", &listen.to_string(), "--gateway"])
            .arg(format!("ws://{}", bench.gateway.addr()))
            .arg("--gateway-state")
            .arg(state)
            .arg("--data")
            .arg(data)
            .env_clear()
            .env("SCOPE_SHIM_GATEWAY_TOKEN", TOKEN)
            .current_dir("/")
            .uid(NOBODY)
            .gid(NOBODY)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.join("run.log")).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let it = Self {
            bench,
            device,
            program,
            listen,
            dir,
        };
        let paired = || it.log().contains("the delegate is paired").then_some(());
        eventually("the delegate is paired", paired).await;
        // The gateway keeps its store to itself whenever it writes it.
        permit(&it.store(), 0o644);
        it
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("run.log")).unwrap()
    }

    fn store(&self) -> PathBuf {
        self.dir.join("state/devices/paired.json")
    }

    /// What the device was approved for is taken away, all but one scope.
    fn narrows(&self, device: &TestDevice) {
        let narrow =
            |records: &mut Value| records[device.id()]["scopes"] = json!(["operator.pairing"]);
        edit_store(&self.dir.join("state"), narrow);
    }

    async fn closes(&self, session: &mut Session) {
        let (code, reason) = session.closed().await;
        assert_eq!(code, 1008, "{}", self.log());
        assert!(reason.contains("no longer approved for read"), "{reason}");
    }

    fn client(&self, device: &TestDevice) -> Connect {
        Connect::to(self.listen)
            .token(TOKEN)
            .device(device)
            .scopes(&[READ])
    }
}

fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn another_user_who_may_read_the_store_and_write_its_own_data_is_all_it_needs_to_be() {
    if !can_be_another_user() {
        return;
    }
    let stranger = Stranger::start().await;
    let names = || {
        let names = fs::read_dir(stranger.dir.join("state/devices")).unwrap();
        let mut names: Vec<_> = names.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let mut outcome = stranger.client(&stranger.device).run().await;
    assert_eq!(outcome.label().await, "ok r", "{}", stranger.log());
    let pid = stranger.program.id().unwrap();
    assert_eq!(status(pid, "Uid:"), vec![NOBODY.to_string(); 4].join(" "));
    assert_eq!(status(pid, "CapEff:"), "0000000000000000");
    assert_eq!(names(), before);
    assert_eq!(fs::metadata(stranger.store()).unwrap().uid(), 0);
    if !stranger
        .log()
        .contains("not confined to its own directories")
    {
        assert_eq!(status(pid, "NoNewPrivs:"), "1");
    }
}

#[tokio::test]
async fn a_store_that_may_not_be_read_any_more_is_told_of_and_keeps_nobody_out() {
    if !can_be_another_user() {
        return;
    }
    let stranger = Stranger::start().await;
    let connect = stranger.client(&stranger.device);
    let mut before = connect.clone().run().await;
    assert_eq!(before.label().await, "ok r", "{}", stranger.log());
    let problem = format!("{} cannot be read", stranger.store().display());
    let told = || stranger.log().matches(&problem).count();
    let told_before = told();
    // Told anew once it was read again, and the gateway may just have written it, for itself alone.
    let mut modes = [0o644, 0o600].into_iter().cycle();
    eventually("it is told of", || {
        permit(&stranger.store(), modes.next()?);
        (told() > told_before).then_some(())
    })
    .await;
    permit(&stranger.store(), 0o600);
    let mut meanwhile = connect.clone().run().await;
    assert_eq!(meanwhile.label().await, "ok r", "{}", stranger.log());
    stranger.narrows(&stranger.device);
    stranger.closes(&mut meanwhile.admitted()).await;
    let newcomer = connect.run().await;
    assert!(newcomer.session.is_none(), "{}", stranger.log());
    permit(&stranger.store(), 0o644);
    let other = stranger.client(&stranger.bench.paired(LEGACY));
    until(&other, "it may be read again", |outcome| {
        outcome.session.is_some()
    })
    .await;
}

/// The gateway's own list says less than its store: no token, and not what was approved.
#[tokio::test]
async fn a_store_that_may_not_be_read_any_more_ends_no_session_that_nothing_was_taken_from() {
    if !can_be_another_user() {
        return;
    }
    let stranger = Stranger::start().await;
    let (by_token, by_approval) = (TestDevice::new(), TestDevice::new());
    let token = stranger.bench.pair(&by_token, LEGACY);
    stranger.bench.pair(&by_approval, LEGACY);
    edit_store(&stranger.dir.join("state"), |records| {
        let record = &mut records[by_approval.id()];
        record["approvedScopes"] = json!(LEGACY);
        record["scopes"] = json!(["operator.pairing"]);
    });
    // Where clients of this generation send it.
    let by_token = stranger.client(&by_token).token(&token);
    let mut sessions = Vec::new();
    for connect in [stranger.client(&by_approval), by_token] {
        permit(&stranger.store(), 0o644);
        let is_in = |outcome: &Outcome| outcome.session.is_some();
        sessions.push(until(&connect, "it is let in", is_in).await.admitted());
    }
    let mut narrowed = stranger.client(&stranger.device).run().await.admitted();
    permit(&stranger.store(), 0o600);
    // When this one is closed, the others were looked at, too.
    stranger.narrows(&stranger.device);
    stranger.closes(&mut narrowed).await;
    for mut session in sessions {
        assert_eq!(session.letters().await, "r", "{}", stranger.log());
    }
}

#[tokio::test]
async fn a_crash_leaves_no_memory_with_keys_behind() {
    let bench = Bench::new(Profile::Literal).await;
    let (_path, mut program) = installed(&bench).await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", program.pid())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let core: Vec<_> = core.unwrap().split_whitespace().collect();
    let (soft, hard) = (core[4], core[5]);
    assert!(matches!((soft, hard), ("1" | "0", "1" | "0")), "{core:?}");
    tell(program.pid(), Signal::ABORT);
    let status = program.child.wait().await.unwrap();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
    assert!(!status.core_dumped());
}

/// A user and group of nobody's.
const NOBODY: u32 = 64_321;

#[tokio::test]
async fn another_user_of_this_machine_commands_no_shim_that_is_not_its_own() {
    if !can_be_another_user() {
        return;
    }
    let bench = Bench::new(Profile::Literal).await;
    let _program = Program::start(&bench, &before(&bench)).await;
    let dir = bench.dir.path();
    // Every directory on the way lets them through: what keeps them out is the socket itself.
    for path in [dir, &*dir.join("data")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let copy = for_everybody(dir);
    for command in [&["mode", "off"][..], &["status"], &["reload"], &["unpair"]] {
        let output = Command::new(&copy)
            .args(command)
            .env_clear()
            .env("HOME", "/nonexistent")
            .env(
                "SCOPE_SHIM_GATEWAY_URL",
                format!("ws://{}", bench.gateway.addr()),
            )
            .env("SCOPE_SHIM_DATA", dir.join("data"))
            .current_dir("/")
            .uid(NOBODY)
            .gid(NOBODY)
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!output.status.success(), "{command:?}: {said}");
        assert!(!said.contains(TOKEN), "{said}");
    }
    let mode = crate::modes::said(&bench, &["mode"]).await;
    assert!(mode.starts_with("exit: 0\nmode on"), "{mode}");
}
