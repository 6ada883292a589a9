//! Listing and approving through the shim that runs, where its configuration cannot be used any more.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Approve, FEWEST};
use crate::cli::phrase::row;
use crate::cli::{ExitStatus, Missed, Said, Style, Target};
use crate::scope::ScopeSet;
use crate::text::safe;

/// Lists or approves what waits.
///
/// # Errors
///
/// When no shim answers, or it does not approve the request that was named.
pub async fn run(target: &Target, options: &Approve, style: Style) -> Result<Said, Missed> {
    let client = target.client()?;
    let status = client.get("/status").await;
    let status = status.map_err(|error| target.missed(error))?;
    let waiting = waiting(&status, options.settings.gateway_name.as_deref());
    let Some(id) = &options.id else {
        return Ok(listed(&waiting, &status, options));
    };
    let mut meant = waiting.iter().filter(|(_, request)| {
        let whole = word(request, "id");
        whole == *id || (id.len() >= FEWEST && whole.starts_with(id.as_str()))
    });
    let (Some((gateway, request)), None) = (meant.next(), meant.next()) else {
        let text = format!(
            "no request that waits, or more than one, begins with {}\n",
            safe(id)
        );
        let status = ExitStatus::Failure;
        return Ok(Said { text, status });
    };
    let body = json!({"request": request["id"], "scopes": request["scopes"], "gateway": gateway});
    let answer = client.post("/approve", &body).await;
    let answer = answer.map_err(|error| target.missed(error))?;
    Ok(approved(&answer["approved"], style))
}

/// What waits, each with the name of its gateway.
fn waiting<'s>(status: &'s Value, only: Option<&str>) -> Vec<(&'s str, &'s Value)> {
    let gateways = status["gateways"].as_array().into_iter().flatten();
    gateways
        .filter_map(|gateway| Some((gateway["name"].as_str()?, gateway)))
        .filter(|(name, _)| only.is_none_or(|only| only == *name))
        .flat_map(|(name, gateway)| {
            let requests = gateway["requests"].as_array().into_iter().flatten();
            requests.map(move |request| (name, request))
        })
        .collect()
}

fn listed(waiting: &[(&str, &Value)], status: &Value, options: &Approve) -> Said {
    if options.all_local {
        let text = "--all-local goes by the configuration, which cannot be used; approve by id\n";
        return Said {
            text: text.to_owned(),
            status: ExitStatus::Config,
        };
    }
    let text = if options.json {
        let pending: Vec<&Value> = waiting.iter().map(|(_, request)| *request).collect();
        format!(
            "{:#}\n",
            json!({"gateway": status["gateways"][0]["url"], "pending": pending})
        )
    } else if waiting.is_empty() {
        "No pairing request waits.\n".to_owned()
    } else {
        waiting
            .iter()
            .map(|(name, request)| line(name, request))
            .collect()
    };
    Said {
        text,
        status: ExitStatus::Ok,
    }
}

fn line(gateway: &str, request: &Value) -> String {
    format!(
        "{}: {}, device {}, asks for {}: {}\n",
        safe(gateway),
        word(request, "client"),
        word(request, "device"),
        scopes(&request["scopes"]),
        word(request, "command"),
    )
}

fn approved(answer: &Value, style: Style) -> Said {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} {} ({}, device {})",
        style.good("approved:"),
        word(answer, "request"),
        word(answer, "client"),
        word(answer, "device"),
    );
    let before = &answer["before"];
    let before = match before.is_null() {
        true => "not paired".to_owned(),
        false => scopes(before).to_string(),
    };
    row(&mut text, style, "before", &before);
    row(
        &mut text,
        style,
        "after",
        &scopes(&answer["after"]).to_string(),
    );
    row(&mut text, style, "next", &word(answer, "next"));
    Said {
        text,
        status: ExitStatus::Ok,
    }
}

fn scopes(list: &Value) -> ScopeSet {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).collect()
}

fn word(of: &Value, key: &str) -> String {
    safe(of[key].as_str().unwrap_or_default())
}
