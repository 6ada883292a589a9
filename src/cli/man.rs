//! `scope-shim man`: the manual pages.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;

use clap::Args;
use clap_mangen::Man as Page;

use super::program;

/// Which pages, and where to.
#[derive(Args, Debug)]
pub struct Man {
    /// The page of this command, such as run, or intercept up [default: the one of the whole program]
    #[arg(value_name = "COMMAND", conflicts_with = "all")]
    pub command: Vec<String>,

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
    let mut program = program::plain();
    // Flags that hold everywhere are shown on every page only once the whole is built.
    program.build();
    let mut pages = Vec::new();
    collect(&program, "", &mut pages);
    if let Some(directory) = &options.all {
        fs::create_dir_all(directory)?;
        for (path, page) in &pages {
            fs::write(
                directory.join(format!("{}.1", name(path))),
                render(page.clone(), path)?,
            )?;
        }
        return Ok(String::new());
    }
    let wanted = options.command.join(" ");
    match pages.into_iter().find(|(path, _)| *path == wanted) {
        Some((path, page)) => render(page, &path),
        None => Err(io::Error::other(format!(
            "there is no command of that name: {}",
            wanted.escape_debug()
        ))),
    }
}

/// The program and its commands, each with the words that call it.
fn collect(command: &clap::Command, path: &str, pages: &mut Vec<(String, clap::Command)>) {
    pages.push((path.to_owned(), command.clone()));
    for below in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        let path = format!("{path} {}", below.get_name());
        collect(below, path.trim_start(), pages);
    }
}

/// What the page is called.
fn name(path: &str) -> String {
    let words = ["scope-shim"].into_iter().chain(path.split_whitespace());
    words.collect::<Vec<_>>().join("-")
}

fn render(command: clap::Command, path: &str) -> io::Result<String> {
    let notes = command.get_after_help().map(ToString::to_string);
    let (settings, whole) = (program::has_settings(&command), path.is_empty());
    let several = command.has_subcommands();
    let page = Page::new(command.disable_help_subcommand(true))
        .source(concat!("scope-shim ", env!("CARGO_PKG_VERSION")))
        .manual("scope-shim");
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if several {
        page.render_subcommands_section(&mut text)?;
    }
    let mut text = once(&String::from_utf8_lossy(&text));
    if let Some(notes) = notes.filter(|_| !settings) {
        let _ = write!(text, ".SH NOTES\n.nf\n{}\n.fi\n", escaped(&notes));
    }
    text.push_str(&exit_status(path, whole || several));
    if settings || whole {
        text.push_str(FILES);
        text.push_str(ENVIRONMENT);
    }
    text.push_str(&see_also(path));
    // An empty date has to be quoted, or what follows is taken for it.
    Ok(text.replacen(" 1  \"", " 1 \"\" \"", 1))
}

/// Each section comes with the preamble of a whole page, of which one will do.
fn once(text: &str) -> String {
    match text.find(".TH") {
        Some(end) => {
            let (preamble, rest) = text.split_at(end);
            format!("{preamble}{}", rest.replace(preamble, ""))
        }
        None => text.to_owned(),
    }
}

/// Of a command that has others below it all that there are; the pages of those are more exact.
fn exit_status(path: &str, general: bool) -> String {
    let exits = if general {
        GENERAL.to_vec()
    } else {
        program::exits(path)
    };
    let mut text = ".SH \"EXIT STATUS\"\n".to_owned();
    for (code, meaning) in exits {
        let _ = write!(text, ".TP\n{code}\n{}.\n", escaped(&capital(meaning)));
    }
    text
}

fn see_also(path: &str) -> String {
    let others: &[&str] = match path {
        "" => &["run", "doctor", "status", "approve", "unpair"],
        "run" | "check" | "reload" => &["", "check", "mode", "reload", "unpair"],
        "doctor" | "status" | "explain" | "devices" => {
            &["", "doctor", "status", "explain", "approve"]
        }
        "approve" | "repair" => &["", "devices", "approve", "repair"],
        "intercept" => &["", "intercept up", "intercept down", "intercept status"],
        "intercept up" | "intercept down" | "intercept status" => &[
            "",
            "intercept",
            "intercept up",
            "intercept down",
            "intercept status",
        ],
        _ => &["", "run", "status"],
    };
    let others = others.iter().filter(|other| **other != path);
    let others: Vec<String> = others
        .map(|other| format!(".BR {} (1)", escaped(&name(other))))
        .collect();
    format!(".SH \"SEE ALSO\"\n{}\n", others.join(",\n"))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// As roff takes it for text.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let lines = text
        .lines()
        .map(|line| match line.starts_with(['.', '\'']) {
            true => format!("\\&{line}"),
            false => line.to_owned(),
        });
    lines.collect::<Vec<_>>().join("\n")
}

const GENERAL: [(u8, &str); 6] = [
    (0, "all is well"),
    (1, "it could not be done; the message says why"),
    (2, "the command line is wrong"),
    (3, "it looked, and there is something to say"),
    (4, "it looked for something that is not there"),
    (78, "the configuration cannot be used; nothing was started"),
];

const FILES: &str = r#".SH FILES
.TP
.I ~/.config/scope\-shim/scope\-shim.toml\fR, \fI/etc/scope\-shim/scope\-shim.toml
The configuration. None is needed beside a gateway on the same machine.
.TP
.I ~/.local/share/scope\-shim
The shim\(cqs own data, or the directory that the setting
.B data
names:
.I delegate.key
is the key of its device,
.I admin.sock
its admin socket,
.I mode.json
a mode that was switched, and
.I audit.jsonl
what it approved.
"#;
const ENVIRONMENT: &str = r#".SH ENVIRONMENT
Every setting is also a variable:
.B SCOPE_SHIM_LISTEN
for
.BR listen ,
.B SCOPE_SHIM_POLICY_MAX_SCOPES
for
.BR policy.max_scopes ,
and so on. A flag wins over a variable, a variable over the file.
.TP
.B SCOPE_SHIM_CONFIG
The configuration file.
.TP
.B NO_COLOR
Where it is set, nothing is coloured.
.TP
.B RUST_LOG
Overrules
.BR log.level .
"#;
