//! Somebody has to approve something: F3, F4, F12, F13, F14, F18.

use serde_json::{Value, json};

use super::Case;
use super::draft::Draft;
use super::said::Upgrade;
use super::text::{LONGEST_PLACE, Secrets, harmless};
use crate::config::Capped;
use crate::control::approve_command;
use crate::decide::{Decision, Pass};
use crate::device::DeviceRecord;
use crate::findings::Code;
use crate::handshake::message::Claims;
use crate::identity::{Identity, Unidentified};
use crate::scope::ScopeSet;
use crate::text::{brief, ordinal};

/// From so many new devices on, they are taken for one client that makes itself a new one at every start.
pub(super) const MANY_NEWCOMERS: usize = 3;

pub(super) fn explain(case: &Case<'_>, reason: Option<Upgrade>) -> Draft {
    let request_id = request_id(case);
    if case.delegated {
        return delegate(request_id);
    }
    let secrets = Secrets::of(case.claims, case.challenge);
    let reason = reason.unwrap_or_else(|| guess(case));
    let approved = approved(case);
    let asked = case.claims.requested();
    let missing = approved.as_ref().map(|approved| approved.missing(&asked));
    let mut draft = match reason {
        Upgrade::NotPaired => not_paired(case, &secrets),
        Upgrade::Role => role(case, &secrets),
        Upgrade::Metadata => metadata(case, &secrets),
        Upgrade::Scope => scopes(case, &secrets, approved.as_ref()),
    };
    let capped = case.policy.cap(&case.claims.client_id, &asked);
    draft = match capped.filter(|_| case.approver) {
        Some(capped) => cannot_be_approved(case, draft, &capped, &secrets),
        None => can_be_approved(case, draft, request_id.as_deref()),
    };
    if let Some(waiting) = case.waiting.filter(|waiting| !waiting.implies_all(&asked)) {
        let waiting = secrets.scopes(waiting);
        draft.way_out = format!(
            "{} (that request is for {waiting}; once it is decided, the next attempt files one for this)",
            draft.way_out
        );
        draft = draft.evidence("requestAsks", waiting);
    }
    draft.approved = approved;
    draft.missing = missing;
    draft.pairing = Some(request_id);
    draft
        .evidence("reason", name(reason))
        .evidence("role", secrets.clean(&case.claims.role, 40))
}

fn name(reason: Upgrade) -> &'static str {
    match reason {
        Upgrade::NotPaired => "not-paired",
        Upgrade::Role => "role-upgrade",
        Upgrade::Scope => "scope-upgrade",
        Upgrade::Metadata => "metadata-upgrade",
    }
}

/// Up to 2026.2.21 the gateway does not say why; the record tells.
fn guess(case: &Case<'_>) -> Upgrade {
    match case.record {
        None => Upgrade::NotPaired,
        Some(record) if !record.roles.contains(&case.claims.role) => Upgrade::Role,
        Some(_) => Upgrade::Scope,
    }
}

/// Somebody only has to approve what waits.
fn can_be_approved(case: &Case<'_>, mut draft: Draft, request_id: Option<&str>) -> Draft {
    let command = match (case.approver, request_id) {
        (true, Some(id)) => case.invocation.command(&["approve", id]),
        (true, None) => case.invocation.command(&["devices"]),
        (false, _) => by_the_gateway(request_id),
    };
    draft.way_out = format!("{}run: {command}", draft.way_out);
    draft.bare = request_id
        .filter(|_| case.approver)
        .map(|id| format!("scope-shim approve {id}"));
    draft.command(command)
}

/// The shim approves nothing beyond the operator's own cap, whoever asks.
fn cannot_be_approved(
    case: &Case<'_>,
    mut draft: Draft,
    capped: &Capped,
    secrets: &Secrets,
) -> Draft {
    let command = case.invocation.command(&["reload"]);
    let (setting, scopes) = (harmless(&capped.setting), secrets.scopes(&capped.scopes));
    if matches!(draft.code, Code::ScopeUpgrade | Code::LiteralScopes) {
        draft.code = Code::ScopeCap;
    }
    draft.way_out = format!(
        "{setting} of scope-shim's configuration keeps {scopes} from it: {}allow it there, run: {command}, and let it \
         try again",
        draft.way_out
    );
    draft.brief = format!("{setting} forbids {scopes}");
    draft
        .command(command)
        .evidence("cappedBy", setting)
        .evidence("capped", secrets.list(&capped.scopes))
}

