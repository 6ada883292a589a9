//! What is printed: a line for each outcome as it comes, a table at the end, and the closing line.

use std::collections::BTreeMap;
use std::time::Instant;

use scope_shim::demo::npm::Version;

use crate::Result;
use crate::outcome::Outcome;
use crate::place::Column;
use crate::promise::Promise;

/// The outcomes of one column, in the order in which they came.
pub(crate) struct Recorder {
    version: Version,
    column: Column,
    pub(crate) outcomes: Vec<(String, Outcome)>,
}

impl Recorder {
    pub(crate) fn new(version: &Version, column: Column) -> Self {
        Self {
            version: version.clone(),
            column,
            outcomes: Vec::new(),
        }
    }

    /// Runs `scenario`, says at once what became of it, and keeps it for the table.
    pub(crate) fn record(
        &mut self,
        name: &str,
        scenario: impl FnOnce() -> Result<Outcome>,
    ) -> Result<()> {
        let begun = Instant::now();
        let outcome = scenario()?;
        let (version, column) = (self.version.to_string(), self.column.name());
        let quote = outcome
            .quote()
            .map(|words| format!(": {words}"))
            .unwrap_or_default();
        println!(
            "{version:<10} {column:<16} {name:<46} {outcome}{quote} ({:.1} s)",
            begun.elapsed().as_secs_f64()
        );
        self.outcomes.push((name.to_owned(), outcome));
        Ok(())
    }
}

/// One scenario of one version, in both columns.
struct Row {
    version: Version,
    scenario: String,
    direct: Option<Outcome>,
    shimmed: Option<Outcome>,
}

/// Everything that was tried.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    troubles: Vec<String>,
    skipped: Vec<String>,
}

impl Report {
    /// Adds a version's two columns, row by row.
    pub(crate) fn add(
        &mut self,
        version: &Version,
        direct: Vec<(String, Outcome)>,
        shimmed: Option<Vec<(String, Outcome)>>,
    ) {
        let both = shimmed.is_some();
        let mut shimmed: BTreeMap<String, Outcome> =
            shimmed.unwrap_or_default().into_iter().collect();
        for (scenario, outcome) in direct {
            let shimmed = shimmed.remove(&scenario);
            if both && shimmed.is_none() {
                self.trouble(format!(
                    "{version} `{scenario}` was not tried through the shim"
                ));
            }
            self.rows.push(Row {
                version: version.clone(),
                scenario,
                direct: Some(outcome),
                shimmed,
            });
        }
        for (scenario, outcome) in shimmed {
            self.trouble(format!("{version} `{scenario}` was not tried directly"));
            self.rows.push(Row {
                version: version.clone(),
                scenario,
                direct: None,
                shimmed: Some(outcome),
            });
        }
    }

    /// Notes something that kept scenarios from being tried at all.
    pub(crate) fn trouble(&mut self, what: String) {
        println!("FAIL {what}");
        self.troubles.push(what);
    }

    /// Notes what this machine could not try.
    pub(crate) fn skip(&mut self, what: String) {
        println!("SKIPPED {what}");
        self.skipped.push(what);
    }

    /// Prints the table and the closing line, and says whether all promises were kept.
    pub(crate) fn close(&self, nothing_may_be_skipped: bool) -> bool {
        let (mut passed, mut failed, mut skipped) = (0, self.troubles.len(), self.skipped.len());
        if !self.rows.is_empty() {
            println!(
                "\n{}",
                line("gateway", "scenario", "direct", "through the shim")
            );
        }
        for row in &self.rows {
            let verdict = row.verdict();
            match verdict {
                Verdict::Kept => passed += 1,
                Verdict::Broken(_) => failed += 1,
                Verdict::Skipped => skipped += 1,
            }
            let cell = |outcome: &Option<Outcome>| {
                let text = outcome
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), Outcome::to_string);
                shortened(&text)
            };
            let (direct, shimmed) = (cell(&row.direct), cell(&row.shimmed));
            let cells = line(&row.version.to_string(), &row.scenario, &direct, &shimmed);
            println!("{cells} {verdict}");
        }
        for row in &self.rows {
            if matches!(row.verdict(), Verdict::Broken(_)) {
                row.print_words();
            }
        }
        for trouble in &self.troubles {
            println!("FAIL {trouble}");
        }
        for skip in &self.skipped {
            println!("SKIPPED {skip}");
        }
        if nothing_may_be_skipped && skipped > 0 {
            println!("SCOPE_SHIM_REAL=required: what was skipped counts as failed");
            failed += skipped;
            skipped = 0;
        }
        println!("\n{passed} passed, {failed} failed, {skipped} skipped");
        failed == 0
    }
}

enum Verdict {
    Kept,
    Broken(String),
    Skipped,
}

impl Row {
    fn verdict(&self) -> Verdict {
        let (direct, shimmed) = (self.direct.as_ref(), self.shimmed.as_ref());
        if [direct, shimmed]
            .iter()
            .any(|outcome| matches!(outcome, Some(Outcome::Skipped(_))))
        {
            return Verdict::Skipped;
        }
        let scenario = self
            .scenario
            .strip_suffix(", again")
            .unwrap_or(&self.scenario);
        Promise::of(&self.version, scenario)
            .broken_by(direct, shimmed)
            .map_or(Verdict::Kept, Verdict::Broken)
    }

    /// What was said in a row that failed: the table has no room for it.
    fn print_words(&self) {
        for (column, outcome) in [
            (Column::Direct, &self.direct),
            (Column::Shimmed, &self.shimmed),
        ] {
            let Some(Outcome::Failed { words, .. }) = outcome else {
                continue;
            };
            for words in words.iter().filter(|words| !words.is_empty()) {
                println!(
                    "FAIL {} {}, {}: {words}",
                    self.version,
                    self.scenario,
                    column.name()
                );
            }
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kept => f.write_str("ok"),
            Self::Broken(why) => write!(f, "FAIL: {why}"),
            Self::Skipped => f.write_str("SKIPPED"),
        }
    }
}

fn line(version: &str, scenario: &str, direct: &str, shimmed: &str) -> String {
    format!("{version:<10} {scenario:<46} {direct:<44} {shimmed:<44}")
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(43) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
