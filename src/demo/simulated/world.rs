//! What all connections of one simulated gateway share.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};

use super::claims::Claims;
use super::frames;
use super::handshake::{Admission, Attempt, Event, Policy, Verdict};
use super::locality::Ingress;
use super::methods::{Call, Reply};
use super::profile::Profile;
use super::records::State;
use super::scopes;
use super::store::Store;
use super::{Connect, Outcome};

pub(super) struct World {
    pub(super) policy: Policy,
    pub(super) trusted_proxies: Vec<String>,
    pub(super) state_dir: PathBuf,
    /// Held for as long as one decision takes, so that decisions follow each other.
    store: Mutex<Store>,
    sessions: Mutex<BTreeMap<u64, Session>>,
    connects: Mutex<Vec<Connect>>,
    unauthenticated: Mutex<HashMap<IpAddr, usize>>,
    /// One permit, one more chunk of `GET /v1/stream?gated`.
    pub(super) chunks: Semaphore,
}

/// An admitted session.
struct Session {
    admission: Admission,
    presence: Option<Value>,
    outbox: mpsc::UnboundedSender<Outgoing>,
    sequence: u64,
}

/// What a session is told to send.
pub(super) enum Outgoing {
    Frame(Vec<u8>),
    Close(u16, String),
}

impl World {
    pub(super) fn new(
        policy: Policy,
        trusted_proxies: Vec<String>,
        state_dir: PathBuf,
        store: Store,
    ) -> Self {
        Self {
            policy,
            trusted_proxies,
            state_dir,
            store: Mutex::new(store),
            sessions: Mutex::default(),
            connects: Mutex::default(),
            unauthenticated: Mutex::default(),
            chunks: Semaphore::new(0),
        }
    }

    pub(super) fn profile(&self) -> Profile {
        self.policy.profile
    }

    pub(super) fn ingress(&self, peer: SocketAddr, headers: &[(String, String)]) -> Ingress {
        Ingress::read(self.profile(), peer.ip(), headers, &self.trusted_proxies)
    }

    /// Decides about a `connect` request and stores what follows from it.
    pub(super) fn decide(
        &self,
        claims: &Claims,
        ingress: &Ingress,
        nonce: &str,
        scope_cap: Option<&str>,
    ) -> io::Result<Verdict> {
        let now_ms = now_ms();
        let connected = self.connected_devices();
        let attempt = Attempt {
            policy: &self.policy,
            ingress,
            claims,
            nonce,
            scope_cap,
            connected: &connected,
            now_ms,
        };
        self.with_state(|state| attempt.decide(state))
    }

    /// Runs one call of an admitted session.
    pub(super) fn call(
        &self,
        session: &Admission,
        method: &str,
        params: &Value,
    ) -> io::Result<Reply> {
        let presence = self.presence();
        let connected = self.connected_devices();
        let call = Call {
            profile: self.profile(),
            session,
            method,
            params,
            presence: &presence,
            connected: &connected,
            now_ms: now_ms(),
        };
        self.with_state(|state| call.run(state))
    }

    /// Loads the state, changes it, and saves it if it changed.
    pub(super) fn with_state<T>(
        &self,
        change: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut store = lock(&self.store);
        let before = store.load(now_ms())?;
        let mut after = before.clone();
        let out = change(&mut after)?;
        if after != before {
            store.save(&after)?;
        }
        Ok(out)
    }

    pub(super) fn save_host_identity(
        &self,
        id: &str,
        public: &str,
        private: &str,
    ) -> io::Result<bool> {
        lock(&self.store).save_host_identity(id, public, private, now_ms())
    }

    /// Registers a session: from now on it hears of events.
    pub(super) fn join(
        &self,
        id: u64,
        admission: Admission,
        claims: &Claims,
        outbox: mpsc::UnboundedSender<Outgoing>,
    ) {
        let presence = (claims.client_mode != "cli").then(|| {
            json!({
                "host": claims.display_name.as_ref().unwrap_or(&claims.client_id),
                "version": claims.client_version,
                "platform": claims.platform,
                "mode": claims.client_mode,
                "deviceId": admission.device_id,
                "roles": [admission.role],
                "scopes": admission.scopes,
                "reason": "connect",
                "ts": now_ms(),
            })
        });
        let session = Session {
            admission,
            presence,
            outbox,
            sequence: 0,
        };
        lock(&self.sessions).insert(id, session);
    }

