//! The story on a real gateway.
use std::io::Write;

use super::Failure;
use super::page::Page;
use crate::cli;

pub(super) async fn tell<W: Write>(
    _page: &mut Page<W>,
    _options: &cli::Demo,
    _version: &str,
) -> Result<(), Failure> {
    Err("the demo on a real gateway is still to come".into())
}
