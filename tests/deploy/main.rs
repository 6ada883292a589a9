//! What is in deploy/: every artefact that a machine can check is checked here, and what can be run is run.
//!
//! Whatever needs a tool that is not there says so and passes; with `SCOPE_SHIM_REAL=required` the tools are installed,
//! and a missing one fails.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failed unwrap is a failed test, and what is skipped is said"
)]

/// Tools of the system, and those that Python brings.
mod tools;

/// What the documents and artefacts say exists: commands, flags, keys, variables.
mod names;

/// The attacks that the README names.
mod threats;

/// What the program is built from, and how.
mod supply;

/// Units: verified, rated, and started by a real systemd from the installed package.
mod systemd;

/// The Debian package: built, checked, installed, run, purged.
mod debian;

/// Manifests, images and property lists, held to their schemas.
mod schemas;

/// The image's program in an image's root.
#[cfg(target_os = "linux")]
mod image;

/// Completions and manual pages, in the shells and formatters that read them.
mod shells;
