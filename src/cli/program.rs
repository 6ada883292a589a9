//! The command line as it is shown: each command with the options that it goes by, and with the ways in which it ends.

use clap::{Args as _, Command, CommandFactory as _};

use super::{Cli, Settings};

/// The whole command line, for its help, its completions and for reading what was given.
///
/// A setting that a command does not go by is not shown there, and taken all the same: a script may give the same
/// settings to all.
#[must_use]
pub fn program() -> Command {
    dressed(Cli::command(), "", &|command, path| {
        let rest = command.get_after_help().map(ToString::to_string);
        let mut help = rest.map_or_else(String::new, |rest| rest + "\n\n");
        help.push_str("Exit status:\n");
        for (code, meaning) in exits(path) {
            help.push_str(&format!("  {code:<3} {meaning}\n"));
        }
        command.after_help(help.trim_end().to_owned())
    })
}

/// The same without what the manual has sections of its own for.
pub(super) fn plain() -> Command {
    dressed(Cli::command(), "", &|command, _| command)
}

/// Whether a command goes by a configuration.
pub(super) fn has_settings(command: &Command) -> bool {
    has(command, "config")
}

fn dressed(mut command: Command, path: &str, last: &dyn Fn(Command, &str) -> Command) -> Command {
    for setting in settings() {
        let goes_by = || taken(path).is_none_or(|taken| taken.contains(&setting.as_str()));
        if has_settings(&command) && has(&command, &setting) && !goes_by() {
            command = command.mut_arg(setting, |argument| argument.hide(true));
        }
    }
    let names: Vec<String> = command
        .get_subcommands()
        .map(|one| one.get_name().to_owned())
        .collect();
    if names.is_empty() {
        return last(command, path);
    }
    for name in names {
        let below = format!("{path} {name}");
        command = command.mut_subcommand(name, |one| dressed(one, below.trim_start(), last));
    }
    command
}

fn has(command: &Command, argument: &str) -> bool {
    command
        .get_arguments()
        .any(|known| known.get_id() == argument)
}

/// The settings that have a flag.
fn settings() -> Vec<String> {
    let all = Settings::augment_args(Command::default());
    let each = all.get_arguments();
    each.map(|setting| setting.get_id().to_string()).collect()
}

/// The settings that a command goes by, where it does not go by all of them.
fn taken(path: &str) -> Option<&'static [&'static str]> {
    Some(match path {
        "run" | "check" => return None,
        "reload" | "upgrade" | "status" | "page" => &["config", "data"],
        "mode" => &["config", "gateway_name", "data"],
        "devices" | "approve" | "repair" | "explain" => {
            &["config", "gateway_name", "gateway", "gateway_state", "data"]
        }
        _ => &[
            "config",
            "gateway_name",
            "listen",
            "gateway",
            "gateway_state",
            "data",
        ],
    })
}

/// How a command ends, and what that means.
pub(super) fn exits(path: &str) -> Vec<(u8, &'static str)> {
    let mut exits = match path {
        "run" => vec![
            (0, "it was told to stop, and did"),
            (1, "it could not start, or go on"),
        ],
        "check" => vec![(0, "the shim could work with it"), (1, FAILED)],
        "mode" => vec![
            (0, DONE),
            (1, NO_SHIM),
            (3, "switched, but a restart would forget it"),
        ],
        "reload" => vec![
            (0, "read again"),
            (1, NO_SHIM),
            (3, "read again; a part needs a restart"),
        ],
        "upgrade" => vec![(0, DONE), (1, "the one that ran goes on, or none runs")],
        "doctor" => vec![
            (0, "looked, and found nothing"),
            (
                1,
                "could not look: neither the gateway nor its store answers",
            ),
            (3, "found something"),
        ],
        "status" => vec![
            (0, "all is well"),
            (1, "no shim runs, or it does not answer"),
            (3, "there is a finding, or the gateway cannot be reached"),
        ],
        "repair" => vec![
            (0, "nothing to repair, or repaired"),
            (1, FAILED),
            (3, "there is something to repair; --apply does it"),
        ],
        "intercept status" => vec![
            (0, "in place, and works"),
            (1, FAILED),
            (3, "in place, and broken"),
            (4, "not in place"),
        ],
        _ => vec![(0, DONE), (1, FAILED)],
    };
    exits.push((2, "the command line is wrong"));
    let without = [
        "intercept down",
        "intercept status",
        "demo",
        "completions",
        "man",
        "version",
    ];
    if !without.contains(&path) {
        exits.push((78, "the configuration cannot be used"));
    }
    exits.sort_by_key(|(code, _)| *code);
    exits
}

const DONE: &str = "done";
const FAILED: &str = "it could not be done; the message says why";
const NO_SHIM: &str = "it could not be done, or no shim runs";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_stays_consistent() {
        program().debug_assert();
        plain().debug_assert();
    }

    #[test]
    fn a_command_shows_what_it_goes_by_and_takes_the_rest() {
        let mut program = program();
        for (command, shown, hidden) in [
            ("status", "--data", "--listen"),
            ("approve", "--gateway <", "--log-level"),
            ("doctor", "--listen", "--mode"),
        ] {
            let help = program.find_subcommand_mut(command);
            let help = help.map(|one| one.render_help().to_string());
            let help = help.unwrap_or_default();
            assert!(help.contains(shown), "{command}: {help}");
            assert!(!help.contains(hidden), "{command}: {help}");
        }
        let all = program.try_get_matches_from(["scope-shim", "status", "--listen", "127.0.0.1:1"]);
        assert!(all.is_ok(), "{all:?}");
    }
}
