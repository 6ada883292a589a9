//! What one value may look like: a rule per kind, each of which says what it expected.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeValue;

use super::problem::closest;
use super::words::Word;
use crate::scope::{self, ScopeSet};
use crate::secret::Secret;

/// A value as it was said.
pub(crate) enum Value<'a> {
    /// The text of a flag or variable, which knows no types.
    Plain(&'a str),
    /// A value of a TOML document.
    Toml(&'a DeValue<'a>),
}

/// Why a value is not what its key needs.
#[derive(Debug, Default)]
pub(crate) struct Wrong {
    /// What was expected, as in "expected …".
    pub(crate) expected: String,
    /// What was found instead; never a secret.
    pub(crate) found: Option<String>,
    /// What to write instead.
    pub(crate) hint: Option<String>,
    /// Where in the document, when that is not the whole value.
    pub(crate) span: Option<Range<usize>>,
}

/// What a rule makes of a value.
pub(crate) type Read<T> = Result<T, Vec<Wrong>>;

impl<'a> Value<'a> {
    /// The value as text; a number or a list in a document is not text.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self {
            Value::Plain(text) => Some(text),
            Value::Toml(DeValue::String(text)) => Some(text),
            Value::Toml(_) => None,
        }
    }

    fn number(&self) -> Option<u64> {
        match self {
            Value::Plain(text) => text.parse().ok(),
            Value::Toml(DeValue::Integer(number)) => {
                u64::from_str_radix(number.as_str(), number.radix()).ok()
            }
            Value::Toml(_) => None,
        }
    }

    /// The items of a list; a flag or variable separates them by commas.
    fn items(&self) -> Option<Vec<(Self, Option<Range<usize>>)>> {
        match self {
            Value::Plain(text) => {
                let items = text.split(',').map(str::trim);
                Some(
                    items
                        .filter(|item| !item.is_empty())
                        .map(|item| (Value::Plain(item), None))
                        .collect(),
                )
            }
            Value::Toml(DeValue::Array(items)) => Some(
                items
                    .iter()
                    .map(|item| (Value::Toml(item.get_ref()), Some(item.span())))
                    .collect(),
            ),
            Value::Toml(_) => None,
        }
    }

    /// The value in words, short enough for a message.
    pub(crate) fn describe(&self) -> String {
        match self {
            Value::Plain(text) => quoted(text),
            Value::Toml(DeValue::String(text)) => quoted(text),
            Value::Toml(DeValue::Integer(number)) => number.to_string(),
            Value::Toml(DeValue::Float(number)) => number.as_str().to_owned(),
            Value::Toml(other) => self::kind(other).to_owned(),
        }
    }

    pub(super) fn wrong(&self, expected: impl Into<String>) -> Wrong {
        Wrong {
            expected: expected.into(),
            found: Some(self.describe()),
            ..Wrong::default()
        }
    }
}

/// The kind of a value, with its article.
pub(crate) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(true) => "true",
        DeValue::Boolean(false) => "false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// `text` in quotes, shortened, with nothing that a terminal would act on.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST_SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("\"{}\"", shown.escape_debug())
}

/// `ADDRESS:PORT` to listen on.
pub(crate) fn socket_address(value: &Value<'_>) -> Read<SocketAddr> {
    let text = value.text().unwrap_or_default();
    text.parse().map_err(|_| {
        let port = text.strip_prefix("localhost:").map(str::to_owned);
        let port = port.or_else(|| Some(value.number()?.to_string()));
        let hint = match (port, text.parse::<IpAddr>(), text.rsplit_once(':')) {
            (Some(port), ..) => Some(format!("write \"127.0.0.1:{port}\"")),
            (_, Ok(ip), _) => Some(format!("write \"{}\"", SocketAddr::new(ip, 18_780))),
            (.., Some((host, port)))
                if port.parse::<u16>().is_ok() && host.parse::<IpAddr>().is_err() =>
            {
                Some(
                    "give an address of this machine, not a name; 0.0.0.0 stands for all"
                        .to_owned(),
                )
            }
            (.., Some((_, port))) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some("a port is a number up to 65535".to_owned())
            }
            _ => None,
        };
        vec![Wrong {
            hint,
            ..value.wrong("an address and port such as \"127.0.0.1:18780\"")
        }]
    })
}

