//! Pairing requests and their approval.

use std::io;

use super::profile::Profile;
use super::random;
use super::records::{Paired, Pending, State, Token};
use super::scopes::{self, OPERATOR};

/// A request as filed, and whether it is news.
pub(super) struct Filed {
    pub(super) request: Pending,
    pub(super) created: bool,
    /// Requests that this one replaced (their ids are announced as rejected by 2026.9.6).
    pub(super) superseded: Vec<Pending>,
}

/// The result of an attempt to approve.
pub(super) enum Approval {
    Approved(Box<Paired>),
    Unknown,
    /// Refused with this message: `missing scope: …` or `invalid scope …`.
    Forbidden(String),
}

/// Who approves: `None` before callers' scopes were looked at (2026.3.13 and older).
pub(super) struct Approver<'a> {
    pub(super) scopes: Option<&'a [String]>,
    /// Stored as `approvedVia` by 2026.8 and later.
    pub(super) via: &'static str,
}

impl State {
    /// Files a request, or joins it with the one this device already has.
    ///
    /// The trap of every version is here: a request that once was not silent never becomes silent
    /// again, so one attempt that looked remote keeps a local device out until somebody answers it.
    pub(super) fn request(
        &mut self,
        profile: Profile,
        incoming: Pending,
        now: i64,
    ) -> io::Result<Filed> {
        let repair = self.paired.contains_key(&incoming.device_id);
        let mut existing: Vec<Pending> = self
            .pending
            .values()
            .filter(|pending| pending.device_id == incoming.device_id)
            .cloned()
            .collect();
        existing.sort_by_key(|pending| std::cmp::Reverse(pending.ts));
        if let [single] = existing.as_slice()
            && let Some(joined) = join(profile, single, &incoming, repair, now)
        {
            self.pending
                .insert(joined.request_id.clone(), joined.clone());
            return Ok(Filed {
                request: joined,
                created: false,
                superseded: Vec::new(),
            });
        }
        for old in &existing {
            self.pending.remove(&old.request_id);
        }
        let request = replacement(incoming, &existing, repair, now)?;
        self.pending
            .insert(request.request_id.clone(), request.clone());
        Ok(Filed {
            request,
            created: true,
            superseded: existing,
        })
    }

    /// Approves a request: record and token are written, the request is gone.
    pub(super) fn approve(
        &mut self,
        profile: Profile,
        request_id: &str,
        approver: &Approver<'_>,
        now: i64,
    ) -> io::Result<Approval> {
        let Some(pending) = self.pending.get(request_id).cloned() else {
            return Ok(Approval::Unknown);
        };
        let requested = pending.scopes.clone().unwrap_or_default();
        let roles = scopes::merge([
            pending.roles.as_deref().unwrap_or_default(),
            pending.role.as_slice(),
        ]);
        let existing = self.paired.get(&pending.device_id).cloned();
        let old = existing.as_ref();
        let baseline = old.map(Paired::baseline).unwrap_or_default();
        let approved = scopes::merge([baseline, &requested]);
        let mut tokens = old.map(|device| device.tokens.clone()).unwrap_or_default();
        for role in &roles {
            let current = tokens.get(role);
            let next = token_scopes(profile, role, &requested, current, baseline, &approved);
            if let Some(refusal) = refusal(profile, &roles, &requested, &next, role, approver) {
                return Ok(Approval::Forbidden(refusal));
            }
            let token = Self::next_token(role, next, current, now)?;
            tokens.insert(role.clone(), token);
        }
        let all_roles = old.map(Paired::approved_roles).unwrap_or_default();
        let device = Paired {
            device_id: pending.device_id.clone(),
            public_key: pending.public_key,
            display_name: pending.display_name,
            platform: pending.platform,
            device_family: pending
                .device_family
                .filter(|_| profile != Profile::Literal),
            client_id: pending.client_id,
            client_mode: pending.client_mode,
            role: pending.role,
            roles: Some(scopes::merge([all_roles.as_slice(), &roles])),
            scopes: Some(approved.clone()),
            approved_scopes: (profile != Profile::Literal).then_some(approved),
            remote_ip: pending.remote_ip,
            tokens,
            approved_via: via(old, approver.via).filter(|_| profile == Profile::Latest),
            created_at_ms: old.map_or(now, |device| device.created_at_ms),
            approved_at_ms: now,
            last_seen_at_ms: old.and_then(|device| device.last_seen_at_ms),
            last_seen_reason: old.and_then(|device| device.last_seen_reason.clone()),
            rest: old.map(|device| device.rest.clone()).unwrap_or_default(),
        };
        self.pending.remove(request_id);
        self.paired.insert(device.device_id.clone(), device.clone());
        Ok(Approval::Approved(Box::new(device)))
    }

