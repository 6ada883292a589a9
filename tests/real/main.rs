//! Real gateways, real commands, a real browser: each scenario directly, and through the shim.
//!
//! The rule for every version: whatever works directly works through the shim. On top of it come the reports the shim
//! exists for ([`promise`]): they must be seen directly, and be gone through the shim.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a program with a report, not a library"
)]

mod agents;
mod browser;
#[path = "../support/chromium.rs"]
mod chromium;
mod commands;
mod deadlock;
mod fleet;
mod handshakes;
#[cfg(target_os = "linux")]
mod intercept;
mod loops;
#[cfg(target_os = "linux")]
#[path = "../support/network.rs"]
#[expect(dead_code, reason = "shared with the other test programs")]
mod network;
mod options;
mod outcome;
#[path = "../support/packages.rs"]
mod packages;
mod place;
mod promise;
mod proxies;
mod refusals;
mod repairs;
mod report;
mod requests;
mod shim;
mod tools;

use std::error::Error;
use std::process::ExitCode;
use std::thread;

use scope_shim::demo::npm::process::stop_everything;
use scope_shim::demo::npm::{self, Cache, Installed};

use options::Options;
use outcome::Outcome;
use place::{Column, Place};
use report::{Recorder, Report};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    stop_everything_on_interrupt();
    let mut report = Report::default();
    if let Some(why) = options.left_out {
        report.skip(format!("every real gateway: {why}"));
        report.close(false);
        return ExitCode::SUCCESS;
    }
    if let Err(error) = shim::program() {
        report.trouble(error.to_string());
    }
    #[cfg(target_os = "linux")]
    if options.wants("intercept")
        && options.versions.iter().any(intercept::concerns)
        && let Some(why) = intercept::missing()
    {
        report.skip(why.to_owned());
    }
    let mut tried = Vec::new();
    for version in &options.versions {
        let installed = Cache::of_this_user()
            .and_then(|cache| npm::install(&cache, version, &mut |line| println!("{line}")));
        match installed {
            Ok(installed) => {
                try_out(&installed, &options, &mut report);
                tried.push(installed);
            }
            Err(error) if error.is_missing_prerequisite() => {
                report.skip(format!("openclaw {version}: {error}"))
            }
            Err(error) => report.trouble(error.to_string()),
        }
    }
    if options.shimmed && options.wants("fleet") {
        fleet::run(&tried, &mut report);
    }
    let required = std::env::var_os("SCOPE_SHIM_REAL").is_some_and(|value| value == "required");
    if report.close(required) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Tries everything on one version: the two columns side by side, each with gateways of its own.
fn try_out(installed: &Installed, options: &Options, report: &mut Report) {
    let (direct, shimmed) = thread::scope(|scope| {
        let shimmed = options
            .shimmed
            .then(|| scope.spawn(|| run_column(installed, options, Column::Shimmed)));
        (
            run_column(installed, options, Column::Direct),
            shimmed.map(thread::ScopedJoinHandle::join),
        )
    });
    let shimmed = match shimmed {
        None => None,
        Some(Ok(column)) => Some(column),
        Some(Err(_)) => {
            return report.trouble(format!(
                "openclaw {}: the suite itself broke down",
                installed.version
            ));
        }
    };
    for trouble in direct
        .troubles
        .iter()
        .chain(shimmed.iter().flat_map(|column| &column.troubles))
    {
        report.trouble(format!("openclaw {} {trouble}", installed.version));
    }
    report.add(
        &installed.version,
        direct.outcomes,
        shimmed.map(|column| column.outcomes),
    );
}

/// What came of one column: its outcomes, and what kept others from being had.
struct Tried {
    outcomes: Vec<(String, Outcome)>,
    troubles: Vec<String>,
}

fn run_column(installed: &Installed, options: &Options, column: Column) -> Tried {
    let mut recorder = Recorder::new(&installed.version, column);
    let mut troubles = Vec::new();
    let mut note = |group: &str, result: Result<()>| {
        if let Err(error) = result {
            troubles.push(format!("{} ({group}): {error}", column.name()));
        }
    };
    #[cfg(target_os = "linux")]
    if options.wants("intercept")
        && intercept::concerns(&installed.version)
        && intercept::missing().is_none()
    {
        note(
            "intercept",
            intercept::run(installed, column, &mut recorder),
        );
    }
    if options.wants("clients") {
        note("clients", run_clients(installed, column, &mut recorder));
    }
    if options.wants("agents") && column == Column::Shimmed && agents::can_be_redirected(installed)
    {
        note(
            "agents",
            agents::run_through_the_shim(installed, &mut recorder),
        );
    }
    if options.wants("deadlock") && deadlock::concerns(&installed.version) {
        let deadlocked =
            Place::new(installed).and_then(|place| deadlock::run(&place, column, &mut recorder));
        note("deadlock", deadlocked);
    }
    if options.wants("repairs") && repairs::concern(&installed.version) {
        let repaired =
            Place::new(installed).and_then(|place| repairs::run(&place, column, &mut recorder));
        note("repairs", repaired);
    }
    if options.wants("proxies") && proxies::concern(&installed.version) {
        note("proxies", proxies::run(installed, column, &mut recorder));
    }
    if options.wants("users") && proxies::concern_users(&installed.version) {
        note(
            "users",
            proxies::run_users(installed, column, &mut recorder),
        );
    }
    if options.wants("loops")
        && loops::concern(&installed.version)
        && options.has_time_for_loops(&installed.version)
    {
        let looped =
            Place::new(installed).and_then(|place| loops::run(&place, column, &mut recorder));
        note("loops", looped);
    }
    Tried {
        outcomes: recorder.outcomes,
        troubles,
    }
}

/// Commands, browser, agents, handshakes and the shim's own tools, one after the other on one fresh gateway.
fn run_clients(installed: &Installed, column: Column, recorder: &mut Recorder) -> Result<()> {
    let place = Place::new(installed)?;
    let gateway = place.start_gateway(Vec::new())?;
    let (port, _shim) = match column {
        Column::Direct => (place.gateway_port, None),
        Column::Shimmed => (place.shim_port, Some(place.start_shim()?)),
    };
    commands::run(&gateway, port, recorder)?;
    browser::run(&place, port, recorder)?;
    if !agents::can_be_redirected(installed) {
        agents::run_unheard(&gateway, recorder)?;
    }
    if column == Column::Direct && agents::can_be_redirected(installed) {
        agents::run_directly(&gateway, recorder)?;
    }
    handshakes::run(&place, &gateway, port, recorder)?;
    refusals::send_a_wrong_token(&gateway, port, recorder)?;
    tools::run(&place, recorder)?;
    tools::run_without_the_gateway(&place, gateway, recorder)
}

/// Gateways run in process groups of their own, which do not hear a Ctrl-C.
fn stop_everything_on_interrupt() {
    thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        if runtime.is_ok_and(|runtime| runtime.block_on(tokio::signal::ctrl_c()).is_ok()) {
            stop_everything();
            std::process::exit(130);
        }
    });
}
