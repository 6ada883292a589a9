//! `scope-shim completions`: what a shell needs to complete this command line.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;

/// Which shell.
#[derive(Args, Debug)]
#[command(
    after_help = "bash:  scope-shim completions bash > ~/.local/share/bash-completion/completions/scope-shim\n\
                  zsh:   scope-shim completions zsh > a directory of $fpath, as _scope-shim\n\
                  fish:  scope-shim completions fish > ~/.config/fish/completions/scope-shim.fish"
)]
pub struct Completions {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

/// The completions, from the same definitions that read the command line.
#[must_use]
pub fn write(options: &Completions) -> String {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), NAME, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

const NAME: &str = "scope-shim";
