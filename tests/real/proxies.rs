//! Real proxies in front: the very files of `deploy/`, with their addresses and certificates replaced.
//!
//! Directly, a proxy stands before the gateway; else before the shim. What a client elsewhere gets must be the same.

use std::fs;
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use scope_shim::demo::npm::process::{Group, poll};
use scope_shim::demo::npm::{Credential, Installed, Version};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Result;
use crate::browser;
use crate::outcome::Outcome;
use crate::packages;
use crate::place::{Column, Place, TOKEN, free_port};
use crate::report::Recorder;
use crate::shim::{Settings, Shim};

/// One old and one new gateway.
pub(crate) fn concern(version: &Version) -> bool {
    matches!(version.to_string().as_str(), "2026.2.19" | "2026.9.6")
}

/// The gateways that take the scopes of a page whose user a proxy named, and that take a proxy on their own machine.
pub(crate) fn concern_users(version: &Version) -> bool {
    matches!(version.to_string().as_str(), "2026.3.24" | "2026.5.7")
}

/// Puts each proxy in front, one after the other.
pub(crate) fn run(installed: &Installed, column: Column, recorder: &mut Recorder) -> Result<()> {
    let Some(address) = address() else {
        return recorder.record("behind proxies", || {
            let why = "this machine has no address that is not loopback";
            Ok(Outcome::Skipped(why.to_owned()))
        });
    };
    let scene = Scene::new(installed, column, address, Value::Null)?;
    let _gateway = scene
        .place
        .start_gateway_with(Vec::new(), scene.gateway.clone())?;
    let shim = scene.shim("headers", &[])?;
    for proxy in [Proxy::Nginx, Proxy::Caddy, Proxy::Haproxy] {
        scene.try_out(
            proxy,
            &proxy.file(),
            scene.target(&shim),
            proxy.name(),
            recorder,
        )?;
    }
    let named = scene.shim("named", &[("SCOPE_SHIM_PROXY_PROTOCOL", "required")])?;
    let file = match column {
        Column::Direct => Proxy::Haproxy.file(),
        Column::Shimmed => with_proxy_protocol(&Proxy::Haproxy.file())?,
    };
    let name = "HAProxy with the PROXY protocol";
    scene.try_out(Proxy::Haproxy, &file, scene.target(&named), name, recorder)?;
    scene.lose_a_replica(recorder)
}

/// Has the page of a user whom nginx names opened, over plain HTTP, where a page has no device.
pub(crate) fn run_users(
    installed: &Installed,
    column: Column,
    recorder: &mut Recorder,
) -> Result<()> {
    const NAME: &str = "Control UI of a user whom nginx names";
    let skip = |why: &str| Ok(Outcome::Skipped(why.to_owned()));
    let (Some(address), Some(_)) = (address(), Proxy::Nginx.program()) else {
        return recorder.record(NAME, || {
            skip("no nginx, or no address that is not loopback")
        });
    };
    let mut proxied = json!({"userHeader": "x-forwarded-user", "allowUsers": [USER, OWN_USER]});
    if installed.version.is_at_least(2026, 5, 0) {
        proxied["allowLoopback"] = json!(true);
    }
    let auth = json!({"mode": "trusted-proxy", "trustedProxy": proxied});
    let mut scene = Scene::new(installed, column, address, auth)?;
    let credential = Credential::Password(TOKEN.to_owned());
    let settings = scene.gateway.clone();
    let _gateway = scene
        .place
        .start_gateway_as(credential, Vec::new(), settings)?;
    let users = format!("{{ {USER:?} = {{ scopes = ['operator.admin'] }} }}");
    // Up to 2026.4 no password gets past the proxy.
    let own = match installed.version.is_at_least(2026, 5, 0) {
        true => ("SCOPE_SHIM_GATEWAY_PASSWORD", TOKEN),
        false => ("SCOPE_SHIM_GATEWAY_USER", OWN_USER),
    };
    let shim = scene.shim("users", &[("SCOPE_SHIM_POLICY_USERS", &users), own])?;
    let text = replaced(
        &Proxy::Nginx.file(),
        &[(
            "X-Forwarded-User \"\"",
            &format!("X-Forwarded-User {USER:?}"),
        )],
    )?;
    scene.secure = false;
    let _proxy = scene.start(Proxy::Nginx, &text, scene.target(&shim))?;
    let url = format!("http://{}:{}", scene.address, scene.port);
    browser::visit(&scene.place, NAME, &url, recorder)
}

