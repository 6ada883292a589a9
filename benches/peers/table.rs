//! The table: medians, ratios, and whether the targets are met.

use std::collections::HashMap;

use crate::proxies::Kind;
use crate::works::{Group, Line, Measure, Target, Work};

/// What one round came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    pub cpu: f64,
    pub cpu_per_megabyte: f64,
    pub p50: f64,
    pub p99: f64,
    pub throughput: f64,
    pub memory: f64,
}

impl Sample {
    const fn of(&self, measure: Measure) -> f64 {
        match measure {
            Measure::Cpu => self.cpu,
            Measure::CpuPerMegabyte => self.cpu_per_megabyte,
            Measure::P50 => self.p50,
            Measure::P99 => self.p99,
            Measure::Throughput => self.throughput,
            Measure::Memory => self.memory,
        }
    }
}

/// Every round of every work, by the names of work and proxy.
#[derive(Default)]
pub struct Results {
    samples: HashMap<(&'static str, String), Vec<Sample>>,
    first_of: HashMap<Group, &'static str>,
}

impl Results {
    pub fn add(&mut self, work: &Work, kind: &Kind, sample: Sample) {
        self.first_of.entry(work.group).or_insert(work.name);
        let key = (work.name, kind.name().to_owned());
        self.samples.entry(key).or_default().push(sample);
    }

    fn median(&self, work: &'static str, proxy: &str, measure: Measure) -> Option<f64> {
        let samples = self.samples.get(&(work, proxy.to_owned()))?;
        median(samples.iter().map(|sample| sample.of(measure)).collect())
    }

    /// The lines of one work, in Markdown.
    pub fn rows(&self, work: &Work, kinds: &[Kind]) -> Vec<String> {
        let rows = work.lines.iter().map(|line| {
            let cells = kinds.iter().map(|kind| {
                let no_cpu = matches!(kind, Kind::Direct)
                    && matches!(
                        line.measure,
                        Measure::Cpu | Measure::CpuPerMegabyte | Measure::Memory
                    );
                match self.median(work.name, kind.name(), line.measure) {
                    Some(value) if !no_cpu => number(value),
                    _ => "–".to_owned(),
                }
            });
            let cells: Vec<_> = cells.collect();
            let verdicts = kinds.iter().filter(|kind| kind.is_shim());
            let verdicts: Vec<_> = verdicts
                .filter_map(|shim| self.verdict(work, line, shim.name()))
                .collect();
            format!(
                "| {}: {} | {} | {} | {} |",
                work.name,
                line.measure.words(),
                cells.join(" | "),
                line.target.words(),
                verdicts.join(", ")
            )
        });
        rows.collect()
    }

    fn verdict(&self, work: &Work, line: &Line, shim: &str) -> Option<String> {
        let median = |name: &'static str, proxy: &str| self.median(name, proxy, line.measure);
        let own = median(work.name, shim)?;
        let best_of = |proxies: &[&str]| {
            let values = proxies.iter().filter_map(|proxy| median(work.name, proxy));
            values.reduce(f64::min)
        };
        let (ratio, met) = match line.target {
            Target::OfBest(factor) => {
                at_most(own / best_of(&["HAProxy", "nginx", "Caddy"])?, factor)
            }
            Target::OfBetter(factor) => at_most(own / best_of(&["HAProxy", "nginx"])?, factor),
            Target::OfHaProxy(factor) => at_most(own / best_of(&["HAProxy"])?, factor),
            Target::OfDirect(factor) => {
                let ratio = own / best_of(&["direct"])?;
                (format!("{ratio:.2}"), ratio >= factor)
            }
            Target::AboveHaProxy(most, other) => {
                let above = own - median(other, "HAProxy")?;
                (format!("{above:+.0} µs"), above <= most)
            }
            Target::AtMost(most) => (number(own), own <= most),
            Target::Flat(share) => {
                let first = self.first_of.get(&work.group)?;
                let ratio = own / median(first, shim)?;
                (format!("{ratio:.2}"), (ratio - 1.0).abs() <= share)
            }
            Target::None => return None,
        };
        Some(format!("{ratio} {}", if met { "✓" } else { "✗" }))
    }
}

fn at_most(ratio: f64, factor: f64) -> (String, bool) {
    (format!("{ratio:.2}"), ratio <= factor)
}

/// The head of the table.
pub fn head(kinds: &[Kind]) -> String {
    let names: Vec<_> = kinds.iter().map(Kind::name).collect();
    format!(
        "| work | {} | target | shim |\n|---|{}---|---|",
        names.join(" | "),
        "---:|".repeat(names.len())
    )
}

/// The middle of the values.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (
        values.get((values.len().max(1) - 1) / 2)?,
        values.get(values.len() / 2)?,
    );
    Some(f64::midpoint(*low, *high))
}

/// A number with three digits that count.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

impl Measure {
    const fn words(self) -> &'static str {
        match self {
            Self::Cpu => "CPU, µs each",
            Self::CpuPerMegabyte => "CPU, µs per MB",
            Self::P50 => "p50, µs",
            Self::P99 => "p99, µs",
            Self::Throughput => "MB/s",
            Self::Memory => "KiB a session",
        }
    }
}

impl Target {
    fn words(self) -> String {
        match self {
            Self::OfBest(factor) => format!("≤ {factor} × best"),
            Self::OfBetter(factor) => format!("≤ {factor} × better of HAProxy, nginx"),
            Self::OfHaProxy(factor) => format!("≤ {factor} × HAProxy"),
            Self::AboveHaProxy(most, _) => format!("≤ Pass by HAProxy + {most} µs"),
            Self::OfDirect(factor) => format!("≥ {factor} × direct"),
            Self::AtMost(most) => format!("≤ {most}"),
            Self::Flat(share) => format!("± {} % of the first", share * 100.0),
            Self::None => String::new(),
        }
    }
}