    pub(super) fn leave(&self, id: u64) {
        lock(&self.sessions).remove(&id);
    }

    /// Tells events to the sessions that may know of pairings.
    pub(super) fn publish(&self, events: &[Event]) {
        for session in lock(&self.sessions).values_mut() {
            let operator = session.admission.role == scopes::OPERATOR;
            if !operator || !scopes::session_may(&session.admission.scopes, "operator.pairing") {
                continue;
            }
            for event in events {
                session.sequence += 1;
                let mut frame = json!({
                    "type": "event",
                    "event": event.name,
                    "payload": event.payload,
                    "seq": session.sequence,
                });
                if self.profile() == Profile::Latest {
                    frame["recipientProfileId"] = "gateway-owner".into();
                }
                let frame = Outgoing::Frame(frames::text(&frame.to_string()));
                let _gone = session.outbox.send(frame);
            }
        }
    }

    /// The sign of life that every session gets.
    pub(super) fn tick(&self) {
        for session in lock(&self.sessions).values_mut() {
            session.sequence += 1;
            let frame = json!({
                "type": "event",
                "event": "tick",
                "payload": { "ts": now_ms() },
                "seq": session.sequence,
            });
            let frame = Outgoing::Frame(frames::text(&frame.to_string()));
            let _gone = session.outbox.send(frame);
        }
    }

    /// Closes a device's sessions, of one role or of any.
    pub(super) fn disconnect(&self, device_id: &str, role: Option<&str>) {
        for session in lock(&self.sessions).values() {
            let admission = &session.admission;
            if admission.device_id.as_deref() == Some(device_id)
                && role.is_none_or(|role| role == admission.role)
            {
                let close = Outgoing::Close(4001, "device removed".to_owned());
                let _gone = session.outbox.send(close);
            }
        }
    }

    fn connected_devices(&self) -> Vec<String> {
        let sessions = lock(&self.sessions);
        sessions
            .values()
            .filter_map(|session| session.admission.device_id.clone())
            .collect()
    }

    /// Up to 2026.7.1 one row a device, later one a connection.
    pub(super) fn presence(&self) -> Vec<Value> {
        let own = json!({
            "host": "simulated",
            "version": self.profile().version(),
            "mode": "gateway",
            "reason": "self",
            "text": "Gateway: simulated · mode gateway · reason self",
            "ts": now_ms(),
        });
        let mut rows = vec![own];
        for session in lock(&self.sessions).values() {
            let Some(row) = &session.presence else {
                continue;
            };
            if self.profile() != Profile::Latest && !row["deviceId"].is_null() {
                rows.retain(|known| known["deviceId"] != row["deviceId"]);
            }
            rows.push(row.clone());
        }
        rows
    }

    /// Notes a finished handshake.
    pub(super) fn record(&self, connect: Connect) {
        lock(&self.connects).push(connect);
    }

    pub(super) fn connects(&self) -> Vec<Connect> {
        lock(&self.connects).clone()
    }

    /// Takes a place among a client's unauthenticated sockets, if there is one left.
    pub(super) fn acquire(&self, client: IpAddr) -> bool {
        let mut places = lock(&self.unauthenticated);
        let taken = places.entry(client).or_default();
        if self
            .profile()
            .unauthenticated_budget()
            .is_some_and(|budget| *taken >= budget)
        {
            return false;
        }
        *taken += 1;
        true
    }

    pub(super) fn release(&self, client: IpAddr) {
        if let Some(taken) = lock(&self.unauthenticated).get_mut(&client) {
            *taken = taken.saturating_sub(1);
        }
    }
}

impl Connect {
    pub(super) fn new(peer: SocketAddr, target: &str, headers: &[(String, String)]) -> Self {
        Self {
            peer,
            target: target.to_owned(),
            headers: headers.to_vec(),
            frame: Vec::new(),
            raw: Vec::new(),
            outcome: Outcome::Abandoned,
        }
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A simulation goes on after a panic elsewhere: what the lock holds is plain data.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
