//! The same table against any gateway that is already running:
//!
//! ```text
//! SCOPE_SHIM_SCENARIO_TARGET=ws://127.0.0.1:18789 SCOPE_SHIM_SCENARIO_TOKEN=… \
//! SCOPE_SHIM_SCENARIO_VERSION=2026.3.13 SCOPE_SHIM_SCENARIO_SETUP=standard \
//!     cargo test --test simulated -- --ignored elsewhere --nocapture
//! ```

use std::env;
use std::net::SocketAddr;

use crate::scenarios::{Setup, Target, differences, run};

struct Elsewhere {
    addr: SocketAddr,
    token: String,
    version: String,
    setup: Setup,
}

impl Target for Elsewhere {
    fn version(&self) -> &str {
        &self.version
    }

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn token(&self) -> &str {
        &self.token
    }

    fn setup(&self) -> Setup {
        self.setup
    }
}

#[tokio::test]
#[ignore = "needs a gateway, named by SCOPE_SHIM_SCENARIO_TARGET"]
async fn a_running_gateway_behaves_as_the_table_says() {
    let variable = |name: &str| env::var(format!("SCOPE_SHIM_SCENARIO_{name}"));
    let target = variable("TARGET").expect("SCOPE_SHIM_SCENARIO_TARGET=ws://ADDRESS:PORT");
    let setup = variable("SETUP").unwrap_or_else(|_| "standard".to_owned());
    let target = Elsewhere {
        addr: target
            .trim_start_matches("ws://")
            .trim_end_matches('/')
            .parse()
            .unwrap(),
        token: variable("TOKEN").expect("SCOPE_SHIM_SCENARIO_TOKEN"),
        version: variable("VERSION").expect("SCOPE_SHIM_SCENARIO_VERSION"),
        setup: Setup::ALL
            .into_iter()
            .find(|known| known.name() == setup)
            .expect("a known setup"),
    };
    let results = run(&target).await;
    for result in &results {
        for step in &result.steps {
            let mark = if step.passed() { " " } else { "!" };
            println!("{mark} {} | {} | {}", result.name, step.what, step.got);
        }
    }
    let differences = differences(&results);
    assert!(
        differences.is_empty(),
        "{} differs:\n{differences}",
        target.version
    );
}
