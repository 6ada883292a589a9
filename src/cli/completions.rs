//! `scope-shim completions`: what a shell needs to complete this command line.

use clap::Args;
use clap_complete::Shell;

use super::program;

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
    clap_complete::generate(options.shell, &mut program(), NAME, &mut text);
    // clap_complete 4.6 takes the hyphen of a program's name for the start of a sub-command in half of its script for
    // bash, so that no flag would be completed.
    String::from_utf8_lossy(&text).replace("scope__subcmd__shim", "scope__shim")
}

const NAME: &str = "scope-shim";
