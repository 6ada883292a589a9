//! What the script in the browser has done behind the page's back: a line of JSON for each order, and one in return.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::stage::Stage;
use crate::support::client::{ADMIN, Connect, PAIRING, READ, WRITE};

/// Runs the script to its end; whether all it looked at was well.
pub async fn run(mut stage: Stage, script: &Path, chromium: &Path, pictures: &Path) -> bool {
    let place = json!({
        "chromium": chromium,
        "pictures": pictures,
        "url": stage.url,
        "port": format!("http://{}", stage.admin),
        "token": stage.token(),
    });
    let mut node = Command::new("node")
        .arg(script)
        .arg(place.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = node.stdin.take().unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
    let talk = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            match serde_json::from_str::<Value>(&line) {
                Ok(order) if order["order"].is_string() => {
                    let answer = obey(&mut stage, &order).await;
                    input
                        .write_all(format!("{answer}\n").as_bytes())
                        .await
                        .unwrap();
                }
                _ => println!("status page: {line}"),
            }
        }
        node.wait().await.unwrap().success()
    };
    let ended = timeout(TIME_LIMIT, talk).await;
    ended.unwrap_or_else(|_| {
        println!("status page: FAILED: not over after {TIME_LIMIT:?}");
        false
    })
}

async fn obey(stage: &mut Stage, order: &Value) -> Value {
    match order["order"].as_str().unwrap() {
        "mode" => stage.client.get("/mode").await.unwrap()["gateways"][0]["mode"].clone(),
        "session" => open(stage).await,
        "more" => {
            let wider = [
                &[READ][..],
                &[ADMIN, READ],
                &[ADMIN, READ, WRITE],
                &[ADMIN, PAIRING, READ, WRITE],
            ];
            let scopes = wider[usize::try_from(order["scopes"].as_u64().unwrap()).unwrap()];
            let asking = directly(stage).remote();
            let mut outcome = asking
                .client("cli", "cli")
                .device(&stage.reader)
                .scopes(scopes)
                .run()
                .await;
            json!(outcome.label().await)
        }
        "approved" => {
            let record = stage.gateway.paired().unwrap()[stage.reader.id()].clone();
            json!({"scopes": record["scopes"], "audit": stage.audit()})
        }
        "hostile" => hostile(stage, order["names"].as_array().unwrap()).await,
        "reload" => json!(stage.reload(order["more"].as_str().unwrap()).await),
        "end" => {
            stage.sessions.clear();
            Value::Null
        }
        "stop" => {
            stage.stop_shim().await;
            Value::Null
        }
        "start" => {
            stage.start_shim().await;
            Value::Null
        }
        unknown => panic!("no such order: {unknown}"),
    }
}

/// A session that is repaired, and goes on. Its client's version tells it from others.
async fn open(stage: &mut Stage) -> Value {
    let version = format!("1.0.{}", stage.sessions.len());
    let probe = stage.through().client("cli", "probe").scopes(&[READ]);
    let outcome = with_version(probe, &version).run().await;
    stage
        .sessions
        .push(outcome.session.expect("it is repaired"));
    json!(version)
}

/// Sessions, refusals and requests in which each name is in every place that a client can fill as it likes.
async fn hostile(stage: &mut Stage, names: &[Value]) -> Value {
    for name in names {
        let name = name.as_str().unwrap();
        let device = stage.paired_device();
        let asking = stage.through().display_name(name);
        // One that is let in: nobody signs the version.
        let let_in = asking.clone().device(&device).scopes(&[READ]);
        let outcome = with_version(let_in, name).run().await;
        stage.sessions.extend(outcome.session);
        // One whose claims are hostile all over.
        let mut wild = asking.client(name, name).scopes(&[name]);
        wild.platform = name.to_owned();
        wild.role = Some(name.to_owned());
        wild.run().await;
        // One that leaves a request for a scope of that name.
        let request = directly(stage).remote().device(&device).display_name(name);
        request.scopes(&[name, READ]).run().await;
    }
    Value::Null
}

/// Beside the shim, which would answer a repeat by itself.
fn directly(stage: &Stage) -> Connect {
    Connect::to(stage.gateway.addr()).token(crate::stage::TOKEN)
}

fn with_version(mut connect: Connect, version: &str) -> Connect {
    version.clone_into(&mut connect.version);
    connect
}

const TIME_LIMIT: Duration = Duration::from_secs(900);
