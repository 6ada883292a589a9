//! The messages as clients and gateways really write them, read without a tree of values.
//!
//! Whatever is unusual about a message (a field of another type, one that comes twice, an unknown credential) is not
//! read here: the caller then looks at all of it, field by field.

use std::borrow::Cow;

use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{AuthClaims, Claims, DeviceProof, OPERATOR};

/// The claims of a `connect` request; `None` for whatever is not the usual one.
pub(super) fn connect(text: &str) -> Option<Claims> {
    let message: Connect<'_> = serde_json::from_str(text).ok()?;
    (message.kind == "req" && message.method == "connect").then(|| message.claims())
}

/// What is to be known of the `hello-ok` that answers the request `id`, with the text of its `auth`; `None` for
/// whatever is not the usual one.
pub(super) fn hello<'a>(text: &'a str, id: &str) -> Option<(Value, Option<&'a str>)> {
    let message: Hello<'_> = serde_json::from_str(text).ok()?;
    let answers = message.kind == "res" && message.id == id && message.ok;
    let auth = message.payload.auth.filter(|_| answers).map(RawValue::get);
    let told = serde_json::to_value(Told {
        payload: &message.payload,
    })
    .ok()?;
    answers.then_some((told, auth))
}

#[derive(Deserialize)]
struct Connect<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    id: String,
    params: Params,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params {
    min_protocol: Option<i64>,
    max_protocol: Option<i64>,
    #[serde(default, deserialize_with = "given")]
    role: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
    client: Client,
    #[serde(default, deserialize_with = "given")]
    device: Option<Device>,
    #[serde(default)]
    auth: Auth,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Client {
    id: String,
    mode: String,
    #[serde(default, deserialize_with = "given")]
    version: Option<String>,
    platform: String,
    #[serde(default, deserialize_with = "given")]
    device_family: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    id: String,
    public_key: String,
    signature: String,
    signed_at: i64,
    #[serde(default, deserialize_with = "given")]
    nonce: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Auth {
    #[serde(default, deserialize_with = "given")]
    token: Option<String>,
    #[serde(default, deserialize_with = "given")]
    password: Option<String>,
    #[serde(default, deserialize_with = "given")]
    device_token: Option<String>,
    #[serde(default, deserialize_with = "given")]
    bootstrap_token: Option<String>,
}

#[derive(Deserialize)]
struct Hello<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    ok: bool,
    #[serde(borrow)]
    payload: Payload<'a>,
}

/// Of what a gateway says of itself, all that matters here: most of it are lists of methods and of who is there.
#[derive(Deserialize, Serialize)]
struct Payload<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    server: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    auth: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Told<'a> {
    payload: &'a Payload<'a>,
}

/// A field that is there; `null` is of the wrong type.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

impl Connect<'_> {
    fn claims(self) -> Claims {
        let Params {
            client,
            device,
            auth,
            ..
        } = self.params;
        Claims {
            request_id: self.id,
            protocol: (self.params.min_protocol, self.params.max_protocol),
            role: self.params.role.unwrap_or_else(|| OPERATOR.to_owned()),
            scopes: self.params.scopes,
            client_id: client.id,
            client_mode: client.mode,
            client_version: client.version,
            platform: client.platform,
            device_family: client.device_family,
            device: device.map(|device| DeviceProof {
                id: device.id,
                public_key: device.public_key,
                signature: device.signature,
                signed_at_ms: device.signed_at,
                nonce: device.nonce,
            }),
            auth: AuthClaims {
                token: auth.token,
                password: auth.password,
                device_token: auth.device_token,
                bootstrap_token: auth.bootstrap_token,
                has_unknown: false,
            },
        }
    }
}
