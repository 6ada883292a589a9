//! The status page in a real browser: the program itself, behind it a simulated gateway, in front of it Chromium.
//!
//! `page.mjs` looks at the page and judges; this program sets the stage for it and does what it orders ([`orders`]).
//! With `SCOPE_SHIM_REAL=off` it is left out, with `SCOPE_SHIM_REAL=required` it may not be.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a failed unwrap is a failed test, and this is a program with a report"
)]

#[path = "../support/chromium.rs"]
mod chromium;
mod orders;
#[path = "../support/packages.rs"]
mod packages;
mod stage;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with the other test programs")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use scope_shim::demo::npm::process::run_to_end;

use chromium::chromium;
use stage::Stage;

fn main() -> ExitCode {
    let switch = std::env::var("SCOPE_SHIM_REAL").unwrap_or_default();
    if switch == "off" {
        return skip("SCOPE_SHIM_REAL is off");
    }
    // `cargo test NAME` hands the name to every suite.
    if let Some(name) = std::env::args().skip(1).find(|name| !name.starts_with('-')) {
        return skip(&format!("only tests named {name:?} are asked for"));
    }
    let missing = |what: &str| match switch.as_str() {
        "required" => {
            println!("status page: FAILED: {what}");
            ExitCode::FAILURE
        }
        _ => skip(what),
    };
    let Some(chromium) = chromium() else {
        return missing("no Chromium on this machine");
    };
    let tools = match tools() {
        Ok(tools) => tools,
        Err(why) => return missing(&why),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match runtime.block_on(show(&tools, chromium)) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn skip(why: &str) -> ExitCode {
    println!("status page in a browser: skipped: {why}");
    ExitCode::SUCCESS
}

async fn show(tools: &Path, chromium: &Path) -> bool {
    let pictures = scratch().join("screenshots");
    fs::create_dir_all(&pictures).unwrap();
    let stage = Stage::new().await;
    let all_well = orders::run(stage, tools, chromium, &pictures).await;
    println!("status page: screenshots in {}", pictures.display());
    all_well
}

fn scratch() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("page")
}

/// What drives the browser and what judges the page, from npm; brought once.
fn tools() -> Result<PathBuf, String> {
    let place = scratch().join(TOOLS.join("+").replace('@', "-"));
    let script = place.join("page.mjs");
    if !place.join("node_modules/axe-core/axe.min.js").is_file() {
        fs::create_dir_all(&place).map_err(|error| error.to_string())?;
        fs::write(place.join("package.json"), "{\"private\":true}")
            .map_err(|error| error.to_string())?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund"])
            .args(TOOLS)
            .current_dir(&place);
        let output = run_to_end(&mut npm, &scratch(), TIME_TO_INSTALL)
            .map_err(|error| format!("npm cannot be run: {error}"))?;
        if output.code != Some(0) {
            let last = output.stderr.lines().last().unwrap_or_default().to_owned();
            return Err(format!("npm could not install {TOOLS:?}: {last}"));
        }
    }
    fs::write(&script, include_str!("page.mjs")).map_err(|error| error.to_string())?;
    Ok(script)
}

const TOOLS: [&str; 2] = ["playwright-core@1.65.1", "axe-core@4.14.1"];
const TIME_TO_INSTALL: Duration = Duration::from_secs(300);
