//! The report for people.

use std::fmt::Write as _;

use super::findings::Finding;
use super::known::Certainty;
use super::look::{DelegateLook, Form, Look};
use super::subject::{Subject, is_expired, pending, subjects};
use super::table::{Row, Table};
use crate::cli::Style;
use crate::device::OperatorToken;
use crate::findings::Shim;
use crate::identity::store::PendingRequest;
use crate::scope::{ALL, ScopeSet};
use crate::text::{ago, brief, count, safe, wrap};

/// The whole report.
#[must_use]
pub fn report(look: &Look, findings: &[Finding], style: Style) -> String {
    let mut text = summary(look, style);
    if look.store.is_readable() {
        let _ = write!(text, "\n{}", device_part(look, style, true));
    }
    let _ = write!(text, "\n{}", finding_part(findings, style));
    let spots = look.blind_spots();
    if !spots.is_empty() {
        let _ = writeln!(text, "\n{}", style.strong("Not known"));
        for spot in spots {
            paragraph(&mut text, "  ", &spot);
        }
    }
    let _ = writeln!(text, "\n{}", verdict(look, findings, style));
    text
}

/// The devices and requests alone.
#[must_use]
pub fn devices(look: &Look, style: Style) -> String {
    device_part(look, style, false)
}

fn summary(look: &Look, style: Style) -> String {
    let mut text = String::new();
    let mut put = |title: &str, lines: &[String]| {
        for (index, line) in lines.iter().enumerate() {
            let title = if index == 0 { title } else { "" };
            let padded = if title.is_empty() {
                " ".repeat(TITLE)
            } else {
                style.strong(format!("{title:TITLE$}"))
            };
            for (part, line) in wrap(line, WIDTH - TITLE, false).iter().enumerate() {
                let indent = if part == 0 {
                    padded.clone()
                } else {
                    " ".repeat(TITLE)
                };
                let _ = writeln!(text, "{indent}{line}");
            }
        }
    };
    put("gateway", &gateway_lines(look));
    put("store", &store_lines(look));
    put("shim", &shim_lines(look));
    put("this host", &[host_line(look)]);
    text
}

fn gateway_lines(look: &Look) -> Vec<String> {
    let mut lines = vec![
        look.url.clone(),
        look.version.words(),
        format!("answers: {}", safe(&look.reach.words())),
    ];
    let own = look.processes.iter().filter(|process| process.is_ours);
    lines.extend(own.map(|process| format!("runs as process {}", process.pid)));
    lines
}

fn store_lines(look: &Look) -> Vec<String> {
    let store = &look.store;
    let Some(snapshot) = &store.snapshot else {
        let why = store.unreadable.clone().unwrap_or_default();
        return vec![format!("cannot be read: {}", safe(&why))];
    };
    let form = match store.form {
        Some(Form::Database) => "database, as from 2026.8.2",
        _ => "files, as up to 2026.7",
    };
    let written = store
        .app_version
        .map_or_else(String::new, |version| format!("; opened last by {version}"));
    vec![
        safe(&store.path),
        format!(
            "{form}; {} paired, {} waiting{written}",
            count(snapshot.devices.len(), "device"),
            count(snapshot.pending.len(), "request")
        ),
    ]
}

fn shim_lines(look: &Look) -> Vec<String> {
    let Some(running) = &look.shim.running else {
        let runs = match (&look.shim.silent, look.shim.listening) {
            (Some(_), _) => "one runs, and does not answer",
            (None, true) => "something listens there, and it is no shim with this data directory",
            (None, false) => "nothing listens there",
        };
        return vec![format!(
            "{}: {runs}; {}",
            look.shim.listen,
            device_words(look)
        )];
    };
    let listen = running.listen.as_deref().unwrap_or("no port");
    let gateway = running.gateway_version.map_or_else(
        || "of a version that it was not told".to_owned(),
        |version| version.to_string(),
    );
    let mut lines = vec![
        safe(&format!(
            "{listen}: scope-shim {} runs as process {}; {}",
            running.version,
            running.pid,
            device_words(look)
        )),
        safe(&format!(
            "mode {}; the gateway is {}, {gateway}; policy.max_scopes allows {}",
            running.mode,
            running.state.replace('_', " "),
            scopes(&running.max_scopes)
        )),
    ];
    if let Some(why) = &running.why {
        lines.push(safe(&format!("it has no session of its own: {why}")));
    }
    lines
}

