//! The document of `GET /status` in words and small pictures. Whatever came from a client is escaped here.

use std::fmt::Write as _;

use serde_json::Value;

use super::columns::Columns;
use crate::cli::Style;
use crate::text::{ago, safe, wrap};

/// The whole of it, for a terminal that is `width` characters wide; without one, for whom nothing is cut.
pub(super) fn page(status: &Value, width: Option<usize>, style: Style) -> String {
    let view = View {
        now: number(status, "now").unwrap_or_default(),
        width: width.unwrap_or(WIDTH),
        columns: width,
        style,
    };
    let mut text = view.head(status);
    text.push_str(&view.reload(part(status, "reload")));
    for gateway in list(status, "gateways") {
        text.push_str(&view.gateway(gateway));
        text.push_str(&view.findings(gateway));
        text.push_str(&view.requests(gateway));
    }
    text.push_str(&view.sessions(status));
    text.push_str(&view.recent(status));
    text.push_str(&view.hour(status));
    text
}

struct View {
    now: i64,
    /// At which sentences are broken.
    width: usize,
    /// At which columns are cut.
    columns: Option<usize>,
    style: Style,
}

impl View {
    fn head(&self, status: &Value) -> String {
        let name = self
            .style
            .strong(format!("scope-shim {}", text(status, "version")));
        let up = number(status, "started").map_or(0, |started| self.now - started);
        let mut line = format!("{name}  up {}  pid {}", age(up), text(status, "pid"));
        if flag(status, "draining") {
            let waits = "stopping: waits for the last sessions";
            let _ = write!(line, "  {}", self.style.doubtful(waits));
        } else if !flag(status, "ready") {
            let _ = write!(line, "  {}", self.style.bad("not ready"));
        }
        line.push('\n');
        for older in list(status, "older") {
            let _ = writeln!(line, "{}", self.older(older));
        }
        line
    }

