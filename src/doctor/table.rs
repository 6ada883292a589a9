//! A table for a terminal: columns of fixed width, cells that wrap.

use crate::cli::Style;
use crate::text::wrap;

/// One line of a table's head and below it as many rows as there are.
#[derive(Clone, Debug)]
pub struct Table {
    columns: &'static [(&'static str, usize)],
    rows: Vec<Row>,
}

/// One row.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The paragraphs of each cell.
    pub cells: Vec<Vec<String>>,
    /// What stands under the row, across the columns.
    pub below: Vec<String>,
}

impl Table {
    /// An empty table with these columns: title and width in characters.
    #[must_use]
    pub const fn new(columns: &'static [(&'static str, usize)]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// The table as lines, each with its line break.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let titles = self.columns.iter().map(|(title, _)| (*title).to_owned());
        let mut text = style.faint(self.line(titles));
        text.push('\n');
        for row in &self.rows {
            self.put(row, &mut text, style);
        }
        text
    }

    fn put(&self, row: &Row, text: &mut String, style: Style) {
        let cells = row.cells.iter().zip(self.columns);
        let wrapped: Vec<Vec<String>> = cells
            .map(|(paragraphs, (_, width))| {
                let lines = paragraphs
                    .iter()
                    .flat_map(|paragraph| wrap(paragraph, *width, true));
                lines.collect()
            })
            .collect();
        let height = wrapped.iter().map(Vec::len).max().unwrap_or_default();
        for index in 0..height {
            let line = wrapped
                .iter()
                .map(|cell| cell.get(index).cloned().unwrap_or_default());
            text.push_str(&self.line(line));
            text.push('\n');
        }
        let indent = self
            .columns
            .first()
            .map_or(0, |(_, width)| width + GAP.len());
        for paragraph in &row.below {
            for line in wrap(paragraph, self.width().saturating_sub(indent), false) {
                text.push_str(&" ".repeat(indent));
                text.push_str(&style.faint(line));
                text.push('\n');
            }
        }
    }

    fn width(&self) -> usize {
        let widths: usize = self.columns.iter().map(|(_, width)| width).sum();
        widths + GAP.len() * self.columns.len().saturating_sub(1)
    }

    fn line(&self, cells: impl Iterator<Item = String>) -> String {
        let padded: Vec<String> = cells
            .zip(self.columns)
            .map(|(cell, (_, width))| format!("{cell:width$}"))
            .collect();
        padded.join(GAP).trim_end().to_owned()
    }
}

const GAP: &str = "  ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_wrap_in_their_columns() {
        let mut table = Table::new(&[("ID", 4), ("WHAT", 9)]);
        table.push(Row {
            cells: vec![
                vec!["abcdef".into(), "own".into()],
                vec!["one two three".into()],
            ],
            below: vec!["more of it here".into()],
        });
        let expected =
            "ID    WHAT\nabcd  one two\nef    three\nown\n      more of\n      it here\n";
        assert_eq!(table.render(Style::plain()), expected);
    }
}
