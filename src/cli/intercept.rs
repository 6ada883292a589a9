//! `scope-shim intercept`: the gateway's own port leads to the shim, and nothing else is reconfigured.

use clap::{Args, Subcommand};

use super::Settings;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::{down, status, up, vouched};
#[cfg(target_os = "linux")]
pub use linux::{down, status, up, vouched};

/// What to do about interception.
#[derive(Args, Debug)]
#[command(
    after_help = "It needs root, or CAP_NET_ADMIN, and the program nft (package nftables). Connections that\n\
                  begin on this machine and go to the gateway's port, at any of its addresses, arrive at\n\
                  the shim instead, those of the gateway's own agents included; the shim itself is exempt,\n\
                  by its user or by its group. Which port leads where is taken from the configuration, not\n\
                  from the shim alone: give the --config that it was started with. It has to be a file that\n\
                  nobody but root, or the person who gives this command by sudo, can change; and without\n\
                  sudo it has to say gateway.url. Nothing is written to any file: after a restart of the\n\
                  machine nothing is left."
)]
pub struct Intercept {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Put the redirect in place, prove that it works, and take it away again if it does not
    Up(Box<Up>),
    /// Take the redirect away, whoever put it there; it needs neither a configuration nor a shim
    Down,
    /// Say what is in place and whether it works: 0 if so, 3 if it is broken, 4 if nothing is in place
    Status(Status),
}

/// How to put it in place.
#[derive(Args, Debug)]
pub struct Up {
    /// The shim that is meant; it runs already.
    #[command(flatten)]
    pub settings: Settings,

    /// Stay, take the redirect away within a second when the shim stops answering, put it back when it answers again; it
    /// vanishes with this process, however that ends
    #[arg(long)]
    pub watch: bool,

    /// Redirect connections from other machines as well, where the gateway listens for them; the shim must listen on 0.0.0.0
    /// or `[::]`
    #[arg(long)]
    pub remote: bool,
}

/// How to say it.
#[derive(Args, Debug)]
pub struct Status {
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fmt::Write as _;

    use serde_json::{Value, json};

    use super::{Status, Up};
    use crate::app::Failure;
    use crate::cli::{ExitStatus, Said, Settings, Style, phrase};
    use crate::config::{Config, Problems};
    use crate::intercept::{self, Down, End, Exempt, Meant, Plan, Standing, Up as Done};
    use crate::log;
    use crate::text::{count, safe};

    /// The same configurations, where nobody but root, or the person who gave the command, wrote which port leads where.
    ///
    /// # Errors
    ///
    /// Who else could have written it, and what to do about it.
    pub fn vouched(configs: Vec<Config>) -> Result<Vec<Config>, Problems> {
        intercept::vouched(configs, intercept::Person::of_process())
    }

    /// Puts the redirect in place; with `--watch`, for as long as the shim answers and the process is not told to stop.
    ///
    /// # Errors
    ///
    /// Why nothing is in place, and what to do about it.
    pub async fn up(configs: &[Config], options: &Up, style: Style) -> Result<Said, Failure> {
        let Some(config) = configs.first() else {
            return Err("the configuration names no gateway".into());
        };
        permitted(|| again(config, options))?;
        let meant = Meant {
            configs,
            all: options.settings.gateway_name.is_none(),
        };
        if !options.watch {
            if let Some(standing) = intercept::status()
                .await?
                .filter(|there| there.table.watcher.is_some())
            {
                return Ok(tell(Some(&standing), false, style));
            }
            let done = intercept::up(meant, options.remote).await?;
            return Ok(said(render_up(&done, style), ExitStatus::Ok));
        }
        let _written_at_the_end = log::start(config.log, !style.is_coloured());
        let mut told = false;
        let tell_systemd = || {
            if !std::mem::replace(&mut told, true) {
                // Nobody to tell is no failure.
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
            }
        };
        intercept::watch(meant, options.remote, tell_systemd).await?;
        Ok(said(String::new(), ExitStatus::Ok))
    }

