use std::process::Command;

use crate::tools::{file, finish, python, tool};

fn complaints(interpreter: &std::path::Path, kind: &str, files: &[&str]) -> String {
    let mut check = Command::new(interpreter);
    check.arg(file("tests/deploy/check.py")).arg(kind);
    check.args(files.iter().map(|name| file(name)));
    let output = finish(&mut check);
    let said = String::from_utf8_lossy(&output.stdout);
    let broke = String::from_utf8_lossy(&output.stderr);
    format!("{}{broke}", said.trim_start_matches('\n'))
}

#[test]
fn the_manifests_fit_the_api_and_the_restricted_profile() {
    let Some(python) = python() else { return };
    let files = [
        "deploy/kubernetes/sidecar.yaml",
        "deploy/kubernetes/standalone.yaml",
    ];
    assert_eq!(complaints(&python, "kubernetes", &files), "");
}

#[test]
fn the_compose_file_fits_its_specification_and_confines_its_services() {
    let Some(python) = python() else { return };
    let files = ["deploy/docker/compose.yml"];
    assert_eq!(complaints(&python, "compose", &files), "");
}

#[test]
fn the_images_are_not_roots_and_need_no_shell() {
    let Some(python) = python() else { return };
    let files = [
        "deploy/docker/Dockerfile",
        "deploy/docker/Dockerfile.gateway",
    ];
    assert_eq!(complaints(&python, "dockerfile", &files), "");
}

#[test]
fn the_property_list_is_one_that_launchd_takes() {
    let Some(python) = tool("python3", "python3") else {
        return;
    };
    let files = ["deploy/launchd/ai.scope-shim.plist"];
    assert_eq!(complaints(&python, "plist", &files), "");
}
