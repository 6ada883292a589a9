//! Interception, in a network of its own: the gateway on its default port, clients that were told nothing.
//!
//! In the one column the gateway is alone. In the other, shim and redirect come after the gateway and its clients were
//! set up, and go again; the shim runs as a user of its own, who can read none of the gateway's files.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use rustix::process::Uid;
use rustix::thread::set_thread_uid;
use scope_shim::demo::npm::process::{Group, Output, poll, run_to_end};
use scope_shim::demo::npm::{Installed, RealGateway, Version};
use tempfile::TempDir;

use crate::Result;
use crate::agents;
use crate::network::Network;
use crate::outcome::Outcome;
use crate::packages;
use crate::place::{Column, Place, TOKEN};
use crate::report::Recorder;
use crate::shim;

const HEALTH: &str = "health, nothing reconfigured";
const AGENT: &str = "an agent lists sessions, nothing reconfigured";
const HEALTH_AFTER: &str = "health, after intercept down";
const AGENT_AFTER: &str = "an agent lists sessions, after intercept down";
const KILLED: &str = "the gateway answers, shim killed under --watch";
const RESTARTED: &str = "a network of its own knows no redirect";

/// Whether a gateway's own command line and agents fail on it, and nothing can be told to them.
pub(crate) fn concerns(version: &Version) -> bool {
    !version.is_at_least(2026, 2, 21)
}

/// What this machine lacks to try it.
pub(crate) fn missing() -> Option<&'static str> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    MISSING.get_or_init(look_for_what_is_missing).as_deref()
}

fn look_for_what_is_missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("interception: needs root, for networks and rules of its own".to_owned());
    }
    for (program, package) in [
        ("nft", "nftables"),
        ("ip", "iproute2"),
        ("setpriv", "util-linux"),
    ] {
        if packages::provide(&[program], package).is_none() {
            return Some(format!(
                "interception: needs {program} (apt-get install {package})"
            ));
        }
    }
    let probed = Network::new("probe").err();
    probed.map(|error| format!("interception: no network of its own can be made here: {error}"))
}

/// Tries it in one column, in a thread that lives in a network of its own.
pub(crate) fn run(installed: &Installed, column: Column, recorder: &mut Recorder) -> Result<()> {
    let network = Network::new(match column {
        Column::Direct => "direct",
        Column::Shimmed => "shimmed",
    })?;
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            network.enter()?;
            run_inside(installed, column, recorder)
        });
        inside.join().map_err(|_| "the suite itself broke down")?
    })
}

fn run_inside(installed: &Installed, column: Column, recorder: &mut Recorder) -> Result<()> {
    let mut place = Place::new(installed)?;
    place.gateway_port = GATEWAY_PORT;
    let gateway = place.start_gateway(Vec::new())?;
    gateway.cli(PAIRS_AS_LEGACY, GATEWAY_PORT, TIME_LIMIT)?;
    let refused_before = health(&gateway)?;
    if refused_before.works() || agents::list_sessions(&gateway)?.works() {
        return Err(format!("{} had nothing to repair", installed.version).into());
    }
    match column {
        Column::Direct => run_alone(&gateway, recorder),
        Column::Shimmed => run_intercepted(&gateway, recorder),
    }
}

fn run_alone(gateway: &RealGateway, recorder: &mut Recorder) -> Result<()> {
    recorder.record(HEALTH, || health(gateway))?;
    recorder.record(AGENT, || agents::list_sessions(gateway))?;
    recorder.record(HEALTH_AFTER, || health(gateway))?;
    recorder.record(AGENT_AFTER, || agents::list_sessions(gateway))?;
    recorder.record(KILLED, || Ok(answers()))?;
    recorder.record(RESTARTED, || Ok(Outcome::Ok(String::new())))
}

fn run_intercepted(gateway: &RealGateway, recorder: &mut Recorder) -> Result<()> {
    let user = UserOfTheShim::new()?;
    let shim = user.start_shim()?;
    user.expect(&["up"], OK)?;
    // Idempotent: whoever is not sure says it again.
    user.expect(&["up"], OK)?;
    user.expect(&["status"], OK)?;
    recorder.record(HEALTH, || health(gateway))?;
    recorder.record(AGENT, || agents::list_sessions(gateway))?;
    user.expect(&["down"], OK)?;
    user.expect(&["down"], OK)?;
    user.expect(&["status"], ABSENT)?;
    recorder.record(HEALTH_AFTER, || health(gateway))?;
    recorder.record(AGENT_AFTER, || agents::list_sessions(gateway))?;
    let shim = take_the_port(&user, shim)?;
    recorder.record(KILLED, || kill_under_watch(&user, shim))?;
    recorder.record(RESTARTED, || after_a_restart(&user))
}

