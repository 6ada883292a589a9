//! A line of the log, for people and for machines.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Json, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Whether lines name the process that they are of, which only matters while another logs to the same place.
#[derive(Clone, Debug, Default)]
pub(super) struct Process(Arc<AtomicBool>);

impl Process {
    pub(super) fn name(&self, named: bool) {
        self.0.store(named, Ordering::Relaxed);
    }

    fn named(&self) -> Option<u32> {
        self.0.load(Ordering::Relaxed).then(std::process::id)
    }
}

/// The time, the level, the gateway where there are several, what is said, and the process where there are two.
pub(super) struct Lines(pub(super) Process);

/// The same as an object.
pub(super) struct Objects(pub(super) Format<Json>, pub(super) Process);

impl<S, N> FormatEvent<S, N> for Objects
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Self(form, process) = self;
        let Some(pid) = process.named() else {
            return form.format_event(context, writer, event);
        };
        let mut line = String::new();
        form.format_event(context, Writer::new(&mut line), event)?;
        let members = line.strip_prefix('{').unwrap_or(&line);
        write!(writer, "{{\"process\":{pid},{members}")
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let colour = writer.has_ansi_escapes();
        let (faint, strong, plain) = match colour {
            true => (
                "\u{1b}[2m",
                level_colour(*event.metadata().level()),
                "\u{1b}[0m",
            ),
            false => ("", "", ""),
        };
        writer.write_str(faint)?;
        SystemTime.format_time(&mut writer)?;
        write!(
            writer,
            "{plain} {strong}{:>5}{plain} ",
            event.metadata().level()
        )?;
        // One span is around another where one task starts the next.
        if let Some(span) = context.lookup_current() {
            let extensions = span.extensions();
            if let Some(fields) = extensions.get::<FormattedFields<N>>()
                && let Some((_, name)) = fields.fields.split_once('=')
            {
                write!(writer, "{faint}{name}:{plain} ")?;
            }
        }
        context.format_fields(writer.by_ref(), event)?;
        if let Some(pid) = self.0.named() {
            write!(writer, " {faint}process={plain}{pid}")?;
        }
        writeln!(writer)
    }
}

const fn level_colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG => "\u{1b}[34m",
        Level::TRACE => "\u{1b}[35m",
    }
}