    /// Takes the redirect away.
    ///
    /// # Errors
    ///
    /// Why it is still there.
    pub fn down() -> Result<Said, Failure> {
        permitted(|| "scope-shim intercept down".to_owned())?;
        let text = match intercept::down()? {
            Down::WasNotUp => {
                "Nothing was in place: clients reach the gateway directly.\n".to_owned()
            }
            Down::Removed => "Taken away: clients reach the gateway directly.\n".to_owned(),
            Down::Ended(pid) => {
                format!(
                    "Process {pid}, which watched the shim, has ended: clients reach the gateway directly.\n"
                )
            }
        };
        Ok(said(
            format!("{text}Connections that are open go on as they are.\n"),
            ExitStatus::Ok,
        ))
    }

    /// Says what is in place.
    ///
    /// # Errors
    ///
    /// When that cannot be found out.
    pub async fn status(options: &Status, style: Style) -> Result<Said, Failure> {
        permitted(|| "scope-shim intercept status".to_owned())?;
        let standing = intercept::status().await?;
        Ok(tell(standing.as_ref(), options.json, style))
    }

    fn tell(standing: Option<&Standing>, as_json: bool, style: Style) -> Said {
        let status = match standing {
            None => ExitStatus::Absent,
            Some(standing) if standing.problems.is_empty() => ExitStatus::Ok,
            Some(_) => ExitStatus::Findings,
        };
        let text = match standing {
            standing if as_json => format!("{}\n", document(standing)),
            Some(standing) => render_status(standing, style),
            None => "not in place: clients reach the gateway directly\n".to_owned(),
        };
        said(text, status)
    }

    const fn said(text: String, status: ExitStatus) -> Said {
        Said { text, status }
    }

    fn permitted(command: impl Fn() -> String) -> Result<(), Failure> {
        if intercept::may_change() {
            return Ok(());
        }
        Err(format!(
            "this needs root, or CAP_NET_ADMIN, to read and change the kernel's rules: sudo {}",
            command()
        )
        .into())
    }

    /// The command line under root, whose own data directory is another one.
    fn again(config: &Config, options: &Up) -> String {
        let mut settings: Settings = options.settings.clone();
        settings.config = settings.config.or_else(|| config.file.clone());
        settings.data = Some(config.base.display().to_string());
        if settings.config.is_none() {
            // Root finds no other gateway than the usual one.
            settings.listen = Some(config.listen.to_string());
            settings.gateway = Some(config.gateway.url.to_string());
        }
        let flags = [(options.watch, "--watch"), (options.remote, "--remote")];
        let flags = flags.into_iter().filter(|(given, _)| *given);
        let words: Vec<&str> = std::iter::once("up")
            .chain(flags.map(|(_, flag)| flag))
            .collect();
        let command = phrase::command(&settings, &words);
        command.replacen("scope-shim up", "scope-shim intercept up", 1)
    }

    fn render_up(done: &Done, style: Style) -> String {
        let Done { plan, proofs } = done;
        let mut text = String::new();
        for proof in proofs {
            let _ = writeln!(
                text,
                "{} leads to the shim at {}: {}, the gateway answered through it in {} ms",
                style.strong(proof.redirect.gateway()),
                proof.redirect.shim(),
                style.good("proven"),
                proof.took.as_millis()
            );
        }
        for uncovered in &plan.uncovered {
            let _ = writeln!(
                text,
                "{} {} is not redirected: the gateway listens there, but the shim does not listen on {}",
                style.doubtful("note:"),
                uncovered.gateway,
                uncovered.shim
            );
        }
        let _ = writeln!(text, "\n  exempt           {}", exempt(plan));
        let _ = writeln!(
            text,
            "  other machines   {}",
            if !plan.for_others.is_empty() {
                "are redirected, too, where the gateway listens for them"
            } else {
                "reach the gateway directly, if it listens for them; --remote redirects them, too"
            }
        );
        text.push_str(
            "  open connections go on as they are; whoever connects from now on meets the shim\n  \
             if the shim dies  every connection to the gateway is refused, whoever takes its port; with --watch, or under\n                   \
             deploy/systemd/scope-shim-intercept.service, clients reach the gateway directly instead\n  \
             after a restart  of this machine nothing is left of it\n  \
             undo             scope-shim intercept down\n",
        );
        text
    }

    fn exempt(plan: &Plan) -> String {
        match plan.exempt {
            Exempt::User(user) => format!(
                "user {user}, who runs the shim. Where it may not read the gateway's files, it needs the gateway's secret \
                 (gateway.token_file) and gateway.store = \"control\""
            ),
            Exempt::Group(group) => format!(
                "group {group}, in which the shim runs; its user {} is the gateway's, or yours, and others of that user are \
                 redirected",
                plan.shim.user
            ),
        }
    }

