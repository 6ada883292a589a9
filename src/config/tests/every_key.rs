//! Every key, wrong in every way: each problem has a place, a reason and a suggestion.

use super::*;
use crate::config::raw::{own_name, variables};

/// Every key that there is.
fn keys() -> Vec<&'static str> {
    let single = Case::new("").load().unwrap().keys;
    let entry = "[[gateway]]\nname = 'a'\nurl = 'ws://127.0.0.1:1'\n";
    let several = Case::new(entry).load_all().unwrap().remove(0).keys;
    let new = several.into_iter().filter(|key| !single.contains(key));
    single.iter().copied().chain(new).collect()
}

/// A file that says `value` for a key, and the line where it does so.
fn file(key: &str, value: &str) -> (String, usize) {
    match key.rsplit_once('.') {
        Some(("gateway", name)) if ["name", "hosts", "data"].contains(&name) => {
            let entry = format!("[[gateway]]\nurl = 'ws://127.0.0.1:1'\n{name} = {value}\n");
            (entry, 3)
        }
        Some((section, name)) => (format!("\n[{section}]\n{name} = {value}\n"), 3),
        None => (format!("\n{key} = {value}\n"), 2),
    }
}

/// Whatever is said, it is one.
fn takes_any_text(key: &str) -> bool {
    key.ends_with("data") || key.ends_with(".token") || key.ends_with(".password")
}

#[track_caller]
fn told(text: &str, problems: &Problems, line: usize, word: &str) {
    let problem = problems
        .0
        .iter()
        .find(
            |problem| matches!(&problem.origin, Origin::File { line: found, .. } if *found == line),
        )
        .ok_or_else(|| format!("nothing at line {line} of {text}: {problems}"))
        .unwrap();
    assert!(problem.message.contains(word), "{word}: {problem}");
    complete(problem);
}

#[track_caller]
fn complete(problem: &Problem) {
    let hint = problem.hint.as_deref().unwrap_or_default();
    assert!(hint.len() > 5, "no suggestion: {problem}");
    let text = problem.to_string().replace('\n', "");
    assert!(!text.contains(char::is_control), "{text:?}");
}

#[test]
fn of_the_wrong_type() {
    for key in keys() {
        for value in ["1979-05-27", "-7.5"] {
            let (text, line) = file(key, value);
            let problems = Case::new(&text).load().unwrap_err();
            told(&text, &problems, line, &format!("`{key}"));
        }
    }
}

#[test]
fn of_no_sense() {
    for key in keys().into_iter().filter(|key| !takes_any_text(key)) {
        let (text, line) = file(key, "\"/no/\\u001b\\u0000 sense\"");
        let problems = Case::new(&text).load().unwrap_err();
        told(&text, &problems, line, &format!("`{key}"));
    }
}

#[test]
fn misspelt() {
    for key in keys() {
        let (text, line) = file(&format!("{key}x"), "'x'");
        let problems = Case::new(&text).load_all().unwrap_err();
        told(&text, &problems, line, "unknown key");
    }
    let (text, line) = file("limits.connectoins", "1");
    let problems = Case::new(&text).load().unwrap_err();
    told(&text, &problems, line, "unknown key");
    assert!(problems.to_string().contains("did you mean `connections`?"));
}

#[test]
fn in_the_wrong_section() {
    for key in keys() {
        let name = key.rsplit('.').next().unwrap();
        let section = if key.starts_with("cache.") {
            "limits"
        } else {
            "cache"
        };
        let text = format!("[{section}]\n{name} = 'x'");
        let problems = Case::new(&text).load().unwrap_err();
        told(&text, &problems, 2, "unknown key");
    }
}

#[test]
fn said_twice() {
    for key in keys() {
        let (text, line) = file(key, "'x'");
        let again = text.trim_end().rsplit('\n').next().unwrap().to_owned();
        let text = format!("{text}{again}\n");
        let problems = Case::new(&text).load().unwrap_err();
        told(&text, &problems, line + 1, "duplicate key");
    }
}

#[test]
fn in_a_section_that_there_is_not() {
    for text in [
        "\n[nonsense]\nx = 1",
        "\nnonsense = 1",
        "\n[[limits]]\n",
        "\n[policy.nonsense]\nx = 1",
    ] {
        let problems = Case::new(text).load().unwrap_err();
        told(text, &problems, 2, "`");
    }
}

