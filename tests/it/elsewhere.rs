//! A shim that was started with a data directory of its own, and commands that do not say so.

use std::process::Stdio;

use scope_shim::demo::simulated::Profile;
use tokio::process::{Child, Command};

use crate::command::Bench;
use crate::modes::{before, said};
use crate::program::{Program, configure, free};
use crate::stage::{TOKEN, eventually};
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

/// A shim that was started with these arguments, as soon as it can be asked at this socket.
async fn started(bench: &Bench, arguments: &[&str], socket: &str) -> Child {
    let shim = Command::new(env!("CARGO_BIN_EXE_scope-shim"))
        .arg("run")
        .args(arguments)
        .env_clear()
        .env("HOME", bench.dir.path())
        .env("SCOPE_SHIM_GATEWAY_TOKEN", TOKEN)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let socket = bench.dir.path().join(socket);
    eventually("it can be asked", || socket.exists().then_some(())).await;
    shim
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

#[tokio::test]
async fn a_shim_that_is_not_found_any_more_is_not_said_to_be_down() {
    let bench = Bench::new(Profile::Literal).await;
    let program = Program::start(&bench, &before(&bench)).await;
    let file = |more: &str| {
        let listen = program.listen;
        configure(
            &bench,
            &format!("listen = \"{listen}\"\n{}{more}", before(&bench)),
        );
    };
    file("[admin]\nsocket = \"other.sock\"\n");
    for command in [&["mode", "off"][..], &["unpair", "--yes"], &["reload"]] {
        let shown = said(&bench, command).await;
        assert!(
            shown.starts_with("exit: 1\nerror: nothing was done"),
            "{shown}"
        );
        let end = format!("to end it: kill {}\n", program.pid());
        assert!(shown.ends_with(&end), "{shown}");
    }
    file("");
    assert!(
        said(&bench, &["mode"])
            .await
            .starts_with("exit: 0\nmode on")
    );
}

#[tokio::test]
async fn a_shim_whose_data_directory_was_edited_is_found_where_it_still_is() {
    let bench = Bench::new(Profile::Literal).await;
    let dir = bench.dir.path().display().to_string();
    let file = format!("{dir}/own.toml");
    let text = |data: &str| {
        format!(
            "listen = \"{}\"\ndata = \"{dir}/{data}\"\n{}",
            free(),
            before(&bench)
        )
    };
    std::fs::write(&file, text("one")).unwrap();
    let arguments = ["--config", &file];
    let mut shim = started(&bench, &arguments, "one/admin.sock").await;
    std::fs::write(&file, text("two")).unwrap();
    let shown = bare(&bench, &["mode", "off", "--config", &file]).await;
    let reaching = format!("scope-shim mode off --config {file} --data {dir}/one");
    assert_eq!(
        shown.lines().last().map(str::trim),
        Some(reaching.as_str()),
        "{shown}"
    );
    assert!(shown.starts_with("exit: 1\n"), "{shown}");
    assert!(!bench.dir.path().join("two").exists());
    let switched = bare(
        &bench,
        &[
            "mode",
            "off",
            "--config",
            &file,
            "--data",
            &format!("{dir}/one"),
        ],
    )
    .await;
    assert!(switched.starts_with("exit: 0\nmode off"), "{switched}");
    shim.kill().await.unwrap();
}

#[tokio::test]
async fn a_socket_that_somebody_removed_comes_back() {
    let bench = Bench::new(Profile::Literal).await;
    let _program = Program::start(&bench, &before(&bench)).await;
    let socket = bench.dir.path().join("data/admin.sock");
    for _ in 0..2 {
        std::fs::remove_file(&socket).unwrap();
        eventually("it is there again", || socket.exists().then_some(())).await;
        assert!(
            said(&bench, &["mode"])
                .await
                .starts_with("exit: 0\nmode on")
        );
    }
}

/// The program with a gateway of its own, and a command that says nothing of it.
#[tokio::test]
async fn a_command_that_means_another_gateway_than_the_shims_pairs_nothing_there() {
    let bench = Bench::new(Profile::Literal).await;
    let other = Bench::new(Profile::Literal).await;
    let listen = free().to_string();
    let gateway = format!("ws://{}", bench.gateway.addr());
    let arguments = ["--listen", &listen, "--gateway", &gateway];
    let socket = ".local/share/scope-shim/admin.sock";
    let mut shim = started(&bench, &arguments, socket).await;
    configure(&bench, &before(&other));
    for words in [
        &["approve", "0123"][..],
        &["approve", "--all-local"],
        &["repair"],
    ] {
        let shown = bare(&bench, words).await;
        let reaching = format!("\n  scope-shim {} --gateway {gateway}\n", words.join(" "));
        assert!(
            shown.starts_with("exit: 1\nerror: nothing was done"),
            "{shown}"
        );
        assert!(shown.contains(&reaching), "{shown}");
    }
    assert_eq!(other.gateway.paired().unwrap(), serde_json::json!({}));
    shim.kill().await.unwrap();
}
