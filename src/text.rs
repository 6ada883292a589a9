//! Text for people: safe on a terminal, wrapped, cut, and with times and numbers as a person says them.

use std::fmt::{self, Display, Formatter};

/// The text as [`str::escape_debug`] shows it, at less cost where there is nothing to escape, which is nearly always.
#[must_use]
pub const fn escaped(text: &str) -> impl Display {
    Escaped(text)
}

struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let plain = |byte: u8| matches!(byte, b' '..=b'~') && !b"\"'\\".contains(&byte);
        if self.0.bytes().all(plain) {
            f.write_str(self.0)
        } else {
            self.0.escape_debug().fmt(f)
        }
    }
}

/// The text's first characters, at most so many.
#[must_use]
pub fn first(text: &str, characters: usize) -> &str {
    // There are no more characters than bytes, so most texts need not be counted.
    let end = (text.len() > characters)
        .then(|| text.char_indices().nth(characters))
        .flatten();
    end.map_or(text, |(end, _)| text.get(..end).unwrap_or_default())
}

/// The text with every character escaped that could move the cursor, change colours or reorder what is shown.
#[must_use]
pub fn safe(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' | '\'' | '\\' => shown.push(letter),
            _ => shown.extend(letter.escape_debug()),
        }
    }
    shown
}

/// The same, cut to `most` characters.
#[must_use]
pub fn brief(text: &str, most: usize) -> String {
    let shown = safe(text);
    if shown.chars().count() <= most {
        return shown;
    }
    let kept: String = shown.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}{ELLIPSIS}")
}

/// The words of `text` in lines of at most `width` characters. A word that is longer stands alone, or is cut into
/// pieces where `cut` says so.
#[must_use]
pub fn wrap(text: &str, width: usize, cut: bool) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        for piece in pieces(word, width, cut) {
            let Some(line) = lines.last_mut() else { break };
            let used = line.chars().count();
            if used == 0 {
                line.push_str(&piece);
            } else if used + 1 + piece.chars().count() <= width {
                line.push(' ');
                line.push_str(&piece);
            } else {
                lines.push(piece);
            }
        }
    }
    lines
}

fn pieces(word: &str, width: usize, cut: bool) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    if !cut || letters.len() <= width || width == 0 {
        return vec![word.to_owned()];
    }
    letters
        .chunks(width)
        .map(|part| part.iter().collect())
        .collect()
}

/// How long ago a moment was: `3 min ago`.
#[must_use]
pub fn ago(now_ms: i64, then_ms: u64) -> String {
    let then = i64::try_from(then_ms).unwrap_or(i64::MAX);
    let seconds = now_ms.saturating_sub(then) / 1000;
    match seconds {
        ..-1 => "in the future".to_owned(),
        -1..1 => "just now".to_owned(),
        1..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// A number with its noun.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// A number as a place in a row: 1st, 2nd, 3rd, 4th.
#[must_use]
pub fn ordinal(number: usize) -> String {
    let suffix = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

/// The longest beginning of `text` that takes at most `bytes`, with an ellipsis where something is missing.
#[must_use]
pub fn fitting(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes.saturating_sub(ELLIPSIS.len()));
    format!("{}{ELLIPSIS}", text.get(..end).unwrap_or_default())
}

const ELLIPSIS: &str = "…";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_row_has_the_ending_that_is_said() {
        assert_eq!(
            [1, 2, 3, 4, 11, 12, 13, 21, 103, 111].map(ordinal),
            [
                "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "103rd", "111th"
            ]
        );
    }

    #[test]
    fn nothing_in_a_name_reaches_the_terminal_as_a_command() {
        assert_eq!(safe("Jo's \"lab\" é 漢"), "Jo's \"lab\" é 漢");
        let hostile = "\u{1b}[2J\r\n\t\u{202e}\u{200b}\u{7}\u{9b}";
        let shown = safe(hostile);
        assert!(
            shown.chars().all(|letter| letter.is_ascii_graphic()),
            "{shown}"
        );
        assert_eq!(brief("abcdef", 4), "abc…");
        assert_eq!(brief("abcd", 4), "abcd");
    }

    #[test]
    fn what_does_not_fit_is_cut_between_letters() {
        assert_eq!(fitting("abc", 3), "abc");
        for long in ["x".repeat(200), "ä".repeat(100), "語".repeat(60)] {
            let cut = fitting(&long, 123);
            assert!(cut.len() <= 123 && cut.len() > 119, "{}", cut.len());
            assert!(cut.ends_with(ELLIPSIS));
        }
    }

    #[test]
    fn long_text_is_wrapped_at_words() {
        assert_eq!(wrap("one two three", 7, false), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh ij", 4, false), ["abcdefgh", "ij"]);
        assert_eq!(wrap("abcdefgh ij", 4, true), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("", 4, false), [""]);
    }

    #[test]
    fn times_are_told_as_people_tell_them() {
        let now = 1_000_000_000_000;
        let table = [
            (0, "just now"),
            (59, "59 s ago"),
            (180, "3 min ago"),
            (7_200, "2 h ago"),
            (864_000, "10 d ago"),
            (-60, "in the future"),
        ];
        for (seconds, expected) in table {
            let then = u64::try_from(now - seconds * 1000).unwrap_or_default();
            assert_eq!(ago(now, then), expected);
        }
    }
}