/// A gateway, what stands before it, and where the proxies listen.
struct Scene {
    place: Place,
    column: Column,
    address: IpAddr,
    port: u16,
    /// What the gateway is configured with.
    gateway: Value,
    /// Whether the proxy ends TLS.
    secure: bool,
    certificate: String,
    key: String,
}

impl Scene {
    fn new(installed: &Installed, column: Column, address: IpAddr, auth: Value) -> Result<Self> {
        let port = free_port()?;
        let signed = rcgen::generate_simple_self_signed(vec![address.to_string()])?;
        let trusted = match column {
            Column::Direct => ["127.0.0.1", "127.0.0.1"],
            // Some versions want a loopback address among them that they know by heart.
            Column::Shimmed => ["127.0.0.2", "::1"],
        };
        let origins = ["https", "http"].map(|scheme| format!("{scheme}://{address}:{port}"));
        let mut gateway = json!({"gateway": {
            "trustedProxies": trusted, "controlUi": {"allowedOrigins": origins},
        }});
        if !auth.is_null() {
            gateway["gateway"]["auth"] = auth;
        }
        Ok(Self {
            place: Place::new(installed)?,
            column,
            address,
            port,
            gateway,
            secure: true,
            certificate: signed.cert.pem(),
            key: signed.signing_key.serialize_pem(),
        })
    }

    /// A shim of that name, in the column that has one.
    fn shim(&self, name: &str, environment: &[(&str, &str)]) -> Result<Option<(Shim, u16)>> {
        if self.column == Column::Direct {
            return Ok(None);
        }
        let data = self.place.home().join(name);
        fs::create_dir_all(&data)?;
        let port = free_port()?;
        let settings = Settings {
            port,
            data,
            ..self.place.shim_settings()?
        };
        let trusted = [("SCOPE_SHIM_TRUSTED_PROXIES", "127.0.0.1")];
        let environment = [&trusted, environment].concat();
        Ok(Some((Shim::start(settings, &environment)?, port)))
    }

    /// Where a proxy leads to.
    fn target(&self, shim: &Option<(Shim, u16)>) -> u16 {
        shim.as_ref()
            .map_or(self.place.gateway_port, |(_, port)| *port)
    }

    /// Tries everything through one proxy.
    fn try_out(
        &self,
        proxy: Proxy,
        text: &str,
        target: u16,
        name: &str,
        recorder: &mut Recorder,
    ) -> Result<()> {
        if proxy.program().is_none() {
            return recorder.record(&format!("{name}: everything"), || {
                Ok(Outcome::Skipped(format!(
                    "no {} on this machine",
                    proxy.command()
                )))
            });
        }
        let _running = self.start(proxy, text, target)?;
        let chromium = crate::chromium::chromium().map(|path| path.to_string_lossy().into_owned());
        for answer in self.script("answers", "wss", chromium.as_deref())? {
            recorder.record(&format!("{name}: {}", answer.name), || Ok(answer.outcome()))?;
        }
        Ok(())
    }

    /// Kills one of two shims while clients come.
    fn lose_a_replica(&self, recorder: &mut Recorder) -> Result<()> {
        const NAME: &str = "handshakes while a replica is killed";
        if Proxy::Haproxy.program().is_none() {
            return recorder.record(NAME, || Ok(Outcome::Skipped("no HAProxy".to_owned())));
        }
        let required = [("SCOPE_SHIM_PROXY_PROTOCOL", "required")];
        let one = self.shim("one", &required)?;
        let two = self.shim("two", &required)?;
        let text = include_str!("../../deploy/haproxy/replicas.cfg");
        let (first, second) = (self.target(&one), self.target(&two));
        let mut text = replaced(
            text,
            &[
                ("127.0.0.1:18780", &format!("127.0.0.1:{first}")),
                ("127.0.0.1:18781", &format!("127.0.0.1:{second}")),
                (
                    "bind 127.0.0.1:18789",
                    &format!("bind {}:{}", self.address, self.port),
                ),
            ],
        )?;
        if self.column == Column::Direct {
            text = replaced(&text, &[("send-proxy-v2 check-send-proxy", "")])?;
        }
        let _running = self.launch(Proxy::Haproxy, &text)?;
        for file in ["under-way", "killed"] {
            let _ = fs::remove_file(self.place.home().join(file));
        }
        let victim = Mutex::new(one);
        let (answers, survivor) = thread::scope(|scope| {
            let killer = scope.spawn(|| {
                let under_way = self.place.home().join("under-way");
                poll(TIME_TO_BEGIN, || under_way.exists().then_some(()));
                if let Ok(mut victim) = victim.lock()
                    && let Some((shim, _)) = victim.as_mut()
                {
                    shim.kill();
                }
                fs::write(self.place.home().join("killed"), "")
            });
            let answers = self.script("stream", "ws", None);
            let _ = killer.join();
            (answers, two)
        });
        for answer in answers? {
            recorder.record(&answer.name, || Ok(answer.outcome()))?;
        }
        recorder.record("both replicas are paired", || match &survivor {
            None => Ok(Outcome::Ok(String::new())),
            Some((shim, _)) => Ok(both_paired(shim, &victim)),
        })
    }

