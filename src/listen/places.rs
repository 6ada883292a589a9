//! The places for clients at one door: how many there are may change while some are taken.
//!
//! Whoever finds none waits in the system's queue, for others come and go. Where nobody goes for a while, waiting is of no
//! use, and it is better to be told so: for that, too, there are places.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The places at one door, and those for clients that are told that there is none. A clone has the same places.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    places: Places,
    refusals: Places,
    full_since: Option<Instant>,
}

/// What a client finds.
#[derive(Debug)]
pub(super) enum Found {
    /// A place.
    Place(Place),
    /// Somebody who tells it that there is none, for as long as this lives.
    Refusal(Place),
}

impl Room {
    /// Completes when the next client would find something.
    pub(super) async fn ready(&mut self, most: usize) {
        if self.places.are_free(most) {
            self.full_since = None;
            return;
        }
        let since = *self.full_since.get_or_insert_with(Instant::now);
        let refused = async {
            sleep_until(since + PATIENCE).await;
            self.refusals.one_of(REFUSALS).await;
        };
        tokio::select! {
            () = self.places.one_of(most) => self.full_since = None,
            () = refused => {}
        }
    }

    /// What the client finds that has come now. It waits as long as one that is still in the queue: another may have
    /// come before it, or through another address of the door.
    pub(super) async fn find(&mut self, most: usize) -> Found {
        loop {
            if let Some(place) = self.places.take_one_of(most) {
                self.full_since = None;
                return Found::Place(place);
            }
            let is_full = |since: Instant| since.elapsed() >= PATIENCE;
            if self.full_since.is_some_and(is_full) {
                return Found::Refusal(self.refusals.take());
            }
            self.ready(most).await;
        }
    }
}

/// How many places are taken.
#[derive(Clone, Debug, Default)]
struct Places(Arc<watch::Sender<usize>>);

/// A client's place, for as long as it lives.
#[derive(Debug)]
pub(super) struct Place(Places);

impl Places {
    /// Completes when fewer than `most` are taken. Where there are fewer places than before, nobody has to leave, and
    /// nobody comes in before enough have left.
    async fn one_of(&self, most: usize) {
        // The sender is here: it cannot fail.
        let _ = self.0.subscribe().wait_for(|taken| *taken < most).await;
    }

    /// Asked, not waited for: whoever polls gets "not yet" from a task that has had its share of the thread, too.
    fn are_free(&self, most: usize) -> bool {
        *self.0.borrow() < most
    }

    /// One of so many, if one is free: another address of the door may be taking it just now.
    fn take_one_of(&self, most: usize) -> Option<Place> {
        let taken = self.0.send_if_modified(|taken| {
            let free = *taken < most;
            *taken += usize::from(free);
            free
        });
        taken.then(|| Place(self.clone()))
    }

    fn take(&self) -> Place {
        self.0.send_modify(|taken| *taken += 1);
        Place(self.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.send_modify(|taken| *taken -= 1);
    }
}

/// How long all places have to be taken before nobody is let wait for one.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many clients are told at a time that there is no place.
const REFUSALS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_client_has_left() {
        let places = Places::default();
        let free = |most| places.are_free(most);
        let (first, second) = (places.take(), places.take());
        assert!(!free(2) && free(3));
        drop(first);
        assert!(free(2) && !free(1));
        drop(second);
        assert!(free(1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_at_one_address_of_a_door_is_taken_at_the_other() {
        let mut here = Room::default();
        let mut there = here.clone();
        let found = here.find(1).await;
        assert!(matches!(found, Found::Place(_)));
        let began = Instant::now();
        assert!(matches!(there.find(1).await, Found::Refusal(_)));
        assert_eq!(began.elapsed(), PATIENCE, "as long as at the other");
        drop(found);
        there.ready(1).await;
        here.ready(1).await;
        assert!(matches!(there.find(1).await, Found::Place(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_the_place_that_got_free_makes_the_next_one_wait_as_long() {
        let mut room = Room::default();
        let first = room.find(1).await;
        room.ready(1).await;
        assert!(matches!(room.find(1).await, Found::Refusal(_)));
        drop(first);
        let Found::Place(second) = room.find(1).await else {
            unreachable!("it is free")
        };
        let began = Instant::now();
        let told = room.find(1).await;
        assert!(matches!(told, Found::Refusal(_)));
        assert_eq!(began.elapsed(), PATIENCE);
        drop(second);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_finds_no_place_is_told_so_when_nobody_has_left_for_a_while() {
        let mut room = Room::default();
        room.ready(1).await;
        let Found::Place(first) = room.find(1).await else {
            unreachable!("there was one")
        };
        let began = Instant::now();
        room.ready(1).await;
        assert_eq!(began.elapsed(), PATIENCE);
        let told = room.find(1).await;
        assert!(matches!(told, Found::Refusal(_)));
        // Nor does the next one wait.
        room.ready(1).await;
        assert_eq!(began.elapsed(), PATIENCE);
        drop(first);
        room.ready(1).await;
        let Found::Place(_second) = room.find(1).await else {
            unreachable!("somebody has left")
        };
        room.ready(1).await;
        assert_eq!(began.elapsed(), 2 * PATIENCE);
    }
}
