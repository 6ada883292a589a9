//! What is measured, and what it may cost.

use crate::load::Kind;

/// A group of works, as `--only` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Group {
    Echo,
    Stream,
    Handshake,
    Idle,
    Tls,
    Growth,
    Start,
}

impl Group {
    pub const ALL: [Self; 7] = [
        Self::Echo,
        Self::Stream,
        Self::Handshake,
        Self::Idle,
        Self::Tls,
        Self::Growth,
        Self::Start,
    ];
}

/// One kind of work that clients do through every proxy.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub group: Group,
    pub name: &'static str,
    pub kind: Kind,
    pub connections: usize,
    pub rewrite: bool,
    pub tls: bool,
    /// What is told of it.
    pub lines: &'static [Line],
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub measure: Measure,
    pub target: Target,
}

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Microseconds of the proxy's CPU for a message or a handshake.
    Cpu,
    /// Microseconds of the proxy's CPU for a megabyte.
    CpuPerMegabyte,
    /// The median latency in microseconds.
    P50,
    /// The 99th percentile.
    P99,
    /// Megabytes a second.
    Throughput,
    /// KiB for each session.
    Memory,
}

/// What the shim is held to.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// At most so many times the best of HAProxy, nginx and Caddy.
    OfBest(f64),
    /// At most so many times the better of HAProxy and nginx.
    OfBetter(f64),
    /// At most so many times HAProxy.
    OfHaProxy(f64),
    /// At most so much above what HAProxy has in the work of this name.
    AboveHaProxy(f64, &'static str),
    /// At least so many times the direct connection.
    OfDirect(f64),
    /// At most this.
    AtMost(f64),
    /// Within this share of what it is in the first work of its group.
    Flat(f64),
    None,
}

const fn line(measure: Measure, target: Target) -> Line {
    Line { measure, target }
}

const ECHO: &[Line] = &[
    line(Measure::Cpu, Target::OfBest(0.9)),
    line(Measure::P50, Target::OfBest(0.9)),
    line(Measure::P99, Target::OfBest(0.9)),
];
const LARGE_ECHO: &[Line] = &[
    line(Measure::Cpu, Target::OfBest(0.8)),
    line(Measure::P50, Target::None),
];
const STREAM: &[Line] = &[
    line(Measure::CpuPerMegabyte, Target::OfBest(0.8)),
    line(Measure::Throughput, Target::OfDirect(0.7)),
];
const FRAMES: &[Line] = &[
    line(Measure::CpuPerMegabyte, Target::None),
    line(Measure::Throughput, Target::None),
];
const PASS: &[Line] = &[line(Measure::Cpu, Target::OfHaProxy(1.0))];
const REWRITE: &[Line] = &[line(Measure::Cpu, Target::OfHaProxy(1.4))];
const PASS_ALONE: &[Line] = &[line(Measure::P50, Target::None)];
const REWRITE_ALONE: &[Line] = &[line(
    Measure::P50,
    Target::AboveHaProxy(250.0, "handshake Pass, one at a time"),
)];
const IDLE: &[Line] = &[line(Measure::Memory, Target::OfHaProxy(1.0))];
const IDLE_TLS: &[Line] = &[line(Measure::Memory, Target::AtMost(24.0))];
const TLS_ECHO: &[Line] = &[
    line(Measure::Cpu, Target::OfBetter(1.0)),
    line(Measure::P50, Target::None),
];
const TLS_STREAM: &[Line] = &[
    line(Measure::CpuPerMegabyte, Target::OfBetter(1.0)),
    line(Measure::Throughput, Target::None),
];
const GROWTH: &[Line] = &[line(Measure::Cpu, Target::Flat(0.1))];

const fn work(
    group: Group,
    name: &'static str,
    kind: Kind,
    connections: usize,
    lines: &'static [Line],
) -> Work {
    Work {
        group,
        name,
        kind,
        connections,
        rewrite: false,
        tls: false,
        lines,
    }
}

const fn rewritten(work: Work) -> Work {
    Work {
        rewrite: true,
        ..work
    }
}

const fn encrypted(work: Work) -> Work {
    Work { tls: true, ..work }
}

/// Everything that clients do, in the order of the table.
pub const WORKS: &[Work] = &[
    work(
        Group::Echo,
        "echo 256 B, 16 connections",
        Kind::Echo(256),
        16,
        ECHO,
    ),
    work(
        Group::Echo,
        "echo 64 KiB, 4 connections",
        Kind::Echo(65536),
        4,
        LARGE_ECHO,
    ),
    work(
        Group::Stream,
        "stream of 512 B frames",
        Kind::Stream(512),
        4,
        STREAM,
    ),
    work(
        Group::Stream,
        "stream of 16 KiB frames",
        Kind::Stream(16384),
        4,
        STREAM,
    ),
    work(
        Group::Stream,
        "stream of 512 B frames, one write each",
        Kind::Frames(512),
        4,
        FRAMES,
    ),
    work(
        Group::Handshake,
        "handshake Pass",
        Kind::Handshakes(3000),
        8,
        PASS,
    ),
    rewritten(work(
        Group::Handshake,
        "handshake Rewrite",
        Kind::Handshakes(3000),
        8,
        REWRITE,
    )),
    work(
        Group::Handshake,
        "handshake Pass, one at a time",
        Kind::Handshakes(1000),
        1,
        PASS_ALONE,
    ),
    rewritten(work(
        Group::Handshake,
        "handshake Rewrite, one at a time",
        Kind::Handshakes(1000),
        1,
        REWRITE_ALONE,
    )),
    work(Group::Idle, "5 000 idle sessions", Kind::Idle, 5000, IDLE),
    encrypted(work(
        Group::Idle,
        "5 000 idle sessions, TLS in front",
        Kind::Idle,
        5000,
        IDLE_TLS,
    )),
    encrypted(work(
        Group::Tls,
        "TLS: echo 256 B, 16 connections",
        Kind::Echo(256),
        16,
        TLS_ECHO,
    )),
    encrypted(work(
        Group::Tls,
        "TLS: stream of 16 KiB frames",
        Kind::Stream(16384),
        4,
        TLS_STREAM,
    )),
    work(
        Group::Growth,
        "8 000 messages/s over 10 sessions",
        Kind::Paced(8000),
        10,
        GROWTH,
    ),
    work(
        Group::Growth,
        "8 000 messages/s over 100 sessions",
        Kind::Paced(8000),
        100,
        GROWTH,
    ),
    work(
        Group::Growth,
        "8 000 messages/s over 1 000 sessions",
        Kind::Paced(8000),
        1000,
        GROWTH,
    ),
    work(
        Group::Growth,
        "8 000 messages/s over 5 000 sessions",
        Kind::Paced(8000),
        5000,
        GROWTH,
    ),
];