    /// 2026.8 and later: a silent approval removes older silent, unconnected records of the same
    /// client id, mode and display name, once they are a minute old.
    pub(super) fn prune_silent_siblings(
        &mut self,
        device_id: &str,
        connected: &[String],
        now: i64,
    ) {
        let key = |device: &Paired| {
            let part = |text: &Option<String>| text.as_deref().unwrap_or("").trim().to_lowercase();
            [
                part(&device.client_id),
                part(&device.client_mode),
                part(&device.display_name),
            ]
        };
        let Some(anchor) = self.paired.get(device_id) else {
            return;
        };
        if anchor.approved_via.as_deref() != Some("silent") {
            return;
        }
        let anchor = key(anchor);
        let doomed: Vec<String> = self
            .paired
            .values()
            .filter(|device| {
                device.device_id != device_id
                    && device.approved_via.as_deref() == Some("silent")
                    && key(device) == anchor
                    && now - device.approved_at_ms >= 60_000
                    && !connected.contains(&device.device_id)
            })
            .map(|device| device.device_id.clone())
            .collect();
        for id in doomed {
            self.paired.remove(&id);
            self.pending.retain(|_, pending| pending.device_id != id);
        }
    }
}

/// The old request, refreshed, if the new one asks for nothing it does not ask for.
fn join(profile: Profile, old: &Pending, new: &Pending, repair: bool, now: i64) -> Option<Pending> {
    if profile == Profile::Literal {
        return Some(old.clone());
    }
    let merge = |left: &Option<Vec<String>>, right: &Option<Vec<String>>| {
        scopes::merge([
            left.as_deref().unwrap_or_default(),
            right.as_deref().unwrap_or_default(),
        ])
    };
    let mut joined = old.clone();
    match profile {
        Profile::Clearing => {
            joined.roles = Some(merge(&old.roles, &new.roles));
            joined.scopes = Some(merge(&old.scopes, &new.scopes)).filter(|list| !list.is_empty());
            joined.ts = now;
        }
        _ => {
            if !same_request(profile, old, new) {
                return None;
            }
            joined.public_key.clone_from(&new.public_key);
            if profile == Profile::Latest {
                joined.refreshed_at_ms = Some(now);
            }
        }
    }
    let newer = |new: &Option<String>, old: &Option<String>| new.clone().or_else(|| old.clone());
    joined.display_name = newer(&new.display_name, &old.display_name);
    joined.platform = newer(&new.platform, &old.platform);
    joined.device_family = newer(&new.device_family, &old.device_family);
    joined.client_id = newer(&new.client_id, &old.client_id);
    joined.client_mode = newer(&new.client_mode, &old.client_mode);
    joined.remote_ip = newer(&new.remote_ip, &old.remote_ip);
    joined.silent = old.silent && new.silent;
    joined.is_repair = old.is_repair || repair;
    Some(joined)
}

