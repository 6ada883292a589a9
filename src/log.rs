//! The log: lines on standard error, for people or for machines.

mod lines;
mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write as _};
use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Span, Subscriber, error_span};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{self, FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Registry, registry, reload};

use crate::config::{Config, Finding, Log, LogFormat, LogLevel};
use crate::text::safe;
use lines::Process;
use queue::Queue;

/// Starts the log of a process that serves: nothing that logs waits for whoever reads it. A second call changes nothing.
///
/// What is returned is to be kept until the end, when the last lines are written.
pub fn start(log: Log, no_color: bool) -> Ending {
    let tell = |lost| tracing::error!(lost, "lines of this log were lost: nobody took them");
    match Queue::start(io::stderr(), tell) {
        Ok(queue) => {
            let lines = queue.clone();
            begin(log, no_color, move || lines.clone());
            let _ = QUEUE.set(queue);
        }
        Err(_) => init(log, no_color),
    }
    panic::set_hook(Box::new(|panic| {
        tell_panic(panic);
        flush(AT_A_PANIC);
    }));
    Ending(())
}

/// Starts the log of a process that tells a story: each line is written before anything else is done. A second call
/// changes nothing.
pub fn init(log: Log, no_color: bool) {
    begin(log, no_color, io::stderr);
}

fn begin<W>(log: Log, no_color: bool, writer: W)
where
    W: for<'w> MakeWriter<'w> + Clone + Send + Sync + 'static,
{
    let colour = crate::cli::Style::of(&io::stderr(), no_color).is_coloured();
    let directives = std::env::var("RUST_LOG").ok();
    let (subscriber, switch) = subscriber(log, colour, directives, writer);
    // It fails only when a test has set its own.
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        let _ = OF_PROCESS.set(switch);
    }
}

/// The end of the log, when it is dropped: what was said last is written, unless nobody takes it.
#[derive(Debug)]
#[must_use]
pub struct Ending(());

impl Drop for Ending {
    fn drop(&mut self) {
        flush(AT_THE_END);
    }
}

/// Writes what was said so far, as far as that is possible at once: another process is about to end this one.
pub fn hurry() {
    flush(AT_THE_END);
}

/// Says a line that has its own form on standard error, after what was logged before it.
pub fn say(line: &str) {
    let line = format!("{line}\n");
    // Without standard error there is nobody left to tell.
    let _ = match QUEUE.get() {
        Some(queue) => queue.clone().write_all(line.as_bytes()),
        None => io::stderr().write_all(line.as_bytes()),
    };
}

/// How many lines were lost because nobody took them, or they could not be written.
#[must_use]
pub fn lost() -> u64 {
    QUEUE.get().map_or(0, Queue::lost)
}

fn flush(patience: Duration) {
    if let Some(queue) = QUEUE.get() {
        queue.drain(patience);
    }
}

fn tell_panic(panic: &PanicHookInfo<'_>) {
    let place = panic
        .location()
        .map_or_else(String::new, ToString::to_string);
    let why = panic.payload_as_str().unwrap_or("for an unknown reason");
    tracing::error!("panicked at {place}: {}", safe(why));
    let way = Backtrace::capture();
    if way.status() == BacktraceStatus::Captured {
        tracing::error!("it came there by:\n{way}");
    }
}

/// Writes the lines from now on as this says.
pub fn change(log: Log) {
    if let Some(switch) = OF_PROCESS.get() {
        switch.turn(log);
    }
}

/// Names this process on its lines from now on, or no longer: another one of this shim logs to the same place.
pub fn name_process(named: bool) {
    if let Some(switch) = OF_PROCESS.get() {
        switch.process.name(named);
    }
}

/// Logs what an operator should know, one warning each.
pub fn findings<'a>(findings: impl IntoIterator<Item = &'a Finding>) {
    for finding in findings {
        let fix = finding.fix.as_deref().unwrap_or_default();
        tracing::warn!(code = finding.code, fix, "{}", finding.message);
    }
}

/// The same of each gateway, with its name where there are several; what holds for all of them once.
pub fn findings_of_all(configs: &[Config]) {
    let [first, others @ ..] = configs else {
        return;
    };
    let common = |finding: &&Finding| others.iter().all(|other| other.findings.contains(finding));
    findings(first.findings.iter().filter(common));
    for config in configs.iter().filter(|_| !others.is_empty()) {
        let _named = span(config).entered();
        findings(config.findings.iter().filter(|finding| {
            let common = configs.iter().all(|other| other.findings.contains(finding));
            !common
        }));
    }
}

