//! How many instructions the shim's process takes for one handshake and one message, as callgrind counts them.
//!
//! CPU time depends on the machine and on what else it does; instructions hardly do. What one of something takes is the
//! difference between a run with many and a run with few, shared out: start and end are in both. The whole program is
//! counted on real sockets, which benches of single functions (gungraun) could not do; they would need a runner of the
//! same version installed besides. Work that the kernel does is not counted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::load::{Job, Kind as LoadKind};
use crate::proxies::{Kind, Place, Running};
use crate::rounds::Helper;
use crate::start;

/// What is counted, and how many of its unit one of it is.
struct Counted {
    name: &'static str,
    kind: fn(usize) -> LoadKind,
    rewrite: bool,
    units: usize,
}

const COUNTED: [Counted; 3] = [
    Counted {
        name: "handshake Pass",
        kind: LoadKind::Handshakes,
        rewrite: false,
        units: 1,
    },
    Counted {
        name: "handshake Rewrite",
        kind: LoadKind::Handshakes,
        rewrite: true,
        units: 1,
    },
    Counted {
        name: "relayed message of 256 B",
        kind: LoadKind::Messages,
        rewrite: false,
        units: 2,
    },
];

/// Counts, compares with what is recorded, and records where asked to; `false` where something takes more than before.
pub fn run(kind: &Kind, place: &Place, first_port: u16, record: bool) -> bool {
    let version = Command::new("valgrind").arg("--version").output();
    let Ok(version) = version else {
        eprintln!("valgrind is not installed: apt-get install valgrind");
        return false;
    };
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let recorded = fs::read_to_string(file()).unwrap_or_default();
    let mut text = format!(
        "# Instructions of the whole process for one of each ({version}, {}-{}).\n\
         # Recorded by: cargo bench --bench peers -- --instructions --record\n",
        std::env::consts::ARCH,
        std::env::consts::OS
    );
    let mut kept = true;
    for (index, counted) in COUNTED.iter().enumerate() {
        let port = first_port + 2 * u16::try_from(index).unwrap();
        let few = count(kind, place, port, counted, FEW);
        let many = count(kind, place, port + 1, counted, MANY);
        let each = many.saturating_sub(few) / ((MANY - FEW) * counted.units) as u64;
        let before = read(&recorded, counted.name);
        let change = before.map(|before| each as f64 / before as f64 - 1.0);
        let change_told = change.map_or_else(String::new, |change| {
            format!(" ({:+.1} % of what is recorded)", change * 100.0)
        });
        println!("{}: {each}{change_told}", counted.name);
        kept &= change.is_none_or(|change| change <= NOISE);
        text.push_str(&format!("{}: {each}\n", counted.name));
    }
    if record {
        fs::write(file(), text).unwrap();
        return true;
    }
    kept
}

/// The instructions of a whole run, in which so many are done one after the other.
fn count(kind: &Kind, place: &Place, port: u16, counted: &Counted, times: usize) -> u64 {
    let out = place.directory.join(format!("callgrind-{port}.out"));
    let tool = format!("--callgrind-out-file={}", out.display());
    let running = Running::under(&["valgrind", "--tool=callgrind", &tool], kind, place, port);
    start::settle(&running);
    let job = Job {
        addr: running.addr,
        certificate: None,
        rewrite: counted.rewrite,
        connections: 1,
        kind: (counted.kind)(times),
        seconds: 0.0,
    };
    let mut load = Helper::load(&job);
    load.go();
    assert_eq!(load.line(), "begin");
    load.line();
    drop(load);
    drop(running);
    let text = fs::read_to_string(&out).unwrap();
    read(&text, "totals").unwrap_or_else(|| panic!("{} has no totals", out.display()))
}

fn read(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(found, _)| *found == name)?;
    value.trim().parse().ok()
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt")
}

const FEW: usize = 100;
const MANY: usize = 600;
/// How much more than recorded is no regression yet.
const NOISE: f64 = 0.03;
