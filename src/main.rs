//! The `scope-shim` program: a table of contents.

use std::future::Future;
use std::io::Write as _;
use std::process::ExitCode;

use clap::FromArgMatches as _;

use scope_shim::cli::{
    Cli, Command, ExitStatus, Explain, Missed, Page, Said, Settings, Status, Style, Target,
    approve, check, completions, devices, doctor, explain, intercept, man, mode,
    page as status_page, program, reload, repair, status, unpair, upgrade,
};
use scope_shim::config::{Config, Environment, Problems};
use scope_shim::{app, confine, demo, descriptors, log};

fn main() -> ExitCode {
    confine::leave_no_memory_behind();
    let cli = match Cli::from_arg_matches(&program().get_matches()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let no_color = cli.no_color;
    if let Some(objection) = objection(&cli.command) {
        return fail(&objection, no_color).into();
    }
    let status = match cli.command {
        Command::Run(settings) => run(&settings, no_color),
        Command::Mode(options) => speak(&options.settings, no_color, async |shim| {
            mode::run(shim, &options).await
        }),
        Command::Reload(settings) => speak(&settings, no_color, reload::run),
        Command::Upgrade(settings) => speak(&settings, no_color, upgrade::run),
        Command::Check(settings) => check(&settings, no_color),
        Command::Doctor(report) => ask(&report.settings, no_color, async |config, style| {
            Ok(doctor::run(&config, report.json, style).await)
        }),
        Command::Status(options) => show(&options, no_color),
        Command::Devices(report) => ask(&report.settings, no_color, async |config, style| {
            devices::run(&config, report.json, style).await
        }),
        Command::Explain(options) => match load_for(&options) {
            Ok(config) => tell(no_color, async |style| {
                explain::run(&config, &options, style).await
            }),
            Err(problems) => refuse(&problems, no_color),
        },
        Command::Approve(options) => ask_or(
            &options.settings,
            no_color,
            async |config, style| approve::run(&config, &options, style).await,
            async |shim, style| approve::through::run(shim, &options, style).await,
        ),
        Command::Repair(options) => ask(&options.settings, no_color, async |config, style| {
            repair::run(&config, &options, style).await
        }),
        Command::Page(options) => page(&options, no_color),
        Command::Intercept(options) => match &options.action {
            intercept::Action::Up(up) => {
                match load_all(&up.settings).and_then(intercept::vouched) {
                    Ok(configs) => tell(no_color, async |style| {
                        intercept::up(&configs, up, style).await
                    }),
                    Err(problems) => refuse(&problems, no_color),
                }
            }
            intercept::Action::Down => tell(no_color, async |_| intercept::down()),
            intercept::Action::Status(options) => tell(no_color, async |style| {
                intercept::status(options, style).await
            }),
        },
        Command::Unpair(options) => ask_or(
            &options.settings,
            no_color,
            async |config, style| unpair::run(&config, &options, style).await,
            async |shim, style| unpair::through(shim, &options, style).await,
        ),
        Command::Completions(options) => print(&completions::write(&options)),
        Command::Man(options) => match man::write(&options) {
            Ok(text) => print(&text),
            Err(error) => fail(&error.to_string(), no_color),
        },
        Command::Demo(options) => block_on(demo::run(options, no_color), no_color),
        Command::Version => print(&format!("scope-shim {}\n", env!("CARGO_PKG_VERSION"))),
    };
    status.into()
}

/// A command that would not reach what it means is not carried out.
#[cfg(target_os = "linux")]
fn objection(command: &Command) -> Option<String> {
    command.about_a_shim()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .ok()?
        .block_on(scope_shim::cli::elsewhere::objection(command))
}

#[cfg(not(target_os = "linux"))]
const fn objection(_command: &Command) -> Option<String> {
    None
}

fn run(settings: &Settings, no_color: bool) -> ExitStatus {
    descriptors::take_all();
    let mut start = match app::Start::of_process() {
        Ok(start) => start,
        Err(error) => {
            complain(
                &format!("a socket that was handed over cannot be used: {error}"),
                no_color,
            );
            return ExitStatus::Failure;
        }
    };
    let again = loader(settings);
    let configs = match again().and_then(check::usable) {
        Ok(configs) => configs,
        Err(problems) => {
            start.failed(&problems.to_string());
            return refuse(&problems, no_color);
        }
    };
    let _written_at_the_end = configs
        .first()
        .map(|config| log::start(config.log, no_color));
    log::findings_of_all(&configs);
    confine::to_own_directories(&configs);
    block_on(app::run(configs, again, start), no_color)
}

/// The same file, flags and environment each time.
fn loader(settings: &Settings) -> app::Loader {
    let (file, flags) = (settings.config.clone(), settings.flags());
    let name = settings.gateway_name.clone();
    let environment = Environment::of_process();
    Box::new(move || match name.as_deref() {
        Some(name) => {
            Config::load_one(file.as_deref(), &flags, &environment, Some(name)).map(|one| vec![one])
        }
        None => Config::load_all(file.as_deref(), &flags, &environment),
    })
}

fn check(settings: &Settings, no_color: bool) -> ExitStatus {
    let configs = match load_all(settings) {
        Ok(configs) => configs,
        Err(problems) => return refuse(&problems, no_color),
    };
    let report = check::inspect(&configs);
    let status = print(&report.render(&configs, Style::of(&std::io::stdout(), no_color)));
    match report.failure() {
        Some(problems) => refuse(&problems, no_color),
        None => status,
    }
}

fn show(options: &Status, no_color: bool) -> ExitStatus {
    let style = Style::of(&std::io::stdout(), no_color);
    meet(&options.settings, no_color, async |shim| {
        status::run(shim, options, style).await
    })
}

/// A command that asks the gateway, or, where the configuration cannot be used, the shim that runs.
fn ask_or(
    settings: &Settings,
    no_color: bool,
    work: impl AsyncFnOnce(Config, Style) -> Result<Said, app::Failure>,
    through: impl AsyncFnOnce(&Target, Style) -> Result<Said, Missed>,
) -> ExitStatus {
    if Target::of(settings).broken().is_none() {
        return ask(settings, no_color, work);
    }
    let style = Style::of(&std::io::stdout(), no_color);
    speak(settings, no_color, async |shim| through(shim, style).await)
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

/// A command that goes on until it is told to stop.
fn page(options: &Page, no_color: bool) -> ExitStatus {
    meet(&options.settings, no_color, async |shim| {
        status_page::run(shim, options).await?;
        Ok(ExitStatus::Ok)
    })
}

/// A command that speaks with the shim that runs, and prints what came of it.
fn speak(
    settings: &Settings,
    no_color: bool,
    work: impl AsyncFnOnce(&Target) -> Result<Said, Missed>,
) -> ExitStatus {
    meet(settings, no_color, async |shim| {
        let said = work(shim).await?;
        Ok(match print(&said.text) {
            ExitStatus::Ok => said.status,
            failed => failed,
        })
    })
}

/// A command that speaks with the shim that runs.
fn meet(
    settings: &Settings,
    no_color: bool,
    work: impl AsyncFnOnce(&Target) -> Result<ExitStatus, Missed>,
) -> ExitStatus {
    let target = Target::of(settings);
    let mut status = ExitStatus::Ok;
    let ended = block_on(
        async {
            status = match work(&target).await {
                Ok(status) => {
                    warn_of(target.broken(), no_color);
                    status
                }
                Err(Missed::Configuration(problems)) => refuse(&problems, no_color),
                Err(Missed::Shim(error)) => return Err(error.into()),
                Err(Missed::Failed(error)) => return Err(error),
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

/// The shim that runs goes on with what it had; its next start would not.
fn warn_of(problems: Option<&Problems>, no_color: bool) {
    let Some(Problems(problems)) = problems else {
        return;
    };
    let style = Style::of(&std::io::stderr(), no_color);
    for problem in problems {
        let label = style.doubtful("warning:");
        let _ = writeln!(
            std::io::stderr(),
            "{label} the shim that runs was asked, but could not start again: {problem}"
        );
    }
}

/// The configuration of the one gateway that is meant.
fn load(settings: &Settings) -> Result<Config, Problems> {
    Config::load_one(
        settings.config.as_deref(),
        &settings.flags(),
        &Environment::of_process(),
        settings.gateway_name.as_deref(),
    )
}

/// The same for a session, whose name tells the gateway.
fn load_for(options: &Explain) -> Result<Config, Problems> {
    let settings = &options.settings;
    if settings.gateway_name.is_none()
        && let Some(config) = options.of(load_all(settings)?)
    {
        return Ok(config);
    }
    load(settings)
}

/// Those of all gateways, which one process serves.
fn load_all(settings: &Settings) -> Result<Vec<Config>, Problems> {
    loader(settings)()
}

fn block_on<F>(work: F, no_color: bool) -> ExitStatus
where
    F: Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(work);
            // What still waits for a file or a name server must not keep the process from ending.
            runtime.shutdown_timeout(LAST_MOMENT);
            outcome
        }
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

fn fail(message: &str, no_color: bool) -> ExitStatus {
    complain(message, no_color);
    ExitStatus::Failure
}

fn complain(message: &str, no_color: bool) {
    let label = Style::of(&std::io::stderr(), no_color).bad("error:");
    log::say(&format!("{label} {message}"));
}

/// A reader that stopped reading, as `head` does, is no failure.
fn print(text: &str) -> ExitStatus {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitStatus::Failure,
        _ => ExitStatus::Ok,
    }
}

/// How long what runs in the background may take when the work is done.
const LAST_MOMENT: std::time::Duration = std::time::Duration::from_secs(1);
