//! What one read of a `paired.json` leaves for the next: a gateway writes the whole file whenever one device changes.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use crate::device::{DeviceId, DeviceRecord};

/// The pieces that a file consisted of, and what was read from each.
///
/// The text itself is not kept, since it holds tokens. A digest with a key of this process's own stands for it.
#[derive(Debug, Default)]
pub(in crate::identity::store) struct Known {
    digest: RandomState,
    pieces: Vec<Piece>,
    /// What comes after the last piece.
    end: Option<Mark>,
}

/// One entry: from behind the brace or comma before it to the end of its value.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) mark: Mark,
    pub(super) record: Record,
}

/// By what a text is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    length: usize,
    digest: u64,
}

/// What was read from a piece.
pub(super) type Record = Result<Arc<DeviceRecord>, Box<LeftOut>>;

/// A record that had to be left out, and why.
#[derive(Clone, Debug)]
pub(super) struct LeftOut {
    pub(super) device: DeviceId,
    pub(super) problem: String,
}

/// How much of a file is as it was before, as can be told from its beginning and its end.
#[derive(Debug)]
pub(super) struct Unchanged<'a> {
    /// The pieces that it begins with, and where they end.
    pub(super) front: (&'a [Piece], usize),
    /// The pieces that it ends with, and where they begin. `None` where what comes after them is not the same.
    pub(super) back: Option<(&'a [Piece], usize)>,
    /// The pieces that are not in their places any more.
    others: &'a [Piece],
}

impl Known {
    pub(super) fn new(like: &Self, pieces: Vec<Piece>, end: Option<Mark>) -> Self {
        Self {
            digest: like.digest.clone(),
            pieces,
            end,
        }
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    pub(super) const fn end(&self) -> Option<Mark> {
        self.end
    }

    pub(super) fn mark(&self, text: &[u8]) -> Mark {
        Mark {
            length: text.len(),
            digest: self.digest.hash_one(text),
        }
    }

    /// What of this text has not changed.
    pub(super) fn unchanged(&self, text: &[u8]) -> Unchanged<'_> {
        let (front, begins) = self.front(text);
        let (ahead, others) = self.pieces.split_at(front);
        let back = self.back(others, &text[begins..]);
        let (others, behind) = others.split_at(others.len() - back.map_or(0, |(back, _)| back));
        Unchanged {
            front: (ahead, begins),
            back: back.map(|(_, at)| (behind, begins + at)),
            others,
        }
    }

    /// How many pieces the text begins with, and how long they are.
    fn front(&self, text: &[u8]) -> (usize, usize) {
        let mut at = 0;
        for (number, piece) in self.pieces.iter().enumerate() {
            let separator = if number == 0 { b'{' } else { b',' };
            let rest = &text[at..];
            match rest.split_first() {
                Some((found, rest))
                    if *found == separator
                        && self.is(rest.get(..piece.mark.length), piece.mark) =>
                {
                    at += 1 + piece.mark.length;
                }
                _ => return (number, at),
            }
        }
        (self.pieces.len(), at)
    }

    /// How many of these pieces the text ends with, and where they begin.
    fn back(&self, pieces: &[Piece], text: &[u8]) -> Option<(usize, usize)> {
        let end = self.end?;
        let mut at = text.len().checked_sub(end.length)?;
        if !self.is(text.get(at..), end) {
            return None;
        }
        for (number, piece) in pieces.iter().rev().enumerate() {
            let begins = at.checked_sub(1 + piece.mark.length);
            match begins {
                Some(begins)
                    if text[begins] == b',' && self.is(text.get(begins + 1..at), piece.mark) =>
                {
                    at = begins;
                }
                _ => return Some((number, at)),
            }
        }
        Some((pieces.len(), at))
    }

    fn is(&self, text: Option<&[u8]>, mark: Mark) -> bool {
        text.is_some_and(|text| self.mark(text) == mark)
    }
}

impl<'a> Unchanged<'a> {
    /// The same, of a file of which nothing is known to be in its place.
    pub(super) const fn nothing(before: &'a Known) -> Self {
        Self {
            front: (&[], 0),
            back: None,
            others: before.pieces.as_slice(),
        }
    }

    /// Whether there is nothing else in the text.
    pub(super) fn is_everything(&self, text: &[u8]) -> bool {
        self.between(text).is_empty()
    }

    /// What else there is in the text, as an object. `None` where that is not less to read.
    pub(super) fn all_else(&self, text: &[u8]) -> Option<Vec<u8>> {
        let between = self.between(text);
        if between.len() >= text.len() / 2 {
            return None;
        }
        let inside = match between.split_first() {
            None => between,
            Some((b',', inside)) if self.front.1 > 0 => inside,
            Some((b'{', inside)) if self.front.1 == 0 => inside,
            Some(_) => return None,
        };
        let closing: &[u8] = if self.back.is_some() { b"}" } else { b"" };
        Some([b"{", inside, closing].concat())
    }

    fn between<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        let ends = self.back.map_or(text.len(), |(_, begins)| begins);
        &text[self.front.1..ends]
    }

    /// What was read of the pieces that may be elsewhere now.
    pub(super) fn moved(&self) -> HashMap<Mark, &'a Record> {
        let each = self.others.iter();
        each.map(|piece| (piece.mark, &piece.record)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::super::parse::paired;
    use super::*;

    /// What is read of `after` when `before` was read.
    fn read_again(before: &str, after: &str) -> Option<String> {
        let known = paired(before.as_bytes(), &Known::default()).unwrap().known;
        let object = known.unchanged(after.as_bytes()).all_else(after.as_bytes());
        object.map(|object| String::from_utf8(object).unwrap())
    }

    const FILE: &str = r#"{"a": {}, "b": {}, "c": {}, "d": {}, "e": {}, "f": {}
}
"#;

    #[test]
    fn of_a_file_that_is_written_again_only_what_changed_is_read() {
        for (from, to, read) in [
            ("", "", r"{}"),
            (r#" "c": {}"#, r#" "c": 1"#, r#"{ "c": 1}"#),
            (
                r#" "c": {}, "d": {}"#,
                r#" "d": 2, "c": 1"#,
                r#"{ "d": 2, "c": 1}"#,
            ),
            (r#""a": {}"#, r#""a": 1"#, r#"{"a": 1}"#),
            (r#""f": {}"#, r#""f": 1"#, r#"{ "f": 1}"#),
            (r#" "c": {},"#, "", "{}"),
            (r#" "c": {},"#, r#" "c": {}, "x": 1,"#, r#"{ "x": 1}"#),
            ("\n}", ", \"x\": 1}", "{ \"x\": 1}\n"),
        ] {
            let after = FILE.replacen(from, to, 1);
            assert_eq!(read_again(FILE, &after).as_deref(), Some(read), "{after}");
        }
    }

    #[test]
    fn where_less_is_known_than_not_all_is_read() {
        for after in ["", "7", "[]", "{}", r#"{"b": {}, "c": {}}"#, r#"{"a": {}]"#] {
            assert_eq!(read_again(FILE, after), None, "{after}");
        }
    }
}
