//! `scope-shim demo` as an operator sees it: whole outputs, exit code, and nothing left behind.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// One invocation, with a directory of its own for what is temporary.
struct Demo {
    temporary: TempDir,
    command: Command,
}

impl Demo {
    fn new(arguments: &[&str]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_scope-shim"));
        command
            .arg("demo")
            .args(arguments)
            .env_clear()
            .env("HOME", temporary.path())
            .env("TMPDIR", temporary.path())
            .stdin(Stdio::null());
        Self { temporary, command }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    fn run(mut self) -> Output {
        let output = self.command.output().unwrap();
        self.is_tidy();
        output
    }

    fn is_tidy(&self) {
        let left: Vec<_> = fs::read_dir(self.temporary.path()).unwrap().collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }

    fn start(&mut self) -> Child {
        self.command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

/// What differs from run to run.
const FILTERS: [(&str, &str); 9] = [
    (r"[^\s=]*/scope-shim-demo-\w+", "[PLACE]"),
    (
        r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
        "[REQUEST]",
    ),
    (r"\b[0-9a-f]{12}\b", "[DEVICE]"),
    (r"demo-[0-9a-f]{24}", "[TOKEN]"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:[PORT]"),
    (r"GATEWAY_PORT=\d+", "GATEWAY_PORT=[PORT]"),
    (r"\d{4}-\d\d-\d\dT\S+Z", "[TIME]"),
    (r"ms=\d+", "ms=[MS]"),
    (r"session=[0-9a-z]{8} ", "session=[SESSION] "),
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The log may end with a session that was still closing when the shim stopped.
fn sessions(log: &[u8]) -> String {
    let lines = text(log);
    let lines = lines.lines().filter(|line| line.contains(" session "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_story_is_told_to_its_end() {
    let output = Demo::new(&["--exit", "--listen", "127.0.0.1:0"]).run();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    insta::with_settings!({filters => FILTERS}, {
        insta::assert_snapshot!("story", text(&output.stdout));
        insta::assert_snapshot!("sessions", sessions(&output.stderr));
    });
}

#[test]
fn without_a_terminal_there_is_no_colour_whatever_is_asked_for() {
    let plain = |demo: Demo| {
        let output = demo.with("TERM", "xterm-256color").run();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(!text(&output.stdout).contains('\u{1b}'));
        assert!(!text(&output.stderr).contains('\u{1b}'));
    };
    let arguments = ["--exit", "--listen", "127.0.0.1:0"];
    plain(Demo::new(&arguments).with("CLICOLOR_FORCE", "1"));
    plain(Demo::new(&arguments).with("NO_COLOR", "1"));
    plain(Demo::new(&[&arguments[..], &["--no-color"]].concat()));
}

#[test]
fn a_port_that_is_taken_is_exchanged_for_a_free_one() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let output = Demo::new(&["--exit", "--listen", &address.to_string()]).run();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let story = text(&output.stdout);
    let notice = format!("{address} is taken, so a free port is used");
    assert!(story.contains(&notice), "{story}");
}

#[test]
fn an_address_of_another_machine_is_refused_with_the_reason() {
    let output = Demo::new(&["--exit", "--listen", "203.0.113.1:18780"]).run();
    assert_eq!(output.status.code(), Some(1));
    let complaint = text(&output.stderr);
    assert!(
        complaint.contains("error: cannot listen on 203.0.113.1:18780: "),
        "{complaint}"
    );
}

#[test]
fn a_version_that_is_none_is_refused_with_an_example() {
    let output = Demo::new(&["--exit", "--gateway", "latest"]).run();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "error: `latest` is not a gateway version: give one like 2026.2.19\n"
    );
}

#[test]
fn it_stays_up_until_it_is_told_to_stop() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut demo = Demo::new(&["--listen", "127.0.0.1:0"]);
        let mut child = demo.start();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut story = String::new();
        let last = "The shim writes one line about every session below.";
        for line in lines.by_ref().map(Result::unwrap) {
            story.push_str(&line);
            story.push('\n');
            if line.trim() == last {
                break;
            }
        }
        if signal == Signal::INT {
            let invitation = story.split_once("\n6. ").unwrap().1;
            insta::with_settings!({filters => FILTERS}, {
                insta::assert_snapshot!("invitation", invitation);
            });
        }
        let line = story
            .lines()
            .find(|line| line.contains("through the shim") && line.contains("ws://"));
        let address: SocketAddr = line
            .unwrap()
            .rsplit("ws://")
            .next()
            .unwrap()
            .parse()
            .unwrap();
        TcpStream::connect(address).unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = child.wait().unwrap();
        let mut log = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut log)
            .unwrap();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(!log.contains("WARN"), "{log}");
        demo.is_tidy();
    }
}
