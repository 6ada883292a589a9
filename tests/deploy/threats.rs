use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::tools::file;

/// The names of all tests and helpers.
fn functions() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for directory in ["src", "tests"] {
        collect(&file(directory), &mut all);
    }
    all
}

fn collect(directory: &Path, all: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(path).unwrap();
            all.extend(tests_of(&source).map(str::to_owned));
        }
    }
}

/// The functions that an attribute makes a test.
fn tests_of(source: &str) -> impl Iterator<Item = &str> {
    let mut marked = false;
    source.lines().map(str::trim).filter_map(move |line| {
        marked |= line == "#[test]" || line.starts_with("#[tokio::test");
        let (before, name) = line.split_once("fn ")?;
        let is_head = before.is_empty() || before.ends_with("async ");
        let name = name.split('(').next()?;
        (is_head && std::mem::take(&mut marked)).then_some(name)
    })
}

#[test]
fn every_attack_that_the_readme_names_is_tried() {
    let readme = fs::read_to_string(file("README.md")).unwrap();
    let (_, section) = readme.split_once("## What it trusts").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let (known, mut named) = (functions(), 0);
    for word in section.split('`').skip(1).step_by(2) {
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !word.contains('_') || !word.chars().all(is_name) || word == "trusted_proxies" {
            continue;
        }
        assert!(known.contains(word), "no test is called {word}");
        named += 1;
    }
    assert!(named > 40, "{named}");
}
