//! Colour, where it helps and is wanted.

use std::fmt::Display;
use std::io::IsTerminal;

/// Whether what is written may be coloured. Nothing is said by colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    colour: bool,
}

impl Style {
    /// Colour for a terminal, unless `--no-color`, `NO_COLOR` or a terminal without colours forbid it.
    pub fn of(stream: &impl IsTerminal, no_color: bool) -> Self {
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            colour: stream.is_terminal() && !no_color && !forbidden && !dumb,
        }
    }

    /// No colour.
    #[must_use]
    pub fn plain() -> Self {
        Self { colour: false }
    }

    /// Whether there is colour.
    #[must_use]
    pub fn is_coloured(self) -> bool {
        self.colour
    }

    /// What is wrong.
    #[must_use]
    pub fn bad(self, text: impl Display) -> String {
        self.paint("1;31", text)
    }

    /// What may need somebody.
    #[must_use]
    pub fn doubtful(self, text: impl Display) -> String {
        self.paint("1;33", text)
    }

    /// What is well.
    #[must_use]
    pub fn good(self, text: impl Display) -> String {
        self.paint("1;32", text)
    }

    /// What a reader looks for first.
    #[must_use]
    pub fn strong(self, text: impl Display) -> String {
        self.paint("1", text)
    }

    /// What matters less.
    #[must_use]
    pub fn faint(self, text: impl Display) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: impl Display) -> String {
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_plain() {
        assert_eq!(Style::plain().bad("x"), "x");
        assert_eq!(Style { colour: true }.bad("x"), "\u{1b}[1;31mx\u{1b}[0m");
    }
}
