#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::{Policy, Sources};
use crate::device::{DeviceId, DeviceRecord, OperatorToken};
use crate::doctor::known::Known;
use crate::doctor::look::{
    ChallengeSeen, ClientTokens, Configuration, DelegateLook, Form, GatewayProcess, Migration,
    Reach, Running, Seen, ShimLook, StoreLook, StoredToken,
};
use crate::fixture;
use crate::gateway::{GatewayAuth, Place, Reader};
use crate::identity::store::provenance::Provenance;
use crate::identity::store::{PendingRequest, Snapshot};
use crate::invocation::Invocation;
use crate::profile::Version;
use crate::scope::{ADMIN, ALL, PAIRING, READ, WRITE};
use crate::secret::Secret;

const NOW_MS: i64 = 1_800_000_000_000;
const LEGACY: [&str; 3] = [ADMIN, "operator.approvals", PAIRING];
const FIVE: [&str; 5] = [ADMIN, READ, WRITE, "operator.approvals", PAIRING];

/// A healthy gateway of this version, with nobody paired.
fn look(month: u16, patch: u16) -> Look {
    Look {
        now_ms: NOW_MS,
        url: "ws://127.0.0.1:18789".into(),
        reach: Reach {
            refused: None,
            http: Seen {
                health: Some(200),
                ..Seen::default()
            },
            challenge: Some(Ok(ChallengeSeen {
                took: Duration::from_millis(3),
                ahead_ms: Some(40),
            })),
        },
        version: Known {
            exact: Some((Version::v2026(month, patch), "a test".into())),
            ..Known::default()
        },
        store: StoreLook {
            form: Some(Form::Files),
            snapshot: Some(Arc::default()),
            ..StoreLook::default()
        },
        client: ClientTokens::default(),
        secrets: Vec::new(),
        processes: Vec::new(),
        configuration: Configuration {
            file: Some("openclaw.json".into()),
            port: Some(18_789),
            trusted_proxies: Some(vec!["127.0.0.2/32".parse().unwrap()]),
            auto_approve_local: true,
            auth: GatewayAuth::Token(Secret::new("shared")),
            ..Configuration::default()
        },
        shim: ShimLook {
            listen: "127.0.0.1:18780".parse().unwrap(),
            listening: true,
            trusted_proxies: Vec::new(),
            sources: Sources {
                local: Some("127.0.0.1".parse().unwrap()),
                remote: Some("127.0.0.2".parse().unwrap()),
                findings: Vec::new(),
            },
            delegate: DelegateLook::Absent,
            running: None,
            silent: None,
            policy: Policy::default(),
            invocation: Invocation::default(),
        },
        notes: Vec::new(),
        installed: None,
        platform: "linux",
    }
}

fn record(id: &str, scopes: &[&str]) -> DeviceRecord {
    DeviceRecord {
        platform: Some("linux".into()),
        client_id: Some("cli".into()),
        client_mode: Some("cli".into()),
        operator_token: OperatorToken::Live {
            token: Secret::new("token"),
            scopes: scopes.iter().copied().collect(),
        },
        approved_at_ms: Some(1),
        ..fixture::record(id, "k", scopes)
    }
}

fn request(id: &str, device: &str, scopes: &[&str]) -> PendingRequest {
    PendingRequest {
        client_id: Some("cli".into()),
        client_mode: Some("cli".into()),
        ts_ms: Some(u64::try_from(NOW_MS - 60_000).unwrap()),
        ..fixture::request(id, device, None, scopes)
    }
}

impl Look {
    fn with(mut self, records: impl IntoIterator<Item = DeviceRecord>) -> Self {
        let mut snapshot = Snapshot::clone(self.store.snapshot.as_ref().unwrap());
        for record in records {
            snapshot
                .devices
                .insert(record.device_id.clone(), Arc::new(record));
        }
        self.store.snapshot = Some(Arc::new(snapshot));
        self
    }

