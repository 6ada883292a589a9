//! How many descriptors the process may have open.

/// Raises the limit to what the system allows. A session takes two descriptors, so that the usual 1024 would be used up by
/// some five hundred; Node, and so the gateway itself, does the same at its start.
#[cfg(unix)]
pub fn take_all() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it is refused, the limit stays what it was.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}

/// There is no such limit.
#[cfg(not(unix))]
pub const fn take_all() {}
