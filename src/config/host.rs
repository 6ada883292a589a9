//! What a gateway is called, and the hosts that lead to it.

use std::net::IpAddr;

use super::value::{Read, Value, Wrong, list};

/// What a gateway is called, which is also the name of a directory.
pub(crate) fn name(value: &Value<'_>) -> Read<String> {
    let text = value.text().unwrap_or_default();
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !text.is_empty()
        && text.len() <= LONGEST_NAME
        && text.bytes().all(fits)
        && !text.starts_with('-')
    {
        return Ok(text.to_owned());
    }
    let tame: String = text.to_lowercase().replace([' ', '_', '.', '/'], "-");
    let tame = tame.trim_matches('-');
    let usable = !tame.is_empty() && tame.len() <= LONGEST_NAME && tame.bytes().all(fits);
    Err(vec![Wrong {
        hint: Some(format!(
            "write \"{}\"",
            if usable { tame } else { "staging" }
        )),
        ..value.wrong("a word of lower-case letters, digits and dashes")
    }])
}

/// Host names that lead to a gateway, in lower case: `name`, an address, or `*.suffix`.
pub(crate) fn hosts(value: &Value<'_>) -> Read<Vec<String>> {
    let hosts = list(
        value,
        "a list such as [\"a.example\", \"*.b.example\"]",
        |item| {
            let text = item.text().unwrap_or_default().to_ascii_lowercase();
            host(&text).map_err(|hint| Wrong {
                hint: Some(hint),
                ..item.wrong("a host name such as \"a.example\" or \"*.b.example\"")
            })
        },
    )?;
    if hosts.is_empty() {
        return Err(vec![Wrong {
            hint: Some("take it away for the gateway that gets every other host".to_owned()),
            ..value.wrong("at least one host name")
        }]);
    }
    Ok(hosts)
}

fn host(text: &str) -> Result<String, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(ip.to_string());
    }
    let name = text.strip_prefix("*.").unwrap_or(text);
    let name = name.strip_suffix('.').unwrap_or(name);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_name = name.len() <= LONGEST_HOST
        && name
            .split('.')
            .all(|label| !label.is_empty() && label.bytes().all(fits));
    if is_name {
        return Ok(text.strip_suffix('.').unwrap_or(text).to_owned());
    }
    Err(if text == "*" {
        "take hosts away for the gateway that gets every other host".to_owned()
    } else if text.contains("://") {
        "leave the scheme away, and whatever follows the name".to_owned()
    } else if text.contains(':') {
        "leave the port away: listen says it".to_owned()
    } else if text.contains('*') {
        "* stands at the front, for whole labels: \"*.example\"".to_owned()
    } else if !text.is_ascii() {
        "write it as it is on the wire: \"xn--…\"".to_owned()
    } else {
        "write nothing but the name".to_owned()
    })
}

/// In bytes; a directory has this name.
const LONGEST_NAME: usize = 40;
/// In bytes (RFC 1035 §2.3.4).
const LONGEST_HOST: usize = 253;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_kept_in_one_form() {
        let read = hosts(&Value::Plain(
            "A.Example, *.B.example., [0:0::1], 127.0.0.1",
        ))
        .unwrap();
        assert_eq!(read, ["a.example", "*.b.example", "::1", "127.0.0.1"]);
        for text in [
            "*",
            "*.",
            "a..b",
            "a.*.b",
            "http://a",
            "a:80",
            "bücher.example",
            "a b",
            "a/b",
        ] {
            assert!(hosts(&Value::Plain(text)).is_err(), "{text}");
        }
        assert!(hosts(&Value::Plain("")).is_err());
    }

    #[test]
    fn a_name_can_be_that_of_a_directory() {
        for text in ["a", "staging-2", "0"] {
            assert_eq!(name(&Value::Plain(text)).unwrap(), text);
        }
        for text in [
            "",
            ".",
            "..",
            "a/b",
            "A",
            "a b",
            "-a",
            "x.sock",
            &"x".repeat(41),
        ] {
            assert!(name(&Value::Plain(text)).is_err(), "{text}");
        }
    }
}
