//! The steps of the story: each tries something, prints what came of it, and says whether that is as it should be.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::super::Failure;
use super::super::client::{CLIENT, Client, Outcome, Wish};
use super::super::page::Page;
use super::super::shim::Shim;
use super::super::simulated::{Connect, Outcome as Seen, SimulatedGateway};
use super::super::verdict::Verdict;
use super::Cast;
use crate::device::DeviceId;
use crate::scope::{READ, ScopeSet, WRITE};

/// The stage with everyone on it.
pub(super) struct Scene<'a> {
    pub(super) gateway: &'a SimulatedGateway,
    pub(super) shim: &'a Shim,
    pub(super) cast: &'a Cast,
}

impl Scene<'_> {
    /// Plays every step.
    pub(super) async fn play<W: Write>(&self, page: &mut Page<W>) -> Result<(), Failure> {
        self.shim_is_ready().await?;
        page.headline(
            "scope-shim demo: a gateway that locks its own operator out, and the shim in front of it",
        )?;
        page.fact("gateway", self.gateway_line())?;
        page.fact("scope-shim", format!("ws://{}", self.shim.address))?;
        if let Some(taken) = self.shim.taken {
            page.taken(taken)?;
        }
        self.holdings(page)?;
        self.directly(page).await?;
        let attempts = self.through(page).await?;
        self.what_happened(page, &attempts)?;
        self.limits(page).await
    }

    fn gateway_line(&self) -> String {
        format!(
            "ws://{}, simulated, behaves like OpenClaw {}",
            self.gateway.addr(),
            self.gateway.profile().version()
        )
    }

    fn holdings<W: Write>(&self, page: &mut Page<W>) -> Result<(), Failure> {
        let legacy = self.cast.legacy.device_id();
        page.step("What the device holds")?;
        page.text(&format!(
            "Device {}, this machine's own command line, was paired long ago.\n\
             In the gateway's store it is approved for:",
            legacy.short()
        ))?;
        let paired = self.gateway.paired()?;
        let approved = scopes_of(&paired[legacy.as_str()]["scopes"]);
        page.fact("approved", &approved)?;
        page.text(
            "`admin` is the most there is; `read` and `write` are part of it. Nothing is missing.",
        )?;
        let entitled = [READ, WRITE].iter().all(|scope| approved.implies(scope));
        page.expect(
            entitled,
            "the device's approved scopes cover read and write",
        )?;
        Ok(())
    }

    async fn directly<W: Write>(&self, page: &mut Page<W>) -> Result<(), Failure> {
        page.step("Without the shim: the gateway refuses it")?;
        let [first, _] = WISHES;
        let once_more = (first, format!("{}, again", first.scope));
        let attempts = WISHES.map(|wish| (wish, wish.scope.to_owned()));
        for (wish, name) in attempts.into_iter().chain([once_more]) {
            let attempt = self.command_line().attempt(self.gateway.addr(), wish).await;
            page.outcome(&name, attempt.verdict(), &attempt.told(wish), false)?;
            page.expect(
                attempt.is_refused_for_pairing(),
                &format!("without the shim, {name} is refused with `pairing required`"),
            )?;
        }
        let waiting = self.waiting()?;
        page.text(&format!(
            "This gateway compares names letter by letter: `admin` is not spelled `read`. So it waits for\n\
             somebody to approve again what was approved long ago ({waiting} waiting), and trying again changes nothing."
        ))?;
        Ok(())
    }

    async fn through<W: Write>(&self, page: &mut Page<W>) -> Result<Vec<Outcome>, Failure> {
        let before = self.waiting()?;
        let mut attempts = Vec::new();
        page.step("Through the shim: the same device, the same token, the same wishes")?;
        for wish in WISHES {
            let attempt = self.command_line().attempt(self.shim.address, wish).await;
            let verdict = attempt.verdict();
            page.outcome(wish.scope, verdict, &attempt.told(wish), true)?;
            page.expect(
                verdict == Verdict::Works,
                &format!("through the shim, {} is let in and answered", wish.scope),
            )?;
            attempts.push(attempt);
        }
        let after = self.waiting()?;
        page.text(&format!(
            "Approvals that the gateway waits for: {before} before, {after} after."
        ))?;
        page.expect(before == after, "the shim leaves no pairing request behind")?;
        Ok(attempts)
    }

    /// What the gateway saw, which is the proof of what the shim did.
    fn what_happened<W: Write>(
        &self,
        page: &mut Page<W>,
        attempts: &[Outcome],
    ) -> Result<(), Failure> {
        page.step("What the shim did, and why that is safe")?;
        page.text(
            "It checks the device's signature, looks up in the gateway's store what the device is approved\n\
             for, and when that covers the wish, asks in its own name for exactly the same. The gateway saw:",
        )?;
        let own = self.shim.delegate.device_id();
        let seen = self.handshakes();
        let seen = seen.get(seen.len().saturating_sub(WISHES.len())..);
        for (wish, connect) in WISHES.iter().zip(seen.unwrap_or_default()) {
            let signer = signer(connect);
            let held: ScopeSet = match &connect.outcome {
                Seen::Admitted { scopes, .. } => scopes.iter().cloned().collect(),
                _ => ScopeSet::new(),
            };
            page.fact(
                wish.scope,
                format!("signed by {}, session may: {held}", signer.short()),
            )?;
            let exact = signer == own && held == ScopeSet::from_iter([wish.scope]);
            page.expect(
                exact,
                &format!("the shim's device gets {} and nothing else", wish.scope),
            )?;
        }
        let leaked = self.leaks(attempts)?;
        page.text(&format!(
            "{} is the shim's own device. The token that the gateway issued to it {} the client.",
            own.short(),
            if leaked { "REACHED" } else { "never reached" }
        ))?;
        page.expect(!leaked, "the client does not get the shim's token")?;
        Ok(())
    }

    /// Whether a client was told the token of the shim's own device.
    fn leaks(&self, attempts: &[Outcome]) -> Result<bool, Failure> {
        let paired = self.gateway.paired()?;
        let token = &paired[self.shim.delegate.device_id().as_str()]["tokens"]["operator"]["token"];
        let token = token
            .as_str()
            .ok_or("the gateway has no record of the shim's device")?;
        let told = |attempt: &Outcome| match attempt {
            Outcome::Connected { hello, .. } => hello.contains(token),
            _ => false,
        };
        Ok(attempts.iter().any(told))
    }

    async fn limits<W: Write>(&self, page: &mut Page<W>) -> Result<(), Failure> {
        page.step("What the shim does not do: let in who has no business there")?;
        let reader = Client {
            device: &self.cast.reader,
            token: &self.cast.token,
        };
        page.text(&format!(
            "Device {} is approved for `read` only, and wants `operator.write`:",
            self.cast.reader.device_id().short()
        ))?;
        self.refused_either_way(page, reader).await?;
        page.text("The command line of step 1 again, with a wrong token:")?;
        let stranger = Client {
            device: &self.cast.legacy,
            token: "a-wrong-token",
        };
        self.refused_either_way(page, stranger).await
    }

    async fn refused_either_way<W: Write>(
        &self,
        page: &mut Page<W>,
        client: Client<'_>,
    ) -> Result<(), Failure> {
        let [_, wish] = WISHES;
        let ways = [
            ("without the shim", self.gateway.addr()),
            ("through the shim", self.shim.address),
        ];
        for (way, address) in ways {
            let attempt = client.attempt(address, wish).await;
            let refused = attempt.verdict() == Verdict::Refused;
            page.outcome(way, attempt.verdict(), &attempt.told(wish), refused)?;
            page.expect(refused, &format!("{way}, it is refused"))?;
        }
        Ok(())
    }

    fn command_line(&self) -> Client<'_> {
        Client {
            device: &self.cast.legacy,
            token: &self.cast.token,
        }
    }

    /// How many pairing requests wait for somebody's approval.
    fn waiting(&self) -> io::Result<usize> {
        Ok(self.gateway.pending()?.as_object().map_or(0, |p| p.len()))
    }

    /// The handshakes of the story's clients as the gateway saw them; the shim has a session of its own, too.
    fn handshakes(&self) -> Vec<Connect> {
        let of_the_story =
            |connect: &Connect| request(connect)["params"]["client"]["id"] == *CLIENT;
        let mut connects = self.gateway.connects();
        connects.retain(of_the_story);
        connects
    }

    /// The shim pairs its own device when it starts; until then it passes everything through.
    async fn shim_is_ready(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + TIME_TO_PAIR;
        let own = self.shim.delegate.device_id();
        while self.gateway.paired()?.get(own.as_str()).is_none() {
            if Instant::now() > deadline {
                return Err("the shim did not get its own device paired".into());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

/// What the gateway read of a handshake.
fn request(connect: &Connect) -> Value {
    serde_json::from_slice(&connect.frame).unwrap_or_default()
}

fn signer(connect: &Connect) -> DeviceId {
    let request = request(connect);
    DeviceId::new(
        request["params"]["device"]["id"]
            .as_str()
            .unwrap_or("nobody"),
    )
}

fn scopes_of(list: &Value) -> ScopeSet {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).collect()
}

/// What the clients want: each scope with a method that needs it.
const WISHES: [Wish; 2] = [
    Wish {
        scope: READ,
        method: "status",
        params: "{}",
    },
    Wish {
        scope: WRITE,
        method: "chat.abort",
        params: r#"{"sessionKey":"main"}"#,
    },
];

const TIME_TO_PAIR: Duration = Duration::from_secs(20);
