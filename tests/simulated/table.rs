//! The table of scenarios against each profile.

use std::net::SocketAddr;

use scope_shim::demo::simulated::{Options, Profile, SimulatedGateway};
use tempfile::TempDir;

use crate::scenarios::{Setup, Target, differences, run, table};

struct Simulated {
    gateway: SimulatedGateway,
    setup: Setup,
    _state: TempDir,
}

impl Simulated {
    async fn start(profile: Profile, setup: Setup) -> Self {
        let state = tempfile::tempdir().unwrap();
        let owned = |list: &[&str]| list.iter().map(|&item| item.to_owned()).collect();
        let options = Options {
            profile,
            state_dir: state.path().to_owned(),
            trusted_proxies: owned(setup.trusted_proxies()),
            allowed_origins: owned(setup.allowed_origins()),
            ..Options::default()
        };
        let gateway = SimulatedGateway::start(options).await.unwrap();
        Self {
            gateway,
            setup,
            _state: state,
        }
    }
}

impl Target for Simulated {
    fn version(&self) -> &str {
        self.gateway.profile().version()
    }

    fn addr(&self) -> SocketAddr {
        self.gateway.addr()
    }

    fn token(&self) -> &str {
        self.gateway.token().unwrap()
    }

    fn setup(&self) -> Setup {
        self.setup
    }
}

async fn agrees(profile: Profile) {
    for setup in Setup::ALL {
        let target = Simulated::start(profile, setup).await;
        let results = run(&target).await;
        assert!(!results.is_empty());
        let differences = differences(&results);
        assert!(
            differences.is_empty(),
            "{} {}:\n{differences}",
            profile.version(),
            setup.name()
        );
        target.gateway.stop().await;
    }
}

#[tokio::test]
async fn literal_behaves_as_2026_2_19() {
    agrees(Profile::Literal).await;
}

#[tokio::test]
async fn clearing_behaves_as_2026_3_13() {
    agrees(Profile::Clearing).await;
}

#[tokio::test]
async fn pending_behaves_as_2026_4_21() {
    agrees(Profile::Pending).await;
}

#[tokio::test]
async fn latest_behaves_as_2026_9_6() {
    agrees(Profile::Latest).await;
}

#[test]
fn scenario_names_are_unique() {
    let mut names: Vec<_> = table().iter().map(|scenario| scenario.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(count >= 30, "only {count} scenarios");
}
