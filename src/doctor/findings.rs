//! What follows from a look: a pure function, one family of reports a file.

mod configuration;
mod devices;
mod gateway;
mod requests;
mod secrets;
mod store;

use std::cmp::Reverse;

use serde::Serialize;

use super::known::Certainty;
use super::look::Look;
use crate::findings::{Code, Shim};

/// One thing that is wrong, or about to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The stable name: one of the catalogue, or of the configuration's own findings.
    pub code: &'static str,
    /// The family of reports, `F1` to `F19`; empty where it is the shim's own.
    pub family: &'static str,
    /// What it is, in one line.
    pub title: String,
    /// What it is about: a device, a request, a file.
    pub subject: String,
    /// What shows it.
    pub evidence: Vec<String>,
    /// What ends it, exactly.
    pub fix: String,
    /// What the shim does about it.
    pub shim: Shim,
    /// Whether it certainly holds; the gateway's version may not be known well enough.
    pub certainty: Certainty,
}

/// Everything that follows from a look, in the order of the families.
#[must_use]
pub fn findings(look: &Look) -> Vec<Finding> {
    let mut all = Vec::new();
    all.extend(gateway::findings(look));
    all.extend(store::findings(look));
    all.extend(devices::findings(look));
    all.extend(requests::findings(look));
    all.extend(secrets::findings(look));
    all.extend(configuration::findings(look));
    all.sort_by_key(|finding| Reverse((finding.certainty, Reverse(rank(finding.code)))));
    all
}

/// The place of a code in the catalogue; what is not in it comes last.
fn rank(code: &str) -> usize {
    let place = Code::ALL.iter().position(|known| known.as_str() == code);
    place.unwrap_or(Code::ALL.len())
}

impl Finding {
    /// A finding of the catalogue that certainly holds.
    fn new(code: Code, subject: impl Into<String>) -> Self {
        let entry = code.entry();
        Self {
            code: entry.code,
            family: entry.family,
            title: entry.title.to_owned(),
            subject: subject.into(),
            evidence: Vec::new(),
            fix: entry.remedy.to_owned(),
            shim: entry.shim,
            certainty: Certainty::Certain,
        }
    }

    fn seen(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    /// As surely as this; `None` where it does not hold at all.
    fn if_holds(mut self, certainty: Certainty) -> Option<Self> {
        self.certainty = certainty;
        (certainty != Certainty::No).then_some(self)
    }
}

/// What the shim does, as one word for machines.
impl Serialize for Shim {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