    /// Nothing, where what the file says holds.
    fn reload(&self, reload: &Value) -> String {
        let mut shown = String::new();
        let when = |of| number(of, "at").and_then(|at| u64::try_from(at).ok());
        let when = |of| when(of).map_or_else(String::new, |at| ago(self.now, at));
        let refused = part(reload, "refused");
        if refused.is_object() {
            let problems = list(refused, "problems");
            // Its first line: what follows is a hint.
            let why = problems.first().and_then(Value::as_str);
            let why = safe(why.and_then(|why| why.lines().next()).unwrap_or_default());
            let more = match problems.len() {
                0 | 1 => String::new(),
                several => format!(" (and {} more)", several - 1),
            };
            let fix = text(refused, "fix");
            let told = format!("refused {}: {why}{more}; {fix}", when(refused));
            self.paragraph(&mut shown, "reload", &told, |line| self.style.bad(line));
        }
        let waiting = part(reload, "waiting");
        if waiting.is_object() {
            let mut keys: Vec<String> = Vec::new();
            for change in list(waiting, "changes") {
                let key = text(change, "key");
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
            let (keys, fix) = (keys.join(", "), text(waiting, "fix"));
            let told = format!("needed for {keys}, read {}; {fix}", when(waiting));
            self.paragraph(&mut shown, "restart", &told, |line| {
                self.style.doubtful(line)
            });
        }
        shown
    }

    /// A process whose place this one has taken.
    fn older(&self, older: &Value) -> String {
        let pid = text(older, "pid");
        let sessions = match (number(older, "sessions"), said(older, "why")) {
            (Some(1), _) => "still serves 1 session, and ends with it".to_owned(),
            (Some(sessions), _) => format!("still serves {sessions} sessions, and ends with them"),
            (None, why) => format!(
                "may still serve sessions: {}",
                why.unwrap_or_else(|| "it does not say".to_owned())
            ),
        };
        let version =
            said(older, "version").map_or_else(String::new, |version| format!(" ({version})"));
        self.style
            .doubtful(format!("an older process, pid {pid}{version}, {sessions}"))
            .to_string()
    }

    fn gateway(&self, gateway: &Value) -> String {
        let (upstream, delegate) = (part(gateway, "gateway"), part(gateway, "delegate"));
        let style = self.style;
        let mode = match text(gateway, "mode").as_str() {
            "on" => style.good("on"),
            other => style.doubtful(other),
        };
        let state = match text(upstream, "state").as_str() {
            "up" => style.good("up"),
            "down" => style.bad("down"),
            other => style.doubtful(other.replace('_', " ")),
        };
        let why = said(gateway, "mode_why");
        let why = why.map_or_else(String::new, |why| format!(", {why}"));
        let name = style.strong(text(gateway, "name"));
        let mut shown = format!("\n{name}  mode {mode}{why}\n");
        self.row(
            &mut shown,
            "clients",
            &format!("come in at {}", clients(gateway)),
        );
        let profile = text(upstream, "profile");
        self.row(
            &mut shown,
            "gateway",
            &format!("{state}  {}  {profile}", text(gateway, "url")),
        );
        if let Some(why) = said(upstream, "why") {
            self.row(&mut shown, "", &why);
        }
        self.row(&mut shown, "store", &text(gateway, "store"));
        let device = text(delegate, "device");
        let paired = if flag(delegate, "paired") {
            format!("{}  {device}", style.good("paired"))
        } else {
            format!("{}  {device}", style.bad("not paired: nothing is repaired"))
        };
        self.row(&mut shown, "delegate", &paired);
        if let Some(command) = said(upstream, "command") {
            self.row(&mut shown, "", &format!("run: {}", style.strong(command)));
        }
        shown
    }

    fn findings(&self, gateway: &Value) -> String {
        let findings = list(gateway, "findings");
        if findings.is_empty() {
            return format!("  {:<9} {}\n", "findings", self.style.good("none"));
        }
        let mut shown = self.title("Findings", findings.len());
        for finding in findings {
            let last = number(finding, "last").and_then(|last| u64::try_from(last).ok());
            let last = last.map_or_else(String::new, |last| format!(", {}", ago(self.now, last)));
            let times = number(finding, "count").unwrap_or(1);
            let code = self.style.bad(text(finding, "code"));
            let _ = writeln!(shown, "  {code}  {times}×{last}");
            for line in wrap(
                &text(finding, "sentence"),
                self.width.saturating_sub(4),
                false,
            ) {
                let _ = writeln!(shown, "    {line}");
            }
            if let Some(command) = said(finding, "command") {
                let _ = writeln!(shown, "    fix: {}", self.style.strong(command));
            }
        }
        shown
    }

    fn requests(&self, gateway: &Value) -> String {
        let requests = list(gateway, "requests");
        if requests.is_empty() {
            return String::new();
        }
        let mut shown = self.title("Waiting for an approval", requests.len());
        for request in requests {
            let client = said(request, "client").unwrap_or_else(|| "a client".to_owned());
            let held = match scopes(request, "held") {
                none if none.is_empty() => "nothing".to_owned(),
                held => held,
            };
            let from = if flag(request, "remote") {
                " from another machine"
            } else {
                ""
            };
            let age = number(request, "age_ms")
                .map_or_else(String::new, |ms| format!(", {} ago", age(ms)));
            let words = format!(
                "{client}, device {}{from}, asks for {} and holds {held}{age}",
                text(request, "device"),
                scopes(request, "scopes"),
            );
            for line in wrap(&words, self.width.saturating_sub(2), false) {
                let _ = writeln!(shown, "  {line}");
            }
            let _ = writeln!(shown, "    {}", self.style.strong(text(request, "command")));
        }
        shown
    }

    fn sessions(&self, status: &Value) -> String {
        let sessions = list(status, "sessions");
        let running = number(status, "live").and_then(|live| usize::try_from(live).ok());
        let running = running.unwrap_or(sessions.len());
        let mut shown = self.title("Sessions", running);
        if sessions.is_empty() {
            return shown;
        }
        let mut columns = Columns::new([
            "SESSION", "WHO", "CLIENT", "ASKED", "APPROVED", "DECISION", "AGE", "IN", "OUT", "WHY",
        ]);
        for session in sessions.iter().take(MOST_SESSIONS) {
            let who =
                raw(session, "who").unwrap_or_else(|| raw(session, "from").unwrap_or_default());
            let bytes = |key| number(session, key).map_or_else(String::new, bytes);
            columns.push([
                raw(session, "session").unwrap_or_default(),
                who,
                raw(session, "client").unwrap_or_default(),
                raw(session, "requested").unwrap_or_default(),
                raw(session, "approved").unwrap_or_default(),
                raw(session, "decision").unwrap_or_else(|| "none".to_owned()),
                number(session, "age_ms").map_or_else(String::new, age),
                bytes("bytes_to_gateway"),
                bytes("bytes_to_client"),
                raw(session, "why").unwrap_or_default(),
            ]);
        }
        let style = self.style;
        shown.push_str(&columns.render(self.columns, style, |column, cell, shown| {
            match (column, cell) {
                (5, "rewrite") => style.good(shown),
                _ => shown,
            }
        }));
        self.more(
            &mut shown,
            running.saturating_sub(sessions.len().min(MOST_SESSIONS)),
        );
        shown
    }

    fn recent(&self, status: &Value) -> String {
        let recent = list(status, "recent");
        if recent.is_empty() {
            return String::new();
        }
        let mut shown = self.title("Repaired and refused of late", recent.len());
        let mut columns = Columns::new([
            "WHEN", "SESSION", "OUTCOME", "WHO", "CLIENT", "ASKED", "WHY",
        ]);
        for one in recent.iter().take(MOST_RECENT) {
            let at = number(one, "at").and_then(|at| u64::try_from(at).ok());
            let outcome = raw(one, "outcome").unwrap_or_default();
            let outcome = match outcome.as_str() {
                "delegated" | "healed" => "repaired".to_owned(),
                _ => outcome,
            };
            let outcome = match number(one, "times") {
                Some(times) if times > 1 => format!("{outcome} {times}×"),
                _ => outcome,
            };
            columns.push([
                at.map_or_else(String::new, |at| ago(self.now, at)),
                raw(one, "session").unwrap_or_default(),
                outcome,
                raw(one, "who").unwrap_or_default(),
                raw(one, "client").unwrap_or_default(),
                raw(one, "requested").unwrap_or_default(),
                raw(one, "finding")
                    .or_else(|| raw(one, "why"))
                    .unwrap_or_default(),
            ]);
        }
        let style = self.style;
        shown.push_str(&columns.render(self.columns, style, |column, cell, shown| {
            match (column, cell.split(' ').next().unwrap_or_default()) {
                (2, "repaired") => style.good(shown),
                (2, "degraded") => style.doubtful(shown),
                (2, _) => style.bad(shown),
                _ => shown,
            }
        }));
        self.more(&mut shown, recent.len().saturating_sub(MOST_RECENT));
        shown
    }

    fn hour(&self, status: &Value) -> String {
        let hour = part(status, "hour");
        let mut shown = format!("\n{}\n", self.style.strong("The last hour"));
        for (key, title) in [
            ("handshakes", "handshakes"),
            ("repaired", "repaired"),
            ("refused", "refused"),
            ("repeated", "repeated"),
        ] {
            let steps = steps(hour, key);
            let sum: f64 = steps.iter().flatten().sum();
            let told = format!("{sum:.0}");
            self.curve(&mut shown, title, &steps, &told);
        }
        for (key, title) in [("p50_ms", "half within"), ("p99_ms", "99 % within")] {
            let steps = steps(hour, key);
            let last = steps.iter().rev().flatten().next();
            let told =
                last.map_or_else(|| "-".to_owned(), |ms| format!("{} now", milliseconds(*ms)));
            self.curve(&mut shown, title, &steps, &told);
        }
        let steps = steps(hour, "bytes");
        let told = bytes(steps.iter().flatten().sum::<f64>() as i64);
        self.curve(&mut shown, "bytes", &steps, &told);
        shown
    }

    fn curve(&self, shown: &mut String, title: &str, steps: &[Option<f64>], told: &str) {
        let room = self.width.saturating_sub(30).clamp(10, 60);
        let curve = sparkline(steps, room);
        let _ = writeln!(shown, "  {title:<12} {curve} {told}");
    }

    fn title(&self, title: &str, number: usize) -> String {
        format!("\n{}\n", self.style.strong(format!("{title} ({number})")))
    }

    fn row(&self, shown: &mut String, name: &str, value: &str) {
        let _ = writeln!(
            shown,
            "  {} {value}",
            self.style.faint(format!("{name:<9}"))
        );
    }

    fn paragraph(
        &self,
        shown: &mut String,
        name: &str,
        text: &str,
        paint: impl Fn(String) -> String,
    ) {
        let lines = wrap(text, self.width.saturating_sub(12), false).into_iter();
        for (index, line) in lines.enumerate() {
            self.row(shown, if index == 0 { name } else { "" }, &paint(line));
        }
    }

    fn more(&self, shown: &mut String, more: usize) {
        if more > 0 {
            let more = format!("and {more} more; see --json");
            let _ = writeln!(shown, "  {}", self.style.faint(more));
        }
    }
}

fn clients(gateway: &Value) -> String {
    let listen = said(gateway, "listen").unwrap_or_else(|| "no port".to_owned());
    let hosts = list(gateway, "hosts").iter().filter_map(Value::as_str);
    let hosts: Vec<String> = hosts.map(safe).collect();
    if hosts.is_empty() {
        return listen;
    }
    format!("{listen} for {}", hosts.join(", "))
}

/// One character for each of at most `room` groups of steps, as high as the group is, against the highest.
fn sparkline(steps: &[Option<f64>], room: usize) -> String {
    let size = steps.len().div_ceil(room.max(1)).max(1);
    let groups: Vec<f64> = steps
        .chunks(size)
        .map(|group| group.iter().flatten().copied().fold(0.0, f64::max))
        .collect();
    let highest = groups.iter().copied().fold(0.0, f64::max);
    groups
        .iter()
        .map(|&value| {
            if value <= 0.0 {
                return LEVELS[0];
            }
            let level = (value / highest * (LEVELS.len() - 1) as f64).ceil() as usize;
            LEVELS.get(level).copied().unwrap_or(LEVELS[0])
        })
        .collect()
}

fn steps(hour: &Value, key: &str) -> Vec<Option<f64>> {
    list(hour, key).iter().map(Value::as_f64).collect()
}

/// How long, as a person says it.
fn age(ms: i64) -> String {
    let seconds = ms / 1000;
    match seconds {
        ..120 => format!("{} s", seconds.max(0)),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn milliseconds(ms: f64) -> String {
    match ms {
        ..10.0 => format!("{ms:.1} ms"),
        ..1000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1000.0),
    }
}

fn bytes(bytes: i64) -> String {
    let (mut number, mut unit) = (bytes as f64, "B");
    for next in ["kB", "MB", "GB", "TB"] {
        if number < 1000.0 {
            break;
        }
        (number, unit) = (number / 1000.0, next);
    }
    if unit == "B" || number >= 99.95 {
        format!("{number:.0} {unit}")
    } else {
        format!("{number:.1} {unit}")
    }
}

fn part<'a>(value: &'a Value, key: &str) -> &'a Value {
    value.get(key).unwrap_or(&Value::Null)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool) == Some(true)
}

