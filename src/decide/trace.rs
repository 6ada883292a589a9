//! The way to a decision, step by step, as the decision itself took it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One question that the decision asked, and what it found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What was asked.
    pub question: Question,
    /// What came out, in a few words.
    pub answer: String,
    /// The evidence, one line each.
    pub because: Vec<String>,
}

impl Step {
    /// A step that needs one line of evidence at most.
    #[must_use]
    pub fn new(
        question: Question,
        answer: impl Into<String>,
        because: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            question,
            answer: answer.into(),
            because: because.into_iter().collect(),
        }
    }
}

/// Takes the steps of a decision, or does not care for them.
pub trait Trace {
    /// Takes one step. It is not even put into words where nobody listens.
    fn step(&mut self, step: impl FnOnce() -> Step);
}

/// Nobody listens.
impl Trace for () {
    fn step(&mut self, _: impl FnOnce() -> Step) {}
}

impl Trace for Vec<Step> {
    fn step(&mut self, step: impl FnOnce() -> Step) {
        self.push(step());
    }
}

macro_rules! questions {
    ($($(#[doc = $doc:literal])+ $name:ident => $words:literal;)+) => {
        /// What a decision asks. The names in JSON never change once they were released.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Question {
            $($(#[doc = $doc])+ $name,)+
        }

        /// The question in words.
        impl fmt::Display for Question {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$name => $words,)+
                })
            }
        }
    };
}

questions! {
    /// Whether it is an operator: the shim has nothing to say about nodes.
    Role => "Does it connect as an operator?";
    /// Whether there is anything that it could lack.
    Requested => "Does it ask for scopes?";
    /// Whose session it was found to be.
    Identity => "Whose session is it?";
    /// Whether everything it asks for lies in what it is entitled to.
    Entitled => "May it hold all of them?";
    /// Whether the gateway would take it for another machine than was paired.
    Metadata => "Is its platform the one that was pinned at pairing?";
    /// Whether the gateway finds the scopes in the device's record, by its own kind of comparison.
    Record => "Does this gateway find them among the approved scopes?";
    /// The same for the device's own token.
    Token => "Does this gateway find them in the device's own token?";
    /// Whether the gateway leaves scopes to a client that has no device.
    DeviceLess => "Does this gateway leave them to a client without a device?";
    /// Whether the gateway accepted the client's own request; asked only when it has answered.
    Accepted => "Did the gateway accept it as it stood?";
    /// Whether the shim's own device could ask for the same.
    Delegate => "May the shim's own device ask in its place?";
    /// What follows from all of it.
    Decision => "What becomes of it?";
}
