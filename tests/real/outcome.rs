//! What became of an attempt, read from the words a command or a gateway used.

use std::fmt;

use scope_shim::demo::npm::process::Output;

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It worked; where there is something to tell (the powers of a session), it is told.
    Ok(String),
    /// It was refused, or worked only in part.
    Failed {
        /// What the failure is, in a few words or in the codes by which clients act.
        what: String,
        /// What the command or the gateway said.
        words: Vec<String>,
    },
    /// It did not come to an end in time.
    TimedOut,
    /// It could not be tried here, and why.
    Skipped(String),
}

impl Outcome {
    pub(crate) fn works(&self) -> bool {
        matches!(self, Self::Ok(_))
    }

    /// Whether it failed with `phrase` in the codes or in the words.
    pub(crate) fn complains_of(&self, phrase: &str) -> bool {
        match self {
            Self::Failed { what, words } => {
                what.contains(phrase) || words.iter().any(|line| line.contains(phrase))
            }
            _ => false,
        }
    }

    /// Whether a client sees the same: the same powers, or a failure with the same codes. Words may differ.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Failed { what, .. }, Self::Failed { what: other, .. }) => what == other,
            _ => self == other,
        }
    }

    /// The line in which it was said what is wrong, where that is more than the outcome itself.
    pub(crate) fn quote(&self) -> Option<&str> {
        match self {
            Self::Failed { words, .. } => words
                .first()
                .map(String::as_str)
                .filter(|words| !words.is_empty()),
            _ => None,
        }
    }

    /// The same without the complaint `phrase`, where that is all it complains of.
    pub(crate) fn without(self, phrase: &str) -> Self {
        match self {
            Self::Failed { what, .. } if what == phrase => Self::Ok(String::new()),
            other => other,
        }
    }

    /// Whether a busy machine may have caused it, so that a second attempt is fair.
    pub(crate) fn may_be_haste(&self) -> bool {
        *self == Self::TimedOut || HASTE.iter().any(|phrase| self.complains_of(phrase))
    }

    /// Reads the outcome of a command from all that it printed.
    pub(crate) fn of_command(output: &Output) -> Self {
        Self::of_text(
            output.code,
            &format!("{}\n{}", output.stdout, output.stderr),
        )
    }

    /// Reads the outcome of a command that prints a log, in which old complaints prove nothing.
    pub(crate) fn of_log_command(output: &Output) -> Self {
        Self::of_text(output.code, &output.stderr)
    }

    fn of_text(code: Option<i32>, text: &str) -> Self {
        let lines: Vec<String> = text.lines().map(in_one_piece).collect();
        let complaint = |phrase: &&str| lines.iter().any(|line| line.contains(phrase));
        let said: Vec<&str> = COMPLAINTS.into_iter().filter(complaint).collect();
        match (code, said.first()) {
            (None, _) => Self::TimedOut,
            (Some(0), None) => Self::Ok(String::new()),
            (Some(code), None) => Self::Failed {
                what: format!("exit code {code}"),
                words: vec![last_words(&lines)],
            },
            (Some(_), Some(phrase)) => {
                let about = |line: &&String| said.iter().any(|phrase| line.contains(phrase));
                let mut words: Vec<String> = lines.iter().filter(about).cloned().collect();
                words.sort_by_key(|line| !line.contains(phrase));
                words.dedup();
                Self::Failed {
                    what: (*phrase).to_owned(),
                    words,
                }
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok(told) if told.is_empty() => f.write_str("ok"),
            Self::Ok(told) => write!(f, "ok {told}"),
            Self::Failed { what, .. } => f.write_str(what),
            Self::TimedOut => f.write_str("timed out"),
            Self::Skipped(why) => write!(f, "SKIPPED: {why}"),
        }
    }
}

/// A line of a table, with its borders and its padding closed up.
fn in_one_piece(line: &str) -> String {
    line.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .trim_matches(['│', ' '])
        .to_owned()
}

fn last_words(lines: &[String]) -> String {
    let error = lines.iter().find(|line| line.contains("Error"));
    error
        .or_else(|| lines.iter().rfind(|line| !line.is_empty()))
        .cloned()
        .unwrap_or_default()
}

/// What `status --all` says of a gateway whose presence it may not ask for.
pub(crate) const GATEWAY_SELF_UNKNOWN: &str = "Gateway self │ unknown";

/// What the command lines of all versions say when a session was refused or may not do everything, most telling first.
const COMPLAINTS: [&str; 15] = [
    "gateway.probe_failed",
    "RPC: limited",
    "RPC: failed",
    "Read probe: limited",
    "connected-no-operator-scope",
    "pairing required",
    "scope upgrade pending approval",
    "missing scope: operator.read",
    "missing scope:",
    "unreachable",
    "not reachable",
    "Reachable: no",
    "gateway closed (",
    "gateway timeout",
    GATEWAY_SELF_UNKNOWN,
];

const HASTE: [&str; 4] = ["timeout", "timed out", "ECONNRESET", "abnormal closure"];
