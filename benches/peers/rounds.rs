//! The rounds: every work through every proxy, again and again.

use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::load::{self, Job, Kind as LoadKind, Outcome};
use crate::process::Tree;
use crate::proxies::{Kind, Place, Running};
use crate::table::{Results, Sample, head};
use crate::works::{Group, WORKS, Work};
use crate::{gateway, instructions, start, tls};

/// Measures the shim beside its peers and prints a table.
#[derive(Parser)]
struct Options {
    /// Only these groups of works
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Group>,
    /// How often everything is measured; the table has the medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each work is measured in each round, in seconds
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// One short round, to see whether everything runs
    #[arg(long)]
    quick: bool,
    /// Only these proxies: direct, haproxy, nginx, caddy, node, shim
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Another build of the shim to measure, instead of this one; may be given again
    #[arg(long, value_name = "[NAME=]PROGRAM")]
    shim: Vec<String>,
    /// Count instructions instead, by valgrind, and hold them against benches/instructions.txt
    #[arg(long)]
    instructions: bool,
    /// Write them into that file
    #[arg(long, requires = "instructions")]
    record: bool,
    /// The Node that the proxy under Node runs on
    #[arg(long, env = "BENCH_NODE", default_value = "node")]
    node: PathBuf,
    /// A directory with node_modules/ws
    #[arg(long, env = "BENCH_WS", default_value = ".")]
    ws: PathBuf,
    /// The first of the 1 000 ports that are used
    #[arg(long, default_value_t = 23000)]
    ports: u16,
    /// Where settings and logs go [default: a temporary directory]
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Serve as the gateway, on this address
    #[arg(long, hide = true)]
    as_gateway: Option<SocketAddr>,
    /// Do this job as the clients
    #[arg(long, hide = true)]
    as_load: Option<String>,
    /// What cargo passes to a bench
    #[arg(long, hide = true)]
    bench: bool,
}

pub fn main() {
    let options = Options::parse();
    raise_limit();
    if let Some(addr) = options.as_gateway {
        return gateway::serve(addr).unwrap();
    }
    if let Some(job) = &options.as_load {
        return load::run(&serde_json::from_str::<Job>(job).unwrap()).unwrap();
    }
    if !measure(&options) {
        std::process::exit(1);
    }
}

/// As many open files as may be: 5 000 sessions are 10 000 sockets to a proxy.
fn raise_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// `false` where more is taken than is recorded.
fn measure(options: &Options) -> bool {
    let temporary = tempfile::tempdir().unwrap();
    let directory = options
        .directory
        .as_deref()
        .unwrap_or_else(|| temporary.path());
    std::fs::create_dir_all(directory).unwrap();
    let place = Place {
        directory: directory.canonicalize().unwrap(),
        gateway: SocketAddr::from((Ipv4Addr::LOCALHOST, options.ports)),
        tls: tls::certify(directory),
        node: options.node.clone(),
        modules: options.ws.clone(),
    };
    let kinds = taking_part(options, &place);
    place.pair(&kinds);
    let _gateway = Helper::start(&["--as-gateway", &place.gateway.to_string()]);
    if options.instructions {
        let shim = kinds.iter().find(|kind| kind.is_shim()).unwrap();
        return instructions::run(shim, &place, options.ports + 1, options.record);
    }
    let mut bench = Bench {
        place,
        kinds,
        rounds: if options.quick { 1 } else { options.rounds },
        quick: options.quick,
        seconds: if options.quick { 0.5 } else { options.seconds },
        next_port: options.ports + 1,
        last_port: options.ports + 99,
        results: Results::default(),
    };
    let groups = if options.only.is_empty() {
        &Group::ALL[..]
    } else {
        &options.only
    };
    println!("{}\n", bench.place.machine(&bench.kinds));
    println!("{}", head(&bench.kinds));
    for &group in Group::ALL.iter().filter(|group| groups.contains(group)) {
        bench.group(group);
    }
    true
}

/// The proxies that are there; what is missing is said, with how to get it.
fn taking_part(options: &Options, place: &Place) -> Vec<Kind> {
    let shims = if options.shim.is_empty() {
        vec![Kind::Shim {
            name: "shim".to_owned(),
            program: PathBuf::from(env!("CARGO_BIN_EXE_scope-shim")),
        }]
    } else {
        let named = options.shim.iter().map(|given| {
            let (name, program) = given.split_once('=').unwrap_or(("shim", given));
            Kind::Shim {
                name: name.to_owned(),
                program: PathBuf::from(program),
            }
        });
        named.collect()
    };
    let others = [
        ("direct", Kind::Direct),
        ("haproxy", Kind::HaProxy),
        ("nginx", Kind::Nginx),
        ("caddy", Kind::Caddy),
        ("node", Kind::Node),
    ];
    let named =
        |name: &str| options.peers.is_empty() || options.peers.iter().any(|peer| peer == name);
    let others = others.into_iter().filter(|(name, _)| named(name));
    let shims = shims.into_iter().filter(|_| named("shim"));
    let kinds = others.map(|(_, kind)| kind).chain(shims);
    kinds
        .filter(|kind| match place.missing(kind) {
            None => true,
            Some(why) => {
                eprintln!("without {}: {why}", kind.name());
                false
            }
        })
        .collect()
}

