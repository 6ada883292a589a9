//! The table of decisions, and what holds for every one of them.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;

use super::*;
use crate::config::ClientPolicy;
use crate::fixture;
use crate::handshake::message::DeviceProof;
use crate::identity::proof::PayloadVersion;
use crate::profile::{Evidence, Version};
use crate::scope::{ALL, READ, WRITE};
use crate::secret::Secret;

const LEGACY: [&str; 3] = [ADMIN, "operator.approvals", PAIRING];

fn set(scopes: &[&str]) -> ScopeSet {
    scopes.iter().copied().collect()
}

fn record(approved: &[&str]) -> DeviceRecord {
    DeviceRecord {
        platform: Some("linux".into()),
        operator_token: OperatorToken::Live {
            token: Secret::new("t"),
            scopes: set(approved),
        },
        ..fixture::record("d", "k", approved)
    }
}

fn device(record: DeviceRecord, credential: Credential) -> Identity {
    Identity::Device {
        record: Arc::new(record),
        credential,
        payload: PayloadVersion::V2,
    }
}

fn paired(approved: &[&str]) -> Identity {
    device(record(approved), Credential::Shared)
}

fn asks(scopes: &[&str]) -> Claims {
    Claims {
        role: "operator".into(),
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        client_id: "cli".into(),
        client_mode: "cli".into(),
        platform: "linux".into(),
        ..Claims::default()
    }
}

fn open_policy() -> Policy {
    Policy::default()
}

fn early() -> Profile {
    Profile::from_evidence(&Evidence {
        version: Some("dev".into()),
        has_server_host: true,
    })
}

fn later(month: u16, patch: u16) -> Profile {
    Profile::from_evidence(&Evidence {
        version: Some(Version::v2026(month, patch).to_string()),
        has_server_host: false,
    })
}

/// A case in which nothing stands in the way but what the test is about.
fn decided(claims: &Claims, identity: &Identity, profile: &Profile) -> Decision {
    decide(Case {
        claims,
        identity,
        profile,
        policy: &open_policy(),
        cap: None,
        delegate: Some(&ALL.into_iter().collect()),
    })
}

#[test]
fn report_23006_an_admin_device_that_asks_for_read_is_rewritten_on_a_literal_gateway() {
    for wanted in [&[READ][..], &[WRITE], &[READ, WRITE], &[ADMIN, WRITE]] {
        let decision = decided(&asks(wanted), &paired(&LEGACY), &early());
        assert_eq!(
            decision,
            Decision::Rewrite(Rewrite::LiteralScopes),
            "{wanted:?}"
        );
    }
}

#[test]
fn what_a_literal_gateway_accepts_goes_on_untouched() {
    for wanted in [&LEGACY[..], &[ADMIN], &[PAIRING]] {
        let decision = decided(&asks(wanted), &paired(&LEGACY), &early());
        assert_eq!(decision, Decision::Pass(Pass::Accepted), "{wanted:?}");
    }
}

#[test]
fn a_gateway_that_implies_scopes_gets_the_same_request_untouched() {
    for profile in [later(3, 13), later(4, 21), later(9, 6)] {
        let decision = decided(&asks(&[READ]), &paired(&LEGACY), &profile);
        assert_eq!(decision, Decision::Pass(Pass::Accepted), "{profile}");
    }
}

fn user(scopes: &[&str]) -> Identity {
    Identity::User {
        name: "alice".into(),
        scopes: set(scopes),
    }
}

fn page(scopes: &[&str]) -> Claims {
    Claims {
        client_id: "openclaw-control-ui".into(),
        client_mode: "webchat".into(),
        ..asks(scopes)
    }
}

#[test]
fn the_page_of_a_mapped_user_is_rewritten_where_the_gateway_clears_its_scopes() {
    let claims = page(&[ADMIN, READ, WRITE, PAIRING]);
    for (profile, expected) in [
        (later(3, 13), Decision::Pass(Pass::Accepted)),
        (later(3, 24), Decision::Rewrite(Rewrite::DeviceLess)),
        (later(4, 21), Decision::Rewrite(Rewrite::DeviceLess)),
        (later(5, 7), Decision::Rewrite(Rewrite::DeviceLess)),
        (Profile::default(), Decision::Rewrite(Rewrite::DeviceLess)),
    ] {
        for held in [&[ADMIN][..], &[READ]] {
            assert_eq!(
                decided(&claims, &user(held), &profile),
                expected,
                "{profile}"
            );
        }
        let nothing = decided(&claims, &user(&["operator.approvals"]), &profile);
        assert!(
            matches!(nothing, Decision::Pass(Pass::NotEntitled(_))),
            "{nothing:?}"
        );
    }
}

