//! What a bench has to say: a line a fact, and a small plot a series.

/// Facts, and whether each is as it should be.
#[derive(Default)]
pub(crate) struct Report {
    failed: bool,
}

impl Report {
    pub(crate) fn fact(&self, name: &str, value: impl std::fmt::Display) {
        println!("{name:<44} {value}");
    }

    /// A fact with a judgement on it.
    pub(crate) fn held(&mut self, name: &str, value: impl std::fmt::Display, holds: bool) {
        self.failed |= !holds;
        let word = if holds { "ok" } else { "FAILED" };
        println!("{name:<44} {value}  {word}");
    }

    /// A series over the whole time, as a line of bars between its least and its most.
    pub(crate) fn plot(&self, name: &str, unit: &str, series: &[f64]) {
        let least = series.iter().copied().fold(f64::INFINITY, f64::min);
        let most = series.iter().copied().fold(0.0, f64::max);
        let range = (most - least).max(f64::EPSILON);
        let bar = |value: f64| {
            let height = (value - least) / range * (BARS.len() - 1) as f64;
            BARS[height.round() as usize]
        };
        let bars: String = buckets(series).map(median).map(bar).collect();
        println!("{name:<20} {bars}  {least:.0} to {most:.0} {unit}");
    }

    pub(crate) const fn all_held(&self) -> bool {
        !self.failed
    }
}

/// The median of some values; 0 of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    share(values, 0.5)
}

/// What this share of some values is below.
pub(crate) fn share(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index).copied().unwrap_or_default()
}

fn buckets(series: &[f64]) -> impl Iterator<Item = &[f64]> {
    let columns = series.len().min(COLUMNS);
    (0..columns).map(move |column| {
        &series[column * series.len() / columns..(column + 1) * series.len() / columns]
    })
}

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const COLUMNS: usize = 60;
