//! New devices that one client shows up with, one after the other: its identity is made anew at every start (F13).

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::net::IpAddr;

/// Remembers for some minutes which devices were new, by address and client.
#[derive(Debug, Default)]
pub struct Newcomers {
    seen: HashMap<Key, Recent>,
}

/// Address, client id and mode. Names come from clients, so only their hash is kept.
type Key = (IpAddr, u64);

#[derive(Debug)]
struct Recent {
    devices: HashSet<u64>,
    first_ms: i64,
}

impl Newcomers {
    /// Notes a device that nobody has approved, and says how many of its kind there were within [`WINDOW_MS`].
    ///
    /// `now_ms` is in milliseconds since the epoch.
    pub fn note(
        &mut self,
        address: IpAddr,
        client_id: &str,
        client_mode: &str,
        device_id: &str,
        now_ms: i64,
    ) -> usize {
        self.seen
            .retain(|_, recent| (0..WINDOW_MS).contains(&now_ms.saturating_sub(recent.first_ms)));
        let key = (address, hash(&(client_id, client_mode)));
        if self.seen.len() >= MOST_CLIENTS && !self.seen.contains_key(&key) {
            return 1;
        }
        let recent = self.seen.entry(key).or_insert_with(|| Recent {
            devices: HashSet::new(),
            first_ms: now_ms,
        });
        if recent.devices.len() < MOST_DEVICES {
            recent.devices.insert(hash(&device_id));
        }
        recent.devices.len()
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// How long a new device is remembered, in milliseconds.
pub const WINDOW_MS: i64 = 10 * 60 * 1000;
const MOST_CLIENTS: usize = 256;
const MOST_DEVICES: usize = 64;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn new_devices_of_one_client_are_counted_once_each() {
        let mut newcomers = Newcomers::default();
        let mut note = |client, device, now| newcomers.note(HERE, client, "ui", device, now);
        assert_eq!(note("app", "a", 0), 1);
        assert_eq!(note("app", "a", 1), 1);
        assert_eq!(note("app", "b", 2), 2);
        assert_eq!(note("other", "c", 3), 1);
        assert_eq!(note("app", "c", WINDOW_MS - 1), 3);
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut newcomers = Newcomers::default();
        newcomers.note(HERE, "app", "ui", "a", 0);
        assert_eq!(newcomers.note(HERE, "app", "ui", "b", WINDOW_MS), 1);
    }

    #[test]
    fn nobody_can_fill_the_memory() {
        let mut newcomers = Newcomers::default();
        for n in 0..10_000 {
            newcomers.note(HERE, &n.to_string(), "ui", "a", 0);
            newcomers.note(HERE, "app", "ui", &n.to_string(), 0);
        }
        assert!(newcomers.seen.len() <= MOST_CLIENTS);
        assert!(newcomers.note(HERE, "app", "ui", "z", 0) <= MOST_DEVICES);
    }
}