#[test]
fn a_user_without_a_device_is_left_to_a_gateway_that_wants_one_before_and_after_it_refused() {
    let early = Profile::of_version(Version::v2026(2, 21));
    for claims in [page(&[ADMIN, READ]), asks(&[READ])] {
        let identity = user(&[ADMIN]);
        let case = Case {
            claims: &claims,
            identity: &identity,
            profile: &early,
            policy: &open_policy(),
            cap: None,
            delegate: Some(&set(&[ADMIN, READ])),
        };
        let wants = Decision::Pass(Pass::WantsDevice);
        assert_eq!((decide(case), decide_again(case)), (wants.clone(), wants));
    }
}

#[test]
fn a_user_is_granted_what_is_both_asked_for_and_mapped() {
    let (profile, cap) = (later(5, 7), set(&[READ]));
    let policy = Policy {
        max_scopes: set(&[WRITE]),
        ..open_policy()
    };
    for (held, cap, expected) in [
        (&[ADMIN][..], None, "read, write"),
        (&[WRITE], None, "read, write"),
        (&[READ], None, "read"),
        (&[ADMIN], Some(&cap), "read"),
        (&[PAIRING], None, "none"),
    ] {
        let case = Case {
            claims: &page(&[ADMIN, READ, WRITE]),
            identity: &user(held),
            profile: &profile,
            policy: &policy,
            cap,
            delegate: None,
        };
        assert_eq!(granted(case).to_string(), expected, "{held:?}");
        assert!(matches!(decide(case), Decision::Pass(_)), "no delegate");
    }
}

#[test]
fn a_users_device_is_left_to_the_gateway_until_it_has_taken_the_scopes() {
    let claims = Claims {
        device: Some(DeviceProof {
            id: "d".into(),
            public_key: "k".into(),
            signature: String::new(),
            signed_at_ms: 0,
            nonce: None,
        }),
        ..page(&[READ])
    };
    let (identity, profile) = (user(&[ADMIN]), later(5, 7));
    assert_eq!(
        decided(&claims, &identity, &profile),
        Decision::Pass(Pass::Accepted)
    );
    let again = decide_again(Case {
        claims: &claims,
        identity: &identity,
        profile: &profile,
        policy: &open_policy(),
        cap: None,
        delegate: Some(&ALL.into_iter().collect()),
    });
    assert_eq!(again, Decision::Rewrite(Rewrite::Refused));
}

#[test]
fn an_unknown_gateway_is_treated_like_the_strictest_one() {
    let decision = decided(&asks(&[READ]), &paired(&LEGACY), &Profile::default());
    assert_eq!(decision, Decision::Rewrite(Rewrite::LiteralScopes));
}

#[test]
fn report_46422_a_local_client_without_a_device_is_rewritten_where_scopes_are_cleared() {
    for identity in [
        Identity::HostDevice(Arc::new(record(&ALL))),
        Identity::FreshLocal,
    ] {
        let decision = decided(&asks(&[READ]), &identity, &later(3, 13));
        assert_eq!(decision, Decision::Rewrite(Rewrite::DeviceLess));
        let decision = decided(&asks(&[READ]), &identity, &later(9, 6));
        assert_eq!(
            decision,
            Decision::Pass(Pass::Accepted),
            "cli/cli keeps its scopes there"
        );
        let mut probe = asks(&[READ]);
        probe.client_mode = "probe".into();
        let decision = decided(&probe, &identity, &later(9, 6));
        assert_eq!(decision, Decision::Rewrite(Rewrite::DeviceLess));
    }
}

