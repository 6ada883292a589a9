//! The command line.

pub mod approve;
pub mod check;
pub mod completions;
pub mod devices;
pub mod doctor;
#[cfg(target_os = "linux")]
pub mod elsewhere;
pub mod explain;
pub mod intercept;
pub mod man;
pub mod mode;
pub mod page;
mod phrase;
mod program;
pub mod reload;
pub mod repair;
pub mod status;
mod style;
mod target;
mod unchanged;
pub mod unpair;
pub mod upgrade;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Flag;
pub use approve::Approve;
pub use completions::Completions;
pub use explain::Explain;
pub use intercept::Intercept;
pub use man::Man;
pub use mode::Switch;
pub use page::Page;
pub use program::program;
pub use repair::Repair;
pub use status::Status;
pub use style::Style;
pub use target::{Missed, Target};
pub use unpair::Unpair;

/// A proxy in front of an OpenClaw gateway that repairs what the gateway wrongly refuses.
///
/// Beside a gateway on this machine, `scope-shim run` is enough: it finds the gateway by itself. Then point clients at
/// it: OPENCLAW_GATEWAY_PORT=18780 openclaw health
#[derive(Debug, Parser)]
#[command(name = "scope-shim", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Write without colour, as the variable NO_COLOR asks for, too
    #[arg(long, global = true, display_order = 900)]
    pub no_color: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the proxy
    Run(Settings),
    /// Show or switch what it does: repair (on), only watch (observe), or nothing (off)
    Mode(Switch),
    /// Have the running proxy read its configuration and the gateway's files again
    Reload(Settings),
    /// Let a new version take over from the running proxy, without dropping a session
    Upgrade(Settings),
    /// Check the configuration and say what it amounts to, without starting anything
    Check(Settings),
    /// Say what is wrong, or about to go wrong, and what ends it, without changing anything
    Doctor(Report),
    /// Show how the shim that runs is doing: gateways, sessions, findings, the last hour
    Status(Status),
    /// List the paired devices and the pairing requests that wait
    Devices(Report),
    /// List the pairing requests that wait, or approve them
    Approve(Approve),
    /// Widen, for all devices at once, what the gateway holds too narrow
    Repair(Repair),
    /// Walk the decision about a session step by step: one that was, one that could be, or one that was saved
    Explain(Box<Explain>),
    /// Show the status page of the shim that runs, in a browser on this machine
    Page(Page),
    /// Have the gateway's own port lead to the shim: nothing else is reconfigured (Linux)
    Intercept(Intercept),
    /// Remove the shim's own device from the gateway, and say what is left to undo
    Unpair(Unpair),
    /// See the failure and its cure on a gateway made for it
    Demo(Demo),
    /// Write the completions of a shell to standard output
    Completions(Completions),
    /// Write the manual page to standard output
    Man(Man),
    /// Print the version
    Version,
}

impl Command {
    /// The settings of a command that is about the shim that runs: another would be harmed, or made.
    #[must_use]
    pub const fn about_a_shim(&self) -> Option<&Settings> {
        match self {
            Self::Mode(options) => Some(&options.settings),
            Self::Reload(settings) | Self::Upgrade(settings) => Some(settings),
            Self::Status(options) => Some(&options.settings),
            Self::Page(options) => Some(&options.settings),
            Self::Repair(options) => Some(&options.settings),
            Self::Unpair(options) => Some(&options.settings),
            // Listing changes nothing, and does not need a shim.
            Self::Approve(options) if options.id.is_some() || options.all_local => {
                Some(&options.settings)
            }
            _ => None,
        }
    }

    /// Whether it is carried out in a session of its own with the gateway, whatever the shim that runs does.
    #[must_use]
    pub const fn asks_the_gateway(&self) -> bool {
        matches!(self, Self::Approve(_) | Self::Repair(_))
    }
}

