//! The `scope-shim` program: a table of contents.

use std::future::Future;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use scope_shim::cli::{Cli, Command, ExitStatus, Report, Settings, Style, check, devices, doctor};
use scope_shim::config::{Config, Environment, Problems};
use scope_shim::{app, demo, log};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let no_color = cli.no_color;
    let status = match cli.command {
        Command::Run(settings) => run(&settings, no_color),
        Command::Check(settings) => check(&settings, no_color),
        Command::Doctor(report) => doctor(&report, no_color),
        Command::Devices(report) => devices(&report, no_color),
        Command::Demo(options) => block_on(demo::run(options, no_color), no_color),
        Command::Version => print(&format!("scope-shim {}\n", env!("CARGO_PKG_VERSION"))),
    };
    status.into()
}

fn run(settings: &Settings, no_color: bool) -> ExitStatus {
    let config = match load(settings) {
        Ok(config) => config,
        Err(problems) => return refuse(&problems, no_color),
    };
    log::init(config.log, no_color);
    log::findings(&config.findings);
    block_on(app::run(config), no_color)
}

fn check(settings: &Settings, no_color: bool) -> ExitStatus {
    let config = match load(settings) {
        Ok(config) => config,
        Err(problems) => return refuse(&problems, no_color),
    };
    let report = check::inspect(&config);
    let status = print(&report.render(&config, Style::of(&std::io::stdout(), no_color)));
    match report.failure() {
        Some(problems) => refuse(&problems, no_color),
        None => status,
    }
}

fn doctor(report: &Report, no_color: bool) -> ExitStatus {
    let config = match load(&report.settings) {
        Ok(config) => config,
        Err(problems) => return refuse(&problems, no_color),
    };
    let style = Style::of(&std::io::stdout(), no_color);
    let mut status = ExitStatus::Failure;
    let work = async {
        let (text, found) = doctor::doctor(&config, report.json, style).await;
        status = match print(&text) {
            ExitStatus::Ok => found,
            failure => failure,
        };
        Ok(())
    };
    match block_on(work, no_color) {
        ExitStatus::Ok => status,
        failure => failure,
    }
}

fn devices(report: &Report, no_color: bool) -> ExitStatus {
    let config = match load(&report.settings) {
        Ok(config) => config,
        Err(problems) => return refuse(&problems, no_color),
    };
    let style = Style::of(&std::io::stdout(), no_color);
    let work = async {
        let text = devices::devices(&config, report.json, style).await?;
        match print(&text) {
            ExitStatus::Ok => Ok(()),
            _ => Err("standard output cannot be written".into()),
        }
    };
    block_on(work, no_color)
}

fn load(settings: &Settings) -> Result<Config, Problems> {
    Config::load(
        settings.config.as_deref(),
        &settings.flags(),
        &Environment::of_process(),
    )
}

fn block_on<F>(work: F, no_color: bool) -> ExitStatus
where
    F: Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitStatus::Ok,
        Err(error) => {
            complain(&error.to_string(), no_color);
            ExitStatus::Failure
        }
    }
}

fn refuse(problems: &Problems, no_color: bool) -> ExitStatus {
    for problem in &problems.0 {
        complain(&problem.to_string(), no_color);
    }
    ExitStatus::Config
}

fn complain(message: &str, no_color: bool) {
    let label = Style::of(&std::io::stderr(), no_color).bad("error:");
    // Without standard error there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "{label} {message}");
}

/// A reader that stopped reading, as `head` does, is no failure.
fn print(text: &str) -> ExitStatus {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitStatus::Failure,
        _ => ExitStatus::Ok,
    }
}