    fn waiting(mut self, requests: impl IntoIterator<Item = PendingRequest>) -> Self {
        let mut snapshot = Snapshot::clone(self.store.snapshot.as_ref().unwrap());
        snapshot.pending.extend(requests);
        self.store.snapshot = Some(Arc::new(snapshot));
        self
    }

    fn remote(mut self, id: &str) -> Self {
        let provenance = Provenance {
            remote_ip: Some("203.0.113.9".into()),
            ..Provenance::default()
        };
        self.store.provenance.insert(DeviceId::new(id), provenance);
        self
    }

    fn host(mut self, id: &str) -> Self {
        self.client.own_device = Some(DeviceId::new(id));
        self
    }
}

/// The codes of a look's findings, in order; possible ones with a question mark.
fn codes(look: &Look) -> String {
    let codes = findings(look)
        .into_iter()
        .map(|finding| match finding.certainty {
            Certainty::Possible => format!("{}?", finding.code),
            _ => finding.code.to_owned(),
        });
    codes.collect::<Vec<_>>().join(" ")
}

const VERSIONS: [(u16, u16); 11] = [
    (2, 19),
    (2, 21),
    (2, 26),
    (3, 13),
    (3, 24),
    (4, 21),
    (5, 7),
    (6, 11),
    (7, 1),
    (8, 2),
    (9, 6),
];

/// The same without that of the probes, where they are not the point: a command line without a token has it on many
/// versions.
fn others(look: &Look) -> String {
    let codes = codes(look);
    let others = codes.split(' ').filter(|code| *code != "local-probe");
    others.collect::<Vec<_>>().join(" ")
}

/// What each version has to say about a look that this makes of it.
fn by_version(make: impl Fn(Look) -> Look) -> Vec<String> {
    let lines = VERSIONS.into_iter().map(|(month, patch)| {
        let codes = codes(&make(look(month, patch)));
        format!("{month}.{patch} {codes}").trim_end().to_owned()
    });
    lines.collect()
}

#[test]
fn a_healthy_gateway_has_only_the_probes_of_its_version_against_it() {
    insta::assert_snapshot!(by_version(|look| look).join("\n"), @r"
    2.19
    2.21
    2.26
    3.13 local-probe
    3.24
    4.21
    5.7 local-probe
    6.11 local-probe
    7.1 local-probe
    8.2 local-probe
    9.6 local-probe
    ");
}

#[test]
fn probes_of_a_command_line_that_keeps_a_token_show_its_device() {
    let lines = by_version(|look| {
        let mut look = look.with([record("d", &FIVE)]).host("d");
        look.client.tokens.push(StoredToken {
            device: DeviceId::new("d"),
            place: "a test".into(),
            token: Secret::new("token of d"),
            scopes: FIVE.into_iter().collect(),
        });
        look
    });
    let probes: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("local-probe"))
        .collect();
    assert_eq!(probes.len(), 1, "{probes:?}");
    assert!(probes[0].starts_with("3.13 "), "{probes:?}");
}

