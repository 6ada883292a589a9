use crate::Shim;

#[test]
fn help_fits_one_screen() {
    insta::assert_snapshot!(Shim::new(&["--help"]).run(), @r#"
    exit: 0
    ----- stdout -----
    A proxy in front of an OpenClaw gateway that repairs what the gateway wrongly refuses.

    Beside a gateway on this machine, `scope-shim run` is enough: it finds the gateway by itself. Then
    point clients at it: OPENCLAW_GATEWAY_PORT=18780 openclaw health

    Usage: scope-shim [OPTIONS] <COMMAND>

    Commands:
      run  Start the proxy
      mode  Show or switch what it does: repair (on), only watch (observe), or nothing (off)
      reload  Have the running proxy read its configuration and the gateway's files again
      upgrade  Let a new version take over from the running proxy, without dropping a session
      check  Check the configuration and say what it amounts to, without starting anything
      doctor  Say what is wrong, or about to go wrong, and what ends it, without changing anything
      status  Show how the shim that runs is doing: gateways, sessions, findings, the last hour
      devices  List the paired devices and the pairing requests that wait
      approve  List the pairing requests that wait, or approve them
      repair  Widen, for all devices at once, what the gateway holds too narrow
      explain  Walk the decision about a session step by step: one that was, one that could be, or
                   one that was saved
      page  Show the status page of the shim that runs, in a browser on this machine
      intercept  Have the gateway's own port lead to the shim: nothing else is reconfigured (Linux)
      unpair  Remove the shim's own device from the gateway, and say what is left to undo
      demo  See the failure and its cure on a gateway made for it
      completions  Write the completions of a shell to standard output
      man  Write the manual page to standard output
      version  Print the version

    Options:
          --no-color
              Write without colour, as the variable NO_COLOR asks for, too

      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version
    ----- stderr -----
    "#);
}

#[test]
fn run_has_the_flags_that_were_promised() {
    insta::assert_snapshot!(Shim::new(&["run", "-h"]).run(), @r#"
    exit: 0
    ----- stdout -----
    Start the proxy

    Usage: scope-shim run [OPTIONS]

    Options:
          --config <FILE>  The configuration file [default: scope-shim/scope-shim.toml in
                                   ~/.config or /etc, if there]
          --gateway-name <NAME>  The gateway that is meant, where the configuration has several
          --listen <ADDRESS:PORT>  Where clients connect [default: 127.0.0.1:18780]
          --gateway <URL>  The gateway [default: on this machine, at the port in its
                                   openclaw.json]
          --gateway-state <DIR>  The gateway's state directory [default: $OPENCLAW_STATE_DIR or
                                   ~/.openclaw]
          --data <DIR>  The shim's own data [default: the data directory of the user]
          --mode <on|observe|off>  Repair handshakes (on), only say what would be done (observe), or do
                                   nothing (off) [default: on]
          --log <text|json>  How log lines look [default: text]
          --log-level <LEVEL>  The least important log lines that are written [default: info]
          --no-color  Write without colour, as the variable NO_COLOR asks for, too
      -h, --help  Print help

    Each setting is a variable, too (--gateway-state: SCOPE_SHIM_GATEWAY_STATE), and a key of the
    configuration file, but for --config and --gateway-name. A flag wins over a variable, a
    variable over the file, the file over what the gateway's own files tell.

    Exit status:
      0  it was told to stop, and did
      1  it could not start, or go on
      2  the command line is wrong
      78  the configuration cannot be used
    ----- stderr -----
    "#);
}

#[test]
fn doctor_and_devices_take_what_run_takes_and_write_json() {
    for command in ["doctor", "devices"] {
        let help = Shim::new(&[command, "-h"]).run();
        for flag in ["--gateway-state <DIR>", "--data <DIR>", "--json"] {
            assert!(help.contains(flag), "{command} {flag}: {help}");
        }
        let listens = command == "doctor";
        assert_eq!(help.contains("--listen"), listens, "{command}: {help}");
        assert!(!help.contains("--log-level"), "{command}: {help}");
        assert!(help.contains("Exit status:\n  0"), "{command}: {help}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn intercept_says_what_it_takes_and_how_it_ends() {
    let help = Shim::new(&["intercept", "-h"]).run();
    for promised in [
        "up",
        "down",
        "status",
        "0 if so, 3 if",
        "4 if nothing",
        "CAP_NET_ADMIN",
    ] {
        assert!(help.contains(promised), "{promised}: {help}");
    }
    let help = Shim::new(&["intercept", "up", "-h"]).run();
    for flag in ["--data <DIR>", "--watch", "--remote"] {
        assert!(help.contains(flag), "{flag}: {help}");
    }
    let help = Shim::new(&["intercept", "down", "-h"]).run();
    assert!(
        !help.contains("--data"),
        "it needs no configuration: {help}"
    );
}

#[test]
fn demo_says_what_it_takes() {
    insta::assert_snapshot!(Shim::new(&["demo", "-h"]).run(), @r#"
    exit: 0
    ----- stdout -----
    See the failure and its cure on a gateway made for it

    Usage: scope-shim demo [OPTIONS]

    Options:
          --gateway <VERSION>  A real gateway of this version, installed with npm [default: a
                                   simulated one, which needs nothing]
          --listen <ADDRESS:PORT>  Where clients connect; a free port if this one is taken [default:
                                   127.0.0.1:18780]
          --exit  Leave when the story is told, instead of staying up to be played with
          --no-color  Write without colour, as the variable NO_COLOR asks for, too
      -h, --help  Print help

    Exit status:
      0  done
      1  it could not be done; the message says why
      2  the command line is wrong
    ----- stderr -----
    "#);
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    insta::assert_snapshot!(Shim::new(&["run", "--lisetn", "x"]).run(), @r#"
    exit: 2
    ----- stdout -----
    ----- stderr -----
    error: unexpected argument '--lisetn' found

      tip: a similar argument exists: '--listen'

    Usage: scope-shim run --listen <ADDRESS:PORT>

    For more information, try '--help'.
    "#);
    assert!(Shim::new(&[]).run().starts_with("exit: 2\n"));
    assert!(
        Shim::new(&["demo", "--listen", "x"])
            .run()
            .starts_with("exit: 2\n")
    );
}

#[test]
fn the_version_is_one_line() {
    let expected = format!(
        "exit: 0\n----- stdout -----\nscope-shim {}\n----- stderr -----\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(Shim::new(&["version"]).run(), expected);
    assert_eq!(Shim::new(&["--version"]).run(), expected);
}

#[test]
fn the_commands_that_ask_the_gateway_say_what_they_take() {
    for command in ["approve", "repair"] {
        insta::assert_snapshot!(command, Shim::new(&[command, "-h"]).run());
    }
}

#[test]
fn status_says_what_to_do_where_no_shim_runs() {
    let shown = Shim::new(&["status"]).run();
    assert!(
        shown.starts_with("exit: 1\n----- stdout -----\n"),
        "{shown}"
    );
    let socket = "no scope-shim answers at [HOME]/.local/share/scope-shim/admin.sock";
    assert!(shown.contains(socket), "{shown}");
    assert!(shown.contains("start it with `scope-shim run`"), "{shown}");
    for (socket, expected) in [
        ("off", "leaves no way to a running scope-shim"),
        ("x.sock", "/x.sock"),
    ] {
        let mut shim = Shim::new(&["status", "--watch"]).with("SCOPE_SHIM_ADMIN_SOCKET", socket);
        let shown = shim.run();
        assert!(
            shown.starts_with("exit: 1\n") && shown.contains(expected),
            "{shown}"
        );
    }
}
