//! Both ways to read the claims of a request, for [`crate::fuzz`].

use super::{Claims, NotConnect, unusual, usual};

/// As clients usually write them; `None` where they do not.
pub(crate) fn usual_claims(text: &str) -> Option<Claims> {
    usual::connect(text)
}

/// However they are written.
pub(crate) fn any_claims(text: &str) -> Result<Claims, NotConnect> {
    unusual(text)
}