#[test]
fn more_than_approved_is_never_rewritten() {
    let cases: [(&[&str], &[&str], &[&str]); 4] = [
        (&[READ], &[WRITE], &[WRITE]),
        (&[READ], &[READ, ADMIN], &[ADMIN]),
        (&[WRITE], &[READ, PAIRING], &[PAIRING]),
        (&LEGACY, &["node.anything"], &["node.anything"]),
    ];
    for profile in [early(), Profile::default(), later(9, 6)] {
        for (approved, wanted, missing) in cases {
            let decision = decided(&asks(wanted), &paired(approved), &profile);
            assert_eq!(
                decision,
                Decision::Pass(Pass::NotEntitled(set(missing))),
                "{wanted:?}"
            );
        }
    }
}

#[test]
fn nodes_and_requests_for_nothing_go_on_untouched() {
    let mut node = asks(&[READ]);
    node.role = "node".into();
    assert_eq!(
        decided(&node, &paired(&LEGACY), &early()),
        Decision::Pass(Pass::NotOperator)
    );
    assert_eq!(
        decided(&asks(&[]), &paired(&LEGACY), &early()),
        Decision::Pass(Pass::NothingRequested)
    );
}

#[test]
fn another_platform_than_the_pinned_one_is_rewritten_where_platforms_are_pinned() {
    let mut moved = asks(&LEGACY);
    moved.platform = "darwin".into();
    let identity = paired(&LEGACY);
    assert_eq!(
        decided(&moved, &identity, &later(5, 7)),
        Decision::Rewrite(Rewrite::PinnedMetadata)
    );
    assert_eq!(
        decided(&moved, &identity, &early()),
        Decision::Pass(Pass::Accepted)
    );
    moved.platform = " LINUX ".into();
    assert_eq!(
        decided(&moved, &identity, &later(5, 7)),
        Decision::Pass(Pass::Accepted)
    );
}

#[test]
fn a_device_token_grants_what_it_was_issued_for_and_no_more() {
    let mut narrow = record(&LEGACY);
    narrow.operator_token = OperatorToken::Live {
        token: Secret::new("t"),
        scopes: set(&[WRITE]),
    };
    let identity = device(narrow, Credential::DeviceToken);
    assert_eq!(
        decided(&asks(&[READ]), &identity, &early()),
        Decision::Rewrite(Rewrite::LiteralScopes)
    );
    assert_eq!(
        decided(&asks(&[ADMIN]), &identity, &early()),
        Decision::Pass(Pass::NotEntitled(set(&[ADMIN])))
    );
}

#[test]
fn a_device_token_is_the_gateways_to_judge_where_it_may_have_died_with_the_shared_secret() {
    let mut moved = asks(&[WRITE]);
    moved.platform = "darwin".into();
    let identity = device(record(&[WRITE]), Credential::DeviceToken);
    assert_eq!(
        decided(&moved, &identity, &later(5, 7)),
        Decision::Rewrite(Rewrite::PinnedMetadata)
    );
    assert_eq!(
        decided(&moved, &identity, &later(6, 11)),
        Decision::Pass(Pass::TokenFirst)
    );
}

#[test]
fn a_device_token_session_that_manages_pairing_keeps_its_own_device() {
    let mut moved = asks(&[PAIRING]);
    moved.platform = "darwin".into();
    let identity = device(record(&LEGACY), Credential::DeviceToken);
    assert_eq!(
        decided(&moved, &identity, &later(4, 21)),
        Decision::Pass(Pass::ConfinedToken)
    );
    assert_eq!(
        decided(&moved, &identity, &later(3, 13)),
        Decision::Rewrite(Rewrite::PinnedMetadata)
    );
}

#[test]
fn without_a_paired_delegate_everything_passes() {
    let (claims, identity, profile, policy) =
        (asks(&[READ]), paired(&LEGACY), early(), open_policy());
    let case = Case {
        claims: &claims,
        identity: &identity,
        profile: &profile,
        policy: &policy,
        cap: None,
        delegate: None,
    };
    assert_eq!(decide(case), Decision::Pass(Pass::NoDelegate(set(&[READ]))));
    let narrow = set(&[ADMIN]);
    let case = Case {
        delegate: Some(&narrow),
        ..case
    };
    assert_eq!(
        decide(case),
        Decision::Pass(Pass::NoDelegate(set(&[READ]))),
        "a literal gateway would refuse the delegate too"
    );
}

