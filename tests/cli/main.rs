//! The program as an operator meets it: exit codes and whole outputs.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

/// `check` on good and bad files.
mod check;
/// The gateway's own configuration, however broken.
mod discovery;
/// `doctor` and `devices`, which only look.
mod doctor;
/// `explain` in each of its forms.
mod explain;
/// Several gateways.
mod fleet;
/// Help, usage and version.
mod usage;

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// One invocation in a home directory of its own, without the variables of whoever runs the tests.
struct Shim {
    home: TempDir,
    command: Command,
}

impl Shim {
    fn new(arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_scope-shim"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", home.path())
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config"));
        Self { home, command }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Puts a configuration where the gateway of this home would have it.
    fn gateway(self, config: impl AsRef<[u8]>) -> Self {
        let state = self.home.path().join(".openclaw");
        fs::create_dir_all(&state).unwrap();
        fs::write(state.join("openclaw.json"), config).unwrap();
        self
    }

    /// Exit code, standard output and standard error, with the home directory named `[HOME]` and columns closed up.
    fn run(&mut self) -> String {
        let output = self.command.output().unwrap();
        let code = output.status.code();
        let mut text = format!(
            "exit: {}\n",
            code.map_or_else(|| "signal".to_owned(), |code| code.to_string())
        );
        for (name, bytes) in [("stdout", output.stdout), ("stderr", output.stderr)] {
            let stream = String::from_utf8(bytes).unwrap();
            text.push_str(&format!("----- {name} -----\n"));
            for line in stream.lines() {
                text.push_str(&closed_up(line.trim_end()));
                text.push('\n');
            }
        }
        text.replace(&self.home.path().display().to_string(), "[HOME]")
            .replace(env!("CARGO_MANIFEST_DIR"), "[REPOSITORY]")
    }
}

/// Paddings depend on the length of temporary paths.
fn closed_up(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    let (indent, rest) = line.split_at(indent);
    let columns = rest
        .split("  ")
        .map(str::trim)
        .filter(|column| !column.is_empty());
    format!("{indent}{}", columns.collect::<Vec<_>>().join("  "))
}