    fn script(&self, what: &str, scheme: &str, chromium: Option<&str>) -> Result<Vec<Answer>> {
        let gateway = self.place.gateway_port.to_string();
        let url = format!("{scheme}://{}:{}", self.address, self.port);
        let mut arguments = vec![what, &gateway, &url, TOKEN];
        arguments.extend(chromium);
        let script = include_str!("proxies.mjs");
        let output = self
            .place
            .run_script("proxies.mjs", script, &arguments, TIME_LIMIT)?;
        serde_json::from_str(&output.stdout).map_err(|error| {
            format!("proxies.mjs: {error}: {}{}", output.stdout, output.stderr).into()
        })
    }

    /// Starts a proxy with a file of `deploy/`: it listens here and leads to `target`.
    fn start(&self, proxy: Proxy, text: &str, target: u16) -> Result<Group> {
        let pem = |name: &str, text: &str| -> Result<String> {
            let file = self.place.home().join(name);
            fs::write(&file, text)?;
            Ok(file.to_string_lossy().into_owned())
        };
        let certificate = pem("proxy.crt", &self.certificate)?;
        let key = pem("proxy.key", &self.key)?;
        let both = pem("proxy.pem", &format!("{}{}", self.certificate, self.key))?;
        let here = format!("{}:{}", self.address, self.port);
        let shim = ("127.0.0.1:18780", format!("127.0.0.1:{target}"));
        let changes = match proxy {
            Proxy::Nginx if !self.secure => vec![
                shim,
                ("listen 443 ssl", format!("listen {here}")),
                (
                    "    ssl_certificate     /etc/ssl/gateway.example.com.crt;\n",
                    String::new(),
                ),
                (
                    "    ssl_certificate_key /etc/ssl/gateway.example.com.key;\n",
                    String::new(),
                ),
            ],
            Proxy::Nginx => vec![
                shim,
                ("listen 443 ssl", format!("listen {here} ssl")),
                ("/etc/ssl/gateway.example.com.crt", certificate),
                ("/etc/ssl/gateway.example.com.key", key),
            ],
            Proxy::Caddy => vec![
                shim,
                (
                    "\ngateway.example.com {\n",
                    format!("\nhttps://{here} {{\n\ttls {certificate} {key}\n"),
                ),
            ],
            Proxy::Haproxy => vec![
                shim,
                ("bind :443", format!("bind {here}")),
                ("/etc/haproxy/gateway.example.com.pem", both),
            ],
        };
        let changes: Vec<_> = changes.iter().map(|(old, new)| (*old, &**new)).collect();
        self.launch(proxy, &replaced(text, &changes)?)
    }