#[test]
fn policy_and_header_cap_what_was_approved() {
    let (claims, identity, profile) = (asks(&[READ]), paired(&LEGACY), early());
    let delegate = ALL.into_iter().collect();
    let decided = |policy: &Policy, cap: Option<&ScopeSet>| {
        decide(Case {
            claims: &claims,
            identity: &identity,
            profile: &profile,
            policy,
            cap,
            delegate: Some(&delegate),
        })
    };
    let refused_by = |by: &str| {
        Decision::Pass(Pass::Capped {
            scopes: set(&[READ]),
            by: by.to_owned(),
        })
    };
    let pairing_only = set(&[PAIRING]);
    let by_header = refused_by("the header x-openclaw-scopes");
    assert_eq!(decided(&open_policy(), Some(&pairing_only)), by_header);
    let mut policy = open_policy();
    policy.max_scopes = pairing_only.clone();
    assert_eq!(decided(&policy, None), refused_by("policy.max_scopes"));
    let mut policy = open_policy();
    let client = ClientPolicy {
        max_scopes: Some(pairing_only),
        ..ClientPolicy::default()
    };
    policy.clients.insert("cli".into(), client);
    assert_eq!(
        decided(&policy, None),
        refused_by("policy.clients.cli.max_scopes")
    );
}

#[test]
fn a_grant_of_the_operator_widens_one_client_only() {
    let mut policy = open_policy();
    let client = ClientPolicy {
        grant: set(&[WRITE]),
        ..ClientPolicy::default()
    };
    policy.clients.insert("cli".into(), client);
    let (identity, profile, delegate) = (paired(&[READ]), early(), ALL.into_iter().collect());
    let (claims, mut other) = (asks(&[WRITE]), asks(&[WRITE]));
    other.client_id = "test".into();
    let case = Case {
        claims: &claims,
        identity: &identity,
        profile: &profile,
        policy: &policy,
        cap: None,
        delegate: Some(&delegate),
    };
    assert_eq!(decide(case), Decision::Rewrite(Rewrite::LiteralScopes));
    let case = Case {
        claims: &other,
        ..case
    };
    assert_eq!(
        decide(case),
        Decision::Pass(Pass::NotEntitled(set(&[WRITE])))
    );
}

prop_compose! {
    fn scopes()(picked in prop::sample::subsequence(universe(), 0..=universe().len())) -> Vec<String> {
        picked
    }
}

fn universe() -> Vec<String> {
    ALL.iter()
        .copied()
        .chain(["operator.bogus", "operator.", "operator", "node.invoke", ""])
        .map(str::to_owned)
        .collect()
}

fn any_profile() -> impl Strategy<Value = Profile> {
    prop_oneof![
        Just(early()),
        Just(Profile::default()),
        Just(later(3, 13)),
        Just(later(4, 21)),
        Just(later(9, 6)),
    ]
}

/// Everything that bears on a decision, drawn at random.
#[derive(Clone, Debug)]
struct Anything {
    approved: Vec<String>,
    token: Vec<String>,
    requested: Vec<String>,
    max: Vec<String>,
    cap: Option<Vec<String>>,
    delegate: Option<Vec<String>>,
    grant: Vec<String>,
    client_max: Option<Vec<String>>,
    profile: Profile,
    who: u8,
    role: &'static str,
    again: bool,
}

prop_compose! {
    fn anything()(
        approved in scopes(), token in scopes(), requested in scopes(), max in scopes(),
        cap in prop::option::of(scopes()), delegate in prop::option::of(scopes()),
        grant in scopes(), client_max in prop::option::of(scopes()),
        profile in any_profile(), who in 0u8..6, role in prop::sample::select(vec!["operator", "node"]),
        again: bool,
    ) -> Anything {
        Anything {
            approved, token, requested, max, cap, delegate, grant, client_max, profile, who, role, again,
        }
    }
}

/// The `who` of a user that a proxy names.
const USER: u8 = 4;

impl Anything {
    /// What the delegate asks for in the session's place.
    fn granted(&self) -> ScopeSet {
        match self.decide() {
            Decision::Rewrite(_) => self.in_case(granted),
            Decision::Pass(_) => ScopeSet::new(),
        }
    }

