//! Two networks with a bad line between them: what it carries comes late, is lost, or is cut.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::process::geteuid;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::network::{Network, ip};
use crate::packages;

/// The address of the far end.
pub const FAR: &str = "10.77.0.2";
const NEAR: &str = "10.77.0.1";

/// The line, and both its ends.
pub struct Line {
    pub near: End,
    pub far: End,
    carrier: Carrier,
}

/// What the line does to packets.
pub struct Quality {
    /// How late they come, in seconds each way.
    pub delay: f64,
    /// The share of them that is lost.
    pub loss: f64,
}

impl Line {
    /// Lays one, or says why that cannot be tried here.
    pub fn lay(quality: &Quality) -> Option<Self> {
        if let Some(missing) = missing() {
            eprintln!("skipped: {missing}");
            return None;
        }
        let laid = Self::laid(quality);
        Some(laid.unwrap_or_else(|error| panic!("no line can be laid: {error}")))
    }

    fn laid(quality: &Quality) -> io::Result<Self> {
        let number = next();
        let near = End::new(&format!("near-{number}"))?;
        let far = End::new(&format!("far-{number}"))?;
        // Both begin at the near end; a device keeps its carrier when it moves.
        let carrier = Carrier::start(near.network.name(), quality)?;
        ip(&[
            "-n",
            near.network.name(),
            "link",
            "set",
            "far",
            "netns",
            far.network.name(),
        ])?;
        near.address("near", NEAR)?;
        far.address("far", FAR)?;
        Ok(Self { near, far, carrier })
    }

    /// Loses everything from now on.
    pub fn cut(&mut self) {
        self.carrier.told("cut");
    }

    /// Is as it was before it was cut.
    pub fn mend(&mut self) {
        self.carrier.told("mend");
    }

    /// How many packets were lost so far.
    pub fn lost(&mut self) -> u64 {
        let counted = self.carrier.told("count");
        counted.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// A number that no other network of this process has.
fn next() -> u32 {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// What this machine lacks for it.
fn missing() -> Option<String> {
    if !geteuid().is_root() {
        return Some("only root can make networks of its own".to_owned());
    }
    for (program, package) in [("ip", "iproute2"), ("python3", "python3-minimal")] {
        if packages::provide(&[program], package).is_none() {
            return Some(format!("{program} is not there (package {package})"));
        }
    }
    let tun = File::options().read(true).write(true).open("/dev/net/tun");
    if let Err(error) = tun {
        return Some(format!("no TUN device can be had here: {error}"));
    }
    let network = Network::new(&format!("probe-{}", next())).err();
    network.map(|error| format!("no network of its own can be made here: {error}"))
}

/// One end of the line, and a thread that lives there.
pub struct End {
    handle: Handle,
    /// Ends the thread when it is dropped.
    _life: oneshot::Sender<()>,
    network: Network,
}

impl End {
    fn new(name: &str) -> io::Result<Self> {
        let network = Network::new(name)?;
        let (life, over) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        thread::scope(|scope| {
            let entered = scope.spawn(|| network.enter().map(|()| live(over, tell)));
            entered.join().unwrap()
        })?;
        let handle = told.recv().unwrap();
        Ok(Self {
            handle,
            _life: life,
            network,
        })
    }

    /// Does something there.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match self.handle.spawn(work).await {
            Ok(done) => done,
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }

    fn address(&self, device: &str, address: &str) -> io::Result<()> {
        let network = self.network.name();
        let address = format!("{address}/24");
        ip(&["-n", network, "address", "add", &address, "dev", device])?;
        ip(&["-n", network, "link", "set", device, "up"])
    }
}

/// Starts the thread of an end, which is where the one is that starts it.
fn live(over: oneshot::Receiver<()>, tell: std::sync::mpsc::Sender<Handle>) {
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        tell.send(runtime.handle().clone()).unwrap();
        let _ = runtime.block_on(over);
    });
}

/// The process between the two ends.
struct Carrier {
    child: Child,
    orders: ChildStdin,
    says: BufReader<ChildStdout>,
}

impl Carrier {
    fn start(network: &str, quality: &Quality) -> io::Result<Self> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", network, "python3", "-c"])
            .arg(include_str!("../support/line.py"))
            .args(["near", "far"])
            .args([quality.delay.to_string(), quality.loss.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (orders, says) = (child.stdin.take(), child.stdout.take());
        let mut carrier = Self {
            child,
            orders: orders.unwrap(),
            says: BufReader::new(says.unwrap()),
        };
        match carrier.hears()?.as_str() {
            "laid" => Ok(carrier),
            said => Err(io::Error::other(format!("the carrier said {said:?}"))),
        }
    }

    fn told(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        self.hears().unwrap()
    }

    fn hears(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.says.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
