//! What became of an attempt, read from the words a command or a gateway used.

use std::fmt;

use scope_shim::demo::npm::process::Output;

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It worked; where there is something to tell (the powers of a session), it is told.
    Ok(String),
    /// It was refused, or worked only in part: the lines that say so, the first being the most telling.
    Complaint(Vec<String>),
    /// A handshake was refused: the codes by which clients act, and the words for their users.
    Refusal { codes: String, words: String },
    /// It did not come to an end in time.
    TimedOut,
    /// It could not be tried here, and why.
    Skipped(String),
}

impl Outcome {
    pub(crate) fn works(&self) -> bool {
        matches!(self, Self::Ok(_))
    }

    /// Whether one of the complaints contains `phrase`.
    pub(crate) fn complains_of(&self, phrase: &str) -> bool {
        match self {
            Self::Complaint(lines) => lines.iter().any(|line| line.contains(phrase)),
            Self::Refusal { codes, words } => codes.contains(phrase) || words.contains(phrase),
            _ => false,
        }
    }

    /// Whether a client sees the same: the same powers, or a refusal with the same codes. Words may differ.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Refusal { codes, .. }, Self::Refusal { codes: others, .. }) => codes == others,
            _ => self == other,
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
        let mut complaints: Vec<String> = COMPLAINTS
            .iter()
            .flat_map(|phrase| lines.iter().filter(move |line| line.contains(phrase)))
            .cloned()
            .collect();
        complaints.dedup();
        match code {
            None => Self::TimedOut,
            Some(0) if complaints.is_empty() => Self::Ok(String::new()),
            Some(code) if complaints.is_empty() => {
                Self::Complaint(vec![format!("exit code {code}: {}", last_words(&lines))])
            }
            Some(_) => Self::Complaint(complaints),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok(told) if told.is_empty() => f.write_str("ok"),
            Self::Ok(told) => write!(f, "ok {told}"),
            Self::Complaint(lines) => f.write_str(lines.first().map_or("failed", String::as_str)),
            Self::Refusal { codes, words } if words.is_empty() => f.write_str(codes),
            Self::Refusal { codes, words } => write!(f, "{codes} ({words})"),
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

/// What the command lines of all versions say when a session was refused or may not do everything, most telling first.
const COMPLAINTS: [&str; 14] = [
    "gateway.probe_failed",
    "RPC: limited",
    "RPC: failed",
    "Read probe: limited",
    "connected-no-operator-scope",
    "pairing required",
    "scope upgrade pending approval",
    "missing scope:",
    "Gateway self │ unknown",
    "unreachable",
    "not reachable",
    "Reachable: no",
    "gateway closed (",
    "gateway timeout",
];

const HASTE: [&str; 4] = ["timeout", "timed out", "ECONNRESET", "abnormal closure"];
