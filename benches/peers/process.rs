//! What a process and its children use, as /proc tells.

use std::fs;
use std::path::Path;

/// A process and everything it started.
#[derive(Clone, Copy)]
pub struct Tree(pub u32);

impl Tree {
    fn members(self) -> Vec<u32> {
        let mut members = vec![self.0];
        let mut next = 0;
        while let Some(&process) = members.get(next) {
            next += 1;
            let tasks = fs::read_dir(format!("/proc/{process}/task"));
            for task in tasks.into_iter().flatten().flatten() {
                let children = fs::read_to_string(task.path().join("children"));
                let children = children.unwrap_or_default();
                members.extend(children.split_whitespace().flat_map(str::parse::<u32>));
            }
        }
        members
    }

    /// CPU time, user and system, of every thread that runs or has ended, in seconds. The kernel tells it in hundredths.
    pub fn cpu(self) -> f64 {
        let ticks: u64 = self.members().into_iter().map(ticks).sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// Memory in bytes, what is shared divided by those that share it.
    pub fn pss(self) -> u64 {
        let of = |process| field(&format!("/proc/{process}/smaps_rollup"), "Pss:");
        self.members().into_iter().map(of).sum()
    }

    /// Resident memory in bytes.
    pub fn rss(self) -> u64 {
        let of = |process| field(&format!("/proc/{process}/status"), "VmRSS:");
        self.members().into_iter().map(of).sum()
    }
}

fn ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name before it may hold anything, brackets too. utime and stime are fields 14 and 15, the state is field 3.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let times = fields.split_whitespace().skip(11).take(2);
    times.flat_map(str::parse::<u64>).sum()
}

fn field(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(Path::new(file)).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
