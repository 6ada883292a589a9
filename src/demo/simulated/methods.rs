//! The methods a session may call, each behind the scope the real gateway asks for.

use std::io;

use serde_json::{Value, json};

use super::auth::Method;
use super::handshake::{Admission, Event, resolved};
use super::pairing::{Approval, Approver};
use super::profile::Profile;
use super::records::{State, Token};
use super::scopes::{self, ADMIN, OPERATOR, READ, WRITE};

/// What a call leads to.
pub(super) struct Reply {
    pub(super) result: Result<Value, Value>,
    pub(super) events: Vec<Event>,
    /// Sessions of this device (and role) are closed with 4001 after the answer.
    pub(super) disconnect: Option<(String, Option<String>)>,
}

/// One call.
pub(super) struct Call<'a> {
    pub(super) profile: Profile,
    pub(super) session: &'a Admission,
    pub(super) method: &'a str,
    pub(super) params: &'a Value,
    pub(super) presence: &'a [Value],
    pub(super) connected: &'a [String],
    pub(super) now_ms: i64,
}

type Answer = Result<Value, Value>;

impl Call<'_> {
    pub(super) fn run(&self, state: &mut State) -> io::Result<Reply> {
        let mut reply = Reply {
            result: Ok(Value::Null),
            events: Vec::new(),
            disconnect: None,
        };
        reply.result = match self.denied() {
            Some(error) => Err(error),
            None => self.answer(state, &mut reply)?,
        };
        Ok(reply)
    }

    fn denied(&self) -> Option<Value> {
        if self.session.role != OPERATOR {
            return Some(invalid(format!("unauthorized role: {}", self.session.role)));
        }
        let needed = self.needed_scope();
        if scopes::session_may(&self.session.scopes, needed) {
            return None;
        }
        let mut error = json!({
            "code": self.profile.scope_denial(),
            "message": format!("missing scope: {needed}"),
        });
        if self.profile == Profile::Latest {
            error["details"] = json!({
                "code": "MISSING_SCOPE",
                "missingScope": needed,
                "requiredScopes": [needed],
            });
        }
        Some(error)
    }

    /// Unknown methods are the administrator's.
    fn needed_scope(&self) -> &'static str {
        match self.method {
            "system-presence" | "status" | "health" | "sessions.list" | "cron.list"
            | "models.list" => READ,
            "chat.abort" => WRITE,
            // 2026.9.6 decides by what is patched; a label is a matter of writing.
            "sessions.patch" if self.profile == Profile::Latest => WRITE,
            "exec.approval.resolve" => "operator.approvals",
            "device.pair.list"
            | "device.pair.approve"
            | "device.pair.reject"
            | "device.pair.remove"
            | "device.token.rotate"
            | "device.token.revoke" => "operator.pairing",
            _ => ADMIN,
        }
    }

    fn answer(&self, state: &mut State, reply: &mut Reply) -> io::Result<Answer> {
        let now = self.now_ms;
        Ok(match self.method {
            "system-presence" => Ok(json!(self.presence)),
            "health" => Ok(json!({ "ok": true, "ts": now, "durationMs": 0, "channels": {} })),
            "status" => Ok(json!({
                "runtimeVersion": self.profile.version(),
                "sessions": { "count": 0, "recent": [] },
            })),
            "sessions.list" => Ok(json!({ "ts": now, "count": 0, "sessions": [] })),
            "cron.list" => Ok(json!({ "jobs": [] })),
            "models.list" => Ok(json!({ "models": [] })),
            "chat.abort" => self
                .text("sessionKey")
                .map(|_| json!({ "ok": true, "aborted": false, "runIds": [] })),
            "sessions.patch" => self
                .text("key")
                .map(|key| json!({ "ok": true, "key": key, "entry": { "updatedAt": now } })),
            "exec.approval.resolve" => Err(self.unknown_approval()),
            "connect" => Err(invalid("connect is only valid as the first request")),
            "device.pair.list" => Ok(self.list(state)),
            "device.pair.approve" => self.approve(state, reply)?,
            "device.pair.reject" => self.reject(state, reply),
            "device.pair.remove" => self.remove(state, reply),
            "device.token.rotate" => self.rotate(state, reply)?,
            "device.token.revoke" => self.revoke(state, reply),
            method => Err(invalid(format!("unknown method: {method}"))),
        })
    }

    /// From 2026.4.21 a session that came with a device token manages only its own device, unless
    /// it is an administrator's.
    fn confined_to(&self) -> Option<&str> {
        let confined = self.profile >= Profile::Pending
            && self.session.method == Method::DeviceToken
            && !self.session.scopes.iter().any(|scope| scope == ADMIN);
        self.session.device_id.as_deref().filter(|_| confined)
    }

    fn foreign(&self, device_id: &str) -> bool {
        self.confined_to()
            .is_some_and(|own| own != device_id.trim())
    }

    fn list(&self, state: &State) -> Value {
        let mut pending: Vec<_> = state
            .pending
            .values()
            .filter(|request| !self.foreign(&request.device_id))
            .collect();
        pending.sort_by_key(|request| std::cmp::Reverse(request.ts));
        let mut paired: Vec<_> = state
            .paired
            .values()
            .filter(|device| !self.foreign(&device.device_id))
            .collect();
        paired.sort_by_key(|device| std::cmp::Reverse(device.approved_at_ms));
        let redacted = paired.into_iter().map(|device| {
            let mut shown = device.redacted();
            if self.profile == Profile::Latest {
                shown["connected"] = self.connected.contains(&device.device_id).into();
            }
            shown
        });
        let pending = pending.into_iter().map(|request| {
            let mut shown = serde_json::to_value(request).unwrap_or_default();
            if let Some(map) = shown.as_object_mut() {
                map.shift_remove("refreshedAtMs");
            }
            shown
        });
        json!({ "pending": pending.collect::<Vec<_>>(), "paired": redacted.collect::<Vec<_>>() })
    }

    fn approve(&self, state: &mut State, reply: &mut Reply) -> io::Result<Answer> {
        let request_id = match self.text("requestId") {
            Ok(id) => id,
            Err(error) => return Ok(Err(error)),
        };
        let pending = state.pending.get(request_id).cloned();
        let admin = self.session.scopes.iter().any(|scope| scope == ADMIN);
        let confined = self.confined_to().is_some() || (self.profile == Profile::Latest && !admin);
        if confined {
            let allowed = pending.as_ref().is_some_and(|request| {
                let operator = request.role.as_deref() == Some(OPERATOR);
                !self.foreign(&request.device_id) && (operator || self.profile != Profile::Latest)
            });
            if !allowed {
                return Ok(Err(invalid("device pairing approval denied")));
            }
        }
        let approver = Approver {
            scopes: Some(&self.session.scopes),
            via: "owner",
        };
        let approval = state.approve(self.profile, request_id, &approver, self.now_ms)?;
        Ok(match (approval, pending) {
            (Approval::Approved(device), Some(request)) => {
                reply
                    .events
                    .push(resolved(&request, "approved", self.now_ms));
                Ok(json!({ "requestId": request_id, "device": device.redacted() }))
            }
            (Approval::Forbidden(why), _) => Err(invalid(why)),
            _ => Err(invalid("unknown requestId")),
        })
    }

    fn reject(&self, state: &mut State, reply: &mut Reply) -> Answer {
        let request_id = self.text("requestId")?;
        if self.confined_to().is_some()
            && state
                .pending
                .get(request_id)
                .is_none_or(|request| self.foreign(&request.device_id))
        {
            return Err(invalid("device pairing rejection denied"));
        }
        let Some(request) = state.pending.remove(request_id) else {
            return Err(invalid("unknown requestId"));
        };
        reply
            .events
            .push(resolved(&request, "rejected", self.now_ms));
        Ok(json!({ "requestId": request_id, "deviceId": request.device_id }))
    }

    fn remove(&self, state: &mut State, reply: &mut Reply) -> Answer {
        let device_id = self.text("deviceId")?;
        if self.foreign(device_id) {
            return Err(invalid("device pairing removal denied"));
        }
        if state.paired.remove(device_id.trim()).is_none() {
            return Err(invalid("unknown deviceId"));
        }
        if self.profile == Profile::Latest {
            state
                .pending
                .retain(|_, request| request.device_id != device_id.trim());
        }
        self.disconnect(reply, device_id, None);
        Ok(json!({ "deviceId": device_id.trim() }))
    }

    fn rotate(&self, state: &mut State, reply: &mut Reply) -> io::Result<Answer> {
        let (device_id, role) = match (self.text("deviceId"), self.text("role")) {
            (Ok(device_id), Ok(role)) => (device_id, role),
            (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
        };
        let requested = self.params["scopes"].as_array().map(|items| {
            items
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        if let Some(error) = self.rotation_denied(state, device_id, role, requested.as_deref()) {
            return Ok(Err(error));
        }
        let requested = requested.as_deref();
        let Some(token) = state.rotate(self.profile, device_id, role, requested, self.now_ms)?
        else {
            return Ok(Err(self.rotation_refused()));
        };
        self.disconnect(reply, device_id, Some(role));
        Ok(Ok(self.rotated(device_id, &token)))
    }

    /// From 2026.3.13 nobody rotates into scopes he does not hold.
    fn rotation_denied(
        &self,
        state: &State,
        device_id: &str,
        role: &str,
        requested: Option<&[String]>,
    ) -> Option<Value> {
        if self.profile == Profile::Literal {
            return None;
        }
        let Some(device) = state
            .paired
            .get(device_id)
            .filter(|_| !self.foreign(device_id))
        else {
            return Some(self.rotation_refused());
        };
        let current = device.tokens.get(role).map(|token| token.scopes.as_slice());
        let wanted = requested
            .or(current)
            .or(device.scopes.as_deref())
            .unwrap_or_default();
        let wanted = scopes::normalize(self.profile, wanted);
        let missing = scopes::first_missing(self.profile, role, &wanted, &self.session.scopes)?;
        Some(match self.profile {
            Profile::Clearing => invalid(format!("missing scope: {missing}")),
            _ => self.rotation_refused(),
        })
    }

    fn rotation_refused(&self) -> Value {
        invalid(match self.profile {
            Profile::Literal | Profile::Clearing => "unknown deviceId/role",
            _ => "device token rotation denied",
        })
    }

    /// 2026.8 and later show the new token to its own device only.
    fn rotated(&self, device_id: &str, token: &Token) -> Value {
        let mut out = json!({
            "deviceId": device_id,
            "role": token.role,
            "scopes": token.scopes,
            "rotatedAtMs": token.issued_at_ms(),
        });
        let own = self.session.method == Method::DeviceToken
            && self.session.device_id.as_deref() == Some(device_id);
        if own || self.profile != Profile::Latest {
            out["token"] = token.token.clone().into();
        }
        if self.profile == Profile::Latest {
            out["tokenDelivery"] = if own {
                "in-band"
            } else {
                "withheld-cross-device"
            }
            .into();
        }
        out
    }

    fn revoke(&self, state: &mut State, reply: &mut Reply) -> Answer {
        let (device_id, role) = (self.text("deviceId")?, self.text("role")?);
        let held = state
            .paired
            .get(device_id)
            .and_then(|device| device.tokens.get(role));
        let beyond = held.is_some_and(|token| {
            scopes::first_missing(self.profile, role, &token.scopes, &self.session.scopes).is_some()
        });
        if self.foreign(device_id) || (self.profile == Profile::Latest && beyond) {
            return Err(invalid("device token revocation denied"));
        }
        let Some(token) = state.revoke(device_id, role, self.now_ms) else {
            return Err(invalid(match self.profile {
                Profile::Latest => "device token revocation denied",
                _ => "unknown deviceId/role",
            }));
        };
        self.disconnect(reply, device_id, Some(role));
        let at = token.revoked_at_ms.unwrap_or(self.now_ms);
        Ok(json!({ "deviceId": device_id, "role": role, "revokedAtMs": at }))
    }

    /// Up to 2026.3.24 open sessions are left alone.
    fn disconnect(&self, reply: &mut Reply, device_id: &str, role: Option<&str>) {
        if self.profile >= Profile::Pending {
            reply.disconnect = Some((device_id.trim().to_owned(), role.map(str::to_owned)));
        }
    }

    fn unknown_approval(&self) -> Value {
        match self.profile {
            Profile::Literal => invalid("unknown approval id"),
            Profile::Clearing => invalid("unknown or expired approval id"),
            _ => {
                let mut error = invalid("unknown or expired approval id");
                error["details"] = json!({ "reason": "APPROVAL_NOT_FOUND" });
                error
            }
        }
    }

    fn text(&self, name: &str) -> Result<&str, Value> {
        self.params
            .get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| {
                invalid(format!(
                    "invalid {} params: must have required property '{name}'",
                    self.method
                ))
            })
    }
}

fn invalid(message: impl Into<String>) -> Value {
    json!({ "code": "INVALID_REQUEST", "message": message.into() })
}
