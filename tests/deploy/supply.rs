use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use toml::Table;

use crate::tools::{file, find, program, run, text, tool};

/// The crates of Cargo.lock with their source and checksum.
fn locked() -> Vec<Table> {
    let lock: Table = text("Cargo.lock").parse().unwrap();
    let packages = lock["package"].as_array().unwrap().iter();
    packages
        .map(|one| one.as_table().unwrap().clone())
        .collect()
}

/// What cargo knows of the crates that are built on this system, without asking anybody.
fn described() -> Vec<Value> {
    let version = run(Command::new("rustc").arg("-vV"));
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let mut metadata = Command::new(env!("CARGO"));
    metadata
        .current_dir(file(""))
        .args(["metadata", "--offline", "--locked", "--format-version", "1"])
        .args(["--filter-platform", host.unwrap()]);
    let whole: Value = serde_json::from_str(&run(&mut metadata)).unwrap();
    whole["packages"].as_array().unwrap().clone()
}

fn rules() -> Table {
    text("deny.toml").parse().unwrap()
}

#[test]
fn every_crate_comes_from_the_registry_with_a_checksum() {
    let (own, others): (Vec<_>, Vec<_>) = locked()
        .into_iter()
        .partition(|one| one["name"].as_str() == Some("scope-shim"));
    assert_eq!(own.len(), 1);
    assert!(others.len() > 100);
    for one in others {
        let source = one["source"].as_str().unwrap();
        assert!(source.starts_with("registry+"), "{one:?}");
        assert_eq!(one["checksum"].as_str().unwrap().len(), 64, "{one:?}");
    }
}

#[test]
fn every_licence_is_one_that_is_allowed() {
    let rules = rules();
    let allowed = rules["licenses"]["allow"].as_array().unwrap();
    let allows = |name: &str| allowed.iter().any(|one| one.as_str() == Some(name));
    let packages = described();
    assert!(packages.len() > 100);
    for package in packages {
        let (name, said) = (&package["name"], package["license"].as_str());
        let said = said.unwrap_or_else(|| panic!("{name} says no licence"));
        let terms = spdx::Expression::parse_mode(said, spdx::ParseMode::LAX).unwrap();
        let met = terms.evaluate(|one| one.license.id().is_some_and(|id| allows(id.name)));
        assert!(met, "{name}: {said}");
    }
}

#[test]
fn no_crate_is_one_that_is_banned() {
    let packages = described();
    for ban in rules()["bans"]["deny"].as_array().unwrap() {
        let name = ban["name"].as_str().unwrap();
        let wrappers = ban.get("wrappers").and_then(|wrappers| wrappers.as_array());
        let may = |user: &str| {
            wrappers.is_some_and(|all| all.iter().any(|one| one.as_str() == Some(user)))
        };
        for package in &packages {
            let mut needs = package["dependencies"].as_array().unwrap().iter();
            // What a crate is tested with is not built here.
            let uses = needs
                .any(|one| one["name"] == name && one["optional"] == false && one["kind"] != "dev");
            let user = package["name"].as_str().unwrap();
            assert!(!uses || may(user), "{user} uses {name}");
        }
    }
}

/// The whole of deny.toml, where the tool for it is installed.
#[test]
fn cargo_deny_agrees() {
    if find("cargo-deny").is_none() {
        eprintln!(
            "skipped: cargo-deny is not installed; the other tests here hold the lists of deny.toml"
        );
        return;
    }
    run(Command::new("cargo").current_dir(file("")).args([
        "deny",
        "--offline",
        "check",
        "licenses",
        "bans",
        "sources",
    ]));
}

/// A panic has to stay in its task, and what is added up wrongly has to be one.
#[test]
fn the_program_is_built_so_that_a_mistake_stays_where_it_is_made() {
    let manifest: Table = text("Cargo.toml").parse().unwrap();
    let release = manifest["profile"]["release"].as_table().unwrap();
    assert_eq!(release.get("overflow-checks"), Some(&true.into()));
    assert!(release.get("panic").is_none(), "unwinding is the default");
    assert_eq!(
        manifest["lints"]["rust"]["unsafe_code"].as_str(),
        Some("forbid")
    );
    for lint in ["unwrap_used", "expect_used", "panic"] {
        assert_eq!(
            manifest["lints"]["clippy"][lint].as_str(),
            Some("deny"),
            "{lint}"
        );
    }
}

/// Whoever may list processes sees every flag.
#[test]
fn no_flag_takes_a_secret() {
    let help = program(&["--help"]);
    let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
    let commands = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    let commands = commands.filter_map(|line| line.split_whitespace().next());
    for command in commands {
        if command == "help" {
            continue;
        }
        let help = program(&[command, "--help"]);
        for flag in ["--token", "--password", "--secret", "--key"] {
            let takes = help
                .lines()
                .any(|line| line.trim_start().starts_with(&format!("{flag} ")));
            assert!(!takes, "scope-shim {command} {flag}");
        }
    }
}

#[test]
fn the_bill_of_materials_lists_every_crate_of_the_program_with_the_hash_that_cargo_checks() {
    if tool("python3", "python3").is_none() {
        return;
    }
    let write = || {
        run(Command::new("python3")
            .arg(file("deploy/supply/sbom.py"))
            .env("CARGO_NET_OFFLINE", "true"))
    };
    let written = write();
    assert_eq!(written, write(), "the same each time");
    let document: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(document["bomFormat"], "CycloneDX");
    let checksums: BTreeMap<String, String> = locked()
        .iter()
        .filter_map(|one| {
            let name = format!("{}@{}", one["name"].as_str()?, one["version"].as_str()?);
            Some((name, one.get("checksum")?.as_str()?.to_owned()))
        })
        .collect();
    let components = document["components"].as_array().unwrap();
    let listed: BTreeSet<_> = components
        .iter()
        .map(|one| one["bom-ref"].as_str().unwrap())
        .collect();
    for one in components {
        let name = one["bom-ref"].as_str().unwrap();
        assert_eq!(
            one["hashes"][0]["content"].as_str(),
            checksums.get(name).map(String::as_str),
            "{name}"
        );
        assert!(one["licenses"][0]["expression"].is_string(), "{name}");
    }
    for expected in [
        "rustls",
        "rusqlite",
        "tokio",
        "hyper",
        "aws-lc-sys",
        "libsqlite3-sys",
    ] {
        assert!(
            listed
                .iter()
                .any(|one| one.split('@').next() == Some(expected)),
            "{expected}"
        );
    }
    for of_the_tests in ["proptest", "criterion", "insta"] {
        assert!(
            !listed
                .iter()
                .any(|one| one.split('@').next() == Some(of_the_tests)),
            "{of_the_tests}"
        );
    }
}
