//! What a configuration that was read again comes to: what becomes of each gateway, and whether all of it goes together.

use std::sync::Arc;

use super::Reloaded;
use super::changes::{Change, Effect, differences, effective, keep_of_process};
use crate::app::Fleet;
use crate::config::{Config, Finding, Origin, Problem, Problems, Warning};
use crate::served::Served;

/// What becomes of each gateway.
pub(super) struct Plan {
    /// Those that there will be, in the order of the configuration.
    pub(super) wanted: Vec<Wanted>,
    /// Those that there will not be any more, as they were.
    pub(super) gone: Vec<(Arc<Served>, Config)>,
}

/// A gateway that there will be.
pub(super) struct Wanted {
    /// What will hold for it.
    pub(super) config: Config,
    /// What it was before, where it was.
    pub(super) before: Option<Before>,
}

/// A gateway that there was before.
pub(super) struct Before {
    pub(super) served: Arc<Served>,
    pub(super) config: Config,
    /// Its next sessions need another engine, not the one before with other rules.
    pub(super) replaced: bool,
}

impl Plan {
    /// The plan, and what it changes.
    ///
    /// # Errors
    ///
    /// When what was read does not go together with what keeps its old value until a restart.
    pub(super) fn of(fleet: &Fleet, read: Vec<Config>) -> Result<(Self, Reloaded), Problems> {
        let mut reloaded = Reloaded::default();
        if let Some(emptied) = emptied(fleet, &read) {
            return Err(Problems(vec![emptied]));
        }
        let gone = fleet.each().filter(|(served, _)| {
            let mut still = read.iter();
            !still.any(|config| config.name == served.name)
        });
        let gone = gone.map(|(served, config)| (Arc::clone(served), config.clone()));
        let gone: Vec<_> = gone.collect();
        let wanted: Vec<Wanted> = read
            .into_iter()
            .map(|new| Wanted::of(fleet, new, &mut reloaded))
            .collect();
        let configs: Vec<Config> = wanted.iter().map(|wanted| wanted.config.clone()).collect();
        for (served, old) in &gone {
            reloaded.add(Change::gone(&served.name));
            if !configs.iter().any(|new| new.data == old.data) {
                reloaded.findings.extend(left_behind(served));
            }
        }
        let mut clashes = Config::clashes(&configs);
        clashes.extend(configs.iter().filter_map(Config::loops_to_itself));
        if clashes.is_empty() {
            return Ok((Self { wanted, gone }, reloaded));
        }
        let waiting: Vec<String> = reloaded.waiting().map(ToString::to_string).collect();
        clashes.push(Problem {
            origin: Origin::Default,
            message: format!(
                "this takes a restart: until then old values hold ({})",
                waiting.join("; ")
            ),
            hint: Some(RESTART.to_owned()),
        });
        Err(Problems(clashes))
    }
}

impl Wanted {
    fn of(fleet: &Fleet, new: Config, reloaded: &mut Reloaded) -> Self {
        for finding in &new.findings {
            let mut known = fleet.configs.iter().map(|old| &old.findings);
            let told = reloaded.findings.contains(finding);
            if !told && !known.any(|known| known.contains(finding)) {
                reloaded.findings.push(finding.clone());
            }
        }
        let Some((served, old)) = fleet.named(&new.name) else {
            reloaded.add(Change::added(&new.name));
            let mut config = new;
            if let Some(old) = fleet.configs.first() {
                keep_of_process(&mut config, old);
            }
            return Self {
                config,
                before: None,
            };
        };
        let changes = differences(old, &new);
        let before = Before {
            served: Arc::clone(served),
            replaced: changes.iter().any(|change| change.effect == Effect::Engine),
            config: old.clone(),
        };
        let config = effective(old, &new, &changes);
        for change in changes {
            reloaded.add(change);
        }
        Self {
            config,
            before: Some(before),
        }
    }
}

/// A file that said something and is empty or gone now is one that somebody is just writing, or a pipe that was read before:
/// nobody takes back everything in this way.
fn emptied(fleet: &Fleet, read: &[Config]) -> Option<Problem> {
    let says = |config: &&Config| {
        let mut settings = config.settings.iter();
        settings.any(|setting| matches!(setting.origin, Origin::File { .. }))
    };
    let mut said = fleet.configs.iter().filter(says);
    let file = said.find_map(|config| config.file.as_ref())?;
    let what = if read.first()?.file.as_ref() != Some(file) {
        "is not there any more, and was when it was read last"
    } else if !read.iter().any(|config| says(&config)) {
        "says nothing any more, and did when it was read last"
    } else {
        return None;
    };
    Some(Problem {
        origin: Origin::Default,
        message: format!("{} {what}", file.display()),
        hint: Some("write it again; to go on without it, restart scope-shim".to_owned()),
    })
}

/// The shim's own device, at a gateway that it does not stand before any more.
fn left_behind(served: &Served) -> Option<Finding> {
    let engine = &served.front().engine;
    engine.control.standing().delegate_scopes?;
    let device = engine.delegate.device_id();
    Some(Finding::new(
        Warning::DelegateLeft,
        format!(
            "the shim's own device is still paired with {}, which is gone from the configuration",
            served.name
        ),
        format!("where that gateway runs: openclaw devices remove {device}"),
    ))
}

/// What lets everything hold that was read.
const RESTART: &str = "restart scope-shim; `scope-shim upgrade` does it without ending a session";
