//! The page that the story is written on: numbered steps, lines and outcomes, in colour where that is wanted.

use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;

use super::verdict::Verdict;
use crate::cli::Style;

/// Writes the story, and remembers what did not come out as it should.
pub(super) struct Page<W> {
    out: W,
    style: Style,
    steps: usize,
    surprises: Vec<String>,
}

impl<W: Write> Page<W> {
    pub(super) fn new(out: W, style: Style) -> Self {
        Self {
            out,
            style,
            steps: 0,
            surprises: Vec::new(),
        }
    }

    /// What did not come out as it should, in the order in which it happened.
    pub(super) fn surprises(&self) -> &[String] {
        &self.surprises
    }

    /// A line from the left margin, for what stands outside of the steps.
    pub(super) fn headline(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", self.style.strong(text))?;
        self.out.flush()
    }

    /// Opens the next numbered step.
    pub(super) fn step(&mut self, title: &str) -> io::Result<()> {
        self.steps += 1;
        let title = format!("{}. {title}", self.steps);
        writeln!(self.out, "\n{}", self.style.strong(title))?;
        self.out.flush()
    }

    /// Lines of the text, one to one.
    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        for line in text.lines() {
            writeln!(self.out, "   {line}")?;
        }
        self.out.flush()
    }

    /// A name and what belongs to it.
    pub(super) fn fact(&mut self, name: &str, value: impl Display) -> io::Result<()> {
        let name = format!("{name:<NAME_WIDTH$}");
        writeln!(self.out, "   {} {value}", self.style.faint(name))?;
        self.out.flush()
    }

    /// That somebody else has the port that was wanted.
    pub(super) fn taken(&mut self, wanted: SocketAddr) -> io::Result<()> {
        let notice = format!("{wanted} is taken, so a free port is used");
        let notice = self.style.doubtful(notice);
        self.fact("", notice)
    }

    /// What came of an attempt; `wanted` says whether it should have.
    pub(super) fn outcome(
        &mut self,
        attempt: &str,
        verdict: Verdict,
        told: &str,
        wanted: bool,
    ) -> io::Result<()> {
        let word = format!("{:<9}", verdict.word());
        let word = match verdict {
            Verdict::Works if wanted => self.style.good(word),
            // What is rightly refused is no alarm.
            Verdict::Refused if wanted => self.style.doubtful(word),
            _ => self.style.bad(word),
        };
        writeln!(self.out, "   {attempt:<NAME_WIDTH$} {word} {told}")?;
        self.out.flush()
    }

    /// Says so when something is not as it should be, and remembers it.
    pub(super) fn expect(&mut self, as_it_should: bool, what: &str) -> io::Result<()> {
        if as_it_should {
            return Ok(());
        }
        self.surprises.push(what.to_owned());
        let label = self.style.bad("not as it should be:");
        writeln!(self.out, "   {label} {what}")?;
        self.out.flush()
    }
}

const NAME_WIDTH: usize = 21;
