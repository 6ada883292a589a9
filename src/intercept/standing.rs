//! Whether what is in place leads anywhere.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::shim::Peer;
use super::{InPlace, InPlaceRedirect, sockets};
use crate::admin::Client;

/// A table that is in place, held against what is there.
#[derive(Debug)]
pub struct Standing {
    /// What is in place.
    pub table: InPlace,
    /// Where each redirect leads.
    pub ways: Vec<Way>,
    /// Whether the shim answers at its admin socket; `None` where that is not known.
    pub answers: Option<bool>,
    /// What is wrong, each in one sentence that says what to do.
    pub problems: Vec<String>,
}

/// A redirect and whether somebody is at its end.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// What leads where.
    pub redirect: InPlaceRedirect,
    /// Whether somebody listens there.
    pub arrives: bool,
}

impl Standing {
    /// Looks what is behind a table.
    pub(super) async fn of(table: InPlace) -> Self {
        let ways: Vec<Way> = table
            .redirects
            .iter()
            .map(|redirect| way(*redirect))
            .collect();
        let mut problems = Vec::new();
        for Way { redirect, .. } in ways.iter().filter(|way| !way.arrives) {
            let (gateway, shim) = (redirect.redirect.gateway(), redirect.redirect.shim());
            problems.push(format!(
                "{gateway} leads to {shim}, where nobody listens: every connection to the gateway is refused. Start the shim, \
                 or take the redirect away: scope-shim intercept down"
            ));
        }
        let there = match &table.socket {
            None => None,
            Some(socket) => Some(timeout(PATIENCE, look(socket)).await.ok().flatten()),
        };
        match &there {
            _ if table.redirects.is_empty() => problems.push(
                "the shim does not answer, or cannot be put in place, as the log of the process that watches it says: \
                 clients reach the gateway directly"
                    .to_owned(),
            ),
            Some(there) => problems.extend(objection(&table, *there)),
            None => {}
        }
        Self {
            table,
            ways,
            answers: there.map(|there| there.is_some()),
            problems,
        }
    }
}

fn way(redirect: InPlaceRedirect) -> Way {
    let family = redirect.redirect.family;
    let listeners = sockets::listeners(redirect.redirect.to).unwrap_or_default();
    let arrives = listeners
        .iter()
        .any(|socket| match redirect.other_machines {
            true => socket.accepts_from_other_machines(family),
            false => socket.accepts(family),
        });
    Way { redirect, arrives }
}

/// Who answers at an admin socket.
pub(super) async fn look(socket: &Path) -> Option<Peer> {
    let peer = Peer::at(socket).await.ok()?;
    Client::at(socket).get("/live").await.ok()?;
    Some(peer)
}

fn objection(table: &InPlace, there: Option<Peer>) -> Option<String> {
    let Some(peer) = there else {
        return Some(
            "the shim that this was made for does not answer: start it, or take the redirect away: scope-shim intercept \
             down"
                .to_owned(),
        );
    };
    let exempt = table.exempt?;
    (!exempt.covers(peer.ids)).then(|| {
        format!(
            "the shim does not run as {exempt}, which is exempt, any more: its own connections come back to it, and never \
             reach the gateway. Put the redirect in place anew: scope-shim intercept up"
        )
    })
}

/// A shim that lives answers at once.
const PATIENCE: Duration = Duration::from_secs(2);
