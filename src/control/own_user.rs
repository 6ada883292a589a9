//! Who the shim is to a gateway in trusted-proxy mode: one of the users whom a proxy names.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::config::Gateway;
use crate::gateway::GatewayAuth;
use crate::http::headers::NOBODY;

/// What the shim says of itself, in the place of a proxy that has authenticated it.
#[derive(Clone, Debug)]
pub struct OwnUser {
    /// The user, a client that is elsewhere, and whatever else the gateway requires.
    pub headers: HeaderMap,
    /// A page that the gateway lets in.
    pub origin: Option<HeaderValue>,
}

impl OwnUser {
    /// The user that the configuration gives the shim; `None` where it gives none, or the gateway takes none.
    #[must_use]
    pub fn from_config(gateway: &Gateway) -> Option<Self> {
        let GatewayAuth::TrustedProxy {
            user_header,
            required_headers,
            ..
        } = &gateway.auth
        else {
            return None;
        };
        let name = HeaderValue::from_str(gateway.user.as_deref()?).ok()?;
        let mut headers = HeaderMap::new();
        for required in required_headers {
            // Gateways look whether it is there.
            let name = HeaderName::from_bytes(required.as_bytes()).ok()?;
            headers.insert(name, HeaderValue::from_static("scope-shim"));
        }
        let address = HeaderValue::from_str(&NOBODY.to_string()).ok()?;
        headers.insert(HeaderName::from_static("x-forwarded-for"), address);
        headers.insert(HeaderName::from_bytes(user_header.as_bytes()).ok()?, name);
        let origins = gateway.facts.allowed_origins.iter().flatten();
        let mut named = origins.filter(|origin| *origin != "*");
        let origin = named.find_map(|origin| HeaderValue::from_str(origin).ok());
        Some(Self { headers, origin })
    }
}
