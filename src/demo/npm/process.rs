//! Processes in a group of their own, so that stopping one stops its children and nothing else.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use super::text::without_colours;

/// A running program and whatever it starts. Dropping it stops them all.
pub struct Group {
    leader: Child,
    id: Pid,
}

impl Group {
    /// Starts `command` as the leader of a new group.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let leader = command.process_group(0).spawn()?;
        let id = Pid::from_child(&leader);
        running().insert(id.as_raw_pid());
        Ok(Self { leader, id })
    }

    /// How the leader ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.leader.try_wait().ok().flatten()
    }

    /// Waits for the leader to end, but not longer than `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        poll(limit, || self.ended())
    }

    /// Kills the leader alone, which gets no chance to clean up; what it started is left to itself.
    pub fn kill_leader(&mut self) {
        // One that has ended is as good.
        let _ = self.leader.kill();
        let _ = self.leader.wait();
    }

    /// Asks every process of the group to end, and makes those that do not.
    pub fn stop(&mut self) {
        if kill_process_group(self.id, Signal::TERM).is_ok() && self.gone_within(GRACE).is_none() {
            // What is left has had its chance; an error means that it just took it.
            let _ = kill_process_group(self.id, Signal::KILL);
            self.gone_within(GRACE);
        }
        let _ = self.leader.try_wait();
        running().remove(&self.id.as_raw_pid());
    }

    /// Kills every process of the group, as a machine without memory does: nothing is said before.
    pub fn kill(&mut self) {
        let _ = kill_process_group(self.id, Signal::KILL);
        self.gone_within(GRACE);
        running().remove(&self.id.as_raw_pid());
    }

    fn gone_within(&mut self, limit: Duration) -> Option<()> {
        poll(limit, || {
            // A leader that nobody waited for would stay in its group for ever.
            let _ = self.leader.try_wait();
            test_kill_process_group(self.id).is_err().then_some(())
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if running().contains(&self.id.as_raw_pid()) {
            self.stop();
        }
    }
}

/// Kills every gateway, command and installation that this process started and that still runs.
///
/// For a program that is about to end without unwinding, on Ctrl-C for instance: groups of their own do not hear it.
pub fn stop_everything() {
    for id in running().iter().filter_map(|&id| Pid::from_raw(id)) {
        let _ = kill_process_group(id, Signal::KILL);
    }
}

/// Runs `command` to its end, but not longer than `limit`, and returns what it printed, without colours.
///
/// Its output goes through files in a directory that is made in `scratch` and removed again, not through pipes: a
/// grandchild that lingers would keep a pipe open, and the caller waiting.
///
/// # Errors
/// When the command cannot be run, or `scratch` cannot be written to.
pub fn run_to_end(command: &mut Command, scratch: &Path, limit: Duration) -> io::Result<Output> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let files = scratch.join(format!(
        ".output-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    ));
    fs::create_dir_all(&files)?;
    let (stdout, stderr) = (files.join("stdout"), files.join("stderr"));
    command
        .stdin(Stdio::null())
        .stdout(File::create(&stdout)?)
        .stderr(File::create(&stderr)?);
    let mut group = Group::spawn(command)?;
    let code = group
        .wait(limit)
        .map(|status| status.code().unwrap_or(KILLED));
    group.stop();
    let read = |file| fs::read(file).map(|bytes| without_colours(&String::from_utf8_lossy(&bytes)));
    let output = Output {
        code,
        stdout: read(stdout)?,
        stderr: read(stderr)?,
    };
    fs::remove_dir_all(files)?;
    Ok(output)
}

/// What a command printed and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit code, or -1 if a signal ended it; nothing when it took too long and was stopped.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

/// Asks again and again, until there is an answer or the time is up.
pub fn poll<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(BETWEEN_QUESTIONS);
    }
}

fn running() -> MutexGuard<'static, BTreeSet<i32>> {
    static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a process may take to end by itself.
const GRACE: Duration = Duration::from_secs(8);

const KILLED: i32 = -1;

const BETWEEN_QUESTIONS: Duration = Duration::from_millis(25);

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> io::Result<Group> {
        Group::spawn(Command::new("sh").args(["-c", script]).stdin(Stdio::null()))
    }

    #[test]
    fn stopping_reaches_the_children_too() -> io::Result<()> {
        let mut group = shell("sleep 60 & sleep 60")?;
        let id = group.id;
        group.stop();
        assert!(
            test_kill_process_group(id).is_err(),
            "the whole group is gone"
        );
        Ok(())
    }

    #[test]
    fn a_process_that_does_not_end_is_given_up_in_time() -> io::Result<()> {
        let mut group = shell("sleep 60")?;
        let begun = Instant::now();
        assert!(group.wait(Duration::from_millis(80)).is_none());
        assert!(begun.elapsed() < Duration::from_secs(5));
        Ok(())
    }

    #[test]
    fn a_command_that_is_stopped_keeps_what_it_said() -> io::Result<()> {
        let scratch = tempfile::tempdir()?;
        let mut command = Command::new("sh");
        command.args(["-c", "echo begun; sleep 60"]);
        let output = run_to_end(&mut command, scratch.path(), Duration::from_secs(1))?;
        assert_eq!((output.code, output.stdout.as_str()), (None, "begun\n"));
        assert_eq!(
            fs::read_dir(scratch.path())?.count(),
            0,
            "nothing is left behind"
        );
        Ok(())
    }

    #[test]
    fn an_ended_process_tells_how() -> io::Result<()> {
        let status = shell("exit 7")?.wait(Duration::from_secs(10));
        assert_eq!(status.and_then(|status| status.code()), Some(7));
        Ok(())
    }
}