/// The command of the gateway's own; without an id that can stand in a command, the one that shows it.
fn by_the_gateway(request_id: Option<&str>) -> String {
    match request_id {
        Some(id) => approve_command(Some(id)),
        None => "openclaw devices list".to_owned(),
    }
}

fn delegate(request_id: Option<String>) -> Draft {
    let command = by_the_gateway(request_id.as_deref());
    let mut draft = Draft::new(
        Code::DelegateNotPaired,
        "cannot be helped yet, because scope-shim's own device is not paired with the gateway",
        format!("run once: {command}"),
        "scope-shim's device",
    )
    .command(command);
    draft.pairing = Some(request_id);
    draft
}

fn not_paired(case: &Case<'_>, secrets: &Secrets) -> Draft {
    let asked = asked(case.claims, secrets);
    if matches!(case.identity, Identity::Device { .. }) {
        return store_mismatch(
            case,
            format!(
                "is not paired, says the gateway, but it is in the pairing store that scope-shim reads; it {asked}"
            ),
        );
    }
    if case.newcomers >= MANY_NEWCOMERS {
        return Draft::new(
            Code::RegeneratedIdentity,
            format!(
                "is the {} new device of this client and address within minutes, so the client makes itself a new identity at every start; it {asked}",
                ordinal(case.newcomers)
            ),
            "keep the client's state directory between its starts (a volume for ~/.openclaw, or the \
             browser's site data), then ",
            "new identity at every start",
        )
        .evidence("newDevices", case.newcomers);
    }
    if case.claims.role == "node" {
        return Draft::new(
            Code::NodePairing,
            "wants to be a node, and is not approved; its request waits among the devices \
             (`openclaw devices list`), not among the nodes",
            "",
            "node",
        );
    }
    Draft::new(
        Code::NotPaired,
        format!("is not paired with this gateway; it {asked}"),
        "",
        "device not paired",
    )
}

fn role(case: &Case<'_>, secrets: &Secrets) -> Draft {
    if gateway_knows_more(case) {
        return store_mismatch(case, store_is_behind(case, secrets));
    }
    let held = case.record.map_or_else(
        || gateway_list(case, "approvedRoles").join(", "),
        |record| record.roles.join(", "),
    );
    let held = match held.is_empty() {
        true => "another role".to_owned(),
        false => secrets.clean(&held, 80),
    };
    let wanted = secrets.clean(&case.claims.role, 40);
    Draft::new(
        Code::RoleUpgrade,
        format!("asks for the role {wanted}, and is approved for {held}"),
        "",
        format!("role {wanted}"),
    )
}

fn metadata(case: &Case<'_>, secrets: &Secrets) -> Draft {
    if gateway_knows_more(case) {
        return store_mismatch(case, store_is_behind(case, secrets));
    }
    let claims = case.claims;
    let family = claims.device_family.as_deref().unwrap_or_default();
    let mut differences = Vec::new();
    let mut evidence = Vec::new();
    if let Some(record) = case.record {
        let fields = [
            (
                "platform",
                record.platform.as_deref(),
                claims.platform.as_str(),
            ),
            ("deviceFamily", record.device_family.as_deref(), family),
        ];
        for (field, pinned, claimed) in fields {
            let Some(pinned) = pinned.filter(|pinned| differs(pinned, claimed)) else {
                continue;
            };
            let (pinned, claimed) = (secrets.clean(pinned, 40), secrets.clean(claimed, 40));
            differences.push(format!("{field} is \"{claimed}\", pinned is \"{pinned}\""));
            evidence.push(json!({"field": field, "pinned": pinned, "claimed": claimed}));
        }
    }
    let what = match differences.is_empty() {
        true => "platform or device family differ".to_owned(),
        false => differences.join(" and "),
    };
    Draft::new(
        Code::MetadataChanged,
        format!("is not as it was when it was paired: {what}"),
        "",
        "platform changed",
    )
    .evidence(
        "changed",
        if evidence.is_empty() {
            Value::Null
        } else {
            json!(evidence)
        },
    )
}

