//! The calls a gateway's own agents make to their gateway, made by a tool that needs no model.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use scope_shim::demo::npm::process::poll;
use scope_shim::demo::npm::{Installed, RealGateway, Version};
use serde_json::{Value, json};

use crate::Result;
use crate::outcome::Outcome;
use crate::place::{Place, TOKEN};
use crate::report::Recorder;
use crate::shim::Shim;

const GATEWAY_FIRST: &str = "an agent lists sessions, gateway started first";
const UNHEARD: &str = "an agent lists sessions behind the shim's back, again";
const UNHEARD_SPAWN: &str = "an agent spawns one behind the shim's back, again";
const SHIM_FIRST: &str = "an agent lists sessions, shim started first";

/// Whether this version can be told, by its environment, to send its agents' calls elsewhere.
pub(crate) fn can_be_redirected(installed: &Installed) -> bool {
    installed.version.is_at_least(2026, 3, 13)
}

/// Whether an agent's call is a connection at all: from 2026.9 on this one stays within the gateway's process, and the
/// shim has no part in it.
fn calls_over_a_connection(version: &Version) -> bool {
    !version.is_at_least(2026, 9, 0)
}

/// Has an agent of a gateway that cannot be told anything call it: a call that never meets the shim. The first one may
/// fail, and leaves a pairing request; what the later ones do is recorded.
pub(crate) fn run_unheard(gateway: &RealGateway, recorder: &mut Recorder) -> Result<()> {
    recorder.record(UNHEARD, || again(|| list_sessions(gateway)))?;
    recorder.record(UNHEARD_SPAWN, || again(|| spawn_session(gateway)))
}

/// The first try, and then as many as fit into the time that an approval may take; the last one counts.
fn again(call: impl Fn() -> Result<Outcome>) -> Result<Outcome> {
    call()?;
    let works = poll(TIME_TO_APPROVE, || match call() {
        Ok(outcome) if !outcome.works() => None,
        tried => Some(tried),
    });
    works.unwrap_or_else(call)
}

/// Has an agent of a gateway that was told nothing call it: what the calls through the shim are compared with.
pub(crate) fn run_directly(gateway: &RealGateway, recorder: &mut Recorder) -> Result<()> {
    for name in [GATEWAY_FIRST, SHIM_FIRST] {
        recorder.record(name, || list_sessions(gateway))?;
    }
    Ok(())
}

/// Has the agents of fresh gateways, which are told that the shim is their gateway, call it.
pub(crate) fn run_through_the_shim(installed: &Installed, recorder: &mut Recorder) -> Result<()> {
    let place = Place::new(installed)?;
    let gateway = place.start_gateway(redirected_to(place.shim_port))?;
    let shim = place.start_shim()?;
    recorder.record(GATEWAY_FIRST, || list_sessions_through(&shim, &gateway))?;
    gateway.stop();
    shim.stop();

    let place = Place::new(installed)?;
    place.prepare_gateway()?;
    let shim = place.start_shim()?;
    let gateway = place.start_gateway(redirected_to(place.shim_port))?;
    recorder.record(SHIM_FIRST, || list_sessions_through(&shim, &gateway))
}

fn redirected_to(port: u16) -> Vec<(String, String)> {
    vec![
        (
            "OPENCLAW_GATEWAY_URL".to_owned(),
            format!("ws://127.0.0.1:{port}"),
        ),
        ("OPENCLAW_GATEWAY_TOKEN".to_owned(), TOKEN.to_owned()),
    ]
}

fn list_sessions_through(shim: &Shim, gateway: &RealGateway) -> Result<Outcome> {
    let before = sessions_in(&shim.log());
    let outcome = list_sessions(gateway)?;
    let must_be_seen = calls_over_a_connection(&gateway.installed().version);
    if must_be_seen && outcome.works() && sessions_in(&shim.log()) == before {
        return Ok(Outcome::Failed {
            what: "it worked, but not through the shim".to_owned(),
            words: vec!["no session of an agent in the shim's log".to_owned()],
        });
    }
    Ok(outcome)
}

/// How many sessions of an agent's client the shim has logged.
fn sessions_in(log: &str) -> usize {
    log.lines()
        .filter(|line| line.contains("gateway-client"))
        .count()
}

/// Has the gateway run the tool with which an agent lists its sessions.
pub(crate) fn list_sessions(gateway: &RealGateway) -> Result<Outcome> {
    invoke(gateway, &json!({ "tool": "sessions_list", "args": {} }))
}

/// Has the gateway run the tool with which an agent starts another one: a call that writes.
fn spawn_session(gateway: &RealGateway) -> Result<Outcome> {
    invoke(
        gateway,
        &json!({ "tool": "sessions_spawn", "args": { "task": "wait" } }),
    )
}

/// Settings of a gateway whose `sessions_spawn` may be called like this, instead of by a model.
pub(crate) fn settings(installed: &Installed) -> Value {
    if can_be_redirected(installed) {
        return Value::Null;
    }
    json!({ "gateway": { "tools": { "allow": ["sessions_spawn"] } } })
}

fn invoke(gateway: &RealGateway, call: &Value) -> Result<Outcome> {
    let body = call.to_string();
    let port = gateway.port();
    let mut stream =
        TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), TIME_LIMIT)?;
    stream.set_read_timeout(Some(TIME_LIMIT))?;
    write!(
        stream,
        "POST /tools/invoke HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    if let Err(error) = stream.read_to_string(&mut answer) {
        return match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => Ok(Outcome::TimedOut),
            _ => Err(error.into()),
        };
    }
    let json = answer
        .find('{')
        .zip(answer.rfind('}'))
        .map_or("", |(start, end)| &answer[start..=end]);
    let tool: Value = serde_json::from_str(json).unwrap_or_default();
    // A tool may say in its result that it came to nothing.
    let told = tool["result"]["details"].as_object();
    let came_to_nothing =
        told.filter(|told| told.get("status").is_some_and(|status| status == "error"));
    Ok(match (tool["ok"].as_bool(), came_to_nothing) {
        (Some(true), None) => Outcome::Ok(String::new()),
        (Some(true), Some(told)) => Outcome::Failed {
            what: "the tool came to nothing".to_owned(),
            words: vec![told["error"].as_str().unwrap_or_default().to_owned()],
        },
        _ => Outcome::Failed {
            what: tool["error"]["type"]
                .as_str()
                .unwrap_or("no answer")
                .to_owned(),
            words: vec![
                tool["error"]["message"]
                    .as_str()
                    .unwrap_or(&answer)
                    .to_owned(),
            ],
        },
    })
}

/// Far more than the shim needs to hear of a request and approve it.
const TIME_TO_APPROVE: Duration = Duration::from_secs(10);

/// The first call on 2026.4.21 has taken most of a minute.
const TIME_LIMIT: Duration = Duration::from_secs(120);
