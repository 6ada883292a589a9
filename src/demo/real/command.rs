//! What a command of the gateway's own command line comes to, read from what it prints.

use super::super::npm::process::Output;
use super::super::verdict::Verdict;

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    /// The line that says so.
    pub(super) told: String,
}

impl Outcome {
    /// Reads what a command printed. Exit codes alone do not tell: `status --all` ends with 0 whatever it met.
    pub(super) fn of(output: &Output) -> Self {
        let text = format!("{}\n{}", output.stderr, output.stdout);
        let complaint = COMPLAINTS
            .iter()
            .find_map(|phrase| text.lines().find(|line| line.contains(phrase)));
        match (output.code, complaint) {
            (None, _) => Self::new(Verdict::Failed, "took too long and was stopped"),
            (Some(_), Some(line)) => Self::new(Verdict::Refused, line),
            (Some(0), None) => Self::new(
                Verdict::Works,
                &format!(
                    "exit 0, {} lines, no complaint",
                    output.stdout.lines().count()
                ),
            ),
            (Some(code), None) => {
                let last = text.lines().rfind(|line| !line.trim().is_empty());
                Self::new(
                    Verdict::Failed,
                    &format!("exit {code}: {}", last.unwrap_or("it said nothing")),
                )
            }
        }
    }

    fn new(verdict: Verdict, line: &str) -> Self {
        Self {
            verdict,
            told: in_one_piece(line),
        }
    }

    /// Whether a busy machine may have caused it, so that a second attempt is fair.
    pub(super) fn may_be_haste(&self) -> bool {
        self.verdict != Verdict::Works && HASTE.iter().any(|phrase| self.told.contains(phrase))
    }
}

/// A line of a table, without borders and padding, and not longer than a line should be.
fn in_one_piece(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let line = words.join(" ");
    let line = line.trim_matches(['│', '|', ' ']);
    if line.chars().count() <= LONGEST {
        return line.to_owned();
    }
    let cut: String = line.chars().take(LONGEST).collect();
    format!("{cut}…")
}

/// What the command lines of all versions say when a session is refused or may not do everything, most telling first.
const COMPLAINTS: [&str; 10] = [
    "(1008)",
    "pairing required",
    "scope upgrade pending approval",
    "missing scope:",
    "gateway.probe_failed",
    "unauthorized",
    "gateway closed (",
    "gateway timeout",
    "unreachable",
    "not reachable",
];

const HASTE: [&str; 5] = [
    "timeout",
    "timed out",
    "too long",
    "ECONNRESET",
    "abnormal closure",
];

const LONGEST: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(code: Option<i32>, stdout: &str, stderr: &str) -> Outcome {
        Outcome::of(&Output {
            code,
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        })
    }

    #[test]
    fn a_complaint_counts_whatever_the_exit_code() {
        let table = "│ Gateway  │ unreachable (missing scope: operator.read) │\n";
        assert_eq!(
            outcome(Some(0), table, ""),
            Outcome {
                verdict: Verdict::Refused,
                told: "Gateway │ unreachable (missing scope: operator.read)".to_owned()
            }
        );
        let closed = "Error: gateway closed (1008): pairing required\n";
        assert_eq!(outcome(Some(1), "", closed).verdict, Verdict::Refused);
    }

    #[test]
    fn only_a_clean_end_without_a_complaint_counts_as_work() {
        assert_eq!(outcome(Some(0), "fine\n", "").verdict, Verdict::Works);
        assert_eq!(outcome(Some(2), "", "").verdict, Verdict::Failed);
        assert!(outcome(None, "fine", "").may_be_haste());
    }
}
