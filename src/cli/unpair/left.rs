//! What is left of the shim once its device is gone: found by looking, in the order in which it is to be undone.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::cli::Style;
use crate::config::{Config, Environment};
#[cfg(target_os = "linux")]
use crate::intercept;
use crate::text::safe;

/// The steps that are left, in order.
pub(super) struct Left(Vec<String>);

/// The side of the shim that clients met.
#[derive(Clone, Copy, Debug)]
pub(super) struct Front {
    /// Whether a shim runs.
    pub(super) running: bool,
    /// Where it lets the gateway's clients in.
    pub(super) listen: SocketAddr,
    /// Whether its device has left the gateway: until then the key, and the program that has it, are needed.
    pub(super) left: bool,
}

impl Left {
    /// Of one of several gateways only what is its own: the shim goes on for the others.
    pub(super) fn look(config: &Config, environment: &Environment, front: Front) -> Self {
        if let Some(name) = &config.label {
            return Self::of_one(config, name, environment, front);
        }
        let mut steps = Vec::new();
        steps.extend(intercept());
        steps.extend(again(config, front));
        steps.extend(clients(config, environment, front));
        let before = steps.len();
        steps.extend(services(Path::new("/"), environment));
        steps.extend(container(Path::new("/"), environment));
        if front.running && steps.len() == before {
            steps.push("stop the shim that runs".to_owned());
        }
        steps.extend(trusted_proxy(config));
        steps.extend(origin(config, front.listen));
        if front.left {
            steps.extend(package(Path::new("/")));
        }
        steps.extend(audit(config));
        if front.left {
            steps.extend(remove(
                config.data.exists().then_some(&config.data),
                config.file.as_ref(),
            ));
        }
        Self(steps)
    }

    fn of_one(config: &Config, name: &str, environment: &Environment, front: Front) -> Self {
        let mut steps = Vec::from_iter(again(config, front));
        steps.extend(clients(config, environment, front));
        steps.extend(trusted_proxy(config));
        steps.extend(origin(config, front.listen));
        let file = config.file.as_ref();
        let file = file.map_or_else(String::new, |file| format!(" of {}", file.display()));
        let reload = || config.command(&["reload"]);
        let then = if front.running {
            format!(", then run: {}", reload())
        } else {
            String::new()
        };
        if front.left {
            steps.push(format!("take [[gateway]] {name:?} out{file}{then}"));
        }
        steps.extend(audit(config));
        if front.left {
            steps.extend(remove(config.data.exists().then_some(&config.data), None));
        }
        Self(steps)
    }

    pub(super) fn show(&self, text: &mut String, style: Style) {
        let _ = writeln!(text, "\n{}", style.strong("Left to do, in this order"));
        for (index, step) in self.0.iter().enumerate() {
            let _ = writeln!(text, " {}. {}", index + 1, safe(step));
        }
    }
}

/// Before all else: with it in place, clients reach the shim whatever they are told.
#[cfg(target_os = "linux")]
fn intercept() -> Option<String> {
    let unit = "systemctl disable --now scope-shim-intercept where that unit put it there";
    match intercept::is_in_place() {
        Some(false) => None,
        Some(true) => Some(format!(
            "take the redirect away: scope-shim intercept down, and {unit}"
        )),
        None => Some(format!(
            "only root can see whether a redirect is in place; if one was ever put there: sudo scope-shim intercept down, and \
             {unit}"
        )),
    }
}

#[cfg(not(target_os = "linux"))]
const fn intercept() -> Option<String> {
    None
}

/// Before anything goes that the device could leave by.
fn again(config: &Config, front: Front) -> Option<String> {
    let unpair = config.command(&["unpair"]);
    (!front.left).then(|| {
        format!(
            "run this again when the gateway can be asked, and keep {} until then: {unpair}",
            config.data.display()
        )
    })
}

/// Nobody can look into every client; what can be seen from here is named. Where no shim runs, and there is no trace of
/// one, nothing points to it.
fn clients(config: &Config, environment: &Environment, front: Front) -> Option<String> {
    let gateway = &config.gateway.url;
    let listen = front.listen;
    let hosts = match config.hosts.as_slice() {
        [] => String::new(),
        hosts => format!(" ({})", hosts.join(", ")),
    };
    let mut seen = String::new();
    let port = listen.port().to_string();
    let variables = ["OPENCLAW_GATEWAY_PORT", "OPENCLAW_GATEWAY_URL"];
    for name in variables {
        let value = environment.get(name).unwrap_or_default();
        if value == port || value.ends_with(&format!(":{port}")) {
            let _ = write!(seen, "; unset {name} (set here)");
        }
    }
    if let Some(file) = &config.gateway.facts.config_file
        && remote_url(file)
            .is_some_and(|url| url.trim_end_matches('/').ends_with(&format!(":{port}")))
    {
        let _ = write!(seen, "; gateway.remote.url in {}", file.display());
    }
    let ran = front.running || !seen.is_empty();
    if !ran && !config.data.exists() {
        return None;
    }
    let whom = if ran { "" } else { " that still go there" };
    Some(format!(
        "point clients{whom} back from {listen}{hosts} to {gateway}{seen}"
    ))
}