/// Names the gateway on the lines of what is done in it, where there are several; whatever the level, so that it is on
/// every line.
#[must_use]
pub fn span(config: &Config) -> Span {
    let name = config.label.as_deref();
    name.map_or_else(
        Span::none,
        |gateway| error_span!(parent: None, "served", %gateway),
    )
}

/// Both forms of a line look at every span, so that each knows those that were begun before it had its turn; one of them
/// writes.
fn subscriber<W>(
    log: Log,
    colour: bool,
    directives: Option<String>,
    writer: W,
) -> (impl Subscriber + Send + Sync, Switch)
where
    W: for<'w> MakeWriter<'w> + Clone + Send + Sync + 'static,
{
    let (filter, levels) = reload::Layer::new(filter(log.level, directives.as_deref()));
    let json = Arc::new(AtomicBool::new(log.format == LogFormat::Json));
    let process = Process::default();
    let text_lines = fmt::layer()
        .with_writer(writer.clone())
        .with_ansi(colour)
        .event_format(OnlyWhere {
            json: false,
            chosen: Arc::clone(&json),
            form: lines::Lines(process.clone()),
        });
    let json_lines = fmt::layer()
        .with_writer(writer)
        .with_ansi(false)
        .fmt_fields(JsonFields::new())
        .event_format(OnlyWhere {
            json: true,
            chosen: Arc::clone(&json),
            form: lines::Objects(
                fmt::format()
                    .json()
                    .flatten_event(true)
                    .with_span_list(false),
                process.clone(),
            ),
        });
    let subscriber = registry().with(filter).with(text_lines).with(json_lines);
    let switch = Switch {
        levels,
        directives,
        json,
        process,
    };
    (subscriber, switch)
}

/// Turns the log to another level and another form.
#[derive(Debug)]
struct Switch {
    levels: reload::Handle<Targets, Registry>,
    directives: Option<String>,
    json: Arc<AtomicBool>,
    process: Process,
}

impl Switch {
    fn turn(&self, log: Log) {
        self.json
            .store(log.format == LogFormat::Json, Ordering::Relaxed);
        let filter = filter(log.level, self.directives.as_deref());
        // It fails only where there is no log any more.
        let _ = self.levels.reload(filter);
    }
}

/// A form of lines that writes nothing while the other one is chosen.
struct OnlyWhere<F> {
    json: bool,
    chosen: Arc<AtomicBool>,
    form: F,
}

impl<F, S, N> FormatEvent<S, N> for OnlyWhere<F>
where
    F: FormatEvent<S, N>,
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        if self.chosen.load(Ordering::Relaxed) == self.json {
            self.form.format_event(context, writer, event)
        } else {
            Ok(())
        }
    }
}

/// `RUST_LOG` where it makes sense, else the configured level for the shim and warnings of everything else.
///
/// It chooses by module and level, and not by the spans around a line, of which there is one: that would take a library
/// for regular expressions.
fn filter(level: LogLevel, directives: Option<&str>) -> Targets {
    directives.and_then(chosen).unwrap_or_else(|| {
        let (others, own) = match level {
            LogLevel::Off => (LevelFilter::OFF, LevelFilter::OFF),
            LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
            LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
            LogLevel::Info => (LevelFilter::WARN, LevelFilter::INFO),
            LogLevel::Debug => (LevelFilter::WARN, LevelFilter::DEBUG),
            LogLevel::Trace => (LevelFilter::WARN, LevelFilter::TRACE),
        };
        Targets::new()
            .with_default(others)
            .with_target("scope_shim", own)
    })
}

/// What these directives choose; `None` where they make no sense, or there are none.
fn chosen(directives: &str) -> Option<Targets> {
    let each = directives.split(',').map(str::trim);
    let said: Vec<_> = each.filter(|one| !one.is_empty()).collect();
    if said.is_empty() {
        return None;
    }
    said.join(",").parse().ok()
}

