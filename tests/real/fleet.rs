//! One shim in front of two gateways of different versions: each is repaired as it would be alone.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use scope_shim::demo::npm::{Installed, RealGateway};

use crate::Result;
use crate::outcome::Outcome;
use crate::place::{Column, Place};
use crate::report::{Recorder, Report};
use crate::shim::{Settings, Shim};

/// The first one pairs the command line with the gateway.
const COMMANDS: [&[&str]; 3] = [
    &["devices", "list"],
    &["health"],
    &["gateway", "call", "status"],
];

/// Tries the oldest and the newest of the versions, each gateway by its own port of the one shim.
pub(crate) fn run(installed: &[Installed], report: &mut Report) {
    let mut versions: Vec<&Installed> = installed.iter().collect();
    versions.sort_by(|a, b| a.version.cmp(&b.version));
    let (Some(oldest), Some(newest)) = (versions.first(), versions.last()) else {
        return;
    };
    if oldest.version == newest.version {
        return report.skip("one shim for several gateways: that takes two versions".to_owned());
    }
    if let Err(error) = try_out([oldest, newest], report) {
        report.trouble(format!("one shim for several gateways: {error}"));
    }
}

fn try_out(versions: [&Installed; 2], report: &mut Report) -> Result<()> {
    let mut places = Vec::new();
    for installed in versions {
        let place = Place::new(installed)?;
        let gateway = place.start_gateway(Vec::new())?;
        places.push((place, gateway));
    }
    let direct = places
        .iter()
        .map(|(place, gateway)| column(place, gateway, Column::Direct))
        .collect::<Result<Vec<_>>>()?;
    let shim = start(&places)?;
    for ((place, gateway), direct) in places.iter().zip(direct) {
        let shimmed = column(place, gateway, Column::Shimmed)?;
        report.add(&place.installed.version, direct, Some(shimmed));
    }
    shim.stop();
    Ok(())
}

/// The shim of the first place, with an entry for each.
fn start(places: &[(Place, RealGateway)]) -> Result<Shim> {
    let (first, _) = places.first().ok_or("there is no place")?;
    let mut settings: Settings = first.shim_settings()?;
    let mut text = format!("data = {:?}\n", settings.data);
    for (place, gateway) in places {
        let name = place.installed.version.to_string().replace('.', "-");
        let state = gateway.state_directory();
        let listen = place.shim_port;
        write!(
            text,
            "[[gateway]]\nname = {name:?}\nlisten = \"127.0.0.1:{listen}\"\nstate = {state:?}\n"
        )?;
    }
    let file = settings.data.join("scope-shim.toml");
    fs::write(&file, text)?;
    settings.file = Some(file);
    Shim::start(settings, &[])
}

fn column(place: &Place, gateway: &RealGateway, column: Column) -> Result<Vec<(String, Outcome)>> {
    let port = match column {
        Column::Direct => place.gateway_port,
        Column::Shimmed => place.shim_port,
    };
    let mut recorder = Recorder::new(&place.installed.version, column);
    for arguments in COMMANDS {
        let name = format!("{}, one shim for two gateways", arguments.join(" "));
        recorder.record(&name, || {
            Ok(Outcome::of_command(
                &gateway.cli(arguments, port, TIME_LIMIT)?,
            ))
        })?;
    }
    Ok(recorder.outcomes)
}

const TIME_LIMIT: Duration = Duration::from_secs(300);
