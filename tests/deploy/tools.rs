use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, Once, PoisonError};

/// The program that is tested.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_scope-shim");

/// A file of the repository.
pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

pub(crate) fn text(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Whether everything has to be tried.
pub(crate) fn required() -> bool {
    std::env::var_os("SCOPE_SHIM_REAL").is_some_and(|value| value == "required")
}

/// A tool of the system, installed from `package` where everything has to be tried. Without it the test is skipped.
pub(crate) fn tool(name: &str, package: &str) -> Option<PathBuf> {
    if let Some(path) = find(name) {
        return Some(path);
    }
    if required() && find("apt-get").is_some() && is_root() {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let apt = |arguments: &[&str]| {
            let mut apt = Command::new("apt-get");
            apt.args(["-o", "DPkg::Lock::Timeout=600", "-q"]);
            run(apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive"));
        };
        // A machine that was never used knows of no packages.
        static LISTED: Once = Once::new();
        LISTED.call_once(|| apt(&["update"]));
        apt(&["install", "-y", "--no-install-recommends", package]);
    }
    let found = find(name);
    if found.is_none() {
        skip(&format!("{name} is not there (package {package})"));
    }
    found
}

/// Says why something is not tried; where everything has to be, that is a failure.
pub(crate) fn skip(why: &str) {
    assert!(!required(), "cannot be tried: {why}");
    eprintln!("skipped: {why}");
}

pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut places = std::env::split_paths(&path).map(|directory| directory.join(name));
    places.find(|place| place.is_file())
}

pub(crate) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Python with what check.py needs: in an environment of its own in the cache.
pub(crate) fn python() -> Option<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let environment = cache()?.join("deploy-tools");
    let python = environment.join("bin/python");
    let check = [
        "-c",
        "import yaml, kubernetes_validate, compose_spec, dockerfile_parse",
    ];
    let whole = || {
        let output = Command::new(&python).args(check).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !whole() && required() {
        run(Command::new("python3")
            .args(["-m", "venv"])
            .arg(&environment));
        let mut install = Command::new(&python);
        run(install.args(["-m", "pip", "install", "-q"]).args(PACKAGES));
    }
    if !whole() {
        skip(
            "the Python packages of tests/deploy/check.py are installed with SCOPE_SHIM_REAL=required only",
        );
        return None;
    }
    Some(python)
}

/// Where installed gateways are kept, too.
fn cache() -> Option<PathBuf> {
    let told = std::env::var_os("SCOPE_SHIM_CACHE").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/scope-shim"));
    told.or_else(home)
}

/// Runs something that has to succeed, and returns what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = finish(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn finish(command: &mut Command) -> Output {
    let output = command.output();
    output.unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// The program with these arguments.
pub(crate) fn program(arguments: &[&str]) -> String {
    run(Command::new(PROGRAM).args(arguments))
}

const PACKAGES: [&str; 4] = [
    "kubernetes-validate==1.37.0",
    "PyYAML==6.0.3",
    "compose-spec==0.2.1",
    "dockerfile-parse==2.0.1",
];