#[test]
fn a_legacy_command_line_of_this_host() {
    let lines = by_version(|look| look.with([record("d", &LEGACY)]).host("d"));
    insta::assert_snapshot!(lines.join("\n"), @r"
    2.19 literal-scopes
    2.21 literal-scopes
    2.26
    3.13 local-probe
    3.24
    4.21
    5.7 local-probe
    6.11 local-probe
    7.1 local-probe
    8.2 local-probe
    9.6 local-probe
    ");
}

#[test]
fn a_command_line_of_this_host_that_was_pinned_by_its_first_status() {
    let lines = by_version(|look| look.with([record("d", &[READ])]).host("d"));
    insta::assert_snapshot!(lines.join("\n"), @r"
    2.19 pinned-device
    2.21 pinned-device
    2.26
    3.13 local-probe
    3.24
    4.21 pinned-device
    5.7 local-probe pinned-device
    6.11 local-probe pinned-device
    7.1 local-probe
    8.2 local-probe
    9.6 local-probe
    ");
}

#[test]
fn one_that_comes_in_by_its_device_alone_needs_what_its_commands_ask_for() {
    let mut look = look(9, 6).with([record("d", &[READ])]).host("d");
    look.configuration.auth = GatewayAuth::Unknown;
    assert_eq!(codes(&look), "local-probe");
    look.version.exact = Some((Version::v2026(7, 1), "a test".into()));
    assert_eq!(codes(&look), "local-probe pinned-device");
}

#[test]
fn a_shim_that_the_gateway_refuses_is_quoted() {
    let mut look = look(9, 6);
    look.shim.running = Some(Running {
        why: Some("the gateway refuses the shim itself (token mismatch)".into()),
        ..Running::default()
    });
    look.secrets = vec![Place {
        name: "openclaw.json".into(),
        reader: Reader::Both,
        secret: Secret::new("shared"),
    }];
    assert_eq!(others(&look), "secret-drift");
}

#[test]
fn the_same_on_another_machine() {
    let lines = by_version(|look| look.with([record("d", &[READ])]).remote("d"));
    insta::assert_snapshot!(lines.join("\n"), @r"
    2.19 pinned-device
    2.21 pinned-device
    2.26 pinned-device
    3.13 local-probe pinned-device
    3.24 pinned-device
    4.21 pinned-device
    5.7 local-probe pinned-device
    6.11 local-probe pinned-device
    7.1 local-probe pinned-device
    8.2 local-probe pinned-device
    9.6 local-probe pinned-device
    ");
}

#[test]
fn a_control_ui_of_2026_2_19_asks_for_what_it_has() {
    let page = || DeviceRecord {
        client_id: Some("openclaw-control-ui".into()),
        client_mode: Some("webchat".into()),
        ..record("d", &LEGACY)
    };
    insta::assert_snapshot!(by_version(|look| look.with([page()])).join("\n"), @r"
    2.19
    2.21
    2.26
    3.13 local-probe
    3.24
    4.21
    5.7 local-probe
    6.11 local-probe
    7.1 local-probe
    8.2 local-probe
    9.6 local-probe
    ");
}

#[test]
fn a_waiting_request_and_who_may_approve_it() {
    let upgrade = || request("r", "d", &[ADMIN]);
    let alone = by_version(|look| look.with([record("d", &FIVE[1..3])]).waiting([upgrade()]));
    insta::assert_snapshot!(alone.join("\n"), @r"
    2.19 pinned-device approval-deadlock pending-request
    2.21 pinned-device approval-deadlock pending-request
    2.26 approval-deadlock pending-request
    3.13 local-probe approval-deadlock pending-request
    3.24 approval-deadlock pending-request
    4.21 pinned-device approval-deadlock pending-request
    5.7 local-probe pinned-device approval-deadlock pending-request
    6.11 local-probe pinned-device approval-deadlock pending-request
    7.1 local-probe pinned-device pending-request
    8.2 local-probe pending-request
    9.6 local-probe pending-request
    ");
    let someone = by_version(|look| {
        look.with([record("d", &FIVE[1..3]), record("e", &FIVE)])
            .waiting([upgrade()])
    });
    assert!(
        someone.iter().all(|line| !line.contains("deadlock")),
        "{someone:?}"
    );
    let pairing_only = by_version(|look| {
        look.with([record("d", &FIVE[1..3]), record("e", &[PAIRING])])
            .waiting([upgrade()])
    });
    let deadlocked: Vec<&str> = pairing_only
        .iter()
        .filter(|line| line.contains("deadlock"))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(deadlocked, ["3.24", "4.21", "5.7", "6.11"]);
}

#[test]
fn a_request_that_lapsed_is_nobodys_business_any_more() {
    let mut old = request("r", "d", &[ADMIN]);
    old.ts_ms = Some(u64::try_from(NOW_MS - 301_000).unwrap());
    assert_eq!(others(&look(8, 2).waiting([old])), "");
}

#[test]
fn requests_of_one_device_churn_and_a_nodes_are_called_so() {
    let many = look(2, 19)
        .with([record("e", &ALL)])
        .waiting([request("r", "d", &[READ]), request("s", "d", &[WRITE])]);
    assert_eq!(
        codes(&many),
        "pending-request pending-request request-churn"
    );
    let mut node = request("n", "n", &[]);
    node.roles = vec!["node".into()];
    assert_eq!(codes(&look(2, 19).waiting([node])), "node-pairing");
}

#[test]
fn the_delegate_is_not_a_device_like_the_others() {
    let delegate = || DeviceRecord {
        client_id: Some("test".into()),
        client_mode: Some("test".into()),
        ..record("shim", &ALL)
    };
    let present = |mut look: Look| {
        look.shim.delegate = DelegateLook::Present(DeviceId::new("shim"));
        look
    };
    assert_eq!(codes(&present(look(4, 21)).with([delegate()])), "");
    assert_eq!(codes(&present(look(4, 21))), "delegate-not-paired");
    let narrow = record("shim", &FIVE);
    assert_eq!(
        codes(&present(look(4, 21)).with([narrow])),
        "delegate-not-paired"
    );
    let mut exposed = look(4, 21);
    exposed.shim.delegate = DelegateLook::Unusable("others can read it".into());
    assert_eq!(codes(&exposed), "delegate-not-paired");
    let waiting = look(4, 21).with([delegate(), record("d", &[READ])]);
    let waiting = present(waiting.waiting([request("r", "d", &[ADMIN])]));
    let found = findings(&waiting);
    let deadlock = found
        .iter()
        .find(|finding| finding.code == "approval-deadlock");
    assert_eq!(deadlock.unwrap().shim, Shim::Approves, "the delegate may");
}

#[test]
fn device_tokens_that_are_stale_or_narrow() {
    let stored = |token: &str| StoredToken {
        device: DeviceId::new("d"),
        place: "a file".into(),
        token: Secret::new(token),
        scopes: [READ].into_iter().collect(),
    };
    let table = [
        (stored("token"), ""),
        (stored("another"), "stale-device-token"),
    ];
    // Where there is a shared secret, a later command line uses no token of its device.
    let by_device = |month, patch| {
        let mut look = look(month, patch);
        look.configuration.auth = GatewayAuth::Unknown;
        look
    };
    for (token, expected) in table {
        let mut look = by_device(8, 2).with([record("d", &FIVE)]);
        look.client.tokens = vec![token];
        assert_eq!(codes(&look), expected);
        look.configuration.auth = GatewayAuth::Token(Secret::new("shared"));
        assert_eq!(codes(&look), "");
    }
    let mut gone = by_device(8, 2);
    gone.client.tokens = vec![stored("token")];
    assert_eq!(codes(&gone), "stale-device-token");
    let narrow = DeviceRecord {
        operator_token: OperatorToken::Live {
            token: Secret::new("token"),
            scopes: [READ].into_iter().collect(),
        },
        ..record("d", &FIVE)
    };
    assert_eq!(others(&look(8, 2).with([narrow])), "narrow-token");
}

#[test]
fn a_key_that_moved_to_another_platform() {
    let moved = || DeviceRecord {
        platform: Some("darwin".into()),
        ..record("d", &ALL)
    };
    assert_eq!(codes(&look(2, 21).with([moved()]).host("d")), "");
    assert_eq!(
        codes(&look(4, 21).with([moved()]).host("d")),
        "metadata-changed"
    );
    assert_eq!(codes(&look(4, 21).with([moved()])), "", "another machine's");
}

#[test]
fn many_devices_of_one_client_within_an_hour() {
    let made = |number: usize, apart_ms: u64| {
        let records = (0..number).map(move |index| DeviceRecord {
            approved_at_ms: Some(1_000_000_000 + index as u64 * apart_ms),
            ..record(&format!("d{index}"), &FIVE)
        });
        look(8, 2).with(records)
    };
    assert_eq!(others(&made(3, 60_000)), "");
    assert_eq!(others(&made(4, 60_000)), "regenerated-identity");
    assert_eq!(others(&made(4, 3_600_000)), "");
}

#[test]
fn grants_that_nobody_needed() {
    let silent_for = |client: &str, scopes: &[&str]| {
        let record = DeviceRecord {
            client_id: Some(client.into()),
            client_mode: Some("app".into()),
            ..record("d", scopes)
        };
        let mut look = look(8, 2).with([record]);
        let provenance = Provenance {
            approved_via: Some("silent".into()),
            ..Provenance::default()
        };
        look.store.provenance = HashMap::from([(DeviceId::new("d"), provenance)]);
        others(&look)
    };
    assert_eq!(silent_for("some-dashboard", &FIVE), "over-wide-grant?");
    assert_eq!(silent_for("openclaw-ios", &FIVE), "");
    // The only way that this host's own command line may have.
    let mut own = look(9, 6).with([record("d", &FIVE)]).host("d");
    let provenance = Provenance {
        approved_via: Some("silent".into()),
        ..Provenance::default()
    };
    own.store.provenance = HashMap::from([(DeviceId::new("d"), provenance)]);
    assert_eq!(codes(&own), "local-probe");
    assert_eq!(silent_for("some-dashboard", &FIVE[1..]), "");
    // What its page asks for is not too much, whoever approved it.
    assert_eq!(silent_for("openclaw-control-ui", &FIVE), "");
    let client = |id: &str, mode: &str, name: &str| {
        let record = DeviceRecord {
            client_id: Some(id.into()),
            client_mode: Some(mode.into()),
            display_name: Some(name.into()),
            ..record("d", &FIVE)
        };
        others(&look(4, 21).with([record]))
    };
    assert_eq!(client("openclaw-probe", "probe", ""), "over-wide-grant");
    assert_eq!(client("test", "test", "a test"), "over-wide-grant");
    // What `status --all` leaves of a command line's own record.
    assert_eq!(client("cli", "probe", ""), "");
    assert_eq!(client("test", "test", "scope-shim 0a1b2c3d4e5f"), "");
}

#[test]
fn a_gateway_that_does_not_answer_or_tells_another_time() {
    let mut down = look(4, 21);
    down.reach.refused = Some("refused".into());
    down.reach.challenge = None;
    assert_eq!(codes(&down), "gateway-down");
    let mut mute = look(4, 21);
    mute.reach.challenge = Some(Err("none".into()));
    assert_eq!(codes(&mute), "no-answer");
    let mut starting = look(4, 21);
    starting.reach.http.ready = Some(false);
    assert_eq!(codes(&starting), "gateway-starting");
    for (ahead_ms, expected) in [
        (-59_000, ""),
        (61_000, "clock-skew"),
        (-200_000, "clock-skew"),
    ] {
        let mut skewed = look(4, 21);
        skewed.reach.challenge = Some(Ok(ChallengeSeen {
            took: Duration::ZERO,
            ahead_ms: Some(ahead_ms),
        }));
        assert_eq!(codes(&skewed), expected, "{ahead_ms}");
    }
}

#[test]
fn a_command_line_of_another_protocol() {
    let touched = |month, patch| {
        let mut look = look(6, 11);
        look.configuration.last_touched = Some(Version::v2026(month, patch));
        others(&look)
    };
    assert_eq!(touched(5, 7), "protocol-mismatch");
    assert_eq!(touched(9, 6), "");
    let mut installed = look(5, 7);
    installed.installed = Some(Version::v2026(9, 6));
    assert_eq!(others(&installed), "protocol-mismatch");
}

#[test]
fn two_gateways_on_one_port() {
    let process = |pid, port| GatewayProcess {
        pid,
        config: None,
        port: Some(port),
        is_ours: pid == 1,
        secret: None,
    };
    let mut two = look(4, 21);
    two.processes = vec![process(1, 18_789), process(2, 18_789)];
    assert_eq!(codes(&two), "two-gateways");
    two.processes = vec![process(1, 18_789), process(2, 18_790)];
    assert_eq!(codes(&two), "");
}

#[test]
fn what_the_gateway_trusts_has_to_fit_the_shim() {
    let trusting = |(month, patch), proxies: &[&str], listen: &str| {
        let mut look = look(month, patch);
        let proxies = proxies.iter().map(|text| text.parse().unwrap());
        look.configuration.trusted_proxies = Some(proxies.collect());
        look.configuration.host_origin_allowed = true;
        look.shim.listen = listen.parse().unwrap();
        codes(&look)
    };
    let here = "127.0.0.1:18780";
    let everywhere = "0.0.0.0:18780";
    assert_eq!(trusting((4, 21), &[], here), "");
    assert_eq!(trusting((4, 21), &[], everywhere), "shim-not-trusted");
    assert_eq!(trusting((4, 21), &["127.0.0.2/32"], everywhere), "");
    assert_eq!(
        trusting((2, 26), &["127.0.0.0/8"], here),
        "shim-not-trusted"
    );
    assert_eq!(trusting((4, 21), &["127.0.0.0/8"], here), "");
    assert_eq!(trusting((4, 21), &["10.0.0.5/32"], here), "untrusted-proxy");
}

#[test]
fn pages_from_elsewhere() {
    let bound = |(month, patch), origins: &[&str]| {
        let mut look = look(month, patch);
        look.configuration.bind = Some("lan".into());
        look.configuration.allowed_origins =
            origins.iter().map(|&origin| origin.to_owned()).collect();
        others(&look)
    };
    assert_eq!(bound((2, 19), &[]), "insecure-context");
    assert_eq!(bound((3, 24), &[]), "insecure-context origin-not-allowed");
    assert_eq!(bound((9, 6), &[]), "origin-not-allowed?");
    assert_eq!(bound((4, 21), &[]), "insecure-context origin-not-allowed?");
    assert_eq!(bound((4, 21), &["https://x"]), "insecure-context");
    assert_eq!(bound((8, 2), &["https://x"]), "insecure-context");
}

#[test]
fn users_whom_a_proxy_names() {
    let named = |month, patch| {
        let mut look = look(month, patch);
        look.configuration.auth = GatewayAuth::trusted_proxy("x-forwarded-user");
        others(&look)
    };
    assert_eq!(named(2, 26), "");
    assert_eq!(named(5, 7), "proxy-user");
}

#[test]
fn stores_that_do_not_fit_the_gateway() {
    let mut both = look(8, 2);
    both.store.form = Some(Form::Database);
    both.store.migration = Migration {
        files: true,
        migrated_files: true,
        rows: Some(2),
    };
    assert_eq!(others(&both), "store-mismatch");
    let mut put_back = look(7, 1);
    put_back.store.migration.migrated_files = true;
    assert_eq!(others(&put_back), "store-mismatch");
    let mut later = look(8, 2);
    later.store.app_version = Some(Version::v2026(9, 6));
    later.version.contradicted = Some((Version::v2026(9, 6), "the database".into()));
    assert_eq!(others(&later), "store-mismatch");
    let mut touched = look(8, 2);
    touched.version.contradicted = Some((Version::v2026(9, 6), "openclaw.json".into()));
    assert_eq!(others(&touched), "", "a later command line is no fault");
    let mut unreadable = look(8, 2);
    unreadable.store.snapshot = None;
    unreadable.store.unreadable = Some("permission denied".into());
    assert_eq!(others(&unreadable), "store-unreadable");
}

#[test]
fn a_gateway_of_unknown_version_makes_possible_findings_and_certain_ones_come_first() {
    let mut unknown = look(2, 19);
    unknown.version = Known::weigh(None, None, Some(Version::v2026(2, 26)), &[]);
    let unknown = unknown
        .with([record("d", &LEGACY), record("e", &ALL)])
        .waiting([request("r", "d", &[READ])]);
    assert_eq!(codes(&unknown), "pending-request literal-scopes?");
}
