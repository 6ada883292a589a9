//! A table as wide as the terminal: columns as wide as what is in them, the widest cut where that is too much. Where there
//! is no terminal, nothing is.

use crate::cli::Style;
use crate::text::safe;

/// Rows below one line of titles.
pub(super) struct Columns<const N: usize> {
    titles: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Columns<N> {
    pub(super) const fn new(titles: [&'static str; N]) -> Self {
        Self {
            titles,
            rows: Vec::new(),
        }
    }

    /// Adds a row; what is in it may be anything.
    pub(super) fn push(&mut self, row: [String; N]) {
        self.rows.push(row.map(|cell| safe(&cell)));
    }

    /// The lines, indented, at most `width` wide where there is such. `paint` colours a cell, by the number of its column.
    pub(super) fn render(
        &self,
        width: Option<usize>,
        style: Style,
        paint: impl Fn(usize, &str, String) -> String,
    ) -> String {
        let widths = self.widths(width);
        let titles = self.titles.map(str::to_owned);
        let mut text = line(&titles, &widths, |_, _, title| style.faint(title));
        for row in &self.rows {
            text.push_str(&line(row, &widths, &paint));
        }
        text
    }

    fn widths(&self, width: Option<usize>) -> [usize; N] {
        let mut widths = self.titles.map(|title| title.chars().count());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let Some(width) = width else {
            return widths;
        };
        let widths = &mut widths.map(|column| column.min(width));
        let room = width.saturating_sub(INDENT.len() + GAP.len() * N.saturating_sub(1));
        while widths.iter().sum::<usize>() > room {
            match widths.iter_mut().max() {
                Some(widest) if *widest > NARROWEST => *widest -= 1,
                _ => break,
            }
        }
        *widths
    }
}

fn line<const N: usize>(
    cells: &[String; N],
    widths: &[usize; N],
    paint: impl Fn(usize, &str, String) -> String,
) -> String {
    let mut text = INDENT.to_owned();
    let mut owed = 0;
    for (index, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let shown = brief_again(cell, width);
        if shown.is_empty() {
            owed += width + GAP.len();
            continue;
        }
        text.push_str(&" ".repeat(owed));
        owed = width.saturating_sub(shown.chars().count()) + GAP.len();
        text.push_str(&paint(index, cell, shown));
    }
    text.push('\n');
    text
}

/// Cut, but not escaped a second time.
fn brief_again(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

const INDENT: &str = "  ";
const GAP: &str = "  ";
const NARROWEST: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(width: impl Into<Option<usize>>) -> String {
        let mut columns = Columns::new(["ID", "WHAT"]);
        columns.push(["ab".into(), "\u{1b}[2J a long story about nothing".into()]);
        columns.push(["abcd".into(), "x".into()]);
        columns.render(width.into(), Style::plain(), |_, _, shown| shown)
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them_and_fit_the_terminal() {
        assert_eq!(
            shown(100),
            "  ID    WHAT\n  ab    \\u{1b}[2J a long story about nothing\n  abcd  x\n"
        );
        assert_eq!(shown(None), shown(100));
        assert_eq!(
            shown(20),
            "  ID    WHAT\n  ab    \\u{1b}[2J a…\n  abcd  x\n"
        );
        assert!(shown(20).lines().all(|line| line.chars().count() <= 20));
    }
}