/// Whether approving the old request would answer the new one (2026.4.21 and later).
fn same_request(profile: Profile, old: &Pending, new: &Pending) -> bool {
    if old.public_key != new.public_key || old.role != new.role {
        return false;
    }
    let wanted = |pending: &Pending| {
        scopes::normalize(profile, pending.scopes.as_deref().unwrap_or_default())
    };
    let (old_scopes, new_scopes) = (wanted(old), wanted(new));
    let role = new.role.as_deref().unwrap_or(OPERATOR);
    old_scopes == new_scopes
        || (profile == Profile::Latest && scopes::allow(profile, role, &new_scopes, &old_scopes))
}

fn replacement(
    mut request: Pending,
    existing: &[Pending],
    repair: bool,
    now: i64,
) -> io::Result<Pending> {
    let lists = |pick: fn(&Pending) -> Option<&Vec<String>>, own: Option<&Vec<String>>| {
        let mut all: Vec<&[String]> = existing
            .iter()
            .filter_map(pick)
            .map(Vec::as_slice)
            .collect();
        all.extend(own.map(Vec::as_slice));
        scopes::merge(all)
    };
    if !existing.is_empty() {
        request.roles = Some(lists(
            |pending| pending.roles.as_ref(),
            request.roles.as_ref(),
        ));
        request.scopes = Some(lists(
            |pending| pending.scopes.as_ref(),
            request.scopes.as_ref(),
        ));
        request.silent = request.silent && existing.iter().all(|pending| pending.silent);
    }
    request.request_id = random::uuid()?;
    request.is_repair = repair;
    request.ts = now;
    Ok(request)
}

/// The scopes the reissued token gets.
fn token_scopes(
    profile: Profile,
    role: &str,
    requested: &[String],
    current: Option<&Token>,
    baseline: &[String],
    approved: &[String],
) -> Vec<String> {
    let of_role = |list: &[String]| {
        let mut list = scopes::normalize(profile, list);
        if profile >= Profile::Pending {
            list.retain(|scope| (role == OPERATOR) == scope.starts_with("operator."));
        }
        list
    };
    let wanted = of_role(requested);
    if profile == Profile::Literal {
        return wanted;
    }
    if wanted.is_empty() {
        return of_role(current.map_or(approved, |token| &token.scopes));
    }
    match current {
        // 2026.9.6 adds what is new to what the token had; older ones keep only what was asked for.
        Some(token) if profile == Profile::Latest => {
            let baseline = of_role(baseline);
            let mut added = wanted;
            if !baseline.is_empty() {
                added.retain(|scope| !baseline.contains(scope));
            }
            of_role(&scopes::merge([token.scopes.as_slice(), &added]))
        }
        _ => wanted,
    }
}

/// 2026.3.24 and later: nobody hands on a scope he does not hold.
fn refusal(
    profile: Profile,
    roles: &[String],
    requested: &[String],
    next: &[String],
    role: &str,
    approver: &Approver<'_>,
) -> Option<String> {
    if profile < Profile::Pending {
        return None;
    }
    let normalized = scopes::normalize(profile, requested);
    let outside = normalized.iter().find(|scope| {
        let own = std::slice::from_ref(*scope);
        !roles
            .iter()
            .any(|role| scopes::allow(profile, role, own, own))
    });
    if let Some(scope) = outside {
        return Some(format!("invalid scope for requested roles: {scope}"));
    }
    if role != OPERATOR {
        return None;
    }
    let needed = if profile == Profile::Latest {
        scopes::merge([normalized.as_slice(), next])
    } else {
        normalized
    };
    let held = approver.scopes.unwrap_or_default();
    scopes::first_missing(profile, OPERATOR, &needed, held)
        .map(|scope| format!("missing scope: {scope}"))
}

/// An owner's approval is not undone by a later silent one.
fn via(existing: Option<&Paired>, via: &str) -> Option<String> {
    match existing.map(|device| device.approved_via.as_deref()) {
        Some(Some("owner")) => Some("owner".to_owned()),
        Some(None) if via != "owner" => None,
        _ => Some(via.to_owned()),
    }
}