fn device_words(look: &Look) -> String {
    match &look.shim.delegate {
        DelegateLook::Absent => "no device of its own yet".to_owned(),
        DelegateLook::Retired => "its device is out of use since it was unpaired".to_owned(),
        DelegateLook::Unusable(_) => "its key cannot be used".to_owned(),
        DelegateLook::Present(device) => {
            let snapshot = look.store.snapshot.as_ref();
            let paired = match snapshot.map(|snapshot| snapshot.devices.contains_key(device)) {
                Some(true) => ", paired",
                Some(false) => ", not paired",
                None => "",
            };
            format!("its device is {}{paired}", device.short())
        }
    }
}

fn host_line(look: &Look) -> String {
    let Some(device) = &look.client.own_device else {
        return "its command line has no device yet".to_owned();
    };
    let snapshot = look.store.snapshot.as_ref();
    let paired = match snapshot.map(|snapshot| snapshot.devices.contains_key(device)) {
        Some(true) => "paired",
        Some(false) => "not paired",
        None => "the store cannot be read",
    };
    format!(
        "its command line is device {} ({paired})",
        brief(&device.short(), NAME)
    )
}

fn device_part(look: &Look, style: Style, with_asks: bool) -> String {
    let subjects = subjects(look);
    let mut text = format!(
        "{}\n",
        style.strong(format!("Paired devices ({})", subjects.len()))
    );
    if !subjects.is_empty() {
        let mut table = Table::new(&DEVICE_COLUMNS);
        for subject in &subjects {
            table.push(device_row(look, subject, with_asks));
        }
        text.push_str(&table.render(style));
    }
    let pending = pending(look);
    let _ = write!(
        text,
        "\n{}\n",
        style.strong(format!("Waiting requests ({})", pending.len()))
    );
    if !pending.is_empty() {
        let mut table = Table::new(&REQUEST_COLUMNS);
        for request in pending {
            table.push(request_row(look, request));
        }
        text.push_str(&table.render(style));
    }
    text
}

fn device_row(look: &Look, subject: &Subject<'_>, with_asks: bool) -> Row {
    let record = subject.record;
    let mut id = vec![brief(&record.device_id.short(), NAME)];
    if subject.is_host {
        id.push("this host".to_owned());
    }
    if subject.is_delegate {
        id.push("scope-shim".to_owned());
    }
    let mut client = client_lines(&record.client_id, &record.client_mode, CLIENT_WIDTH);
    client.extend(
        record
            .display_name
            .as_deref()
            .map(|name| format!("\"{}\"", brief(name, NAME))),
    );
    let place = [record.platform.as_deref(), subject.remote_ip];
    let place: Vec<String> = place
        .into_iter()
        .flatten()
        .map(|text| brief(text, NAME))
        .collect();
    client.push(place.join(", "));
    client.retain(|line| !line.is_empty());
    let mut approved_for = vec![scopes(&record.approved_scopes)];
    if record.roles.iter().any(|role| role != "operator") {
        let roles: Vec<String> = record.roles.iter().map(|role| brief(role, NAME)).collect();
        approved_for.push(format!("as {}", roles.join(", ")));
    }
    let mut approved: Vec<String> = subject
        .approved_via
        .map(|via| brief(via, NAME))
        .into_iter()
        .collect();
    approved.extend(record.approved_at_ms.map(|at| ago(look.now_ms, at)));
    let seen = record
        .last_seen_at_ms
        .map_or_else(|| "not kept".to_owned(), |at| ago(look.now_ms, at));
    let below = if with_asks && !subject.is_delegate {
        vec![format!("asks for: {}", subject.asks.words())]
    } else {
        Vec::new()
    };
    Row {
        cells: vec![
            id,
            client,
            approved_for,
            vec![token(subject)],
            approved,
            vec![seen],
        ],
        below,
    }
}

fn scopes(approved: &ScopeSet) -> String {
    if approved.names_all(&ALL.into_iter().collect()) {
        format!("all {} scopes", ALL.len())
    } else {
        approved.to_string()
    }
}

/// `id/mode`, in two lines where one is too narrow.
fn client_lines(id: &Option<String>, mode: &Option<String>, width: usize) -> Vec<String> {
    let parts = [id, mode].into_iter().flatten();
    let parts: Vec<String> = parts.map(|text| brief(text, NAME)).collect();
    let whole = parts.join("/");
    if whole.chars().count() <= width {
        vec![whole]
    } else {
        parts
    }
}

/// The state of a device's token in words; the token itself is not shown.
fn token(subject: &Subject<'_>) -> String {
    match &subject.record.operator_token {
        OperatorToken::None => "none".to_owned(),
        OperatorToken::Revoked => "revoked".to_owned(),
        OperatorToken::Withheld => "not told".to_owned(),
        OperatorToken::Live { scopes, .. } => {
            let missing = scopes.missing(&subject.record.approved_scopes);
            if missing.is_empty() {
                "live".to_owned()
            } else {
                format!("live, for {scopes}")
            }
        }
    }
}

