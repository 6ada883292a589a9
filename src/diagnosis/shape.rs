//! The form of a refusal that the client at hand really shows to its user.

use serde_json::{Value, json};

use super::Diagnosis;
use crate::handshake::message::Claims;

/// Puts a diagnosis into the gateway's own refusal, and returns the reason to close with.
///
/// The gateway's `error.code` and `error.details.code` stay: clients act on them.
pub fn shape(message: &mut Value, diagnosis: &Diagnosis, _claims: &Claims) -> String {
    if let Some(error) = message.get_mut("error").and_then(Value::as_object_mut) {
        error.insert("message".to_owned(), json!(diagnosis.sentence));
        let details = error.entry("details").or_insert_with(|| json!({}));
        if let Some(details) = details.as_object_mut() {
            details.insert(
                "scopeShim".to_owned(),
                Value::Object(diagnosis.data.clone()),
            );
        }
    }
    diagnosis.short.clone()
}
