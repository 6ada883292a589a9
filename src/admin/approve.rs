//! Approving a pairing request for a person who looks at the status page, by the rules that the command keeps, too.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::route::{Answer, Asked, Refused};
use crate::app::Shim;
use crate::approval::{
    Approved, Candidate, Listing, NotApproved, Objection, approve_unchanged, look,
};
use crate::audit::Rule;
use crate::engine::Engine;
use crate::scope::ScopeSet;
use crate::text::safe;

/// Approves the request with the id `request`, of the gateway named `gateway` where there are several; and only if it
/// asks for just `scopes`, where the person was shown some.
pub(super) async fn approve(shim: &Shim, asked: &Asked) -> Answer {
    let text = |key: &str| asked.body.get(key).and_then(Value::as_str);
    let id = text("request").ok_or_else(|| Refused::bad("`request`: expected its id"))?;
    let fleet = shim.fleet();
    let mut meant = fleet.meant(text("gateway"));
    let (Some((served, _)), None) = (meant.next(), meant.next()) else {
        return Err(Refused::bad("`gateway`: expected the name of one of them"));
    };
    let front = served.front();
    let engine = &front.engine;
    let listing = look(&mut &engine.control)
        .await
        .map_err(|error| failed(error.into()))?;
    let waiting = find(&listing, id).ok_or_else(|| gone(engine, id))?;
    if let Some(seen) = scopes(&asked.body)?
        && seen != waiting.request.scopes
    {
        return Err(failed(NotApproved::Changed(waiting.request.scopes)));
    }
    if let Some(objection) = waiting.objection(&engine.rules().policy) {
        return Err(Refused {
            status: StatusCode::CONFLICT,
            kind: "policy",
            message: why_not(&objection),
        });
    }
    let approved = approve_unchanged(&mut &engine.control, &engine.audit, Rule::Page, &waiting)
        .await
        .map_err(failed)?;
    engine.telemetry.approved(Rule::Page);
    engine.resolver.invalidate();
    Ok(json!({"approved": shown(&waiting, &approved)}))
}

fn find(listing: &Listing, id: &str) -> Option<Candidate> {
    let mut waiting = Candidate::all(listing).into_iter();
    waiting.find(|candidate| candidate.request.request_id == id)
}

/// The scopes that somebody was shown.
fn scopes(body: &Value) -> Result<Option<ScopeSet>, Refused> {
    let wrong = || Refused::bad("`scopes`: expected a list of names");
    match body.get("scopes") {
        None | Some(Value::Null) => Ok(None),
        Some(list) => {
            let names = list.as_array().ok_or_else(wrong)?;
            let names = names.iter().map(|name| name.as_str().ok_or_else(wrong));
            Ok(Some(names.collect::<Result<ScopeSet, Refused>>()?))
        }
    }
}

fn gone(engine: &Engine, id: &str) -> Refused {
    let already = engine.audit.rule_of(id).is_some();
    let message = if already {
        "it does not wait: scope-shim has approved it already".to_owned()
    } else {
        NotApproved::Gone(None).to_string()
    };
    Refused {
        status: StatusCode::CONFLICT,
        kind: "gone",
        message,
    }
}

fn why_not(objection: &Objection) -> String {
    match objection {
        Objection::ForeignKey => {
            "its key is not the key of the device that it names; reject it with openclaw devices reject".to_owned()
        }
        Objection::Capped { scopes, setting } => {
            let setting = safe(setting);
            format!("{setting} keeps {scopes} from this client; allow it there, or reject the request with openclaw devices reject")
        }
    }
}

fn failed(why: NotApproved) -> Refused {
    let (status, kind) = match &why {
        NotApproved::Gone(_) | NotApproved::Changed(_) | NotApproved::Grew { .. } => {
            (StatusCode::CONFLICT, "changed")
        }
        NotApproved::Audit { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "audit"),
        _ => (StatusCode::BAD_GATEWAY, "gateway"),
    };
    Refused {
        status,
        kind,
        message: why.to_string(),
    }
}

fn shown(waited: &Candidate, approved: &Approved) -> Value {
    let request = &waited.request;
    let names = |scopes: &ScopeSet| json!(scopes.iter().collect::<Vec<_>>());
    json!({
        "request": request.request_id,
        "device": request.device_id.short(),
        "client": request.client_id,
        "before": approved.before.as_ref().map(names),
        "after": names(&approved.after),
        "roles": approved.roles,
        "next": waited.next_step(),
    })
}
