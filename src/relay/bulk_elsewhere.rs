//! Where the system has no `splice(2)`, all bytes are copied.

use std::io;
use std::task::{Context, Poll};

use tokio::net::TcpStream;

use super::boundary::Boundary;

#[derive(Default)]
pub(super) struct Bulk;

pub(super) enum Taken {
    #[expect(dead_code, reason = "so that both have one form")]
    Bytes(u64),
    #[expect(dead_code, reason = "so that both have one form")]
    End,
    Unsuitable,
    #[expect(dead_code, reason = "so that both have one form")]
    NotYet(usize),
}

impl Bulk {
    pub(super) const fn note_read(&mut self, _full: bool) {}

    pub(super) const fn is_due(&self) -> bool {
        false
    }

    pub(super) const fn holds(&self) -> bool {
        false
    }

    pub(super) const fn drop_held(&mut self) {}

    pub(super) const fn poll_take(
        &mut self,
        _cx: &mut Context<'_>,
        _from: &TcpStream,
        _boundary: Option<&mut Boundary>,
    ) -> Poll<io::Result<Taken>> {
        Poll::Ready(Ok(Taken::Unsuitable))
    }

    pub(super) const fn poll_give(
        &mut self,
        _cx: &mut Context<'_>,
        _to: &TcpStream,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
