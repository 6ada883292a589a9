//! What hostile bytes reach first, and what must hold for it whatever they are.
//!
//! Each function takes any bytes and stops at the first promise that is broken. libFuzzer calls them (`fuzz/`), and the
//! unit tests replay the corpus, and what a few changes make of it, with no other tool than `cargo test`. None of it is
//! in the program that is shipped.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a broken promise")]

mod connect;
mod frames;
mod headers;
mod proxy;
mod stores;
mod tap;

pub use connect::connect;
pub use frames::frames;
pub use headers::headers;
pub use proxy::proxy;
pub use stores::{config, paired, rows};
pub use tap::tap;

/// Bytes taken as choices; where they have run out, every choice is the first.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// As many bytes as the next two say, or what there is.
    fn piece(&mut self) -> &'a [u8] {
        let wanted = usize::from(self.byte()) | usize::from(self.byte()) << 8;
        let (piece, rest) = self.0.split_at(wanted.min(self.0.len()));
        self.0 = rest;
        piece
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

/// A runtime on whose clock no time passes but what is waited for.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// What is shown to people must not act on their terminal.
fn assert_printable(text: &str) {
    assert!(
        !text.contains(char::is_control),
        "{text:?} would reach a terminal"
    );
}

#[cfg(test)]
mod tests;
