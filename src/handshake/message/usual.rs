//! The messages as clients and gateways really write them, read without a tree of values.
//!
//! Whatever is unusual about a message (a field of another type, one that comes twice, an unknown credential) is not
//! read here: the caller then looks at all of it, field by field.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{AuthClaims, Claims, DeviceProof, OPERATOR};

/// The claims of a `connect` request; `None` for whatever is not the usual one.
pub(super) fn connect(text: &str) -> Option<Claims> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let message: Connect<'_> = object(&mut reader).ok()?;
    reader.end().ok()?;
    (message.kind == "req" && message.method == "connect").then(|| message.claims())
}

/// What is to be known of the `hello-ok` that answers the request `id`, with the text of its `auth`; `None` for
/// whatever is not the usual one.
pub(super) fn hello<'a>(text: &'a str, id: &str) -> Option<(Value, Option<&'a str>)> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let message: Hello<'_> = object(&mut reader).ok()?;
    reader.end().ok()?;
    let answers = message.kind == "res" && message.id == id && message.ok;
    let Payload { server, auth } = message.payload;
    // What is no text or no number here is nothing: a client that is shown it must not be shown the delegate's token.
    let read = |part: &RawValue| serde_json::from_str(part.get()).unwrap_or(Value::Null);
    let parts = [("server", server), ("auth", auth)];
    let parts = parts.map(|(name, part)| Some((name.to_owned(), read(part?))));
    let payload: Map<String, Value> = parts.into_iter().flatten().collect();
    let told = json!({ "payload": payload });
    answers.then_some((told, auth.map(RawValue::get)))
}

#[derive(Deserialize)]
struct Connect<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    id: String,
    #[serde(deserialize_with = "object")]
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
    #[serde(deserialize_with = "object")]
    client: Client,
    #[serde(default, deserialize_with = "given_object")]
    device: Option<Device>,
    #[serde(default, deserialize_with = "object")]
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
    #[serde(borrow, deserialize_with = "object")]
    payload: Payload<'a>,
}

/// Of what a gateway says of itself, all that matters here: most of it are lists of methods and of who is there.
#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    server: Option<&'a RawValue>,
    #[serde(borrow)]
    auth: Option<&'a RawValue>,
}

/// A field that is there; `null` is of the wrong type.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

fn given_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    field: D,
) -> Result<Option<T>, D::Error> {
    object(field).map(Some)
}

/// What is an object; a list of the fields' values, which serde takes as well, is none.
fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<T, D::Error> {
    struct Fields<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(fields))
        }
    }

    field.deserialize_map(Fields(PhantomData))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_without_their_names_are_no_request() {
        let request = r#"{"type":"req","method":"connect","id":"1","params":{"minProtocol":3,"maxProtocol":3,
            "client":{"id":"cli","mode":"cli","platform":"linux"},"auth":{"token":"t"},
            "device":{"id":"d","publicKey":"k","signature":"s","signedAt":1}}}"#;
        assert!(connect(request).is_some());
        for (named, unnamed) in [
            (
                r#"{"id":"cli","mode":"cli","platform":"linux"}"#,
                r#"["cli","cli",null,"linux"]"#,
            ),
            (r#"{"token":"t"}"#, r#"["t"]"#),
            (
                r#"{"id":"d","publicKey":"k","signature":"s","signedAt":1}"#,
                r#"["d","k","s",1]"#,
            ),
        ] {
            let other = request.replace(named, unnamed);
            assert_ne!(other, request);
            assert!(connect(&other).is_none(), "{other}");
        }
        assert!(connect(r#"["req","connect","1",{}]"#).is_none());
    }

    #[test]
    fn a_list_of_values_is_no_hello() {
        let answer = r#"{"type":"res","id":"1","ok":true,"payload":{"auth":{}}}"#;
        assert!(hello(answer, "1").is_some());
        let unnamed = answer.replace(r#"{"auth":{}}"#, "[null,{}]");
        assert!(hello(&unnamed, "1").is_none());
        assert!(hello(r#"["res","1",true,{"auth":{}}]"#, "1").is_none());
    }
}