    /// The same with a little less of one of the things that a session needs.
    fn with_less(mut self, of: u8, which: prop::sample::Index) -> Self {
        let fewer = |scopes: &mut Vec<String>| {
            if !scopes.is_empty() {
                scopes.remove(which.index(scopes.len()));
            }
        };
        // A cap that is not there allows all.
        let cap = |cap: &mut Option<Vec<String>>| fewer(cap.get_or_insert_with(universe));
        match of {
            0 => fewer(&mut self.approved),
            1 => fewer(&mut self.token),
            2 => fewer(&mut self.grant),
            3 => fewer(&mut self.max),
            4 => cap(&mut self.cap),
            5 => cap(&mut self.client_max),
            _ => match &mut self.delegate {
                Some(delegate) if !delegate.is_empty() => fewer(delegate),
                delegate => *delegate = None,
            },
        }
        self
    }

    fn decide(&self) -> Decision {
        self.in_case(|case| {
            if self.again {
                decide_again(case)
            } else {
                decide(case)
            }
        })
    }

    fn in_case<T>(&self, look: impl FnOnce(Case<'_>) -> T) -> T {
        let collect = |scopes: &Vec<String>| -> ScopeSet { scopes.iter().cloned().collect() };
        let mut record = record(&[]);
        record.approved_scopes = collect(&self.approved);
        record.operator_token = OperatorToken::Live {
            token: Secret::new("t"),
            scopes: collect(&self.token),
        };
        let identity = match self.who {
            0 => device(record, Credential::Shared),
            1 => device(record, Credential::DeviceToken),
            2 => Identity::HostDevice(Arc::new(record)),
            3 => Identity::FreshLocal,
            USER => Identity::User {
                name: "alice".into(),
                scopes: collect(&self.approved),
            },
            _ => Identity::Unknown(Unidentified::NotPaired),
        };
        let mut claims = asks(&[]);
        claims.scopes.clone_from(&self.requested);
        self.role.clone_into(&mut claims.role);
        let mut policy = open_policy();
        policy.max_scopes = collect(&self.max);
        let client = ClientPolicy {
            grant: collect(&self.grant),
            max_scopes: self.client_max.as_ref().map(collect),
            ..ClientPolicy::default()
        };
        policy.clients.insert("cli".into(), client);
        let (cap, delegate) = (
            self.cap.as_ref().map(collect),
            self.delegate.as_ref().map(collect),
        );
        let case = Case {
            claims: &claims,
            identity: &identity,
            profile: &self.profile,
            policy: &policy,
            cap: cap.as_ref(),
            delegate: delegate.as_ref(),
        };
        look(case)
    }

    /// An independent statement of what a session may hold.
    fn may_hold(&self, scope: &str) -> bool {
        let closure = |held: &[String]| {
            let has = |name: &str| held.iter().any(|scope| scope == name);
            has(scope)
                || (has(ADMIN) && scope.starts_with("operator."))
                || (scope == READ && has(WRITE))
        };
        let approved = closure(&self.approved) || closure(&self.grant);
        let held = match self.who {
            0 | 2 => approved,
            1 => approved && closure(&self.token),
            3 => scope.starts_with("operator."),
            // Nobody has approved a user for anything: the map alone counts.
            USER => closure(&self.approved),
            _ => false,
        };
        held && closure(&self.max)
            && self.client_max.as_deref().is_none_or(closure)
            && self.cap.as_deref().is_none_or(closure)
            && self
                .delegate
                .as_ref()
                .is_some_and(|delegate| delegate.iter().any(|name| name == scope))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn granted_is_never_more_than_entitled(anything in anything()) {
        if let Decision::Rewrite(_) = anything.decide() {
            prop_assert_eq!(anything.role, "operator");
            let granted = anything.granted();
            prop_assert!(!granted.is_empty());
            for scope in granted.iter() {
                prop_assert!(anything.may_hold(scope), "{} was granted", scope);
                prop_assert!(anything.requested.iter().any(|asked| asked == scope));
            }
            // All or nothing, but for a user.
            if anything.who != USER {
                let requested: ScopeSet = anything.requested.iter().cloned().collect();
                prop_assert_eq!(granted, requested);
            }
        }
    }

    /// A user is let in with what the map leaves; so a delegate that lacks a part of that keeps all of it back, and
    /// less of the map may be granted where more was not. Everywhere else the delegate is as it is.
    #[test]
    fn less_of_anything_never_grants_more(
        anything in anything(), of in 0u8..7, which in any::<prop::sample::Index>(),
    ) {
        let mut more = anything;
        more.again = true;
        if more.who == USER && of < 6 {
            more.delegate = Some(universe());
        }
        let less = more.clone().with_less(of, which);
        let (less, more) = (less.granted(), more.granted());
        prop_assert!(more.names_all(&less), "{less} of {more}");
    }

    /// The gateway's answer can turn what it was to accept into a rewriting, and nothing else into anything.
    #[test]
    fn a_refusal_opens_no_way_that_an_obstacle_closed(anything in anything()) {
        let (mut before, mut after) = (anything.clone(), anything);
        (before.again, after.again) = (false, true);
        match (before.decide(), after.decide()) {
            (Decision::Rewrite(_) | Decision::Pass(Pass::TokenFirst), again) => prop_assert_eq!(again, Decision::Rewrite(Rewrite::Refused)),
            (Decision::Pass(Pass::Accepted), again) => {
                let open = matches!(
                    again,
                    Decision::Rewrite(Rewrite::Refused) | Decision::Pass(Pass::NoDelegate(_) | Pass::ConfinedToken)
                );
                prop_assert!(open, "{again:?}");
            }
            (first, again) => prop_assert_eq!(first, again),
        }
    }

    /// What is named as missing was asked for, and may not be held.
    #[test]
    fn what_is_said_to_be_missing_is(anything in anything()) {
        let mut anything = anything;
        anything.delegate = Some(universe());
        if let Decision::Pass(Pass::NotEntitled(missing) | Pass::Capped { scopes: missing, .. }) = anything.decide() {
            prop_assert!(!missing.is_empty());
            for scope in missing.iter() {
                prop_assert!(!anything.may_hold(scope), "{} is held", scope);
                prop_assert!(anything.requested.iter().any(|asked| asked == scope));
            }
        }
    }

    #[test]
    fn the_steps_end_in_the_decision_and_contradict_it_nowhere(anything in anything()) {
        let decision = anything.decide();
        let mut steps = Vec::new();
        let traced = anything.in_case(|case| {
            if anything.again {
                decide_again_traced(case, &mut steps)
            } else {
                decide_traced(case, &mut steps)
            }
        });
        prop_assert_eq!(&traced, &decision);
        let (last, before) = steps.split_last().unwrap();
        prop_assert_eq!(last, &Step::new(Question::Decision, decision.as_str(), [decision.to_string()]));
        let said = |question| before.iter().find(|step| step.question == question).map(|step| step.answer.as_str());
        let unless = |ends: bool| if ends { "no" } else { "yes" };
        prop_assert_eq!(said(Question::Role), Some(unless(decision == Decision::Pass(Pass::NotOperator))));
        if let Some(requested) = said(Question::Requested) {
            prop_assert_eq!(requested, unless(decision == Decision::Pass(Pass::NothingRequested)));
        }
        if let Some(entitled) = said(Question::Entitled) {
            let in_part = entitled == "some of them";
            prop_assert!(!in_part || anything.who == USER);
            let entitled = if in_part { "yes" } else { entitled };
            prop_assert_eq!(entitled, unless(matches!(decision, Decision::Pass(Pass::NotEntitled(_) | Pass::Capped { .. }))));
        }
        if let Some(delegate) = said(Question::Delegate) {
            prop_assert_eq!(delegate == "yes", matches!(decision, Decision::Rewrite(_)));
        }
        let questions: std::collections::HashSet<_> = steps.iter().map(|step| step.question.to_string()).collect();
        prop_assert_eq!(questions.len(), steps.len(), "nothing is asked twice");
    }
}

#[test]
fn every_decision_says_why_in_words() {
    let decisions = [
        Decision::Pass(Pass::NotOperator),
        Decision::Pass(Pass::NotEntitled(set(&[WRITE]))),
        Decision::Pass(Pass::Unidentified(Unidentified::NotPaired)),
        Decision::Rewrite(Rewrite::LiteralScopes),
    ];
    let words: Vec<String> = decisions.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "not an operator",
            "not approved for write",
            "its device is not paired",
            "entitled, but this gateway may compare scope names literally",
        ]
    );
    assert!(words.first().unwrap().len() < 80);
}
