use std::fs;
use std::process::Command;

use crate::tools::{finish, program, run, tool};

/// What bash offers for the last of these words.
fn offered(words: &[&str]) -> Vec<String> {
    let script = format!(
        "source /dev/stdin <<'COMPLETIONS'\n{}\nCOMPLETIONS\n\
         complete=$(complete -p scope-shim | grep -o -- '-F [^ ]*')\ncomplete=${{complete#-F }}\n\
         COMP_WORDS=({})\nCOMP_CWORD={}\n\
         \"$complete\" scope-shim \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        program(&["completions", "bash"]),
        words.join(" "),
        words.len() - 1
    );
    let said = run(Command::new("bash").args(["--norc", "-eu", "-c", &script]));
    said.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    if tool("bash", "bash").is_none() {
        return;
    }
    assert_eq!(offered(&["scope-shim", "unp"]), ["unpair"]);
    assert!(offered(&["scope-shim", "m"]).contains(&"man".to_owned()));
    assert_eq!(
        offered(&["scope-shim", "unpair", "--gateway-n"]),
        ["--gateway-name"]
    );
    assert_eq!(
        offered(&["scope-shim", "completions", "po"]),
        ["powershell"]
    );
}

#[test]
fn zsh_and_fish_can_read_their_completions() {
    let dir = tempfile::tempdir().unwrap();
    for (shell, arguments) in [("zsh", ["-f", "-n"]), ("fish", ["--no-config", "-n"])] {
        if tool(shell, shell).is_none() {
            continue;
        }
        let script = dir.path().join(shell);
        fs::write(&script, program(&["completions", shell])).unwrap();
        run(Command::new(shell).args(arguments).arg(&script));
    }
}

#[test]
fn every_command_has_a_manual_page_without_a_mistake() {
    let dir = tempfile::tempdir().unwrap();
    program(&["man", "--all", &dir.path().display().to_string()]);
    let pages: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let page = |name: &str| dir.path().join(format!("{name}.1"));
    assert!(page("scope-shim").exists() && page("scope-shim-unpair").exists());
    if tool("mandoc", "mandoc").is_some() {
        // A page that is generated has no date and needs no spelling of its own kind.
        let lint = finish(
            Command::new("mandoc")
                .args(["-Tlint", "-Wwarning"])
                .args(&pages),
        );
        let said = String::from_utf8_lossy(&lint.stdout);
        let mistakes: Vec<&str> = said
            .lines()
            .filter(|line| !line.contains("missing date"))
            // Lists of values are set with one line break more than they need.
            .filter(|line| !line.contains("skipping paragraph macro: br"))
            .collect();
        assert_eq!(mistakes, [""; 0]);
    }
    if tool("groff", "groff").is_some() {
        let format = ["-ww", "-man", "-Tutf8", "-z"];
        let groff = finish(Command::new("groff").args(format).args(&pages));
        assert_eq!(String::from_utf8_lossy(&groff.stderr), "");
    }
}

#[test]
fn the_manual_page_of_one_command_is_that_of_all() {
    let dir = tempfile::tempdir().unwrap();
    program(&["man", "--all", &dir.path().display().to_string()]);
    for (name, arguments) in [
        ("scope-shim", vec!["man"]),
        ("scope-shim-run", vec!["man", "run"]),
    ] {
        let whole = fs::read_to_string(dir.path().join(format!("{name}.1"))).unwrap();
        assert_eq!(program(&arguments), whole);
    }
    assert!(program(&["man"]).contains("EXIT STATUS"));
}