#[test]
fn as_a_variable_or_a_flag() {
    for key in keys().into_iter().filter(|key| !takes_any_text(key)) {
        let several = ["gateway.name", "gateway.hosts", "gateway.data"].contains(&key);
        if several {
            continue;
        }
        for variable in variables(key) {
            let case = Case::new("").with(&variable, "/no/\u{1b}\0 sense");
            let problems = case.load().unwrap_err();
            let own = Origin::Variable(variable);
            assert!(
                problems.0.iter().any(|problem| problem.origin == own),
                "{problems}"
            );
            problems.0.iter().for_each(complete);
        }
        let case = Case::new("").flag(key, "--flag", "/no/\u{1b}\0 sense");
        if !["policy.clients", "policy.users"].contains(&key) {
            let problems = case.load().unwrap_err();
            assert!(
                problems
                    .0
                    .iter()
                    .any(|problem| problem.origin == Origin::Flag("--flag"))
            );
            problems.0.iter().for_each(complete);
        }
    }
}

#[test]
fn in_an_entry_of_several() {
    let own = keys()
        .into_iter()
        .filter_map(|key| Some((key, own_name(key)?)));
    for (key, name) in own {
        let text = format!(
            "[[gateway]]\n{name} = 1979-05-27\n[[gateway]]\nname = 'b'\nurl = 'ws://127.0.0.1:2'"
        );
        let problems = Case::new(&text).load_all().unwrap_err();
        told(&text, &problems, 2, &format!("`{key}"));
        problems.0.iter().for_each(complete);
        let text = format!("[[gateway]]\n{name}x = 1\n");
        let problems = Case::new(&text).load_all().unwrap_err();
        told(&text, &problems, 2, "unknown key");
        problems.0.iter().for_each(complete);
    }
}

#[test]
fn against_each_other() {
    let pair = |first: &str, second: &str| {
        format!(
            "[[gateway]]\nname = 'a'\nurl = 'ws://127.0.0.1:1'\n{first}\n\
             [[gateway]]\nname = 'b'\nurl = 'ws://127.0.0.1:2'\n{second}\n"
        )
    };
    let cases = [
        ("[gateway]\ntoken = 'x'\npassword = 'y'".to_owned(), 3, "given, too"),
        ("[gateway]\nurl = 'ws://192.0.2.1:1'\nstore = 'json'".to_owned(), 3, "state directory"),
        ("listen = '127.0.0.1:7'\n[gateway]\nurl = '127.0.0.1:7'".to_owned(), 1, "connect to itself"),
        ("[gateway]\nname = 'a'".to_owned(), 2, "one of several gateways"),
        ("[gateway]\nhosts = ['a']".to_owned(), 2, "one of several gateways"),
        ("\ngateway = []".to_owned(), 1, "found nothing"),
        ("\ngateway = [3]".to_owned(), 2, "found a whole number"),
        (pair("", ""), 5, "nothing tells it from the gateway a"),
        (pair("hosts = ['x']", "hosts = ['y', 'X']"), 8, "x leads to the gateway a already"),
        (pair("hosts = ['x']\n[gateway.policy]\nmode = 'on'", ""), 6, "unknown key"),
        (pair("hosts = ['x']\ndata = '/d'", "data = '/d'"), 9, "directory of the gateway a, too"),
        (pair("listen = '0.0.0.0:7'", "listen = '127.0.0.1:7'\n[tls]\nplaintext = 'allowed'"), 8, "takes the port"),
        (pair("listen = '127.0.0.1:2'", ""), 7, "where the shim itself listens"),
        (pair("listen = '127.0.0.1:7'", "name = 'a'"), 8, "duplicate key"),
        ("[[gateway]]\nurl = 'ws://127.0.0.1:1'".to_owned(), 1, "needs a name"),
        ("[[gateway]]\nname = 'a'".to_owned(), 1, "which of the gateways"),
        ("[[gateway]]\nname = 'a'\nurl = 'ws://127.0.0.1:1'\n[[gateway]]\nname = 'a'\nurl = 'ws://127.0.0.1:2'".to_owned(), 5, "called \"a\", too"),
    ];
    for (text, line, word) in cases {
        let problems = Case::new(&text).load_all().unwrap_err();
        told(&text, &problems, line, word);
        problems.0.iter().for_each(complete);
    }
}
