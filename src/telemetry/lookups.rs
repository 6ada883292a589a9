//! How often device records are looked up, and how long that takes.

use std::time::Duration;

use prometheus::{Histogram, IntCounter};

use super::meters::Families;

/// What the resolver counts. Without a registry nobody reads it.
#[derive(Clone, Debug, Default)]
pub struct Lookups(Option<Counters>);

#[derive(Clone, Debug)]
struct Counters {
    hits: IntCounter,
    misses: IntCounter,
    errors: IntCounter,
    seconds: Histogram,
}

/// How a lookup ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The cache had the answer.
    Hit,
    /// The store was read.
    Miss,
    /// The store could not be read.
    Error,
}

impl Lookups {
    pub(super) fn new(families: &Families, gateway: &str) -> Result<Self, prometheus::Error> {
        let result = |result| {
            families
                .lookups
                .get_metric_with_label_values(&[gateway, result])
        };
        Ok(Self(Some(Counters {
            hits: result("hit")?,
            misses: result("miss")?,
            errors: result("error")?,
            seconds: families
                .lookup_seconds
                .get_metric_with_label_values(&[gateway])?,
        })))
    }

    /// A lookup is over.
    pub fn count(&self, lookup: Lookup, took: Duration) {
        let Some(counters) = &self.0 else {
            return;
        };
        counters.seconds.observe(took.as_secs_f64());
        match lookup {
            Lookup::Hit => counters.hits.inc(),
            Lookup::Miss => counters.misses.inc(),
            Lookup::Error => counters.errors.inc(),
        }
    }
}
