//! A session of the delegate's own for one command: open, call, close.
//!
//! It works beside a running shim, which a gateway minds as little as a second tab: a device may hold any number of
//! sessions. It never takes another key: a running shim would go on with the old one.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde_json::Value;
use thiserror::Error;
use tokio::time::timeout;

use super::session::{self, OpenError, Session};
use super::{CALL_TIMEOUT, CallError, Calls, OwnUser, Settings, approve_command, wanted_scopes};
use crate::config::Config;
use crate::delegate::{Delegate, DelegateError};
use crate::dial::Dialer;
use crate::engine;
use crate::handshake::message::Refusal;
use crate::profile::Profile;
use crate::tls;

/// An open session for one command.
pub struct Once {
    session: Session,
    profile: Profile,
}

/// Why a command got no session. The text says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OnceError {
    /// The gateway cannot be reached, or says nothing that makes sense.
    #[error(
        "the gateway at {gateway} does not answer: {reason}; start it, or correct its address: gateway.url, --gateway"
    )]
    Unreachable {
        /// Its address.
        gateway: String,
        /// What went wrong.
        reason: String,
    },
    /// The gateway wants somebody to approve the delegate first.
    #[error(
        "the gateway at {gateway} wants scope-shim's own device approved first; run: {}, then this command again",
        approve_command(.request_id.as_deref())
    )]
    NotPaired {
        /// The gateway's address.
        gateway: String,
        /// The pairing request.
        request_id: Option<String>,
    },
    /// The gateway refuses the shim for another reason, most likely its secret.
    #[error(
        "the gateway at {gateway} refuses scope-shim: {}; give the secret that the gateway runs with: \
         SCOPE_SHIM_GATEWAY_TOKEN, or gateway.token_file in the configuration",
        .refusal.message.escape_debug()
    )]
    Refused {
        /// The gateway's address.
        gateway: String,
        /// What it said.
        refusal: Refusal,
    },
}

/// Why the shim cannot have a session of its own.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// `scope-shim unpair` put the delegate away: a session would pair it again.
    #[error(
        "scope-shim was unpaired from this gateway, and stays so until it is switched on again; run: {on}, then this \
         command again"
    )]
    Retired {
        /// The command that switches it on.
        on: String,
    },
    /// The delegate's key cannot be used.
    #[error(transparent)]
    Delegate(#[from] DelegateError),
    /// TLS cannot be spoken with the gateway.
    #[error(transparent)]
    Tls(#[from] tls::Failure),
}

impl OnceError {
    pub(super) fn of(error: OpenError, settings: &Settings) -> Self {
        let gateway = settings.dialer.gateway.authority();
        match error {
            OpenError::Failed(reason) => Self::Unreachable { gateway, reason },
            OpenError::Refused(refusal) if refusal.wants_pairing() => Self::NotPaired {
                gateway,
                request_id: refusal.request_id,
            },
            OpenError::Refused(refusal) => Self::Refused { gateway, refusal },
        }
    }
}

impl Settings {
    /// What the configuration says about the shim's own session.
    ///
    /// # Errors
    ///
    /// When the delegate was unpaired, its key cannot be read or made, or no certificate can be for the gateway's name.
    pub fn from_config(config: &Config) -> Result<Self, SettingsError> {
        if Delegate::is_retired_in(&config.data) {
            let on = config.command(&["mode", "on"]);
            return Err(SettingsError::Retired { on });
        }
        Self::with_delegate(config, Delegate::load_or_create(&config.data)?)
    }

    /// The same, for a delegate that was loaded already.
    ///
    /// # Errors
    ///
    /// When no certificate can be for the gateway's name.
    pub fn with_delegate(config: &Config, delegate: Delegate) -> Result<Self, SettingsError> {
        let gateway = &config.gateway;
        Ok(Self {
            delegate: Arc::new(delegate),
            dialer: Arc::new(Dialer::new(gateway)?),
            secret: Arc::new(ArcSwapOption::from_pointee(engine::shared_secret(
                &gateway.auth,
            ))),
            user: OwnUser::from_config(gateway),
        })
    }
}

impl Once {
    /// Opens a session with every scope. A delegate that is not paired yet pairs as it would for a running shim:
    /// silently, where the gateway lets its own machine do so.
    ///
    /// # Errors
    ///
    /// An [`OnceError`] that says what to do.
    pub async fn open(settings: &Settings) -> Result<Self, OnceError> {
        let first = match Session::open(settings, &wanted_scopes()).await {
            Err(OpenError::Refused(refusal)) if helped_along(settings, &refusal).await => {
                Session::open(settings, &wanted_scopes()).await
            }
            outcome => outcome,
        };
        match first {
            Ok(session) => Ok(Self::around(session)),
            Err(error) => Err(OnceError::of(error, settings)),
        }
    }

    pub(super) fn around(session: Session) -> Self {
        Self {
            profile: Profile::from_evidence(session.evidence()),
            session,
        }
    }

    /// How the gateway behaves, as far as its greeting told.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Ends the session in order.
    pub async fn close(self) {
        self.session.close().await;
    }
}

impl Calls for Once {
    async fn call(&mut self, method: &str, params: Value) -> Result<Value, CallError> {
        timeout(CALL_TIMEOUT, self.session.call_once(method, params))
            .await
            .unwrap_or(Err(CallError::Timeout))
    }
}

async fn helped_along(settings: &Settings, refusal: &Refusal) -> bool {
    match &refusal.request_id {
        Some(request_id) if refusal.wants_pairing() => {
            session::approve_itself(settings, request_id)
                .await
                .is_some()
        }
        _ => false,
    }
}
