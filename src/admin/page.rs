//! The status page: one document with everything in it, which asks for the rest as any other client does.
//!
//! Its parts lie in `page/`, and are put together when the program is built. It shows names that strangers chose, so the
//! policy that it is served with lets run and look only what is in it, by hash, and no text can become markup.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Response;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

use crate::http::Body;
use crate::http::respond::full;

/// The page as a response.
#[must_use]
pub fn page() -> Response<Body> {
    let mut response = Response::new(full(DOCUMENT));
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    response
}

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    // Without a policy it would be no page to trust.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

fn hash(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    format!("'sha256-{}'", STANDARD.encode(hash.as_ref()))
}

const HEADERS: [(HeaderName, &str); 7] = [
    (CONTENT_TYPE, "text/html; charset=utf-8"),
    (CACHE_CONTROL, "no-store"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

macro_rules! style {
    () => {
        include_str!("page/page.css")
    };
}
macro_rules! script {
    () => {
        concat!(
            include_str!("page/text.js"),
            include_str!("page/dom.js"),
            include_str!("page/talk.js"),
            include_str!("page/gateways.js"),
            include_str!("page/waiting.js"),
            include_str!("page/notices.js"),
            include_str!("page/sessions.js"),
            include_str!("page/plots.js"),
            include_str!("page/main.js"),
        )
    };
}
const STYLE: &str = style!();
const SCRIPT: &str = script!();
const DOCUMENT: &str = concat!(
    include_str!("page/head.html"),
    "<style>",
    style!(),
    "</style>\n",
    include_str!("page/body.html"),
    "<script type=\"module\">",
    script!(),
    "</script>\n</body>\n</html>\n",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_document_that_asks_nobody_else_for_anything() {
        for tag in [
            " src=",
            "<link rel=\"stylesheet",
            "@import",
            "url(http",
            "//cdn",
        ] {
            assert!(!DOCUMENT.contains(tag), "{tag}");
        }
        assert_eq!(DOCUMENT.matches("<script").count(), 1);
        assert_eq!(DOCUMENT.matches("<style").count(), 1);
        assert_eq!(DOCUMENT.matches("</script").count(), 1);
    }

    #[test]
    fn nothing_in_it_turns_text_into_markup() {
        for way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "srcdoc",
            "javascript:",
        ] {
            assert!(!SCRIPT.contains(way), "{way}");
        }
        for attribute in [" onclick", " onload", " onerror", " style="] {
            assert!(!DOCUMENT.contains(attribute), "{attribute}");
        }
    }

    #[test]
    fn it_is_served_with_a_policy_that_lets_only_its_own_script_run() {
        let response = page();
        let header = |name| {
            response.headers()[name]
                .to_str()
                .unwrap_or_default()
                .to_owned()
        };
        let policy = header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'sha256-"),
            "{policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
    }
}
