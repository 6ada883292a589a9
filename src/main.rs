//! The `scope-shim` program: a table of contents.

use std::future::Future;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use scope_shim::cli::{
    Cli, Command, ExitStatus, Said, Settings, Style, approve, check, devices, doctor, explain,
    intercept, repair,
};
use scope_shim::config::{Config, Environment, Problems};
use scope_shim::{app, demo, log};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let no_color = cli.no_color;
    let status = match cli.command {
        Command::Run(settings) => run(&settings, no_color),
        Command::Check(settings) => check(&settings, no_color),
        Command::Doctor(report) => ask(&report.settings, no_color, async |config, style| {
            Ok(doctor::run(&config, report.json, style).await)
        }),
        Command::Devices(report) => ask(&report.settings, no_color, async |config, style| {
            devices::run(&config, report.json, style).await
        }),
        Command::Explain(options) => ask(&options.settings, no_color, async |config, style| {
            explain::run(&config, &options, style).await
        }),
        Command::Approve(options) => ask(&options.settings, no_color, async |config, style| {
            approve::run(&config, &options, style).await
        }),
        Command::Repair(options) => ask(&options.settings, no_color, async |config, style| {
            repair::run(&config, &options, style).await
        }),
        Command::Intercept(options) => match &options.action {
            intercept::Action::Up(up) => ask(&up.settings, no_color, async |config, style| {
                intercept::up(&config, up, style).await
            }),
            intercept::Action::Down => tell(no_color, async |_| intercept::down()),
            intercept::Action::Status(options) => tell(no_color, async |style| {
                intercept::status(options, style).await
            }),
        },
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
    block_on(app::run(vec![config]), no_color)
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

/// A command that asks the gateway once and prints what came of it.
fn ask(
    settings: &Settings,
    no_color: bool,
    work: impl AsyncFnOnce(Config, Style) -> Result<Said, app::Failure>,
) -> ExitStatus {
    let config = match load(settings) {
        Ok(config) => config,
        Err(problems) => return refuse(&problems, no_color),
    };
    tell(no_color, async |style| work(config, style).await)
}

/// A command that prints what came of it.
fn tell(no_color: bool, work: impl AsyncFnOnce(Style) -> Result<Said, app::Failure>) -> ExitStatus {
    let style = Style::of(&std::io::stdout(), no_color);
    let mut status = ExitStatus::Ok;
    let ended = block_on(
        async {
            let said = work(style).await?;
            status = match print(&said.text) {
                ExitStatus::Ok => said.status,
                failed => failed,
            };
            Ok(())
        },
        no_color,
    );
    match ended {
        ExitStatus::Ok => status,
        failed => failed,
    }
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