/// An address and port to listen on, or `off`.
pub(crate) fn address_or_off(value: &Value<'_>) -> Read<Option<SocketAddr>> {
    if value.text() == Some("off") {
        return Ok(None);
    }
    socket_address(value).map(Some)
}

/// The same, on this machine alone.
pub(crate) fn loopback_or_off(value: &Value<'_>) -> Read<Option<SocketAddr>> {
    match address_or_off(value)? {
        Some(address) if !address.ip().to_canonical().is_loopback() => {
            let hint = format!(
                "write \"127.0.0.1:{}\", and reach it from elsewhere through ssh -L; for probes there is admin.probes",
                address.port()
            );
            Err(vec![Wrong {
                hint: Some(hint),
                ..value.wrong(
                    "an address of loopback, because whoever reaches it can switch the shim off",
                )
            }])
        }
        address => Ok(address),
    }
}

/// An IP address.
pub(crate) fn ip_address(value: &Value<'_>) -> Read<IpAddr> {
    let text = value.text().unwrap_or_default();
    let ip = text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    let usable = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast();
    ip.filter(usable).ok_or_else(|| {
        let hint = match ip {
            Some(ip) => format!("nothing can come from {ip}; \"auto\" chooses the address"),
            None if text.parse::<SocketAddr>().is_ok() => "leave the port away".to_owned(),
            None => "\"auto\" chooses the address".to_owned(),
        };
        vec![Wrong {
            hint: Some(hint),
            ..value.wrong("an IP address such as \"127.0.0.2\", or \"auto\"")
        }]
    })
}

/// A list of IP addresses and networks.
pub(crate) fn networks(value: &Value<'_>) -> Read<Vec<IpNet>> {
    const EXPECTED: &str = "an IP address or network such as \"10.0.0.0/8\"";
    list(
        value,
        "a list such as [\"10.0.0.0/8\", \"127.0.0.1\"]",
        |item| {
            item.text().and_then(network).ok_or_else(|| {
                let text = item.text().unwrap_or_default();
                let address = text.split('/').next().unwrap_or_default();
                let hint = if address.parse::<IpAddr>().is_ok() {
                    "what follows the / is a number up to 32, up to 128 for IPv6"
                } else if address.parse::<SocketAddr>().is_ok() {
                    "leave the port away"
                } else {
                    "give the proxy's address; names are not looked up"
                };
                Wrong {
                    hint: Some(hint.to_owned()),
                    ..item.wrong(EXPECTED)
                }
            })
        },
    )
}

/// `10.0.0.0/8` or a single address; an IPv4 address in IPv6 clothes is taken as what it is.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(IpNet::from(ip.to_canonical()));
    }
    Some(text.parse::<IpNet>().ok()?.trunc())
}

/// A path; the caller makes it absolute.
pub(crate) fn path(value: &Value<'_>) -> Read<String> {
    value
        .text()
        .filter(|text| !text.contains('\0'))
        .map(str::to_owned)
        .ok_or_else(|| vec![value.wrong("a path")])
}

/// A secret, which is never shown, not even when it is of the wrong kind.
pub(crate) fn secret(value: &Value<'_>) -> Read<Secret> {
    value.text().map(Secret::new).ok_or_else(|| {
        vec![Wrong {
            expected: "a text in quotes".to_owned(),
            hint: Some("write it in quotes, or give the file that holds it instead".to_owned()),
            ..Wrong::default()
        }]
    })
}

/// One word of a few.
pub(crate) fn word<W: Word>(value: &Value<'_>) -> Read<W> {
    let text = value.text().unwrap_or_default();
    let names = || W::WORDS.iter().map(|(word, _)| *word);
    if let Some((_, meaning)) = W::WORDS.iter().find(|(word, _)| *word == text) {
        return Ok(*meaning);
    }
    Err(vec![Wrong {
        hint: closest(&text.to_ascii_lowercase(), names()).map(did_you_mean),
        ..value.wrong(alternatives(names()))
    }])
}