/// The settings that have a flag; `config/scope-shim.toml` has all of them.
#[derive(Args, Clone, Debug, Default)]
#[command(
    after_help = "Each setting is a variable, too (--gateway-state: SCOPE_SHIM_GATEWAY_STATE), and a key of the\n\
                        configuration file, but for --config and --gateway-name. A flag wins over a variable, a\n\
                        variable over the file, the file over what the gateway's own files tell."
)]
pub struct Settings {
    /// The configuration file [default: scope-shim/scope-shim.toml in ~/.config or /etc, if there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The gateway that is meant, where the configuration has several
    #[arg(
        long,
        value_name = "NAME",
        env = "SCOPE_SHIM_GATEWAY_NAME",
        hide_env = true
    )]
    pub gateway_name: Option<String>,

    /// Where clients connect [default: 127.0.0.1:18780]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,

    /// The gateway [default: on this machine, at the port in its openclaw.json]
    #[arg(long, value_name = "URL")]
    gateway: Option<String>,

    /// The gateway's state directory [default: $OPENCLAW_STATE_DIR or ~/.openclaw]
    #[arg(long, value_name = "DIR")]
    gateway_state: Option<String>,

    /// The shim's own data [default: the data directory of the user]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,

    /// Repair handshakes (on), only say what would be done (observe), or do nothing (off) [default: on]
    #[arg(long, value_name = "on|observe|off")]
    mode: Option<String>,

    /// How log lines look [default: text]
    #[arg(long, value_name = "text|json")]
    log: Option<String>,

    /// The least important log lines that are written [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl Settings {
    /// The flags that were given, by the key that they set.
    ///
    /// They are plain text: the rules for values are the same as for the file, and so are the messages.
    #[must_use]
    pub fn flags(&self) -> Vec<Flag> {
        let given = [
            ("listen", "--listen", &self.listen),
            ("gateway.url", "--gateway", &self.gateway),
            ("gateway.state", "--gateway-state", &self.gateway_state),
            ("data", "--data", &self.data),
            ("mode", "--mode", &self.mode),
            ("log.format", "--log", &self.log),
            ("log.level", "--log-level", &self.log_level),
        ];
        let given = given.into_iter();
        given
            .filter_map(|(key, name, value)| {
                let value = value.clone()?;
                Some(Flag { key, name, value })
            })
            .collect()
    }
}

/// What to look at, and how to say it.
#[derive(Args, Debug)]
pub struct Report {
    /// The gateway and the shim that are meant.
    #[command(flatten)]
    pub settings: Settings,

    /// Write JSON, as config/doctor.schema.json documents it
    #[arg(long)]
    pub json: bool,
}

/// How to show the failure and its cure.
#[derive(Args, Debug)]
pub struct Demo {
    /// A real gateway of this version, installed with npm [default: a simulated one, which needs nothing]
    #[arg(long, value_name = "VERSION")]
    pub gateway: Option<String>,

    /// Where clients connect; a free port if this one is taken [default: 127.0.0.1:18780]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,

    /// Leave when the story is told, instead of staying up to be played with
    #[arg(long)]
    pub exit: bool,
}

/// How the program ends. A wrong command line ends with 2, which is clap's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// All is well.
    Ok,
    /// It started, or tried to, and failed.
    Failure,
    /// It looked, and there is something to say.
    Findings,
    /// It looked for something that is not there.
    Absent,
    /// The configuration cannot be used: `EX_CONFIG`. A restart does not help, and systemd can be told so.
    Config,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        match status {
            ExitStatus::Ok => Self::SUCCESS,
            ExitStatus::Failure => Self::from(1),
            ExitStatus::Findings => Self::from(3),
            ExitStatus::Absent => Self::from(4),
            ExitStatus::Config => Self::from(78),
        }
    }
}

/// What a command that asks the gateway has to say, and how it ends.
#[derive(Debug)]
pub struct Said {
    /// For standard output.
    pub text: String,
    /// How the program ends.
    pub status: ExitStatus,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_names_the_key_that_it_sets() {
        let arguments = [
            "scope-shim",
            "run",
            "--listen",
            "a",
            "--gateway",
            "b",
            "--gateway-state",
            "c",
            "--data",
            "d",
            "--mode",
            "e",
            "--log",
            "f",
            "--log-level",
            "g",
        ];
        let cli = Cli::try_parse_from(arguments);
        let settings = match cli.map(|cli| cli.command) {
            Ok(Command::Run(settings)) => settings,
            _ => Settings::default(),
        };
        let flags = settings.flags();
        let flags: Vec<String> = flags
            .iter()
            .map(|flag| format!("{}={}", flag.key, flag.value))
            .collect();
        assert_eq!(
            flags.join(" "),
            "listen=a gateway.url=b gateway.state=c data=d mode=e log.format=f log.level=g"
        );
    }
}