fn remote_url(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let document: serde_json::Value = json5::from_str(&text).ok()?;
    let url = document.pointer("/gateway/remote/url")?.as_str()?;
    Some(url.to_owned())
}

/// The files of a service that starts the shim, and the commands that end it.
fn services(root: &Path, environment: &Environment) -> Vec<String> {
    let mut steps = Vec::new();
    let system = [
        "etc/systemd/system",
        "lib/systemd/system",
        "usr/lib/systemd/system",
    ];
    let system = system.map(|directory| root.join(directory));
    let user = environment
        .config_directory()
        .map(|config| config.join("systemd/user"));
    for (directories, command) in [
        (&system[..], "systemctl"),
        (user.as_slice(), "systemctl --user"),
    ] {
        // One that is not there would keep the others from being ended. The socket first: it would start the service again.
        let there = UNITS.into_iter().filter(|unit| {
            let mut directories = directories.iter();
            directories.any(|directory| directory.join(unit).exists())
        });
        let units = there.collect::<Vec<_>>().join(" ");
        if !units.is_empty() {
            steps.push(format!("{command} disable --now {units}"));
        }
    }
    let agents = environment
        .home()
        .map(|home| home.join("Library/LaunchAgents"));
    let agent = agents.map(|agents| agents.join(AGENT));
    if let Some(agent) = agent.filter(|agent| agent.exists()) {
        steps.push(format!(
            "launchctl bootout gui/$(id -u)/ai.scope-shim, then remove {}",
            agent.display()
        ));
    }
    steps
}

fn container(root: &Path, environment: &Environment) -> Option<String> {
    if environment.get("KUBERNETES_SERVICE_HOST").is_some() {
        return Some("take the shim out of its manifest, and apply that".to_owned());
    }
    // The image has nothing but the shim, which is its first process.
    let first = std::fs::read_to_string(root.join("proc/1/comm")).ok()?;
    (first.trim() == "scope-shim").then(|| "remove the shim's container and its volume".to_owned())
}

fn trusted_proxy(config: &Config) -> Option<String> {
    let source = config.gateway.sources.remote?;
    let file = config.gateway.facts.config_file.as_ref()?;
    let trusted = config.gateway.facts.trusted_proxies.as_ref()?;
    let entry = trusted.iter().find(|network| network.contains(&source))?;
    let entry = entry.to_string();
    let entry = entry.trim_end_matches("/32").trim_end_matches("/128");
    Some(format!(
        "take {entry} out of gateway.trustedProxies in {}, unless another proxy needs it",
        file.display()
    ))
}

/// An origin of the shim's own port that browsers were allowed to come from.
fn origin(config: &Config, listen: SocketAddr) -> Option<String> {
    let file = config.gateway.facts.config_file.as_ref()?;
    let allowed = config.gateway.facts.allowed_origins.as_ref()?;
    let port = format!(":{}", listen.port());
    let own = allowed.iter().find(|origin| origin.ends_with(&port))?;
    Some(format!(
        "take {own} out of gateway.controlUi.allowedOrigins in {}",
        file.display()
    ))
}

fn package(root: &Path) -> Option<String> {
    let installed = root.join("var/lib/dpkg/info/scope-shim.list").exists();
    installed.then(|| "apt purge scope-shim".to_owned())
}

/// What the shim approved stays approved: the log of it is worth a look before it goes.
fn audit(config: &Config) -> Option<String> {
    let audit = config.data.join("audit.jsonl");
    let there = audit.exists();
    there.then(|| {
        let log = audit.display();
        format!("what the shim approved stays approved; {log} has the list")
    })
}

fn remove(data: Option<&PathBuf>, file: Option<&PathBuf>) -> Option<String> {
    let paths = data.into_iter().chain(file);
    let shown: Vec<String> = paths.map(|path| path.display().to_string()).collect();
    (!shown.is_empty()).then(|| format!("remove {}", shown.join(" and ")))
}

