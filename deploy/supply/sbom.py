#!/usr/bin/env python3
"""Writes what the program is built from as a CycloneDX document (1.5, JSON).

    deploy/supply/sbom.py [TARGET] > sbom.json      # by default for x86_64-unknown-linux-gnu

Nothing is guessed and nothing is asked of a network: the crates and how they depend on each other are those that cargo builds the
program from (those of the tests are left out), their hashes those of Cargo.lock, which cargo checks whenever it unpacks one.
The same commit gives the same bytes. What is part of a crate (SQLite in libsqlite3-sys, AWS-LC in aws-lc-sys) is not listed apart.
"""

import json
import re
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def metadata(target):
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def built_from(resolve):
    """The package ids that the program needs, each with those that it needs itself."""
    nodes = {node["id"]: node for node in resolve["nodes"]}
    needed, waiting = {}, [resolve["root"]]
    while waiting:
        package = waiting.pop()
        if package in needed:
            continue
        dependencies = [
            dependency["pkg"]
            for dependency in nodes[package]["deps"]
            if any(kind["kind"] != "dev" for kind in dependency["dep_kinds"])
        ]
        needed[package] = sorted(set(dependencies))
        waiting += dependencies
    return needed


def licence(text):
    """Early crates write a slash where SPDX has OR."""
    return re.sub(r"\s*/\s*", " OR ", text)


def component(package, checksums):
    name, version = package["name"], package["version"]
    described = {
        "type": "library",
        "bom-ref": f"{name}@{version}",
        "name": name,
        "version": version,
        "purl": f"pkg:cargo/{name}@{version}",
    }
    if package["license"]:
        described["licenses"] = [{"expression": licence(package["license"])}]
    if (name, version) in checksums:
        described["hashes"] = [{"alg": "SHA-256", "content": checksums[name, version]}]
    return described


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else "x86_64-unknown-linux-gnu"
    lock = (ROOT / "Cargo.lock").read_text()
    checksums = {
        (package["name"], package["version"]): package["checksum"]
        for package in tomllib.loads(lock)["package"]
        if "checksum" in package
    }
    described = metadata(target)
    packages = {package["id"]: package for package in described["packages"]}
    needed = built_from(described["resolve"])
    of = {identity: component(packages[identity], checksums) for identity in needed}
    root = of.pop(described["resolve"]["root"])
    references = {identity: f"{packages[identity]['name']}@{packages[identity]['version']}" for identity in needed}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, target + lock)}",
        "version": 1,
        "metadata": {
            "component": {**root, "type": "application"},
            "properties": [{"name": "cargo:target", "value": target}],
        },
        "components": sorted(of.values(), key=lambda one: one["bom-ref"]),
        "dependencies": sorted(
            (
                {"ref": references[identity], "dependsOn": sorted(references[one] for one in on)}
                for identity, on in needed.items()
            ),
            key=lambda one: one["ref"],
        ),
    }
    json.dump(document, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
