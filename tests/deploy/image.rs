use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use scope_shim::demo::simulated::{Options, Profile, SimulatedGateway};
use serde_json::json;

use crate::tools::{PROGRAM, find, required, run, skip, tool};

/// The program as the Dockerfile builds it, but for optimisation.
fn build() -> Option<PathBuf> {
    if !required() {
        skip("a static program is built with SCOPE_SHIM_REAL=required only");
        return None;
    }
    let rustc = run(Command::new("rustc").arg("-vV"));
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: "))?;
    let target = Path::new(PROGRAM).parent()?.parent()?;
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--locked", "--bin", "scope-shim", "--target", host]);
    build.arg("--target-dir").arg(target);
    build.env("RUSTFLAGS", "-C target-feature=+crt-static");
    build.env("CARGO_PROFILE_DEV_DEBUG", "false");
    run(build.current_dir(env!("CARGO_MANIFEST_DIR")));
    Some(target.join(host).join("debug/scope-shim"))
}

/// A root with what the image has, and nothing else.
fn root(directory: &Path, program: &Path) -> PathBuf {
    let root = directory.join("root");
    for name in [
        "usr/bin",
        "data",
        "tmp",
        "etc/ssl/certs",
        "gateway",
        "run/secrets",
        "proc",
        "dev",
    ] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::copy(program, root.join("usr/bin/scope-shim")).unwrap();
    fs::write(root.join("run/secrets/gateway_token"), TOKEN).unwrap();
    // Engines put these two there.
    fs::write(root.join("etc/hosts"), "127.0.0.1 gateway.example\n").unwrap();
    fs::write(root.join("etc/resolv.conf"), "").unwrap();
    root
}

/// As compose runs it: not root, no capability, a read-only root, its data and the gateway's state mounted.
fn contained(directory: &Path, gateway: &SimulatedGateway, words: &[&str]) -> Command {
    let mut command = Command::new("bwrap");
    let mount = |name: &str| directory.join(name).display().to_string();
    command.args([
        "--ro-bind",
        &mount("root"),
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
    ]);
    command.args(["--bind", &mount("data"), "/data"]);
    command.args(["--ro-bind", &mount("state"), "/gateway"]);
    command.args([
        "--unshare-all",
        "--share-net",
        "--die-with-parent",
        "--new-session",
    ]);
    command.args([
        "--uid",
        "1000",
        "--gid",
        "1000",
        "--cap-drop",
        "ALL",
        "--clearenv",
    ]);
    for (name, value) in [
        ("SCOPE_SHIM_DATA", "/data"),
        ("SCOPE_SHIM_LISTEN", "127.0.0.1:0"),
        (
            "SCOPE_SHIM_GATEWAY",
            &format!("ws://gateway.example:{}", gateway.addr().port()),
        ),
        ("SCOPE_SHIM_GATEWAY_PLAINTEXT", "allowed"),
        ("SCOPE_SHIM_GATEWAY_STATE", "/gateway"),
        (
            "SCOPE_SHIM_GATEWAY_TOKEN_FILE",
            "/run/secrets/gateway_token",
        ),
    ] {
        command.args(["--setenv", name, value]);
    }
    command.arg("/usr/bin/scope-shim").args(words);
    command
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_images_program_runs_alone_in_its_root() {
    if find("bwrap").is_none() && tool("bwrap", "bubblewrap").is_none() {
        return;
    }
    let Some(program) = build() else { return };
    let dir = tempfile::tempdir().unwrap();
    root(dir.path(), &program);
    fs::create_dir(dir.path().join("data")).unwrap();
    for name in ["data", "root"] {
        let open = fs::Permissions::from_mode(0o700);
        fs::set_permissions(dir.path().join(name), open).unwrap();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let gateway = runtime
        .block_on(SimulatedGateway::start(Options {
            profile: Profile::Latest,
            state_dir: dir.path().join("state"),
            token: Some(TOKEN.to_owned()),
            ..Options::default()
        }))
        .unwrap();
    let mut shim = contained(dir.path(), &gateway, &["run"]);
    let log = fs::File::create(dir.path().join("log")).unwrap();
    let shim = Running(shim.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    let said = || fs::read_to_string(dir.path().join("log")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while gateway.paired().unwrap() == json!({}) {
        assert!(Instant::now() < deadline, "{}", said());
        sleep(Duration::from_millis(50));
    }
    // The image's health check.
    run(&mut contained(dir.path(), &gateway, &["status", "--live"]));
    let answer = run(&mut contained(dir.path(), &gateway, &["unpair"]));
    assert!(answer.starts_with("unpaired: "), "{answer}\n{}", said());
    assert!(
        answer.contains("off, until"),
        "through the socket of the one that runs"
    );
    assert_eq!(gateway.paired().unwrap(), json!({}));
    drop(shim);
}

const TOKEN: &str = "a-token-for-the-image";