const UNITS: [&str; 2] = ["scope-shim.socket", "scope-shim.service"];
const AGENT: &str = "ai.scope-shim.plist";

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::fs;

    use super::*;

    #[test]
    fn a_service_is_named_only_where_its_file_is() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("home");
        let environment = Environment::from_iter([("HOME", home.to_str().unwrap())]);
        assert!(services(root.path(), &environment).is_empty());
        assert_eq!(package(root.path()), None);
        let units = root.path().join("etc/systemd/system");
        fs::create_dir_all(&units).unwrap();
        for unit in UNITS {
            fs::write(units.join(unit), "").unwrap();
        }
        let of_user = home.join(".config/systemd/user");
        fs::create_dir_all(&of_user).unwrap();
        fs::write(of_user.join("scope-shim.service"), "").unwrap();
        let agents = home.join("Library/LaunchAgents");
        fs::create_dir_all(&agents).unwrap();
        fs::write(agents.join(AGENT), "").unwrap();
        let steps = services(root.path(), &environment);
        let [system, user, agent] = &steps[..] else {
            unreachable!("{steps:?}")
        };
        assert_eq!(
            system,
            "systemctl disable --now scope-shim.socket scope-shim.service"
        );
        assert_eq!(user, "systemctl --user disable --now scope-shim.service");
        assert!(agent.starts_with("launchctl bootout"), "{agent}");
    }

    #[test]
    fn inside_a_container_its_removal_is_a_step() {
        let root = tempfile::tempdir().unwrap();
        let bare = Environment::from_iter([("HOME", "/nowhere")]);
        assert_eq!(container(root.path(), &bare), None);
        fs::create_dir_all(root.path().join("proc/1")).unwrap();
        fs::write(root.path().join("proc/1/comm"), "scope-shim\n").unwrap();
        assert!(container(root.path(), &bare).is_some());
    }

    #[test]
    fn of_one_of_several_only_what_is_its_own_is_left() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("scope-shim.toml");
        let text = "data = \"data\"\n[[gateway]]\nname = \"a\"\nhosts = [\"a.example\"]\nurl = \"ws://127.0.0.1:1\"\n\
                    [[gateway]]\nname = \"b\"\nurl = \"ws://127.0.0.1:2\"\n";
        fs::write(&file, text).unwrap();
        fs::create_dir_all(root.path().join("data/a")).unwrap();
        let environment = Environment::from_iter([("HOME", root.path().to_str().unwrap())]);
        let configs = Config::load_all(Some(&file), &[], &environment).unwrap();
        let front = Front {
            running: true,
            listen: "127.0.0.1:9".parse().unwrap(),
            left: true,
        };
        let Left(steps) = Left::look(&configs[0], &environment, front);
        let data = root.path().join("data/a");
        assert_eq!(
            steps,
            [
                "point clients back from 127.0.0.1:9 (a.example) to ws://127.0.0.1:1".to_owned(),
                format!(
                    "take [[gateway]] \"a\" out of {0}, then run: scope-shim reload --config {0}",
                    file.display()
                ),
                format!("remove {}", data.display()),
            ]
        );
    }
    fn steps(left: bool, running: bool, variables: &[(&str, &str)], data: bool) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("scope-shim.toml");
        let text = "data = \"data\"\n[gateway]\nurl = \"ws://127.0.0.1:1\"\n";
        fs::write(&file, text).unwrap();
        if data {
            fs::create_dir(root.path().join("data")).unwrap();
        }
        let home = root.path().to_str().unwrap().to_owned();
        let variables = variables.iter().copied().chain([("HOME", home.as_str())]);
        let environment = Environment::from_iter(variables);
        let config = Config::load(Some(&file), &[], &environment).unwrap();
        let front = Front {
            running,
            listen: "127.0.0.1:9".parse().unwrap(),
            left,
        };
        let Left(steps) = Left::look(&config, &environment, front);
        let named = steps.into_iter().map(|step| step.replace(&home, "[DIR]"));
        // What this machine has of other shims is not the point.
        named
            .filter(|step| step.contains("[DIR]") || step.contains("clients"))
            .collect()
    }

    #[test]
    fn what_the_device_could_leave_by_is_kept_while_it_is_there() {
        assert_eq!(
            steps(false, true, &[], true),
            [
                "run this again when the gateway can be asked, and keep [DIR]/data until then: scope-shim unpair --config \
                 [DIR]/scope-shim.toml",
                "point clients back from 127.0.0.1:9 to ws://127.0.0.1:1",
            ]
        );
    }

    #[test]
    fn clients_are_named_only_where_some_may_come() {
        let back = |steps: Vec<String>| steps.into_iter().find(|step| step.contains("clients"));
        assert_eq!(back(steps(true, false, &[], false)), None);
        assert_eq!(
            back(steps(true, false, &[], true)).as_deref(),
            Some("point clients that still go there back from 127.0.0.1:9 to ws://127.0.0.1:1")
        );
        let port = [("OPENCLAW_GATEWAY_PORT", "9")];
        assert_eq!(
            back(steps(true, false, &port, false)).as_deref(),
            Some(
                "point clients back from 127.0.0.1:9 to ws://127.0.0.1:1; unset OPENCLAW_GATEWAY_PORT (set here)"
            )
        );
    }
}
