//! Terminal output as plain text.

/// The text without terminal control sequences: `ESC [ … letter`, and `ESC ] … BEL` as links use it.
pub(super) fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\u{1b}' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('[') => {
                characters.by_ref().find(|c| ('@'..='~').contains(c));
            }
            Some(']') => {
                let mut previous = ' ';
                characters.by_ref().find(|&c| {
                    let over = c == '\u{7}' || (previous == '\u{1b}' && c == '\\');
                    previous = c;
                    over
                });
            }
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_links_are_taken_out_and_the_text_stays() {
        let coloured = "\u{1b}[1;38;5;203mRPC: limited\u{1b}[0m │ \u{1b}]8;;https://x\u{1b}\\link\u{1b}]8;;\u{7} é";
        assert_eq!(without_colours(coloured), "RPC: limited │ link é");
        assert_eq!(without_colours("cut \u{1b}[3"), "cut ");
    }
}
