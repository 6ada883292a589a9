//! The text format 0.0.4 of Prometheus, read strictly: what is not allowed fails the test.

use std::collections::{BTreeMap, BTreeSet};

/// What was exposed.
#[derive(Debug, Default)]
pub struct Exposition {
    /// The kind of each family.
    kinds: BTreeMap<String, String>,
    /// The value of each series, named as it was written.
    values: BTreeMap<String, f64>,
}

impl Exposition {
    pub fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'));
        let mut read = Self::default();
        let mut family = String::new();
        let mut helped = BTreeSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(helped.insert(name.to_owned()), "{name} is explained twice");
                assert!(help.ends_with('.'), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(helped.contains(name), "{name} is not explained");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                let known = read.kinds.insert(name.to_owned(), kind.to_owned());
                assert!(known.is_none(), "{name} is declared twice");
                name.clone_into(&mut family);
            } else {
                read.sample(&family, line);
            }
        }
        read.check_histograms();
        read
    }

    fn sample(&mut self, family: &str, line: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').unwrap();
        let kind = self.kinds.get(family).unwrap();
        let suffixes: &[&str] = if kind == "histogram" {
            &["_bucket", "_sum", "_count"]
        } else {
            &[""]
        };
        let fits = |suffix: &&str| name.strip_suffix(*suffix) == Some(family);
        assert!(suffixes.iter().any(fits), "{line} is not of {family}");
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (name, value) = label.split_once("=\"").unwrap();
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase()), "{line}");
            let value = value.strip_suffix('"').unwrap();
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+ ".contains(&byte);
            assert!(value.bytes().all(plain), "{line}");
        }
        let value: f64 = value.parse().unwrap();
        assert!(value >= 0.0, "{line}");
        let known = self.values.insert(series.to_owned(), value);
        assert!(known.is_none(), "{series} is there twice");
    }

    /// Buckets only grow, and the last holds everything.
    fn check_histograms(&self) {
        for (name, _) in self.kinds.iter().filter(|(_, kind)| *kind == "histogram") {
            let label = "gateway=\"gateway\"";
            let prefix = format!("{name}_bucket{{{label},le=\"");
            let mut buckets: Vec<(f64, f64)> = self
                .values
                .iter()
                .filter_map(|(series, &count)| {
                    let limit = series.strip_prefix(&prefix)?.strip_suffix("\"}")?;
                    Some((limit.parse().unwrap(), count))
                })
                .collect();
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert!(
                buckets.is_sorted_by(|one, other| one.1 <= other.1),
                "{name}"
            );
            let (limit, all) = buckets.last().copied().unwrap();
            assert!(limit.is_infinite(), "{name}");
            assert_eq!(Some(all), self.value(&format!("{name}_count{{{label}}}")));
        }
    }

    pub fn value(&self, series: &str) -> Option<f64> {
        self.values.get(series).copied()
    }

    /// The names of all series.
    pub fn series(&self) -> Vec<&str> {
        self.values.keys().map(String::as_str).collect()
    }

    /// Whether there is a metric of this name, those that make up a histogram included.
    pub fn has(&self, name: &str) -> bool {
        let base = |suffix: &str| {
            let family = name.strip_suffix(suffix);
            family.is_some_and(|family| {
                self.kinds
                    .get(family)
                    .is_some_and(|kind| kind == "histogram")
            })
        };
        self.kinds.contains_key(name)
            || ["_bucket", "_sum", "_count"]
                .iter()
                .any(|suffix| base(suffix))
    }
}