    fn render_status(standing: &Standing, style: Style) -> String {
        let table = &standing.table;
        let mut text = match (standing.problems.is_empty(), table.redirects.is_empty()) {
            (true, _) => format!(
                "{}: clients of the gateway meet the shim\n",
                style.good("in place")
            ),
            (false, true) => format!("{}\n", style.doubtful("waiting for the shim")),
            (false, false) => format!("{}\n", style.bad("in place, and BROKEN")),
        };
        let mut line = |what: &str, words: String| {
            let _ = writeln!(text, "  {what:<16} {words}");
        };
        for way in &standing.ways {
            let redirect = way.redirect.redirect;
            let from = match way.redirect.other_machines {
                true => format!("port {} for other machines", redirect.from),
                false => redirect.gateway().to_string(),
            };
            let arrives = match way.end {
                End::Shim => String::new(),
                End::Nobody => ", where nobody listens".to_owned(),
                End::Another(user) => format!(", where a process of user {user} listens"),
            };
            line(
                redirect.family.name(),
                format!(
                    "{from} leads to port {}{arrives}; {} so far",
                    redirect.to,
                    count(
                        usize::try_from(way.redirect.connections).unwrap_or(usize::MAX),
                        "connection"
                    )
                ),
            );
        }
        if let Some(exempt) = table.exempt {
            line("exempt", exempt.to_string());
        }
        if let Some(socket) = &table.socket {
            let answers = match standing.answers {
                Some(true) => "answers",
                _ => "does not answer",
            };
            line(
                "shim",
                format!("{answers} at {}", safe(&socket.display().to_string())),
            );
        }
        line(
            "watched",
            match table.watcher {
                Some(pid) => format!("by process {pid}, with which the redirect vanishes"),
                None => "by nobody: if the shim dies, the gateway cannot be reached until `scope-shim intercept down`".to_owned(),
            },
        );
        for problem in &standing.problems {
            let _ = writeln!(text, "\n{} {problem}", style.bad("!!"));
        }
        text
    }

    fn document(standing: Option<&Standing>) -> Value {
        let Some(standing) = standing else {
            return json!({"inPlace": false, "healthy": false, "redirects": [], "problems": []});
        };
        let table = &standing.table;
        let ways = standing.ways.iter().map(|way| {
            json!({
                "family": way.redirect.redirect.family.name(),
                "gatewayPort": way.redirect.redirect.from,
                "shimPort": way.redirect.redirect.to,
                "otherMachines": way.redirect.other_machines,
                "connections": way.redirect.connections,
                "arrives": way.end == End::Shim,
            })
        });
        json!({
            "inPlace": true,
            "healthy": standing.problems.is_empty(),
            "redirects": ways.collect::<Vec<_>>(),
            "exempt": match table.exempt {
                Some(Exempt::User(id)) => json!({"user": id}),
                Some(Exempt::Group(id)) => json!({"group": id}),
                None => Value::Null,
            },
            "watcher": table.watcher,
            "socket": table.socket.as_ref().map(|socket| socket.display().to_string()),
            "shimAnswers": standing.answers,
            "problems": standing.problems,
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use super::{Status, Up};
    use crate::app::Failure;
    use crate::cli::{Said, Style};
    use crate::config::{Config, Problems};

    const TEXT: &str =
        "this needs Linux and nftables; what to do on macOS is in deploy/macos/intercept.md";

    /// The same: nothing is done with them here.
    ///
    /// # Errors
    ///
    /// None.
    pub fn vouched(configs: Vec<Config>) -> Result<Vec<Config>, Problems> {
        Ok(configs)
    }

    /// Does not exist here.
    ///
    /// # Errors
    ///
    /// Always.
    pub async fn up(_configs: &[Config], _options: &Up, _style: Style) -> Result<Said, Failure> {
        Err(TEXT.into())
    }

    /// Does not exist here.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn down() -> Result<Said, Failure> {
        Err(TEXT.into())
    }

    /// Does not exist here.
    ///
    /// # Errors
    ///
    /// Always.
    pub async fn status(_options: &Status, _style: Style) -> Result<Said, Failure> {
        Err(TEXT.into())
    }
}