/// The shim is killed with the redirect in place, and another user takes its port: nothing that is redirected arrives.
fn take_the_port(user: &UserOfTheShim, mut shim: Group) -> Result<Group> {
    user.expect(&["up"], OK)?;
    shim.kill_leader();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, SHIM_PORT));
    let free = || TcpStream::connect(address).is_err().then_some(());
    poll(TIME_LIMIT, free).ok_or("the killed shim still listens")?;
    let listener = thread::spawn(move || {
        // Of this thread alone; the socket is that user's for good.
        set_thread_uid(Uid::from_raw(IMPOSTOR))?;
        TcpListener::bind(address)
    });
    let listener = listener
        .join()
        .map_err(|_| "the suite itself broke down")??;
    listener.set_nonblocking(true)?;
    if answers().works() || listener.accept().is_ok() {
        return Err("what is redirected arrives at another user's process".into());
    }
    let status = user.intercept(&["status"])?;
    let told = format!("where a process of user {IMPOSTOR} listens");
    if status.code != Some(FINDINGS) || !status.stdout.contains(&told) {
        return Err(format!("status says nothing of it: {}", status.stdout).into());
    }
    user.expect(&["up"], FAILURE)?;
    drop(listener);
    user.expect(&["down"], OK)?;
    user.start_shim()
}

/// Interception under `--watch`, until the shim is killed: the gateway answers, and at the latest two seconds later.
fn kill_under_watch(user: &UserOfTheShim, mut shim: Group) -> Result<Outcome> {
    let mut watcher = user.watch()?;
    let in_place = || (user.intercept(&["status"]).ok()?.code == Some(OK)).then_some(());
    if poll(TIME_LIMIT, in_place).is_none() {
        return Err("`intercept up --watch` did not put it in place".into());
    }
    shim.kill_leader();
    let direct = poll(TIME_TO_GIVE_WAY, || answers().works().then_some(()));
    let waiting = || (user.intercept(&["status"]).ok()?.code == Some(FINDINGS)).then_some(());
    let waits = poll(TIME_LIMIT, waiting);
    let mut shim = user.start_shim()?;
    let back = poll(TIME_LIMIT, in_place);
    watcher.kill_leader();
    let absent = || (user.intercept(&["status"]).ok()?.code == Some(ABSENT)).then_some(());
    let gone = poll(TIME_TO_GIVE_WAY, absent);
    // One that takes its leave would still answer while the next one starts.
    shim.kill_leader();
    let wrong = [
        (
            direct.is_none(),
            "the gateway was not reachable within two seconds",
        ),
        (waits.is_none(), "the watcher did not wait for the shim"),
        (back.is_none(), "it did not come back with the shim"),
        (gone.is_none(), "it outlived the watcher"),
    ];
    Ok(match wrong.into_iter().find(|(wrong, _)| *wrong) {
        None => Outcome::Ok(String::new()),
        Some((_, what)) => Outcome::Failed {
            what: what.to_owned(),
            words: Vec::new(),
        },
    })
}

/// What a restart of the machine leaves: nothing in the kernel, nothing in the files from which rules are loaded.
fn after_a_restart(user: &UserOfTheShim) -> Result<Outcome> {
    let _shim = user.start_shim()?;
    let before = saved_rules();
    user.expect(&["up"], OK)?;
    let saved = saved_rules() != before;
    let fresh = Network::new("restarted")?;
    let status = thread::scope(|scope| {
        let inside = scope.spawn(|| {
            fresh.enter()?;
            user.intercept(&["status"])
        });
        inside.join().map_err(|_| "the suite itself broke down")?
    })?;
    user.expect(&["down"], OK)?;
    Ok(match (saved, status.code) {
        (false, Some(ABSENT)) => Outcome::Ok(String::new()),
        (true, _) => unexpected("rules were saved to a file", &status),
        (false, _) => unexpected("there is something in place", &status),
    })
}

