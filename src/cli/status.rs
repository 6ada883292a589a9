//! `scope-shim status`: what the shim that runs knows of itself, once or again every second.

mod columns;
mod page;

use std::future::Future;
use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use super::{ExitStatus, Missed, Settings, Style, Target};
use crate::admin::{Client, ClientError};
use crate::app::Failure;

/// What to show.
#[derive(Args, Debug, Default)]
pub struct Status {
    #[command(flatten)]
    #[expect(missing_docs, reason = "it would be shown as help")]
    pub settings: Settings,

    /// Go on showing it, every second, until Ctrl-C
    #[arg(long, conflicts_with = "json")]
    pub watch: bool,

    /// Only ask whether it runs and answers, whatever else there is to say: for a container's health check
    #[arg(long, conflicts_with_all = ["watch", "json"])]
    pub live: bool,

    /// Write the whole document as JSON, as config/status.schema.json documents it
    #[arg(long)]
    pub json: bool,
}

/// Shows how the shim that runs with this configuration is doing.
///
/// # Errors
///
/// When none runs, or it does not answer.
pub async fn run(target: &Target, options: &Status, style: Style) -> Result<ExitStatus, Missed> {
    let client = target.client()?;
    if options.live {
        let live = client.get("/live").await;
        live.map_err(|error| target.missed(error))?;
        return Ok(ExitStatus::Ok);
    }
    let status = client.get("/status").await;
    let status = status.map_err(|error| target.missed(error))?;
    let shown = show(client, status, options, style).await;
    shown.map_err(Missed::Failed)
}

async fn show(
    client: &Client,
    status: Value,
    options: &Status,
    style: Style,
) -> Result<ExitStatus, Failure> {
    if options.watch {
        let interrupted = async {
            let _ = tokio::signal::ctrl_c().await;
        };
        return watch(client, status, style, interrupted).await;
    }
    let text = if options.json {
        format!("{status:#}\n")
    } else {
        page::page(&status, width(), style)
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(verdict(&status)),
    }
}

/// How the program ends for a shim that is doing so.
fn verdict(status: &Value) -> ExitStatus {
    let gateways = status.get("gateways").and_then(Value::as_array);
    let nothing_found = |gateway: &Value| {
        let findings = gateway.get("findings").and_then(Value::as_array);
        findings.is_none_or(Vec::is_empty)
    };
    let clean = gateways.into_iter().flatten().all(nothing_found);
    let ready = status.get("ready").and_then(Value::as_bool) == Some(true);
    let reload = status.get("reload");
    let reloaded = ["refused", "waiting"].iter().all(|what| {
        reload
            .and_then(|reload| reload.get(what))
            .is_none_or(Value::is_null)
    });
    if clean && ready && reloaded {
        ExitStatus::Ok
    } else {
        ExitStatus::Findings
    }
}

/// Shows it again and again, in place on a terminal, one below the other anywhere else.
async fn watch(
    client: &Client,
    first: Value,
    style: Style,
    interrupted: impl Future<Output = ()>,
) -> Result<ExitStatus, Failure> {
    let mut screen = Screen::open(io::stdout(), io::stdout().is_terminal())?;
    let mut status = Ok(first);
    let mut verdict_now = ExitStatus::Ok;
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(interrupted);
    loop {
        tokio::select! {
            () = &mut interrupted => break,
            _ = tick.tick() => {}
        }
        let text = match &status {
            Ok(status) => {
                verdict_now = verdict(status);
                page::page(status, width(), style)
            }
            // A shim that restarts comes back.
            Err(error) => {
                verdict_now = ExitStatus::Failure;
                format!("{}\n", error_line(error, style))
            }
        };
        match screen.show(&text) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            shown => shown?,
        }
        status = client.get("/status").await;
    }
    Ok(verdict_now)
}

fn error_line(error: &ClientError, style: Style) -> String {
    format!("{} {error}", style.bad("error:"))
}

/// Where frames are shown; a terminal is left as it was found.
struct Screen<W: Write> {
    out: W,
    in_place: bool,
    frames: usize,
}

impl<W: Write> Screen<W> {
    fn open(mut out: W, in_place: bool) -> io::Result<Self> {
        if in_place {
            out.write_all(ENTER.as_bytes())?;
        }
        Ok(Self {
            out,
            in_place,
            frames: 0,
        })
    }

    fn show(&mut self, text: &str) -> io::Result<()> {
        let frame = match (self.in_place, self.frames) {
            (true, _) => in_place(text, width().unwrap_or(page::WIDTH), height()),
            (false, 0) => text.to_owned(),
            (false, _) => format!("\n{text}"),
        };
        self.frames += 1;
        self.out.write_all(frame.as_bytes())?;
        self.out.flush()
    }
}

impl<W: Write> Drop for Screen<W> {
    fn drop(&mut self) {
        if self.in_place {
            let _ = self.out.write_all(LEAVE.as_bytes());
            let _ = self.out.flush();
        }
    }
}