/// That of this process, once it has begun.
static OF_PROCESS: OnceLock<Switch> = OnceLock::new();
/// Where its lines wait, where it does not wait for them.
static QUEUE: OnceLock<Queue> = OnceLock::new();
/// How long the last lines may take: a reader that is there takes them in no time.
const AT_THE_END: Duration = Duration::from_secs(1);
/// The same while the thread that panics may still have others to serve.
const AT_A_PANIC: Duration = Duration::from_millis(100);

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: LogLevel, directives: Option<&str>) -> String {
        logged_in(format, level, directives, || {
            tracing::info!(target: "scope_shim::x", client = "cli", "session ended");
            tracing::debug!(target: "scope_shim::x", "detail");
            tracing::info!(target: "hyper", "noise");
            let finding = Finding::new(crate::config::Warning::GatewaySilent, "what", "how");
            findings([&finding]);
        })
    }

    fn logged_in(
        format: LogFormat,
        level: LogLevel,
        directives: Option<&str>,
        work: impl FnOnce(),
    ) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = Log {
            format,
            level,
            sessions: crate::config::SessionLog::Off,
        };
        let directives = directives.map(str::to_owned);
        let (subscriber, _) = subscriber(log, false, directives, move || writer.clone());
        tracing::subscriber::with_default(subscriber, work);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_text_line_has_time_level_and_fields() {
        let text = logged(LogFormat::Text, LogLevel::Info, None);
        let line = text.lines().next().unwrap();
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.ends_with('Z'), "{time}");
        assert_eq!(rest.trim_start(), "INFO session ended client=\"cli\"");
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn a_json_line_is_one_flat_object() {
        let text = logged(LogFormat::Json, LogLevel::Info, None);
        let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(line.get("message").unwrap(), "session ended");
        assert_eq!(line.get("client").unwrap(), "cli");
        assert_eq!(line.get("level").unwrap(), "INFO");
        let line: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
        assert_eq!(
            (line.get("code").unwrap(), line.get("fix").unwrap()),
            (&"gateway-silent".into(), &"how".into())
        );
    }

    #[test]
    fn one_of_several_gateways_is_named_on_its_lines() {
        for level in [LogLevel::Info, LogLevel::Error] {
            let text = logged_in(LogFormat::Text, level, None, || {
                let _named = tracing::error_span!("served", gateway = "a").entered();
                let _again = tracing::error_span!("served", gateway = "a").entered();
                tracing::error!(target: "scope_shim::x", client = "cli", "over");
            });
            assert!(
                text.ends_with("ERROR \"a\": over client=\"cli\"\n"),
                "{text}"
            );
        }
        let line = logged_in(LogFormat::Json, LogLevel::Info, None, || {
            let _named = tracing::error_span!("served", gateway = "a").entered();
            tracing::info!(target: "scope_shim::x", "over");
        });
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line.pointer("/span/gateway").unwrap(), "a");
        assert!(line.get("spans").is_none());
    }

    #[test]
    fn one_of_two_processes_is_named_on_its_lines_for_as_long_as_there_are_two() {
        let own = std::process::id();
        for (format, tells) in [
            (
                LogFormat::Text,
                format!("INFO over client=\"cli\" process={own}"),
            ),
            (
                LogFormat::Json,
                format!("{{\"process\":{own},\"timestamp\":"),
            ),
        ] {
            let lines = Lines::default();
            let writer = lines.clone();
            let log = Log {
                format,
                level: LogLevel::Info,
                sessions: crate::config::SessionLog::Off,
            };
            let (subscriber, switch) = subscriber(log, false, None, move || writer.clone());
            tracing::subscriber::with_default(subscriber, || {
                for named in [true, false] {
                    switch.process.name(named);
                    tracing::info!(target: "scope_shim::x", client = "cli", "over");
                }
            });
            let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
            let [first, second] = text.lines().collect::<Vec<_>>()[..] else {
                panic!("{text}");
            };
            assert!(first.contains(&tells), "{first}");
            assert!(!second.contains("process"), "{second}");
            if format == LogFormat::Json {
                serde_json::from_str::<serde_json::Value>(first).unwrap();
            }
        }
    }

    #[test]
    fn the_level_is_for_the_shim_and_rust_log_wins() {
        let lines = |level, directives| logged(LogFormat::Text, level, directives).lines().count();
        assert_eq!(lines(LogLevel::Off, None), 0);
        assert_eq!(lines(LogLevel::Warn, None), 1);
        assert_eq!(lines(LogLevel::Debug, None), 3);
        assert_eq!(lines(LogLevel::Off, Some("hyper=info")), 1);
        assert_eq!(lines(LogLevel::Debug, Some(" ")), 3);
        assert_eq!(lines(LogLevel::Warn, Some("==nonsense==")), 1);
        assert_eq!(lines(LogLevel::Off, Some("warn, scope_shim::x=debug,")), 3);
        assert_eq!(lines(LogLevel::Off, Some("hyper")), 1);
    }
}
