//! What stands between clients and gateway: each as Debian installs it, with as many threads or workers as it takes by
//! itself, which is one a processor for all but Node.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use scope_shim::delegate::Delegate;

use crate::fixture::write_state;
use crate::process::Tree;
use crate::tls;

/// A kind of proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// None at all.
    Direct,
    HaProxy,
    Nginx,
    Caddy,
    /// A proxy under Node that signs handshakes again.
    Node,
    /// A build of the shim.
    Shim {
        name: String,
        program: PathBuf,
    },
}

impl Kind {
    pub fn name(&self) -> &str {
        match self {
            Self::Direct => "direct",
            Self::HaProxy => "HAProxy",
            Self::Nginx => "nginx",
            Self::Caddy => "Caddy",
            Self::Node => "Node ws",
            Self::Shim { name, .. } => name,
        }
    }

    pub const fn is_shim(&self) -> bool {
        matches!(self, Self::Shim { .. })
    }
}

/// Where everything is.
pub struct Place {
    pub directory: PathBuf,
    /// The address of the gateway.
    pub gateway: SocketAddr,
    pub tls: tls::Files,
    pub node: PathBuf,
    /// A directory that `require("ws")` works from.
    pub modules: PathBuf,
}

/// A proxy that runs. Dropping it stops it.
pub struct Running {
    pub kind: Kind,
    pub addr: SocketAddr,
    /// The certificate to trust, where it speaks TLS.
    pub certificate: Option<PathBuf>,
    child: Option<Child>,
}

impl Running {
    /// Starts a proxy and waits until it takes connections.
    pub fn start(kind: &Kind, place: &Place, port: u16, tls: bool) -> Self {
        let running = Self::spawn(kind, place, port, tls);
        let deadline = Instant::now() + START_PATIENCE;
        while TcpStream::connect(running.addr).is_err() {
            assert!(
                Instant::now() < deadline,
                "{} does not start: {}",
                kind.name(),
                fs::read_to_string(place.log(kind, port)).unwrap_or_default()
            );
            sleep(Duration::from_millis(1));
        }
        running
    }

    /// Starts a shim inside another program.
    pub fn under(outer: &[&str], kind: &Kind, place: &Place, port: u16) -> Self {
        let Kind::Shim { program, .. } = kind else {
            panic!("{} is no shim", kind.name());
        };
        let inner = place.shim(kind, program, port, false);
        let mut command = Command::new(outer[0]);
        command
            .args(&outer[1..])
            .arg(program)
            .args(inner.get_args());
        command.env("HOME", &place.directory).env("NO_COLOR", "1");
        Self {
            child: Some(place.spawned(command, kind, port)),
            kind: kind.clone(),
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            certificate: None,
        }
    }

    /// Starts a proxy, without waiting.
    pub fn spawn(kind: &Kind, place: &Place, port: u16, tls: bool) -> Self {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let command = match kind {
            Kind::Direct => None,
            Kind::HaProxy => Some(place.haproxy(port, tls)),
            Kind::Nginx => Some(place.nginx(port, tls)),
            Kind::Caddy => Some(place.caddy(port, tls)),
            Kind::Node => Some(place.node(port)),
            Kind::Shim { program, .. } => Some(place.shim(kind, program, port, tls)),
        };
        let child = command.map(|command| place.spawned(command, kind, port));
        Self {
            kind: kind.clone(),
            addr: if child.is_some() { addr } else { place.gateway },
            certificate: tls.then(|| place.tls.certificate.clone()),
            child,
        }
    }

