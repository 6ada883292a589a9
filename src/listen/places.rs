//! The places for clients at one address: how many there are may change while some are taken.

use std::sync::Arc;

use tokio::sync::watch;

/// How many places are taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<watch::Sender<usize>>);

/// A client's place, for as long as it lives.
#[derive(Debug)]
pub(super) struct Place(Places);

impl Places {
    /// Completes when fewer than `most` are taken. Where there are fewer places than before, nobody has to leave, and
    /// nobody comes in before enough have left.
    pub(super) async fn one_of(&self, most: usize) {
        // The sender is here: it cannot fail.
        let _ = self.0.subscribe().wait_for(|taken| *taken < most).await;
    }

    pub(super) fn take(&self) -> Place {
        self.0.send_modify(|taken| *taken += 1);
        Place(self.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.send_modify(|taken| *taken -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_client_has_left() {
        let places = Places::default();
        let free = |most| places.one_of(most).now_or_never().is_some();
        let (first, second) = (places.take(), places.take());
        assert!(!free(2) && free(3));
        drop(first);
        assert!(free(2) && !free(1));
        drop(second);
        assert!(free(1));
    }
}