fn request_row(look: &Look, request: &PendingRequest) -> Row {
    let mut client = client_lines(
        &request.client_id,
        &request.client_mode,
        REQUEST_COLUMNS[1].1,
    );
    client.extend(request.remote_ip.as_deref().map(|ip| brief(ip, NAME)));
    let mut asks = vec![request.scopes.to_string()];
    if request.roles.iter().any(|role| role != "operator") {
        let roles: Vec<String> = request.roles.iter().map(|role| brief(role, NAME)).collect();
        asks.push(format!("as {}", roles.join(", ")));
    }
    let kind = if request.is_repair {
        "asks for more"
    } else {
        "is new"
    };
    let mut filed: Vec<String> = request
        .ts_ms
        .map(|at| ago(look.now_ms, at))
        .into_iter()
        .collect();
    if is_expired(look, request) {
        filed.push("lapsed".to_owned());
    }
    Row {
        cells: vec![
            vec![brief(&request.device_id.short(), NAME), kind.to_owned()],
            client,
            asks,
            filed,
        ],
        below: vec![format!("request {}", brief(&request.request_id, ID))],
    }
}

fn finding_part(findings: &[Finding], style: Style) -> String {
    let mut text = format!(
        "{}\n",
        style.strong(format!("Findings ({})", findings.len()))
    );
    for (index, finding) in findings.iter().enumerate() {
        let family = if finding.family.is_empty() {
            String::new()
        } else {
            format!(" {}", finding.family)
        };
        let possible = match finding.certainty {
            Certainty::Possible => " (possibly)",
            Certainty::Certain | Certainty::No => "",
        };
        let number = format!("{:>2}. ", index + 1);
        let code = style.doubtful(finding.code);
        let head = format!("{family}{possible}: {}", safe(&finding.subject));
        let _ = writeln!(text, "{number}{code}{head}");
        paragraph(&mut text, "    ", &finding.title);
        for evidence in &finding.evidence {
            labelled(&mut text, "seen", &safe(evidence));
        }
        labelled(&mut text, "fix", &safe(&finding.fix));
        labelled(&mut text, "shim", shim_words(finding.shim));
    }
    text
}

const fn shim_words(shim: Shim) -> &'static str {
    match shim {
        Shim::Rewrites => {
            "repairs it: it rewrites the handshakes that come through it and are entitled to what they ask for"
        }
        Shim::Approves => "can approve it",
        Shim::SetsHeaders => "sets the right headers on what goes through it",
        Shim::Tells => "only tells",
    }
}

fn labelled(text: &mut String, label: &str, what: &str) {
    let first = format!("    {label:5} ");
    let rest = " ".repeat(first.len());
    for (index, line) in wrap(what, WIDTH - first.len(), false).iter().enumerate() {
        let indent = if index == 0 { &first } else { &rest };
        let _ = writeln!(text, "{indent}{line}");
    }
}

fn paragraph(text: &mut String, indent: &str, what: &str) {
    for line in wrap(&safe(what), WIDTH - indent.len(), false) {
        let _ = writeln!(text, "{indent}{line}");
    }
}

fn verdict(look: &Look, findings: &[Finding], style: Style) -> String {
    if look.is_blind() {
        return style.bad("Could not look: neither the gateway nor its store answers.");
    }
    if findings.is_empty() {
        return style.good("Nothing found.");
    }
    let tells = findings
        .iter()
        .filter(|finding| finding.shim == Shim::Tells)
        .count();
    let shim = match (findings.len() - tells, tells) {
        (_, 0) => "the shim can help".to_owned(),
        (0, _) => "the shim can only tell".to_owned(),
        (helps, tells) => {
            format!("the shim can help with {helps}, and only tell of {tells}")
        }
    };
    style.doubtful(format!("{}; {shim}.", count(findings.len(), "finding")))
}

const DEVICE_COLUMNS: [(&str, usize); 6] = [
    ("DEVICE", 12),
    ("CLIENT", CLIENT_WIDTH),
    ("APPROVED FOR", 21),
    ("TOKEN", 11),
    ("APPROVED", 11),
    ("LAST USED", 11),
];
const REQUEST_COLUMNS: [(&str, usize); 4] = [
    ("DEVICE", 13),
    ("CLIENT", 24),
    ("ASKS FOR", 36),
    ("FILED", 11),
];
const CLIENT_WIDTH: usize = 19;
/// The widest line, except for a word that is wider.
const WIDTH: usize = 96;
const TITLE: usize = 11;
const NAME: usize = 40;
const ID: usize = 128;