    pub fn tree(&self) -> Option<Tree> {
        self.child.as_ref().map(|child| Tree(child.id()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            stop(child);
        }
    }
}

/// Asks a process to end, so that it ends its workers, and insists after a while.
fn stop(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    let deadline = Instant::now() + STOP_PATIENCE;
    while Instant::now() < deadline {
        if let Ok(Some(_)) = child.try_wait() {
            return;
        }
        sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
}

impl Place {
    fn spawned(&self, mut command: Command, kind: &Kind, port: u16) -> Child {
        fs::create_dir_all(self.directory.join(LOGS)).unwrap();
        let log = File::create(self.log(kind, port)).unwrap();
        let errors = log.try_clone().unwrap();
        let command = command.stdin(Stdio::null()).stdout(log).stderr(errors);
        command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", kind.name()))
    }

    fn log(&self, kind: &Kind, port: u16) -> PathBuf {
        let name = kind.name().replace(' ', "-");
        // In a place of their own: a shim watches what is around the gateway's state.
        self.directory.join(LOGS).join(format!("{name}-{port}.log"))
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.directory.join(name);
        fs::write(&file, text).unwrap();
        file
    }

    /// Debian's own settings, with longer timeouts and more connections; its log goes to a file.
    fn haproxy(&self, port: u16, tls: bool) -> Command {
        let secure = if tls {
            format!(" ssl crt {}", self.tls.both.display())
        } else {
            String::new()
        };
        let text = format!(
            "global\n  maxconn 9000\n  log stdout format raw local0\n\
             defaults\n  mode http\n  log global\n  option httplog\n  option dontlognull\n\
             \x20 timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n  timeout tunnel 1h\n\
             frontend front\n  bind 127.0.0.1:{port}{secure}\n  default_backend gateway\n\
             backend gateway\n  server gateway {}\n",
            self.gateway
        );
        let file = self.write(&format!("haproxy-{port}.cfg"), &text);
        let mut command = Command::new("haproxy");
        command.args(["-db", "-f"]).arg(file);
        command
    }

    /// Debian's own settings, and what nginx's documentation says about WebSockets.
    fn nginx(&self, port: u16, tls: bool) -> Command {
        let (secure, files) = if tls {
            let (certificate, key) = (self.tls.certificate.display(), self.tls.key.display());
            (
                " ssl",
                format!(
                    "ssl_certificate {certificate}; ssl_certificate_key {key};\n    \
                     ssl_protocols TLSv1.2 TLSv1.3; ssl_prefer_server_ciphers on;"
                ),
            )
        } else {
            ("", String::new())
        };
        let directory = self.directory.display();
        let text = format!(
            "worker_processes auto; worker_rlimit_nofile 20000; pid {directory}/nginx-{port}.pid; daemon off;\n\
             events {{ worker_connections 16384; }}\n\
             http {{\n  access_log {directory}/nginx-{port}-access.log;\n  sendfile on; tcp_nopush on;\n\
             \x20 server {{\n    listen 127.0.0.1:{port}{secure}; {files}\n\
             \x20   location / {{\n      proxy_pass http://{};\n      proxy_http_version 1.1;\n\
             \x20     proxy_set_header Host $host;\n      proxy_set_header Upgrade $http_upgrade;\n\
             \x20     proxy_set_header Connection \"upgrade\";\n\
             \x20     proxy_read_timeout 1h; proxy_send_timeout 1h;\n    }}\n  }}\n}}\n",
            self.gateway
        );
        let file = self.write(&format!("nginx-{port}.conf"), &text);
        let mut command = Command::new("nginx");
        command.arg("-c").arg(file).arg("-p").arg(&self.directory);
        command
            .arg("-e")
            .arg(self.directory.join(format!("nginx-{port}-error.log")));
        command
    }

    fn caddy(&self, port: u16, tls: bool) -> Command {
        let (scheme, files) = if tls {
            let (certificate, key) = (self.tls.certificate.display(), self.tls.key.display());
            ("https", format!("  tls {certificate} {key}\n"))
        } else {
            ("http", String::new())
        };
        let text = format!(
            "{{\n  admin off\n  auto_https off\n}}\n\
             {scheme}://127.0.0.1:{port} {{\n  bind 127.0.0.1\n{files}  reverse_proxy {}\n}}\n",
            self.gateway
        );
        let file = self.write(&format!("caddy-{port}.caddyfile"), &text);
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]);
        command.arg(file).env("HOME", &self.directory);
        command
    }

    fn node(&self, port: u16) -> Command {
        let script = self.write("resign.mjs", include_str!("resign.mjs"));
        let mut command = Command::new(&self.node);
        command
            .arg(script)
            .arg(port.to_string())
            .arg(self.gateway.port().to_string());
        command.arg(&self.modules);
        command
    }

