//! How scenarios are put together.

use serde_json::{Value, json};

use super::{Act, Scenario, Setup, Stage, Step};
use crate::support::client::{Connect, Outcome};

/// A scenario for the standard setup.
pub(super) fn scenario(name: &'static str) -> Scenario {
    Scenario {
        name,
        setup: Setup::Standard,
        steps: Vec::new(),
    }
}

impl Scenario {
    pub(super) fn on(mut self, setup: Setup) -> Self {
        self.setup = setup;
        self
    }

    pub(super) fn step(
        mut self,
        what: &'static str,
        act: Act,
        expected: [&'static str; 4],
    ) -> Self {
        self.steps.push(Step {
            what,
            act,
            expected,
        });
        self
    }

    /// A handshake, reported in short.
    pub(super) fn connect(
        self,
        what: &'static str,
        build: fn(&Stage) -> Connect,
        expected: [&'static str; 4],
    ) -> Self {
        self.step(what, connecting("last", build), expected)
    }

    /// A handshake, reported in short, whose session later steps use under this name.
    pub(super) fn open(
        self,
        key: &'static str,
        what: &'static str,
        build: fn(&Stage) -> Connect,
        expected: [&'static str; 4],
    ) -> Self {
        self.step(what, connecting(key, build), expected)
    }

    /// A handshake, reported with every word of its refusal.
    pub(super) fn refused(
        self,
        what: &'static str,
        build: fn(&Stage) -> Connect,
        expected: [&'static str; 4],
    ) -> Self {
        let act: Act = Box::new(move |stage| {
            let connect = build(stage);
            Box::pin(async move { connect.run().await.whole() })
        });
        self.step(what, act, expected)
    }

    /// A call in an open session, reported as `OK` or the error's message.
    pub(super) fn call(
        self,
        key: &'static str,
        what: &'static str,
        build: fn(&Stage) -> (&'static str, Value),
        expected: [&'static str; 4],
    ) -> Self {
        let act: Act = Box::new(move |stage| {
            Box::pin(async move {
                let (method, params) = build(stage);
                if key == "admin" {
                    return stage.admin().await.verdict(method, params).await;
                }
                match stage.sessions.get_mut(key) {
                    Some(session) => session.verdict(method, params).await,
                    None => "no session".to_owned(),
                }
            })
        });
        self.step(what, act, expected)
    }

    /// An administrator answers the device's pending request.
    pub(super) fn answer(
        self,
        decision: &'static str,
        name: &'static str,
        expected: [&'static str; 4],
    ) -> Self {
        let act: Act = Box::new(move |stage| {
            Box::pin(async move {
                let Some(request) = stage.pending(name).await.into_iter().next() else {
                    return "nothing pending".to_owned();
                };
                let params = json!({ "requestId": request["requestId"] });
                stage.admin().await.verdict(decision, params).await
            })
        });
        self.step(decision, act, expected)
    }

    /// What waits for the device: one item a request.
    pub(super) fn waiting(self, name: &'static str, expected: [&'static str; 4]) -> Self {
        let act: Act = Box::new(move |stage| {
            Box::pin(async move {
                let pending = stage.pending(name).await;
                let shown: Vec<String> = pending.iter().map(shown_request).collect();
                if shown.is_empty() {
                    "nothing".to_owned()
                } else {
                    shown.join("; ")
                }
            })
        });
        self.step("what waits for approval", act, expected)
    }

    /// The scopes of the device's record, as `device.pair.list` shows them.
    pub(super) fn recorded(self, name: &'static str, expected: [&'static str; 4]) -> Self {
        let act: Act = Box::new(move |stage| {
            Box::pin(async move {
                let rows = stage.listed("paired", name).await;
                let Some(row) = rows.first() else {
                    return "not paired".to_owned();
                };
                let token = row["tokens"].as_array().and_then(|tokens| tokens.first());
                let token = token.map_or_else(|| "-".to_owned(), |token| short(&token["scopes"]));
                format!("record {} token {token}", short(&row["scopes"]))
            })
        });
        self.step("what is recorded", act, expected)
    }
}

fn connecting(key: &'static str, build: fn(&Stage) -> Connect) -> Act {
    Box::new(move |stage| {
        let connect = build(stage);
        Box::pin(async move {
            let mut outcome = connect.run().await;
            let label = outcome.label().await;
            keep(stage, key, outcome);
            label
        })
    })
}

/// Keeps session and device token for later steps.
pub(super) fn keep(stage: &mut Stage, key: &'static str, outcome: Outcome) {
    if let Some(token) = outcome.device_token() {
        let name = match key {
            "last" => "token",
            key => key,
        };
        stage.notes.insert(name, token.to_owned());
    }
    if let Some(session) = outcome.session {
        stage.sessions.insert(key, session);
    }
}

fn shown_request(request: &Value) -> String {
    let flags = ["silent", "isRepair"].map(|flag| {
        let set = request[flag] == true;
        if set {
            format!(" {flag}")
        } else {
            String::new()
        }
    });
    format!("{}{}", short(&request["scopes"]), flags.concat())
}

/// A scope list in short: sorted, without the common prefix.
pub(super) fn short(scopes: &Value) -> String {
    let items = scopes
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let mut items: Vec<&str> = items
        .map(|scope| scope.trim_start_matches("operator."))
        .collect();
    items.sort_unstable();
    if items.is_empty() {
        "-".to_owned()
    } else {
        items.join(",")
    }
}
