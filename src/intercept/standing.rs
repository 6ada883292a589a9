//! Whether what is in place leads anywhere.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::shim::Peer;
use super::sockets::{self, Socket};
use super::{InPlace, InPlaceRedirect, Redirect};
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
    /// Who listens there.
    pub end: End,
}

/// Who is at the end of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The user who runs the shim, or root in its stead, as systemd does.
    Shim,
    /// Nobody.
    Nobody,
    /// Another user, who gets nothing: the table sees to it.
    Another(u32),
}

impl End {
    /// Who of those that listen on a port takes what `accepts` says; any is the shim where its user is not known.
    pub(super) fn of(
        listeners: &[Socket],
        shim: Option<u32>,
        accepts: impl Fn(&Socket) -> bool,
    ) -> Self {
        let mut takers = listeners.iter().filter(|socket| accepts(socket));
        let Some(first) = takers.clone().next() else {
            return Self::Nobody;
        };
        match takers.any(|socket| shim.is_none_or(|user| socket.is_of(user))) {
            true => Self::Shim,
            false => Self::Another(first.user),
        }
    }
}

impl Standing {
    /// Looks what is behind a table.
    pub(super) async fn of(table: InPlace) -> Self {
        let ways: Vec<Way> = table
            .redirects
            .iter()
            .map(|redirect| way(*redirect, table.owner))
            .collect();
        let mut problems: Vec<String> = ways.iter().filter_map(Way::problem).collect();
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

impl Way {
    /// What is wrong with it, and what to do.
    fn problem(&self) -> Option<String> {
        let Redirect { to, .. } = self.redirect.redirect;
        let (gateway, shim) = (
            self.redirect.redirect.gateway(),
            self.redirect.redirect.shim(),
        );
        let who = match self.end {
            End::Shim => return None,
            End::Nobody => "nobody listens".to_owned(),
            End::Another(user) => {
                format!("a process of user {user} listens, who does not run the shim")
            }
        };
        let first = match self.end {
            End::Another(_) => format!("Stop that process (ss -ltnp 'sport = :{to}'), start"),
            _ => "Start".to_owned(),
        };
        Some(format!(
            "{gateway} leads to {shim}, where {who}: every connection to the gateway is refused. {first} the shim, or take \
             the redirect away: scope-shim intercept down"
        ))
    }
}

fn way(redirect: InPlaceRedirect, owner: Option<u32>) -> Way {
    let family = redirect.redirect.family;
    let listeners = sockets::listeners(redirect.redirect.to).unwrap_or_default();
    let end = End::of(&listeners, owner, |socket| match redirect.other_machines {
        true => socket.accepts_from_other_machines(family),
        false => socket.accepts(family),
    });
    Way { redirect, end }
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;
    use crate::intercept::Family;

    fn listens(address: &str, user: u32) -> Socket {
        Socket {
            local: address.parse().unwrap(),
            remote: "0.0.0.0:0".parse().unwrap(),
            listens: true,
            user,
            inode: 1,
        }
    }

    fn end(listeners: &[Socket], shim: Option<u32>) -> End {
        End::of(listeners, shim, |socket| socket.accepts(Family::V4))
    }

    #[test]
    fn a_listener_of_another_user_is_not_taken_for_the_shim() {
        let (own, roots) = (listens("127.0.0.1:1", 998), listens("0.0.0.0:1", 0));
        let foreign = listens("127.0.0.1:1", 1000);
        assert_eq!(end(&[own], Some(998)), End::Shim);
        assert_eq!(end(&[roots], Some(998)), End::Shim, "systemd's");
        assert_eq!(end(&[foreign], Some(998)), End::Another(1000));
        assert_eq!(end(&[foreign], Some(0)), End::Another(1000));
        assert_eq!(end(&[foreign], None), End::Shim, "nothing tells");
        assert_eq!(end(&[], Some(998)), End::Nobody);
        let only_v6 = listens("[::1]:1", 998);
        assert_eq!(end(&[only_v6, foreign], Some(998)), End::Another(1000));
        let beside = listens("[::]:1", 1000);
        assert_eq!(end(&[beside, own], Some(998)), End::Shim);
    }

    #[test]
    fn what_is_wrong_says_who_listens_and_what_to_do() {
        let way = |end| Way {
            redirect: InPlaceRedirect {
                redirect: Redirect {
                    family: Family::V4,
                    from: 18789,
                    to: 18780,
                },
                other_machines: false,
                connections: 0,
            },
            end,
        };
        assert_eq!(way(End::Shim).problem(), None);
        let nobody = way(End::Nobody).problem().unwrap();
        assert!(nobody.contains("where nobody listens"), "{nobody}");
        let another = way(End::Another(1000)).problem().unwrap();
        assert!(
            another.contains("a process of user 1000 listens"),
            "{another}"
        );
    }
}