/// A whole number from `least` to `most`.
pub(crate) fn count(least: u64, most: u64) -> impl Fn(&Value<'_>) -> Read<usize> {
    move |value| {
        value
            .number()
            .filter(|number| (least..=most).contains(number))
            .and_then(|number| usize::try_from(number).ok())
            .ok_or_else(|| {
                let quoted = value.text().and_then(|text| text.parse::<u64>().ok());
                let hint = match (value, quoted, value.number()) {
                    (Value::Toml(_), Some(number), _) => {
                        Some(format!("write {number} without quotes"))
                    }
                    (_, _, Some(number)) if number > most => Some(format!("the most is {most}")),
                    _ => None,
                };
                vec![Wrong {
                    hint,
                    ..value.wrong(format!("a whole number from {least} to {most}"))
                }]
            })
    }
}

/// A duration that must not be zero.
pub(crate) fn timeout(value: &Value<'_>) -> Read<Duration> {
    duration(value)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| {
            vec![wrong_duration(
                value,
                "a duration such as \"10s\" or \"250ms\"",
            )]
        })
}

/// A duration; zero means not at all.
pub(crate) fn age(value: &Value<'_>) -> Read<Duration> {
    duration(value).ok_or_else(|| {
        vec![wrong_duration(
            value,
            "a duration such as \"30s\", or \"0s\"",
        )]
    })
}

/// A duration or `off`.
pub(crate) fn timeout_or_off(value: &Value<'_>) -> Read<Option<Duration>> {
    if value.text() == Some("off") {
        return Ok(None);
    }
    timeout(value).map(Some).map_err(|_| {
        vec![wrong_duration(
            value,
            "a duration such as \"5m\", or \"off\"",
        )]
    })
}

/// A duration, which may be zero, or `off`.
pub(crate) fn age_or_off(value: &Value<'_>) -> Read<Option<Duration>> {
    if value.text() == Some("off") {
        return Ok(None);
    }
    age(value).map(Some).map_err(|_| {
        vec![wrong_duration(
            value,
            "a duration such as \"5s\", \"0s\", or \"off\"",
        )]
    })
}

fn duration(value: &Value<'_>) -> Option<Duration> {
    let text = value.text()?;
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let duration = Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(milliseconds)?);
    (duration <= LONGEST_DURATION).then_some(duration)
}

fn wrong_duration(value: &Value<'_>, expected: &str) -> Wrong {
    let number = value.number();
    let number = number.or_else(|| value.text()?.trim().parse().ok());
    let hint = match (number, value.text()) {
        (Some(number), _) => format!("say the unit: \"{number}s\" or \"{number}ms\""),
        (None, Some(text)) if text.starts_with(|first: char| first.is_ascii_digit()) => {
            "a whole number and one of ms, s, m and h; 720h is the longest".to_owned()
        }
        (None, _) => "a whole number and one of ms, s, m and h, such as \"10s\"".to_owned(),
    };
    Wrong {
        hint: Some(hint),
        ..value.wrong(expected)
    }
}

/// A list of operator scopes.
pub(crate) fn scopes(value: &Value<'_>) -> Read<ScopeSet> {
    let scopes = list(value, "a list such as [\"operator.read\"]", |item| {
        let text = item.text().unwrap_or_default();
        if text
            .strip_prefix("operator.")
            .is_some_and(|name| !name.is_empty() && name.bytes().all(scope_letter))
        {
            return match slip(text) {
                None => Ok(text.to_owned()),
                Some(meant) => Err(Wrong {
                    hint: Some(did_you_mean(meant)),
                    ..item.wrong("an operator scope such as \"operator.read\"")
                }),
            };
        }
        let full = format!("operator.{text}");
        let near = closest(&full, scope::ALL).or_else(|| closest(text, scope::ALL));
        let near = near.map(did_you_mean);
        Err(Wrong {
            hint: near.or_else(|| Some(format!("there are: {}", scope::ALL.join(", ")))),
            ..item.wrong("an operator scope such as \"operator.read\"")
        })
    })?;
    Ok(scopes.into_iter().collect())
}