fn differs(pinned: &str, claimed: &str) -> bool {
    !pinned.trim().is_empty() && !pinned.trim().eq_ignore_ascii_case(claimed.trim())
}

fn scopes(case: &Case<'_>, secrets: &Secrets, approved: Option<&ScopeSet>) -> Draft {
    let asked = case.claims.requested();
    if gateway_knows_more(case) {
        return store_mismatch(case, store_is_behind(case, secrets));
    }
    if matches!(
        case.identity,
        Identity::Unknown(Unidentified::StoreUnreadable)
    ) {
        return Draft::new(
            Code::StoreUnreadable,
            format!(
                "asks for {}, which the gateway does not find approved; scope-shim cannot read the pairing store to \
                 help",
                secrets.scopes(&asked)
            ),
            "let scope-shim run as the gateway's user, or ",
            "store unreadable",
        );
    }
    let Some(approved) = approved else {
        return Draft::new(
            Code::ScopeUpgrade,
            format!(
                "asks for {}, more than was approved for it",
                secrets.scopes(&asked)
            ),
            "",
            "more scopes",
        );
    };
    let missing = approved.missing(&asked);
    if missing.is_empty() {
        let help = match case.decision {
            Decision::Pass(Pass::NoDelegate(_)) => {
                "; scope-shim would help, once its own device is paired (`openclaw devices list`)"
            }
            _ => "",
        };
        return Draft::new(
            Code::LiteralScopes,
            format!(
                "asks for {}, which its approved {} cover, but this gateway compares the names literally{help}",
                secrets.scopes(&asked),
                secrets.scopes(approved)
            ),
            "",
            "literal scopes",
        );
    }
    Draft::new(
        Code::ScopeUpgrade,
        format!(
            "asks for {}; approved: {}; missing: {}",
            secrets.scopes(&asked),
            secrets.scopes(approved),
            secrets.scopes(&missing)
        ),
        "",
        format!("lacks {}", secrets.scopes(&missing)),
    )
}

/// The gateway speaks of an upgrade of a device that is not in the store.
fn gateway_knows_more(case: &Case<'_>) -> bool {
    matches!(
        case.identity,
        Identity::User { .. } | Identity::Unknown(Unidentified::NotPaired)
    )
}

fn store_is_behind(case: &Case<'_>, secrets: &Secrets) -> String {
    format!(
        "is known to the gateway, but not in the pairing store that scope-shim reads; it {}",
        asked(case.claims, secrets)
    )
}

fn store_mismatch(case: &Case<'_>, what: String) -> Draft {
    let state = case.facts.state.as_deref();
    let local = case.visit.circumstances.direct_local;
    let place = state
        .filter(|_| local)
        .map(|state| {
            format!(
                " (it reads {})",
                brief(&state.display().to_string(), LONGEST_PLACE)
            )
        })
        .unwrap_or_default();
    Draft::new(
        Code::StoreMismatch,
        what,
        format!("give scope-shim the state directory of the gateway that runs{place}, or "),
        "another gateway's store",
    )
}

fn asked(claims: &Claims, secrets: &Secrets) -> String {
    match claims.scopes.is_empty() {
        true => format!("asks for the role {}", secrets.clean(&claims.role, 40)),
        false => format!("asks for {}", secrets.scopes(&claims.requested())),
    }
}

/// What was approved: by the record, else as the gateway says it (from 2026.4.21).
fn approved(case: &Case<'_>) -> Option<ScopeSet> {
    let by_record = |record: &DeviceRecord| record.approved_scopes.clone();
    let record = case.record.filter(|_| case.claims.is_operator());
    record.map(by_record).or_else(|| {
        let listed = gateway_list(case, "approvedScopes");
        (!listed.is_empty()).then(|| listed.into_iter().collect())
    })
}

fn gateway_list<'a>(case: &Case<'a>, key: &str) -> Vec<&'a str> {
    let list = case.message.pointer(&format!("/error/details/{key}"));
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).collect()
}

/// The request's id, if it is one that may stand in a command line: `^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`, as clients
/// check it.
fn request_id(case: &Case<'_>) -> Option<String> {
    let id = case.refusal.request_id.as_deref()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
    let fits = id.len() <= 128
        && id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.chars().all(plain)
        && Secrets::of(case.claims, case.challenge).clean(id, id.len()) == id;
    fits.then(|| id.to_owned())
}
