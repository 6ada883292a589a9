//! What there is to play with once the story is told.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use super::Failure;
use super::npm::RealGateway;
use super::page::Page;
use super::shim::Shim;

/// For the simulated gateway: any command line that is installed here, with a state directory of its own, so that
/// the tokens of a gateway that matters are not overwritten.
pub(super) fn simulated<W: Write>(
    page: &mut Page<W>,
    shim: &Shim,
    gateway: SocketAddr,
    token: &str,
    state: &Path,
) -> Result<(), Failure> {
    fs::create_dir_all(state)?;
    addresses(page, shim, gateway, token)?;
    page.text(
        "With a command line of OpenClaw up to 2026.2.21, if there is one here (later ones sign differently;\n\
         your own ~/.openclaw stays as it is). The first command pairs it:",
    )?;
    let openclaw = format!(
        "OPENCLAW_STATE_DIR={} OPENCLAW_GATEWAY_TOKEN={token} openclaw",
        state.display()
    );
    commands(
        page,
        shim.address.port(),
        gateway.port(),
        &openclaw,
        &["devices list", "health"],
    )?;
    page.text(
        "Without one: `scope-shim demo --gateway 2026.2.19` brings gateway and command line along.",
    )?;
    below(page)
}

/// For a real one: its own command line.
pub(super) fn real<W: Write>(
    page: &mut Page<W>,
    shim: &Shim,
    gateway: &RealGateway,
    token: &str,
) -> Result<(), Failure> {
    let address = SocketAddr::from(([127, 0, 0, 1], gateway.port()));
    addresses(page, shim, address, token)?;
    page.text("With this version's own command line, in its own home:")?;
    let state = gateway.state_directory();
    let home = state.parent().unwrap_or(&state);
    let installed = gateway.installed();
    let openclaw = format!(
        "HOME={} OPENCLAW_STATE_DIR={} {} {}",
        home.display(),
        state.display(),
        installed.node.join("node").display(),
        installed.script().display()
    );
    commands(
        page,
        shim.address.port(),
        gateway.port(),
        &openclaw,
        &["status --all"],
    )?;
    below(page)
}

fn addresses<W: Write>(
    page: &mut Page<W>,
    shim: &Shim,
    gateway: SocketAddr,
    token: &str,
) -> Result<(), Failure> {
    page.step("Your turn: everything stays up until you press Ctrl-C")?;
    page.fact("through the shim", format!("ws://{}", shim.address))?;
    page.fact("without it", format!("ws://{gateway}"))?;
    page.fact("token", token)?;
    page.fact("configuration", shim.config.display())?;
    Ok(())
}

fn commands<W: Write>(
    page: &mut Page<W>,
    shim: u16,
    gateway: u16,
    openclaw: &str,
    commands: &[&str],
) -> Result<(), Failure> {
    for command in commands {
        page.text(&format!(
            "  OPENCLAW_GATEWAY_PORT={shim} {openclaw} {command}"
        ))?;
    }
    page.text(&format!(
        "and the last one without the shim: OPENCLAW_GATEWAY_PORT={gateway}"
    ))?;
    Ok(())
}

fn below<W: Write>(page: &mut Page<W>) -> Result<(), Failure> {
    page.text("The shim writes one line about every session below.\n")?;
    Ok(())
}
