//! The steps of the story: the same commands without and with the shim.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::Failure;
use super::super::client::{Client, Wish};
use super::super::npm::RealGateway;
use super::super::page::Page;
use super::super::shim::Shim;
use super::super::verdict::Verdict;
use super::backstage::Backstage;
use super::command::Outcome;
use crate::delegate::Delegate;
use crate::device::DeviceRecord;
use crate::identity::host;
use crate::identity::store::{AutoStore, DeviceStore as _};
use crate::scope::{READ, WRITE};

/// The stage with everyone on it.
pub(super) struct Scene<'a> {
    pub(super) gateway: &'a Arc<RealGateway>,
    pub(super) address: SocketAddr,
    pub(super) shim: &'a Shim,
    pub(super) place: &'a Path,
}

type Command = &'static [&'static str];

impl Scene<'_> {
    /// Plays every step.
    pub(super) async fn play<W: Write>(
        &self,
        page: &mut Page<W>,
        backstage: &mut Backstage,
    ) -> Result<(), Failure> {
        page.fact("gateway", format!("ws://{}", self.address))?;
        page.fact("scope-shim", format!("ws://{}", self.shim.address))?;
        if let Some(taken) = self.shim.taken {
            page.taken(taken)?;
        }
        let record = self.pairing(page, backstage).await?;
        page.step("Without the shim")?;
        let direct = self.commands(page, backstage, self.address).await?;
        let refused = |outcome: &Outcome| outcome.verdict == Verdict::Refused;
        if record.is_some_and(|record| record.approved_scopes.implies(WRITE))
            && direct.iter().any(refused)
        {
            page.text("What is refused here needs nothing that is not approved above.")?;
        }
        page.step("Through the shim: the same commands, nothing else changed")?;
        let through = self.commands(page, backstage, self.shim.address).await?;
        self.compare(page, &direct, &through)?;
        self.wrong_token(page).await
    }

    /// The first command pairs the command line with its gateway, where the gateway pairs it at all.
    async fn pairing<W: Write>(
        &self,
        page: &mut Page<W>,
        backstage: &mut Backstage,
    ) -> Result<Option<Arc<DeviceRecord>>, Failure> {
        page.step("The command line meets its gateway, without the shim")?;
        let outcome = self.give(backstage, PAIRING, self.address).await?;
        let works = outcome.verdict == Verdict::Works;
        page.outcome(&PAIRING.join(" "), outcome.verdict, &outcome.told, works)?;
        let record = self.own_record().await?;
        match &record {
            Some(record) => {
                page.fact("paired as", record.device_id.short())?;
                page.fact("approved for", &record.approved_scopes)?;
            }
            None => page.text("The gateway has no pairing record of it: it lets it in without.")?,
        }
        Ok(record)
    }

    async fn own_record(&self) -> Result<Option<Arc<DeviceRecord>>, Failure> {
        let state = self.gateway.state_directory();
        let Some(own) = host::own_device(&state)? else {
            return Ok(None);
        };
        let store = AutoStore::new(state).snapshot().await?;
        Ok(store.devices.get(&own).cloned())
    }

    async fn commands<W: Write>(
        &self,
        page: &mut Page<W>,
        backstage: &mut Backstage,
        at: SocketAddr,
    ) -> Result<Vec<Outcome>, Failure> {
        let mut outcomes = Vec::new();
        for command in COMMANDS {
            let outcome = self.give(backstage, command, at).await?;
            let works = outcome.verdict == Verdict::Works;
            page.outcome(&command.join(" "), outcome.verdict, &outcome.told, works)?;
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    /// Gives one command, and once more where the machine may just have been too busy.
    async fn give(
        &self,
        backstage: &mut Backstage,
        command: Command,
        at: SocketAddr,
    ) -> Result<Outcome, Failure> {
        let gateway = Arc::clone(self.gateway);
        let work = move || {
            let once = || Ok(Outcome::of(&gateway.cli(command, at.port(), TIME_LIMIT)?));
            match once()? {
                outcome if outcome.may_be_haste() => once(),
                outcome => Ok(outcome),
            }
        };
        backstage.run(work).await
    }

    fn compare<W: Write>(
        &self,
        page: &mut Page<W>,
        direct: &[Outcome],
        through: &[Outcome],
    ) -> Result<(), Failure> {
        let works = |outcomes: &[Outcome]| {
            let works = |outcome: &&Outcome| outcome.verdict == Verdict::Works;
            outcomes.iter().filter(works).count()
        };
        let all = COMMANDS.len();
        let (before, after) = (works(direct), works(through));
        let said = match before {
            before if before == all => "This version has nothing to repair here.",
            _ => {
                "Gateway and command line are the same; only the port differs. Where the log says\n\
                 `decision=rewrite`, the shim asked in its own name for the same scopes, as they are approved."
            }
        };
        page.text(&format!(
            "{before} of {all} commands work without the shim, {after} of {all} through it.\n{said}"
        ))?;
        for (command, outcome) in COMMANDS.iter().zip(through) {
            let name = command.join(" ");
            let works = outcome.verdict == Verdict::Works;
            page.expect(works, &format!("`{name}` works through the shim"))?;
        }
        Ok(())
    }

    async fn wrong_token<W: Write>(&self, page: &mut Page<W>) -> Result<(), Failure> {
        page.step("What the shim does not do: let in who has no business there")?;
        page.text("A client with a wrong token:")?;
        let device = Delegate::load_or_create(&self.place.join("devices/stranger"))?;
        let stranger = Client {
            device: &device,
            token: "a-wrong-token",
        };
        for (way, address) in [
            ("without the shim", self.address),
            ("through the shim", self.shim.address),
        ] {
            let outcome = stranger.attempt(address, STATUS).await;
            let refused = outcome.verdict() == Verdict::Refused;
            page.outcome(way, outcome.verdict(), &outcome.told(STATUS), refused)?;
            page.expect(refused, &format!("{way}, it is refused"))?;
        }
        Ok(())
    }
}

const PAIRING: Command = &["devices", "list"];

/// One that 2026.2.19 refuses, and two that 2026.3.13 cripples.
const COMMANDS: [Command; 3] = [
    &["health"],
    &["status", "--all"],
    &["security", "audit", "--deep"],
];

const STATUS: Wish = Wish {
    scope: READ,
    method: "status",
    params: "{}",
};

const TIME_LIMIT: Duration = Duration::from_secs(120);