struct Bench {
    place: Place,
    kinds: Vec<Kind>,
    rounds: usize,
    quick: bool,
    seconds: f64,
    next_port: u16,
    last_port: u16,
    results: Results,
}

impl Bench {
    fn group(&mut self, group: Group) {
        if group == Group::Start {
            return self.starts();
        }
        for work in WORKS.iter().filter(|work| work.group == group) {
            let kinds: Vec<_> = self
                .kinds
                .iter()
                .filter(|kind| takes(kind, work))
                .cloned()
                .collect();
            // Memory is measured from a fresh start; everything else with all of them running, whoever's turn it is.
            let mut running: Vec<Running> = Vec::new();
            if !matches!(work.kind, LoadKind::Idle) {
                running = kinds.iter().map(|kind| self.run(kind, work.tls)).collect();
            }
            for round in 1..=self.rounds {
                self.progress(&format!("{}: round {round} of {}", work.name, self.rounds));
                for (index, kind) in kinds.iter().enumerate() {
                    let sample = match running.get(index) {
                        Some(running) => self.sample(work, running),
                        None => {
                            let fresh = self.run(kind, work.tls);
                            self.memory(work, &fresh)
                        }
                    };
                    self.results.add(work, kind, sample);
                }
            }
            self.progress("");
            for row in self.results.rows(work, &self.kinds) {
                println!("{row}");
            }
        }
    }

    fn progress(&self, what: &str) {
        if io::stderr().is_terminal() {
            eprint!("\r\x1b[K{what}");
        }
    }

    fn run(&mut self, kind: &Kind, tls: bool) -> Running {
        let port = self.port();
        let running = Running::start(kind, &self.place, port, tls);
        start::settle(&running);
        running
    }

    /// The next port: one that was just left may have connections on it that still end.
    fn port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = if port == self.last_port {
            self.last_port - 98
        } else {
            port + 1
        };
        port
    }

    fn job(&self, work: &Work, running: &Running) -> Job {
        Job {
            addr: running.addr,
            certificate: running.certificate.clone(),
            rewrite: work.rewrite,
            connections: work.connections,
            kind: match work.kind {
                LoadKind::Handshakes(count) if self.quick => LoadKind::Handshakes(count / 5),
                kind => kind,
            },
            seconds: self.seconds,
        }
    }

    fn sample(&self, work: &Work, running: &Running) -> Sample {
        let mut load = Helper::load(&self.job(work, running));
        load.go();
        assert_eq!(
            load.line(),
            "begin",
            "{} with {}",
            work.name,
            running.kind.name()
        );
        let before = running.tree().map_or(0.0, Tree::cpu);
        let outcome: Outcome = serde_json::from_str(&load.line()).unwrap();
        let cpu = running.tree().map_or(0.0, Tree::cpu) - before;
        let megabytes = outcome.bytes as f64 / 1e6;
        Sample {
            cpu: cpu * 1e6 / outcome.count.max(1) as f64,
            cpu_per_megabyte: cpu * 1e6 / megabytes,
            p50: outcome.p50,
            p99: outcome.p99,
            throughput: megabytes / outcome.seconds,
            memory: 0.0,
        }
    }

    fn memory(&self, work: &Work, running: &Running) -> Sample {
        let Some(tree) = running.tree() else {
            return Sample::default();
        };
        let before = tree.pss();
        let _load = Helper::load(&self.job(work, running));
        sleep(REST);
        let grown = tree.pss() as f64 - before as f64;
        Sample {
            memory: grown / 1024.0 / work.connections as f64,
            ..Sample::default()
        }
    }

    fn starts(&mut self) {
        let shims: Vec<_> = self
            .kinds
            .iter()
            .filter(|kind| kind.is_shim())
            .cloned()
            .collect();
        for shim in shims {
            let starts = (0..self.rounds).map(|_| {
                let port = self.port();
                start::measure(&shim, &self.place, port)
            });
            let starts = starts.collect();
            for row in start::rows(&shim, &self.place, self.kinds.len(), starts) {
                println!("{row}");
            }
        }
    }
}

/// Whether a work is worth measuring with a proxy: Node has no TLS here, and how others grow nobody asked.
fn takes(kind: &Kind, work: &Work) -> bool {
    match (kind, work.group) {
        (Kind::Direct, Group::Tls | Group::Idle) | (Kind::Node, Group::Tls | Group::Idle) => false,
        (Kind::Caddy, Group::Tls | Group::Growth) | (Kind::Node, Group::Growth) => false,
        (Kind::Caddy, Group::Idle) => !work.tls,
        _ => true,
    }
}

/// This program in another process: the gateway, or clients.
pub struct Helper {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Helper {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let command = command.args(arguments);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut helper = Self { child, output };
        assert_eq!(helper.line(), "ready");
        helper
    }

    pub fn load(job: &Job) -> Self {
        Self::start(&["--as-load", &serde_json::to_string(job).unwrap()])
    }

    pub fn go(&mut self) {
        let mut input = self.child.stdin.as_ref().unwrap();
        input.write_all(b"go\n").unwrap();
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long sessions are left alone before their memory is looked at.
const REST: Duration = Duration::from_secs(3);
