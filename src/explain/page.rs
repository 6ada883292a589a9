//! An explanation in words, for a terminal or a file.
//!
//! Whatever came from a client is escaped here: traces keep it as it came.

use std::fmt::Write as _;

use super::{CaseTrace, Explanation, FindingTrace, SessionTrace};
use crate::cli::Style;
use crate::clock;
use crate::decide::Step;
use crate::scope::ScopeSet;
use crate::text::safe;

/// Something that can be put into words.
pub trait Page {
    /// Writes the whole of it.
    fn write(&self, page: &mut String, style: Style);
}

/// Puts a session or an explanation into words.
#[must_use]
pub fn page(subject: &impl Page, style: Style) -> String {
    let mut page = String::new();
    subject.write(&mut page, style);
    page
}

impl Page for SessionTrace {
    fn write(&self, page: &mut String, style: Style) {
        let name = style.strong(format!("session {}", safe(&self.session)));
        let at = clock::utc(self.at_ms);
        let _ = writeln!(
            page,
            "{name}, {at}, {} ms, mode {}\n",
            self.ms,
            safe(&self.mode)
        );
        let _ = writeln!(page, "  from       {}", safe(&self.address));
        self.case.write(page, style);
        steps(page, &self.steps, style);
        conclusion(page, "decision", &self.decision, &self.why, style);
        line(page, "answer", &safe(&self.answer));
        if let Some(would) = &self.would {
            line(page, "on would", &safe(would));
        }
        if let Some(FindingTrace {
            code,
            sentence,
            fix,
        }) = &self.finding
        {
            let code = style.doubtful(safe(code));
            line(page, "finding", &format!("{code}: {}", safe(sentence)));
            if let Some(fix) = fix {
                line(page, "fix", &safe(fix));
            }
        }
        line(page, "outcome", self.outcome.as_str());
    }
}

impl Page for Explanation {
    fn write(&self, page: &mut String, style: Style) {
        self.case.write(page, style);
        for assumed in &self.assumed {
            let _ = writeln!(page, "  assumed    {}", style.faint(safe(assumed)));
        }
        steps(page, &self.steps, style);
        conclusion(page, "decision", &self.decision, &self.why, style);
        line(page, "directly", &safe(&self.without_the_shim));
    }
}

impl Page for CaseTrace {
    fn write(&self, page: &mut String, _: Style) {
        let claims = &self.claims;
        let place = match (&self.origin.page, self.origin.direct_local) {
            (Some(origin), _) => format!("a web page of {}", safe(origin)),
            (None, true) => "this machine, directly".to_owned(),
            (None, false) => "another machine, or through a proxy".to_owned(),
        };
        let version = claims.client_version.as_deref().unwrap_or_default();
        let family = claims.device_family.as_deref().unwrap_or_default();
        let client = format!("{}/{} {version}", claims.client_id, claims.client_mode);
        let platform = format!("{} {family}", claims.platform);
        let sends = match claims.credentials.as_slice() {
            [] => "no credential".to_owned(),
            sent => sent.join(", "),
        };
        let mut lines = vec![
            ("place", place),
            ("client", safe(client.trim())),
            ("platform", safe(platform.trim())),
            (
                "device",
                claims
                    .device
                    .as_deref()
                    .map_or_else(|| "none".to_owned(), safe),
            ),
            ("sends", sends),
            ("asks for", scopes(&claims.scopes)),
        ];
        if let Some(record) = &self.record {
            lines.push(("record", safe(&record.device)));
            lines.push(("approved", scopes(&record.approved)));
            let token = match &record.token_scopes {
                Some(held) => format!("for {}", scopes(held)),
                None => safe(&record.token),
            };
            lines.push(("its token", token));
        }
        if let Some(cap) = &self.cap {
            lines.push(("cap", format!("{} (x-openclaw-scopes)", scopes(cap))));
        }
        let known = self.gateway.known_from.as_deref();
        let gateway = known.map_or_else(
            || self.gateway.name.clone(),
            |from| format!("{}, {from}", self.gateway.name),
        );
        lines.push(("gateway", safe(&gateway)));
        for (name, value) in lines {
            let _ = writeln!(page, "  {name:9}  {value}");
        }
    }
}

fn steps(page: &mut String, steps: &[Step], style: Style) {
    page.push('\n');
    for (index, step) in steps.iter().enumerate() {
        let answer = style.strong(safe(&step.answer));
        let _ = writeln!(page, "{:2}. {} {answer}", index + 1, step.question);
        for because in &step.because {
            let _ = writeln!(page, "      {}", style.faint(safe(because)));
        }
    }
    page.push('\n');
}

fn conclusion(page: &mut String, name: &str, what: &str, why: &str, style: Style) {
    let what = style.strong(safe(what));
    line(page, name, &format!("{what}: {}", safe(why)));
}

fn line(page: &mut String, name: &str, value: &str) {
    let _ = writeln!(page, "{name:9}  {value}");
}

fn scopes(list: &[String]) -> String {
    list.iter()
        .map(String::as_str)
        .collect::<ScopeSet>()
        .to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::decide::Question;
    use crate::explain::{ClaimsTrace, GatewayTrace, Origin, Outcome};

    /// A session as a shim may have seen it.
    pub(in crate::explain) fn trace() -> SessionTrace {
        SessionTrace {
            session: "0w4k9x2d".into(),
            at_ms: 1_795_366_284_000,
            ms: 25,
            mode: "on".into(),
            address: "203.0.113.9".into(),
            case: CaseTrace {
                origin: Origin {
                    direct_local: false,
                    page: None,
                    user: None,
                },
                claims: ClaimsTrace {
                    client_id: "cli".into(),
                    client_mode: "probe".into(),
                    client_version: Some("2026.3.13\u{1b}[31m\u{202e}".into()),
                    platform: "linux".into(),
                    device_family: None,
                    role: "operator".into(),
                    scopes: vec!["operator.read".into()],
                    device: None,
                    credentials: vec!["token".into()],
                },
                record: None,
                gateway: GatewayTrace {
                    name: "OpenClaw 2026.3.13".into(),
                    version: Some("2026.3.13".into()),
                    early: false,
                    compares: "implied".into(),
                    known_from: None,
                },
                cap: None,
                delegate: None,
            },
            steps: vec![Step::new(
                Question::Role,
                "yes",
                ["its role is \"operator\"".to_owned()],
            )],
            decision: "pass".into(),
            why: "it has no device and is not a direct local client with the shared secret".into(),
            answer: "hello-ok".into(),
            would: None,
            finding: Some(FindingTrace {
                code: "device-less".into(),
                sentence: "it has no device".into(),
                fix: None,
            }),
            outcome: Outcome::Degraded,
        }
    }

    #[test]
    fn a_page_reads_well_and_obeys_no_client() {
        insta::assert_snapshot!(page(&trace(), Style::plain()), @r#"
        session 0w4k9x2d, 2026-11-22T16:51:24Z, 25 ms, mode on

          from       203.0.113.9
          place      another machine, or through a proxy
          client     cli/probe 2026.3.13\u{1b}[31m\u{202e}
          platform   linux
          device     none
          sends      token
          asks for   read
          gateway    OpenClaw 2026.3.13

         1. Does it connect as an operator? yes
              its role is "operator"

        decision   pass: it has no device and is not a direct local client with the shared secret
        answer     hello-ok
        finding    device-less: it has no device
        outcome    the gateway let it in with fewer scopes than it asked for
        "#);
    }
}
