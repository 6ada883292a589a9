//! `$include` in the gateway's configuration.
//!
//! The gateway's own rules: paths start at the including file, stay inside the directory of the main file (or one of
//! `OPENCLAW_INCLUDE_ROOTS`), ten levels deep; objects merge, lists join, the including file wins.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::document;
use crate::config::{Environment, Finding, Warning};
use crate::text::safe;

/// Replaces every `$include` in the parts that the shim reads.
pub(super) fn resolve(
    root: Value,
    path: &Path,
    environment: &Environment,
    findings: &mut Vec<Finding>,
) -> Value {
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    let listed = environment
        .get("OPENCLAW_INCLUDE_ROOTS")
        .unwrap_or_default();
    let roots = std::env::split_paths(listed)
        .map(|root| environment.expand(&root.to_string_lossy(), directory))
        .filter(|root| root.is_absolute());
    let roots = std::iter::once(directory.to_owned()).chain(roots);
    let mut includer = Includer {
        roots: roots.filter_map(|root| root.canonicalize().ok()).collect(),
        chain: path.canonicalize().into_iter().collect(),
        left: MOST_FILES,
        findings,
    };
    includer.expand(root, directory, true)
}

/// The parts of the configuration that the shim reads.
const READ: [&str; 3] = ["gateway", "env", "meta"];

struct Includer<'a> {
    roots: Vec<PathBuf>,
    chain: Vec<PathBuf>,
    left: usize,
    findings: &'a mut Vec<Finding>,
}

impl Includer<'_> {
    fn expand(&mut self, value: Value, directory: &Path, top: bool) -> Value {
        let Value::Object(mut object) = value else {
            return value;
        };
        let include = object.remove(INCLUDE);
        let mut own = Map::new();
        for (key, value) in object {
            if !top || READ.contains(&key.as_str()) {
                let value = self.expand(value, directory, false);
                own.insert(key, value);
            }
        }
        let files = match include {
            None => return Value::Object(own),
            Some(Value::String(file)) => vec![Value::String(file)],
            Some(Value::Array(files)) => files,
            Some(other) => vec![other],
        };
        let only = files.len() == 1 && own.is_empty();
        let mut merged = Value::Object(Map::new());
        for file in files {
            match self.load(&file, directory, top) {
                Ok(value) if only => return value,
                Ok(value) => merge(&mut merged, value),
                Err(why) => self.findings.push(Finding::new(
                    Warning::GatewayIncludeUnusable,
                    format!("the gateway's configuration includes a file that the shim cannot use: {why}"),
                    "correct the file, or give the shim what it says as settings of its own",
                )),
            }
        }
        merge(&mut merged, Value::Object(own));
        merged
    }

    fn load(&mut self, file: &Value, directory: &Path, top: bool) -> Result<Value, String> {
        let Value::String(file) = file else {
            return Err(format!(
                "$include: expected a path, found {}",
                document::kind(file)
            ));
        };
        let path = directory.join(file);
        let shown = safe(&path.to_string_lossy());
        let real = path
            .canonicalize()
            .map_err(|error| format!("{shown}: {error}"))?;
        if !self.roots.iter().any(|root| real.starts_with(root)) {
            return Err(format!(
                "{shown} lies outside of the gateway's configuration directory"
            ));
        }
        if self.chain.contains(&real) {
            return Err(format!("{shown} includes itself"));
        }
        if self.chain.len() > DEEPEST || self.left == 0 {
            return Err(format!("{shown} is one include too many"));
        }
        self.left -= 1;
        let value = document::parse_file(&real).map_err(|why| format!("{shown}{why}"))?;
        let directory = real.parent().unwrap_or(directory).to_owned();
        self.chain.push(real);
        let value = self.expand(value, &directory, top);
        self.chain.pop();
        Ok(value)
    }
}

/// Merges `source` into `target`: objects by key, lists one after the other, `source` wins otherwise.
fn merge(target: &mut Value, source: Value) {
    match (target, source) {
        (Value::Object(target), Value::Object(source)) => {
            for (key, value) in source {
                match target.get_mut(&key) {
                    Some(present) => merge(present, value),
                    None => {
                        target.insert(key, value);
                    }
                }
            }
        }
        (Value::Array(target), Value::Array(source)) => target.extend(source),
        (target, source) => *target = source,
    }
}

const INCLUDE: &str = "$include";
const DEEPEST: usize = 10;
/// Each file is at most 1 MiB, so this bounds the memory as well.
const MOST_FILES: usize = 32;