/// The scope that a name which no gateway knows was probably meant to be: a cap with a slip in it forbids more than was
/// meant, and a grant does nothing. A name that is like none may be one of a later gateway.
fn slip(scope: &str) -> Option<&'static str> {
    if scope::ALL.contains(&scope) {
        return None;
    }
    let own = |scope: &'static str| scope.strip_prefix("operator.").unwrap_or(scope);
    let near = closest(scope.strip_prefix("operator.")?, scope::ALL.map(own))?;
    scope::ALL.into_iter().find(|known| own(known) == near)
}

fn scope_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

pub(super) fn list<T>(
    value: &Value<'_>,
    expected: &str,
    rule: impl Fn(&Value<'_>) -> Result<T, Wrong>,
) -> Read<Vec<T>> {
    let Some(items) = value.items() else {
        let hint = value.text().map(|text| format!("write [{}]", quoted(text)));
        return Err(vec![Wrong {
            hint,
            ..value.wrong(expected)
        }]);
    };
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for (item, span) in items {
        match rule(&item) {
            Ok(item) => good.push(item),
            Err(wrong) => bad.push(Wrong { span, ..wrong }),
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(bad) }
}

/// The suggestion of a word.
pub(crate) fn did_you_mean(word: &str) -> String {
    format!("did you mean \"{word}\"?")
}

fn alternatives(words: impl Iterator<Item = &'static str>) -> String {
    let words: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} or {last}", first.join(", ")),
        None => String::new(),
    }
}

/// How much of a wrong value a message repeats, in characters.
const LONGEST_SHOWN: usize = 60;
/// Longer than any of the durations makes sense.
const LONGEST_DURATION: Duration = Duration::from_secs(30 * 24 * 3_600);

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;
    use crate::config::show::Show as _;

    #[test]
    fn durations_are_read_and_shown_in_the_unit_that_fits() {
        for (text, shown) in [
            ("250ms", "250ms"),
            ("1000ms", "1s"),
            ("30s", "30s"),
            ("90s", "90s"),
            ("60s", "1m"),
            ("2h", "2h"),
        ] {
            assert_eq!(timeout(&Value::Plain(text)).unwrap().show(), shown);
        }
        for text in [
            "", "s", "5", "-5s", "5 s", "5d", "1.5s", "0s", "999999h", "off",
        ] {
            assert!(timeout(&Value::Plain(text)).is_err(), "{text}");
        }
        assert_eq!(timeout_or_off(&Value::Plain("off")).unwrap(), None);
        assert!(timeout_or_off(&Value::Plain("0s")).is_err());
        assert_eq!(age(&Value::Plain("0s")).unwrap(), Duration::ZERO);
    }

    #[test]
    fn networks_are_addresses_or_prefixes() {
        let networks = networks(&Value::Plain("10.1.2.3/8, 127.0.0.1,::ffff:10.0.0.1")).unwrap();
        assert_eq!(networks.show(), "[10.0.0.0/8, 127.0.0.1, 10.0.0.1]");
        assert_eq!(super::networks(&Value::Plain("a,b")).unwrap_err().len(), 2);
        assert!(network("10.0.0.0/33").is_none());
    }

    #[test]
    fn a_scope_is_written_in_full() {
        assert!(scopes(&Value::Plain("operator.read,operator.later")).is_ok());
        let slip = scopes(&Value::Plain("operator.raed")).unwrap_err();
        let hint = slip.first().and_then(|wrong| wrong.hint.clone());
        assert_eq!(hint, Some(did_you_mean("operator.read")));
        let wrong = scopes(&Value::Plain("read")).unwrap_err();
        let hint = wrong.first().and_then(|wrong| wrong.hint.clone());
        assert_eq!(hint.as_deref(), Some("did you mean \"operator.read\"?"));
        assert!(scopes(&Value::Plain("operator.")).is_err());
        assert!(scopes(&Value::Plain("operator.re ad")).is_err());
    }

    #[test]
    fn a_long_or_rude_value_is_shown_tame() {
        assert_eq!(quoted("a\u{1b}[1m"), "\"a\\u{1b}[1m\"");
        assert_eq!(quoted(&"x".repeat(100)).chars().count(), 63);
    }
}