    fn launch(&self, proxy: Proxy, text: &str) -> Result<Group> {
        let directory = self.place.home().join(proxy.command());
        fs::create_dir_all(&directory)?;
        let file = directory.join("deployed");
        fs::write(&file, proxy.around(text, &directory))?;
        let program = proxy.program().ok_or("the proxy is gone")?;
        let log = fs::File::create(directory.join("log"))?;
        let mut command = Command::new(program);
        command
            .args(proxy.arguments(&file))
            .env("HOME", &directory)
            .env("XDG_DATA_HOME", &directory)
            .env("XDG_CONFIG_HOME", &directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut group = Group::spawn(&mut command)?;
        let listens = poll(TIME_TO_LISTEN, || match group.ended() {
            Some(status) => Some(Err(status)),
            None => TcpStream::connect((self.address, self.port))
                .is_ok()
                .then_some(Ok(())),
        });
        let words = || fs::read_to_string(directory.join("log")).unwrap_or_default();
        match listens {
            Some(Ok(())) => Ok(group),
            Some(Err(status)) => {
                Err(format!("{} ended with {status}: {}", proxy.name(), words()).into())
            }
            None => Err(format!("{} does not listen: {}", proxy.name(), words()).into()),
        }
    }
}

/// What the script says became of one attempt.
#[derive(Deserialize)]
struct Answer {
    name: String,
    outcome: String,
    detail: String,
}

impl Answer {
    fn outcome(&self) -> Outcome {
        match self.outcome.as_str() {
            "ok" => Outcome::Ok(String::new()),
            text if text.starts_with("HTTP 200") => Outcome::Ok(text.to_owned()),
            _ => Outcome::Failed {
                what: self.outcome.clone(),
                words: vec![self.detail.clone()],
            },
        }
    }
}

#[derive(Clone, Copy)]
enum Proxy {
    Nginx,
    Caddy,
    Haproxy,
}

impl Proxy {
    const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "Caddy",
            Self::Haproxy => "HAProxy",
        }
    }

    const fn command(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::Haproxy => "haproxy",
        }
    }

    /// What is deployed.
    fn file(self) -> String {
        match self {
            Self::Nginx => include_str!("../../deploy/nginx/scope-shim.conf"),
            Self::Caddy => include_str!("../../deploy/caddy/Caddyfile"),
            Self::Haproxy => include_str!("../../deploy/haproxy/haproxy.cfg"),
        }
        .to_owned()
    }

    /// What a distribution has around it: here, what a test needs.
    fn around(self, text: &str, directory: &Path) -> String {
        let directory = directory.display();
        match self {
            Self::Nginx => format!(
                "daemon off;\npid {directory}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n\
                 client_body_temp_path {directory}/body;\nproxy_temp_path {directory}/proxy;\n\
                 fastcgi_temp_path {directory}/fastcgi;\nuwsgi_temp_path {directory}/uwsgi;\n\
                 scgi_temp_path {directory}/scgi;\n{text}\n}}\n"
            ),
            Self::Caddy => {
                format!("{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{text}")
            }
            Self::Haproxy => text.to_owned(),
        }
    }

    fn arguments(self, file: &Path) -> Vec<String> {
        let file = file.to_string_lossy().into_owned();
        let arguments: &[&str] = match self {
            Self::Nginx => &["-c", &file],
            Self::Caddy => &["run", "--adapter", "caddyfile", "--config", &file],
            Self::Haproxy => &["-db", "-f", &file],
        };
        arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect()
    }

    /// The program; where a CI job runs as root, the one that the distribution has.
    fn program(self) -> Option<PathBuf> {
        packages::provide(&[self.command()], self.command())
    }
}

/// Each of the two has its own device, and the gateway knows both.
fn both_paired(shim: &Shim, victim: &Mutex<Option<(Shim, u16)>>) -> Outcome {
    let failed = |what: &str, words: String| Outcome::Failed {
        what: what.to_owned(),
        words: vec![words],
    };
    let id = |log: &str| {
        let (_, after) = log.split_once("the delegate is paired")?;
        let (_, id) = after.lines().next()?.split_once("delegate=")?;
        Some(id.trim().to_owned())
    };
    let one = victim
        .lock()
        .ok()
        .and_then(|victim| id(&victim.as_ref()?.0.log()));
    let (Some(one), Some(two)) = (one, id(&shim.log())) else {
        return failed("one was never paired", shim.log());
    };
    match shim.command(&["devices", "--json"]) {
        Ok(report)
            if one != two && report.stdout.contains(&one) && report.stdout.contains(&two) =>
        {
            Outcome::Ok(String::new())
        }
        Ok(report) => failed("the gateway does not know both", report.stdout),
        Err(error) => failed("devices cannot look", error.to_string()),
    }
}

/// The alternative that the file speaks of.
fn with_proxy_protocol(text: &str) -> Result<String> {
    replaced(
        text,
        &[
            ("    server shim 127.0.0.1:18780\n", ""),
            ("    #server shim", "    server shim"),
            (
                "    http-request set-header X-Forwarded-For   %[src]\n",
                "    http-request del-header X-Forwarded-For\n",
            ),
        ],
    )
}

/// `text` with everything replaced, each of which must be there.
fn replaced(text: &str, changes: &[(&str, &str)]) -> Result<String> {
    changes
        .iter()
        .try_fold(text.to_owned(), |text, (old, new)| {
            match text.contains(old) {
                true => Ok(text.replace(old, new)),
                false => Err(format!("the file of deploy/ has no {old:?}").into()),
            }
        })
}

/// An address of this machine that a gateway takes for one elsewhere. Nothing is sent.
fn address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

const USER: &str = "alice@example.com";
const OWN_USER: &str = "scope-shim@localhost";
const TIME_LIMIT: Duration = Duration::from_secs(240);
const TIME_TO_BEGIN: Duration = Duration::from_secs(120);
const TIME_TO_LISTEN: Duration = Duration::from_secs(20);