    /// Everything on: mode `on`, its admin port, its log, and what `explain` needs.
    fn shim(&self, kind: &Kind, program: &Path, port: u16, tls: bool) -> Command {
        let state = self.directory.join("state");
        let data = self.data(kind, tls);
        let mut text = format!(
            "listen = \"127.0.0.1:{port}\"\ndata = {data:?}\n\
             [gateway]\nurl = \"ws://{}\"\nstate = {state:?}\n\
             [limits]\nconnections = 20000\n\
             [admin]\nsocket = {:?}\nlisten = \"127.0.0.1:{}\"\n",
            self.gateway,
            self.directory.join(format!("admin-{port}.sock")),
            port + ADMIN,
        );
        if tls {
            let (certificate, key) = (&self.tls.certificate, &self.tls.key);
            text.push_str(&format!(
                "[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n"
            ));
        }
        let file = self.write(&format!("scope-shim-{port}.toml"), &text);
        let mut command = Command::new(program);
        command.arg("run").arg("--config").arg(file);
        command
            .env_clear()
            .env("HOME", &self.directory)
            .env("NO_COLOR", "1");
        command
    }

    fn data(&self, kind: &Kind, tls: bool) -> PathBuf {
        let suffix = if tls { "-tls" } else { "" };
        self.directory.join(format!("data-{}{suffix}", kind.name()))
    }

    /// Writes the gateway's state, in which the delegate of each shim is paired already.
    pub fn pair(&self, kinds: &[Kind]) {
        let delegates: Vec<_> = kinds
            .iter()
            .filter(|kind| kind.is_shim())
            .flat_map(|kind| [self.data(kind, false), self.data(kind, true)])
            .map(|data| {
                let delegate = Delegate::load_or_create(&data).unwrap();
                let proof = delegate.prove(&Default::default(), "", 0);
                (proof.id, proof.public_key)
            })
            .collect();
        write_state(
            &self.directory.join("state"),
            self.gateway.port(),
            &delegates,
        );
    }

    /// What this machine is, and who takes part in which version.
    pub fn machine(&self, kinds: &[Kind]) -> String {
        let versions = kinds.iter().filter_map(|kind| {
            let version = match kind {
                Kind::Direct => None,
                Kind::HaProxy => said("haproxy", "-v", ' ', 2),
                Kind::Nginx => said("nginx", "-v", '/', 1),
                Kind::Caddy => said("caddy", "version", ' ', 0),
                Kind::Node => said(&self.node, "--version", ' ', 0),
                Kind::Shim { program, .. } => said(program, "--version", ' ', 1),
            };
            Some(format!("{} {}", kind.name(), version?))
        });
        let versions: Vec<_> = versions.collect();
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let model = model.map_or("unknown processor", |model| {
            model.trim_matches([' ', '\t', ':'])
        });
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        format!(
            "{cores} × {model}, Linux {}; {}",
            kernel.trim(),
            versions.join(", ")
        )
    }

    /// What keeps a kind of proxy from taking part.
    pub fn missing(&self, kind: &Kind) -> Option<String> {
        let runs = |program: &Path, argument: &str| {
            let mut command = Command::new(program);
            let command = command
                .arg(argument)
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.status().map(|status| status.success())
        };
        let there = |program: &str, argument| match runs(Path::new(program), argument) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!(
                "{program} is not installed: apt-get install {program}"
            )),
            _ => None,
        };
        match kind {
            Kind::Direct => None,
            Kind::HaProxy => there("haproxy", "-v"),
            Kind::Nginx => there("nginx", "-v"),
            Kind::Caddy => there("caddy", "version"),
            Kind::Node if runs(&self.node, "--version").is_err() => Some(format!(
                "{} does not run: apt-get install nodejs, or name one with --node",
                self.node.display()
            )),
            Kind::Node if !self.modules.join("node_modules/ws").is_dir() => Some(format!(
                "{} has no node_modules/ws: npm install ws in some directory, and name it with --ws",
                self.modules.display()
            )),
            Kind::Node => None,
            Kind::Shim { program, .. } if program.is_file() => None,
            Kind::Shim { program, .. } => Some(format!("{} is no program", program.display())),
        }
    }
}

/// One word of what a program says of its version.
fn said(program: impl AsRef<OsStr>, argument: &str, between: char, word: usize) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let word = said.lines().next()?.split(between).nth(word)?;
    Some(word.trim().to_owned())
}

const LOGS: &str = "logs";
/// How far a shim's admin port is above its own.
const ADMIN: u16 = 100;
const START_PATIENCE: Duration = Duration::from_secs(10);
/// Under callgrind everything takes its time.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