/// One frame over the one before it, without a flicker: each line is overwritten, and what is left behind it erased.
fn in_place(text: &str, width: usize, height: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let fits = lines.len() <= height;
    let shown = if fits {
        lines.len()
    } else {
        height.saturating_sub(1)
    };
    let mut frame = String::from("\u{1b}[H");
    for (index, line) in lines.iter().take(shown).enumerate() {
        if index > 0 {
            frame.push_str("\r\n");
        }
        frame.push_str(&fitting(line, width));
        frame.push_str("\u{1b}[K");
    }
    if !fits {
        let more = lines.len() - shown;
        frame.push_str(&format!("\r\n… {more} more lines\u{1b}[K"));
    }
    frame.push_str("\u{1b}[J");
    frame
}

/// A line that is wider than the terminal, cut, so that it is seen that it was. What only colours it takes no room.
fn fitting(line: &str, width: usize) -> String {
    let (mut kept, mut shown, mut colouring) = (String::new(), 0, false);
    let total = visible(line);
    for letter in line.chars() {
        colouring |= letter == '\u{1b}';
        if !colouring {
            if shown + 1 == width && total > width {
                return format!("{kept}…\u{1b}[0m");
            }
            shown += 1;
        }
        colouring &= letter != 'm';
        kept.push(letter);
    }
    kept
}

fn visible(line: &str) -> usize {
    let mut colouring = false;
    let letters = line.chars().filter(|&letter| {
        colouring |= letter == '\u{1b}';
        let shown = !colouring;
        colouring &= letter != 'm';
        shown
    });
    letters.count()
}

/// In characters; `None` where standard output is no terminal, whatever the other streams are.
fn width() -> Option<usize> {
    let terminal = io::stdout().is_terminal();
    let size = terminal.then(terminal_size::terminal_size).flatten();
    let width = size.map(|(width, _)| usize::from(width.0).max(NARROWEST));
    terminal.then(|| width.unwrap_or(page::WIDTH))
}

/// In lines.
fn height() -> usize {
    terminal_size::terminal_size().map_or(HEIGHT, |(_, height)| usize::from(height.0).max(2))
}

const EVERY: Duration = Duration::from_secs(1);
/// Another screen, so that what was there comes back; no cursor, and no line goes on in the next.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l";
const LEAVE: &str = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";
/// Where the terminal does not say.
const HEIGHT: usize = 50;
const NARROWEST: usize = 40;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_frame_overwrites_the_one_before_and_ends_at_the_bottom() {
        let frame = in_place("a\nb\n", 9, 3);
        assert_eq!(frame, "\u{1b}[Ha\u{1b}[K\r\nb\u{1b}[K\u{1b}[J");
        let frame = in_place("a\nb\nc\nd\n", 9, 3);
        assert_eq!(frame.matches("\r\n").count(), 2);
        assert!(frame.contains("… 2 more lines"));
    }

    #[test]
    fn a_line_that_does_not_fit_is_seen_to_be_cut() {
        assert_eq!(fitting("\u{1b}[1mabc\u{1b}[0m", 3), "\u{1b}[1mabc\u{1b}[0m");
        assert_eq!(
            fitting("\u{1b}[1mabcd\u{1b}[0m", 3),
            "\u{1b}[1mab…\u{1b}[0m"
        );
    }

    #[test]
    fn a_terminal_is_left_as_it_was_and_a_pipe_gets_no_control() {
        let mut out = Vec::new();
        drop(Screen::open(&mut out, true));
        assert_eq!(out, format!("{ENTER}{LEAVE}").into_bytes());
        let mut out = Vec::new();
        if let Ok(mut screen) = Screen::open(&mut out, false) {
            let shown = ["a\n", "b\n"].map(|frame| screen.show(frame).is_ok());
            assert_eq!(shown, [true, true]);
        }
        assert_eq!(out, b"a\n\nb\n");
    }

    #[test]
    fn the_exit_status_says_whether_somebody_should_look() {
        let well = json!({"ready": true, "gateways": [{"findings": []}]});
        assert_eq!(verdict(&well), ExitStatus::Ok);
        let ill = json!({"ready": true, "gateways": [{"findings": []}, {"findings": [{}]}]});
        assert_eq!(verdict(&ill), ExitStatus::Findings);
        let down = json!({"ready": false, "gateways": [{"findings": []}]});
        assert_eq!(verdict(&down), ExitStatus::Findings);
        for what in ["refused", "waiting"] {
            let mut stale = well.clone();
            stale["reload"] = json!({"refused": null, "waiting": null});
            assert_eq!(verdict(&stale), ExitStatus::Ok);
            stale["reload"][what] = json!({"at": 0});
            assert_eq!(verdict(&stale), ExitStatus::Findings, "{what}");
        }
    }
}
