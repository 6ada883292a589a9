//! `scope-shim man`: the manual page.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_mangen::Man as Page;

use super::Cli;

/// Which pages, and where to.
#[derive(Args, Debug)]
pub struct Man {
    /// The page of this command [default: the one of the whole program]
    #[arg(value_name = "COMMAND", conflicts_with = "all")]
    pub command: Option<String>,

    /// Write every page into this directory, one file a command
    #[arg(long, value_name = "DIR")]
    pub all: Option<PathBuf>,
}

/// The page that is wanted, or nothing where all were written into files.
///
/// # Errors
///
/// When there is no such command, or a file cannot be written.
pub fn write(options: &Man) -> io::Result<String> {
    let mut program = Cli::command();
    // Flags that hold everywhere are shown on every page only once the whole is built.
    program.build();
    if let Some(directory) = &options.all {
        fs::create_dir_all(directory)?;
        for (name, page) in pages(&program) {
            fs::write(directory.join(format!("{name}.1")), render(page)?)?;
        }
        return Ok(String::new());
    }
    let wanted = match &options.command {
        None => program.get_name().to_owned(),
        Some(command) => format!("{}-{command}", program.get_name()),
    };
    let mut pages = pages(&program).into_iter();
    match pages.find(|(name, _)| *name == wanted) {
        Some((_, page)) => render(page),
        None => Err(io::Error::other(format!(
            "there is no command of that name: {}",
            options
                .command
                .as_deref()
                .unwrap_or_default()
                .escape_debug()
        ))),
    }
}

/// The program and its commands, each by the name of its page.
fn pages(program: &clap::Command) -> Vec<(String, clap::Command)> {
    let name = program.get_name().to_owned();
    let mut all = vec![(name.clone(), program.clone())];
    for command in program.get_subcommands().filter(|one| !one.is_hide_set()) {
        let page = format!("{name}-{}", command.get_name());
        all.push((page, command.clone()));
    }
    all
}

fn render(page: clap::Command) -> io::Result<String> {
    let whole = page
        .get_display_name()
        .is_none_or(|name| name == page.get_name());
    let mut page_text = Vec::new();
    Page::new(page.disable_help_subcommand(true))
        .source(concat!("scope-shim ", env!("CARGO_PKG_VERSION")))
        .manual("scope-shim")
        .render(&mut page_text)?;
    let mut text = String::from_utf8_lossy(&page_text).into_owned();
    if whole {
        text.push_str(REST);
    }
    // An empty date has to be quoted, or what follows is taken for it.
    Ok(text.replacen(" 1  \"", " 1 \"\" \"", 1))
}

/// What the definitions of the command line do not know.
const REST: &str = r#".SH "EXIT STATUS"
.TP
0
All is well.
.TP
1
It could not be done; the message says why.
.TP
2
The command line is wrong.
.TP
3
It looked, and there is something to say.
.TP
78
The configuration cannot be used; nothing was started.
.SH FILES
.TP
.I ~/.config/scope\-shim/scope\-shim.toml\fR, \fI/etc/scope\-shim/scope\-shim.toml
The configuration. None is needed beside a gateway on the same machine.
.TP
.I ~/.local/share/scope\-shim
The shim\(cqs own data: the key of its device, its admin socket, the last sessions, and what it approved.
.SH ENVIRONMENT
Every setting is also a variable:
.B SCOPE_SHIM_LISTEN
for
.BR listen ,
.B SCOPE_SHIM_POLICY_MAX_SCOPES
for
.BR policy.max_scopes ,
and so on.
"#;