fn number(value: &Value, key: &str) -> Option<i64> {
    value.get(key).and_then(Value::as_i64)
}

/// As it came; whoever shows it escapes it.
fn raw(value: &Value, key: &str) -> Option<String> {
    Some(value.get(key)?.as_str()?.to_owned())
}

fn said(value: &Value, key: &str) -> Option<String> {
    Some(safe(&raw(value, key)?))
}

fn text(value: &Value, key: &str) -> String {
    match part(value, key) {
        Value::String(text) => safe(text),
        Value::Null => "unknown".to_owned(),
        other => safe(&other.to_string()),
    }
}

fn scopes(value: &Value, key: &str) -> String {
    let names = list(value, key).iter().filter_map(Value::as_str);
    let names = names.map(|name| safe(name.strip_prefix("operator.").unwrap_or(name)));
    names.collect::<Vec<_>>().join(", ")
}

/// From nothing to the highest.
const LEVELS: [char; 9] = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const MOST_SESSIONS: usize = 40;
const MOST_RECENT: usize = 10;
/// Where nothing says how wide a line may be, in characters.
pub(super) const WIDTH: usize = 120;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_795_366_284_000;

    fn hour(handshakes: &[u64]) -> Value {
        let filled = |values: &[Value]| {
            let mut all = vec![json!(0); 120 - values.len()];
            all.extend_from_slice(values);
            all
        };
        let counts: Vec<Value> = handshakes.iter().map(|&count| json!(count)).collect();
        let times: Vec<Value> = handshakes
            .iter()
            .map(|&count| json!(count as f64 * 2.5))
            .collect();
        json!({
            "step_ms": 30_000, "first": NOW - 3_600_000, "handshakes": filled(&counts),
            "accepted": filled(&[]), "repaired": filled(&counts), "refused": filled(&[json!(1)]),
            "repeated": filled(&[]), "p50_ms": filled(&times), "p99_ms": filled(&times),
            "bytes": filled(&[json!(123_456)]),
        })
    }

    fn quiet() -> Value {
        json!({
            "version": "0.1.0", "pid": 7, "now": NOW, "started": NOW - 65_000, "draining": false, "ready": true,
            "reload": {"last_success": NOW - 65_000, "refused": null, "waiting": null},
            "gateways": [{
                "name": "gateway", "mode": "on", "listen": "127.0.0.1:18780", "hosts": [],
                "url": "ws://127.0.0.1:18789", "store": "json /home/op/.openclaw/devices/paired.json",
                "gateway": {"state": "up", "why": null, "version": "2026.3.13", "profile": "2026.3.13", "request": null, "command": null},
                "delegate": {"device": "ab12cd34ef56", "paired": true, "scopes": ["operator.admin"]},
                "requests": [], "findings": [],
            }],
            "live": 0, "sessions": [], "recent": [], "hour": hour(&[]),
            "totals": {"handshakes": 0},
        })
    }

    fn incident() -> Value {
        let mut status = quiet();
        status["draining"] = json!(true);
        status["ready"] = json!(false);
        status["reload"]["refused"] = json!({
            "at": NOW - 300_000, "fix": "correct that, and run: scope-shim reload",
            "problems": [
                "/etc/scope-shim/scope-shim.toml:7:15: `policy.max_scopes`: expected an operator scope, found \"\u{1b}read\"\n  hint: …",
                "another",
            ],
        });
        let change = |gateway| json!({"gateway": gateway, "key": "listen", "text": "…"});
        status["reload"]["waiting"] = json!({
            "at": NOW - 7_200_000, "fix": "restart scope-shim, or run: scope-shim upgrade",
            "changes": [change("a"), change("b")],
        });
        let hostile = "cli/cli <b>\u{1b}[2J\u{202e}";
        let gateway = &mut status["gateways"][0];
        gateway["mode"] = json!("observe");
        gateway["hosts"] = json!(["gw.example"]);
        gateway["gateway"]["state"] = json!("awaiting_approval");
        gateway["gateway"]["command"] = json!("openclaw devices approve 11aa");
        gateway["delegate"]["paired"] = json!(false);
        gateway["findings"] = json!([{
            "code": "scope-upgrade", "family": "F3", "title": "…",
            "sentence": "device 0123456789ab (cli/cli on linux) asks for operator.read, and is approved for operator.admin alone; this gateway compares scopes name by name",
            "command": "scope-shim approve 22bb", "count": 3, "last": NOW - 125_000, "request": "22bb",
        }]);
        gateway["requests"] = json!([{
            "id": "22bb", "device": "0123456789ab", "client": hostile, "role": "operator",
            "scopes": ["operator.read"], "held": ["operator.admin"], "age_ms": 61_000, "remote": true,
            "command": "scope-shim approve 22bb",
        }]);
        let session = json!({
            "session": "s1", "gateway": "gateway", "from": "127.0.0.1", "who": "0123456789ab", "client": hostile,
            "requested": "admin, read", "approved": "admin", "decision": "rewrite",
            "why": "the gateway does not take admin for read", "answer": "hello-ok", "outcome": "delegated",
            "finding": null, "age_ms": 7_300_000, "bytes_to_gateway": 999, "bytes_to_client": 1_234_567,
        });
        let mut unseen = session.clone();
        for key in [
            "session",
            "who",
            "client",
            "requested",
            "approved",
            "decision",
            "why",
        ] {
            unseen[key] = Value::Null;
        }
        let mut repeated = session.clone();
        repeated["outcome"] = json!("repeated");
        repeated["finding"] = json!("scope-upgrade");
        repeated["at"] = json!(NOW - 4_000);
        repeated["times"] = json!(4_711);
        status["live"] = json!(2);
        status["sessions"] = json!([session, unseen]);
        status["recent"] = json!([repeated]);
        status["hour"] = hour(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        status
    }

    #[test]
    fn a_quiet_shim_is_told_in_few_lines() {
        insta::assert_snapshot!(page(&quiet(), Some(100), Style::plain()));
    }

    #[test]
    fn an_incident_is_told_with_what_ends_it() {
        insta::assert_snapshot!(page(&incident(), Some(120), Style::plain()));
    }

    #[test]
    fn eighty_characters_are_enough_for_all_but_what_is_copied() {
        for width in [80, 120, 200] {
            let shown = page(&incident(), Some(width), Style::plain());
            for line in shown.lines().filter(|line| !line.contains("approve")) {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn nothing_that_a_client_sends_moves_the_cursor() {
        let shown = page(&incident(), Some(200), Style::plain());
        let harmless =
            |letter: char| letter == '\n' || !letter.is_control() && letter != '\u{202e}';
        assert!(shown.chars().all(harmless), "{shown}");
    }

    #[test]
    fn whoever_reads_it_from_a_pipe_gets_everything() {
        let mut status = incident();
        let (who, why) = ("w".repeat(300), "y ".repeat(200));
        status["sessions"][0]["who"] = json!(who);
        status["sessions"][0]["why"] = json!(why.trim());
        let shown = page(&status, None, Style::plain());
        assert!(
            shown.contains(&who) && shown.contains(why.trim()),
            "{shown}"
        );
        assert!(!shown.contains('…'), "{shown}");
    }

    #[test]
    fn unpaired_is_told_as_what_somebody_wanted() {
        let mut status = quiet();
        let gateway = &mut status["gateways"][0];
        gateway["mode"] = json!("off");
        gateway["gateway"]["state"] = json!("unpaired");
        gateway["gateway"]["why"] = json!("the shim's own device is out of use");
        gateway["gateway"]["command"] = json!("scope-shim mode on");
        gateway["delegate"]["paired"] = json!(false);
        insta::assert_snapshot!(page(&status, Some(100), Style::plain()));
    }

    #[test]
    fn an_empty_document_is_shown_too() {
        assert!(page(&json!({}), Some(80), Style::plain()).starts_with("scope-shim unknown"));
    }

    #[test]
    fn numbers_are_told_as_people_tell_them() {
        assert_eq!(
            [0, 999, 1_000, 12_345, 99_960, 1_500_000_000].map(bytes),
            ["0 B", "999 B", "1.0 kB", "12.3 kB", "100 kB", "1.5 GB"]
        );
        assert_eq!(
            [0, 119_999, 120_000, 7_200_000, 172_800_000].map(age),
            ["0 s", "119 s", "2 min", "2 h", "2 d"]
        );
        assert_eq!(
            [3.25, 12.0, 1234.0].map(milliseconds),
            ["3.2 ms", "12 ms", "1.2 s"]
        );
    }
}
