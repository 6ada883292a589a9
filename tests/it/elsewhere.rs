//! A shim that was started with a data directory of its own, and commands that do not say so.

use std::process::Stdio;

use scope_shim::demo::simulated::Profile;
use tokio::process::Command;

use crate::command::Bench;
use crate::modes::{before, said};
use crate::program::Program;
use crate::stage::eventually;
use crate::support::client::{FULL, READ};

/// The program as a shell has it that knows nothing of the running shim's data directory.
async fn bare(bench: &Bench, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_scope-shim"))
        .args(arguments)
        .env_clear()
        .env("HOME", bench.dir.path())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    format!(
        "exit: {}\n{}{}",
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr)
    )
}

#[tokio::test]
async fn a_bare_command_changes_nothing_and_names_the_one_that_reaches_the_shim() {
    let bench = Bench::new(Profile::Literal).await;
    let program = Program::start(&bench, &before(&bench)).await;
    let device = bench.paired(&[READ]);
    let id = bench
        .ask(bench.direct().remote().device(&device).scopes(FULL))
        .await;
    let paired = || bench.gateway.paired().unwrap().as_object().unwrap().len();
    eventually("the shim's own device is paired", || {
        (paired() == 2).then_some(())
    })
    .await;
    let before = paired();
    for command in [
        &["approve", id.as_str()][..],
        &["approve", "--all-local"],
        &["repair"],
        &["unpair"],
        &["mode", "off"],
        &["status"],
        &["reload"],
    ] {
        let shown = bare(&bench, command).await;
        let reaching = format!(
            "\n  scope-shim {} --data {}/data    (process {})\n",
            command.join(" "),
            bench.dir.path().display(),
            program.pid()
        );
        assert!(
            shown.starts_with("exit: 1\nerror: nothing was done"),
            "{shown}"
        );
        assert!(shown.contains(&reaching), "{shown}");
    }
    assert_eq!(paired(), before, "no second device of the shim");
    assert!(!bench.dir.path().join(".local").exists());
    assert!(
        said(&bench, &["mode"])
            .await
            .starts_with("exit: 0\nmode on")
    );

    let data = bench.dir.path().join("data").display().to_string();
    let approved = bare(&bench, &["approve", &id, "--data", &data]).await;
    assert!(approved.starts_with("exit: 0\napproved: "), "{approved}");
    assert_eq!(paired(), before);
}

#[tokio::test]
async fn the_usual_data_directory_can_be_meant_all_the_same() {
    let bench = Bench::new(Profile::Literal).await;
    let _program = Program::start(&bench, &before(&bench)).await;
    let usual = bench.dir.path().join(".local/share/scope-shim");
    let usual = usual.display().to_string();
    let refused = bare(&bench, &["mode", "off"]).await;
    let instead = format!("\nor, if the usual one is meant: scope-shim mode off --data {usual}\n");
    assert!(refused.ends_with(&instead), "{refused}");
    let kept = bare(&bench, &["mode", "off", "--data", &usual]).await;
    assert!(kept.contains("the next start begins in off"), "{kept}");
    assert!(
        said(&bench, &["mode"])
            .await
            .starts_with("exit: 0\nmode on")
    );
}