/// The files that Debian and others load rules from when they start.
fn saved_rules() -> Vec<Option<Vec<u8>>> {
    let files = [
        "/etc/nftables.conf",
        "/etc/sysconfig/nftables.conf",
        "/etc/nftables",
    ];
    files.map(|file| fs::read(file).ok()).to_vec()
}

fn health(gateway: &RealGateway) -> Result<Outcome> {
    // The port that it would use without any setting, too.
    let output = gateway.cli(&["health"], GATEWAY_PORT, TIME_LIMIT)?;
    Ok(Outcome::of_command(&output))
}

fn answers() -> Outcome {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, GATEWAY_PORT));
    match TcpStream::connect_timeout(&address, TIME_LIMIT) {
        Ok(_) => Outcome::Ok(String::new()),
        Err(error) => Outcome::Failed {
            what: error.to_string(),
            words: Vec::new(),
        },
    }
}

/// A user of the shim's own: a number that no account has.
struct UserOfTheShim {
    /// Where it may go: the program, and its data.
    home: TempDir,
}

impl UserOfTheShim {
    fn new() -> Result<Self> {
        let home = tempfile::Builder::new()
            .prefix("scope-shim-real-intercept-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()?;
        let user = Self { home };
        fs::copy(shim::program()?, user.program())?;
        fs::create_dir(user.data())?;
        chown(user.data(), Some(USER), Some(USER))?;
        Ok(user)
    }

    fn program(&self) -> PathBuf {
        self.home.path().join("scope-shim")
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Starts the shim as this user: it has the gateway's secret, but no access to its files.
    fn start_shim(&self) -> Result<Group> {
        let log = File::create(self.home.path().join("shim.log"))?;
        let id = USER.to_string();
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"])
            .arg(self.program())
            .args(["run", "--data"])
            .arg(self.data())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.data())
            .env("SCOPE_SHIM_GATEWAY_STORE", "control")
            .env("SCOPE_SHIM_GATEWAY_TOKEN", TOKEN)
            // It would heal the agents' calls without any interception.
            .env("SCOPE_SHIM_POLICY_ENTITLED_REPAIRS", "off")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let shim = Group::spawn(&mut command)?;
        let paired = poll(TIME_LIMIT, || {
            let log = fs::read_to_string(self.home.path().join("shim.log")).ok()?;
            let answers = UnixStream::connect(self.data().join("admin.sock")).is_ok();
            (answers && log.contains("the delegate is paired")).then_some(())
        });
        match paired {
            Some(()) => Ok(shim),
            None => Err("the shim did not get paired".into()),
        }
    }

    /// Runs `scope-shim intercept` to its end, as root.
    fn intercept(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command(arguments);
        Ok(run_to_end(&mut command, self.home.path(), TIME_LIMIT)?)
    }

    /// The same, where it must end like this.
    fn expect(&self, arguments: &[&str], code: i32) -> Result<()> {
        let output = self.intercept(arguments)?;
        if output.code == Some(code) {
            return Ok(());
        }
        let log = fs::read_to_string(self.home.path().join("shim.log")).unwrap_or_default();
        Err(format!(
            "intercept {} ended with {:?}: {}{}\nthe shim's log:\n{log}",
            arguments.join(" "),
            output.code,
            output.stdout,
            output.stderr
        )
        .into())
    }

    /// Starts `intercept up --watch`, which stays.
    fn watch(&self) -> Result<Group> {
        let log = File::create(self.home.path().join("watch.log"))?;
        let mut command = self.command(&["up", "--watch"]);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(Group::spawn(&mut command)?)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program());
        command
            .arg("intercept")
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path());
        if arguments.first() == Some(&"up") {
            command.arg("--data").arg(self.data());
        }
        command
    }
}

fn unexpected(what: &str, output: &Output) -> Outcome {
    Outcome::Failed {
        what: what.to_owned(),
        words: vec![format!("{}{}", output.stdout, output.stderr)],
    }
}

const GATEWAY_PORT: u16 = 18_789;
const SHIM_PORT: u16 = 18_780;
const USER: u32 = 64_321;
const IMPOSTOR: u32 = 64_322;

/// Pairs the host's device for everything but reading.
const PAIRS_AS_LEGACY: &[&str] = &["devices", "list"];

const OK: i32 = 0;
const FAILURE: i32 = 1;
const FINDINGS: i32 = 3;
const ABSENT: i32 = 4;

const TIME_TO_GIVE_WAY: Duration = Duration::from_secs(2);
const TIME_LIMIT: Duration = Duration::from_secs(120);
