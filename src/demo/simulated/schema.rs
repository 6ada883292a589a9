//! The closed schema of `connect`, with the words the gateway's validator uses.

use serde_json::Value;

use super::profile::Profile;

enum Kind {
    /// A string that must not be empty.
    Name,
    Text,
    Integer,
    Names,
    OneOf(&'static [&'static str]),
    Object(Vec<Field>),
    Any,
}

struct Field {
    name: &'static str,
    required: bool,
    kind: Kind,
}

/// What is wrong with the parameters, in the gateway's words; `None` if nothing is.
pub(super) fn fault(profile: Profile, params: &Value) -> Option<String> {
    let mut faults = Vec::new();
    check(
        profile,
        &Kind::Object(connect(profile)),
        params,
        "",
        &mut faults,
    );
    faults.dedup();
    (!faults.is_empty()).then(|| faults.join("; "))
}

fn connect(profile: Profile) -> Vec<Field> {
    let mut fields = vec![
        required("minProtocol", Kind::Integer),
        required("maxProtocol", Kind::Integer),
        required("client", Kind::Object(client(profile))),
        optional("caps", Kind::Names),
        optional("commands", Kind::Names),
        optional("permissions", Kind::Any),
        optional("pathEnv", Kind::Text),
        optional("role", Kind::Name),
        optional("scopes", Kind::Names),
        optional("device", Kind::Object(device(profile))),
        optional("auth", Kind::Object(auth(profile))),
        optional("locale", Kind::Text),
        optional("userAgent", Kind::Text),
    ];
    if profile == Profile::Latest {
        fields.push(optional("computerUse", Kind::Any));
        fields.push(optional("workerRuns", Kind::Any));
    }
    fields
}

fn client(profile: Profile) -> Vec<Field> {
    let (ids, modes) = match profile {
        Profile::Literal | Profile::Clearing => (CLIENT_IDS, CLIENT_MODES),
        Profile::Pending => (PENDING_CLIENT_IDS, CLIENT_MODES),
        Profile::Latest => (LATEST_CLIENT_IDS, LATEST_CLIENT_MODES),
    };
    let mut fields = vec![
        required("id", Kind::OneOf(ids)),
        optional("displayName", Kind::Name),
        required("version", Kind::Name),
        required("platform", Kind::Name),
        optional("deviceFamily", Kind::Name),
        optional("modelIdentifier", Kind::Name),
        required("mode", Kind::OneOf(modes)),
        optional("instanceId", Kind::Name),
    ];
    if profile == Profile::Latest {
        fields.push(optional("buildId", Kind::Name));
        fields.push(optional("timeZone", Kind::Name));
    }
    fields
}

fn device(profile: Profile) -> Vec<Field> {
    vec![
        required("id", Kind::Name),
        required("publicKey", Kind::Name),
        required("signature", Kind::Name),
        required("signedAt", Kind::Integer),
        Field {
            name: "nonce",
            required: profile != Profile::Literal,
            kind: Kind::Name,
        },
    ]
}

fn auth(profile: Profile) -> Vec<Field> {
    let known: &[&str] = match profile {
        Profile::Literal => &["token", "password"],
        Profile::Clearing | Profile::Pending => {
            &["token", "bootstrapToken", "deviceToken", "password"]
        }
        Profile::Latest => &[
            "token",
            "bootstrapToken",
            "deviceToken",
            "password",
            "approvalRuntimeToken",
            "agentRuntimeIdentityToken",
        ],
    };
    known
        .iter()
        .map(|name| optional(name, Kind::Text))
        .collect()
}

fn required(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        required: true,
        kind,
    }
}

fn optional(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        required: false,
        kind,
    }
}

fn check(profile: Profile, kind: &Kind, value: &Value, path: &str, faults: &mut Vec<String>) {
    let mut fault = |text: &str| {
        let place = if path.is_empty() {
            String::new()
        } else {
            format!("at {path}: ")
        };
        faults.push(format!("{place}{text}"));
    };
    match kind {
        Kind::Any => {}
        Kind::Text if value.is_string() => {}
        Kind::Name => match value.as_str() {
            None => fault("must be string"),
            Some("") if profile == Profile::Latest => {
                fault("must not have fewer than 1 characters")
            }
            Some("") => fault("must NOT have fewer than 1 characters"),
            Some(_) => {}
        },
        Kind::Text => fault("must be string"),
        Kind::Integer if value.is_i64() || value.is_u64() => {}
        Kind::Integer => fault("must be integer"),
        Kind::OneOf(values) => {
            if value.as_str().is_some_and(|value| values.contains(&value)) {
            } else if profile == Profile::Latest {
                fault("must be equal to one of the allowed values");
            } else {
                fault("must be equal to constant");
                fault("must match a schema in anyOf");
            }
        }
        Kind::Names => match value.as_array() {
            None => fault("must be array"),
            Some(items) => {
                for (index, item) in items.iter().enumerate() {
                    check(
                        profile,
                        &Kind::Name,
                        item,
                        &format!("{path}/{index}"),
                        faults,
                    );
                }
            }
        },
        Kind::Object(fields) => object(profile, fields, value, path, faults),
    }
}

/// Missing properties first, then unexpected ones, then what is wrong inside.
fn object(profile: Profile, fields: &[Field], value: &Value, path: &str, faults: &mut Vec<String>) {
    let place = if path.is_empty() {
        String::new()
    } else {
        format!("at {path}: ")
    };
    let Some(map) = value.as_object() else {
        faults.push(format!("{place}must be object"));
        return;
    };
    for field in fields.iter().filter(|field| field.required) {
        if !map.contains_key(field.name) {
            faults.push(format!(
                "{place}must have required property '{}'",
                field.name
            ));
        }
    }
    for name in map.keys() {
        if !fields.iter().any(|field| field.name == name) {
            let place = if path.is_empty() { "at root: " } else { &place };
            faults.push(format!("{place}unexpected property '{name}'"));
        }
    }
    for field in fields {
        if let Some(value) = map.get(field.name) {
            check(
                profile,
                &field.kind,
                value,
                &format!("{path}/{}", field.name),
                faults,
            );
        }
    }
}

const CLIENT_IDS: &[&str] = &[
    "webchat-ui",
    "openclaw-control-ui",
    "webchat",
    "cli",
    "gateway-client",
    "openclaw-macos",
    "openclaw-ios",
    "openclaw-android",
    "node-host",
    "test",
    "fingerprint",
    "openclaw-probe",
];
const PENDING_CLIENT_IDS: &[&str] = &[
    "webchat-ui",
    "openclaw-control-ui",
    "openclaw-tui",
    "webchat",
    "cli",
    "gateway-client",
    "openclaw-macos",
    "openclaw-ios",
    "openclaw-android",
    "node-host",
    "test",
    "fingerprint",
    "openclaw-probe",
];
const LATEST_CLIENT_IDS: &[&str] = &[
    "webchat-ui",
    "openclaw-control-ui",
    "openclaw-browser-copilot",
    "openclaw-tui",
    "webchat",
    "cli",
    "gateway-client",
    "openclaw-macos",
    "openclaw-ios",
    "openclaw-watchos",
    "openclaw-android",
    "openclaw-linux",
    "openclaw-worker",
    "node-host",
    "test",
    "fingerprint",
    "openclaw-probe",
];
const CLIENT_MODES: &[&str] = &["webchat", "cli", "ui", "backend", "node", "probe", "test"];
const LATEST_CLIENT_MODES: &[&str] = &[
    "webchat", "cli", "ui", "backend", "node", "probe", "test", "worker",
];
