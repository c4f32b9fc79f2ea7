//! Markup and punctuation between a label and its value: quotes, emphasis, tags, bullets, fences, dashes, arrows.
//!
//! The functions skip it, forwards from the label or backwards from the value. Each reads a bounded number of bytes.

use crate::ascii::{at, before, is_blank, is_quote, is_space, is_word, part, run_end, run_start};

/// Longest run of white space between a name and its value, in bytes, as in columns and indented lines.
pub(crate) const MAX_GAP_BYTES: usize = 512;

/// Maximum number of signs between a name and its value. Rules are checked at each sign and read all of them.
const MAX_SIGNS: usize = 24;

/// Maximum number of consecutive tags and signs between a name and its value.
const MAX_MARKUP: usize = 12;

/// Returns the start of the white space and the signs that end before `end`.
fn gap_start(bytes: &[u8], end: usize, is_space: fn(u8) -> bool, is_sign: fn(u8) -> bool) -> usize {
    let spaces = run_start(bytes, end, MAX_GAP_BYTES, is_space);
    let signs = run_start(bytes, spaces, MAX_SIGNS, |byte| is_space(byte) || is_sign(byte));
    run_start(bytes, signs, MAX_GAP_BYTES, is_space)
}

/// Returns the end of the white space and the signs that start at `start`.
fn gap_end(bytes: &[u8], start: usize, is_sign: fn(u8) -> bool) -> usize {
    let spaces = run_end(bytes, start, MAX_GAP_BYTES, is_space);
    let signs = run_end(bytes, spaces, MAX_SIGNS, |byte| is_space(byte) || is_sign(byte));
    run_end(bytes, signs, MAX_GAP_BYTES, is_space)
}

/// HTML elements that contain text or occur in it. Other words in angle brackets are types and placeholders.
#[rustfmt::skip]
const TAGS: &[&str] = &[
    "a", "abbr", "address", "article", "aside", "b", "bdi", "bdo", "big", "blockquote", "br", "caption", "center", "cite", "code",
    "dd", "del", "details", "dfn", "div", "dl", "dt", "em", "figcaption", "figure", "font", "footer", "h1", "h2", "h3", "h4", "h5",
    "h6", "header", "hr", "i", "img", "ins", "kbd", "label", "legend", "li", "main", "mark", "nav", "ol", "option", "output", "p",
    "pre", "q", "s", "samp", "section", "small", "span", "strike", "strong", "sub", "summary", "sup", "table", "tbody", "td",
    "textarea", "tfoot", "th", "thead", "tr", "tt", "u", "ul", "var", "wbr",
];

/// Longest tag that is read, in bytes.
const MAX_TAG_BYTES: usize = 256;

/// Returns the end of the tag that starts at `start`.
pub(crate) fn tag_end(bytes: &[u8], start: usize) -> Option<usize> {
    let name = start + 1 + usize::from(at(bytes, start + 1) == b'/');
    let end = run_end(bytes, name, 10, |byte| byte.is_ascii_alphanumeric());
    let is_known = TAGS.iter().any(|tag| part(bytes, name, end).eq_ignore_ascii_case(tag.as_bytes()));
    if at(bytes, start) != b'<' || !is_known {
        return None;
    }
    let close = run_end(bytes, end, MAX_TAG_BYTES, |byte| byte != b'>' && byte != b'<');
    (at(bytes, close) == b'>').then_some(close + 1)
}

/// Returns the start of the tag that ends before `end`.
pub(crate) fn tag_start(bytes: &[u8], end: usize) -> Option<usize> {
    if before(bytes, end) != b'>' {
        return None;
    }
    let start = run_start(bytes, end - 1, MAX_TAG_BYTES, |byte| byte != b'<' && byte != b'>').checked_sub(1)?;
    (tag_end(bytes, start) == Some(end)).then_some(start)
}

/// Returns the end of the line that opens a code block at `start`.
fn fence_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mark = at(bytes, start);
    let fence = run_end(bytes, start, 16, |byte| byte == mark);
    let end = run_end(bytes, fence, 48, |byte| byte != b'\n' && byte != mark);
    (fence - start >= 3 && at(bytes, end) == b'\n').then_some(end)
}

/// Returns the end of the sign that starts at `start`: a quotation mark, dash, arrow, bullet or pictograph beyond
/// ASCII, also written as an entity. Letters are not signs.
pub(crate) fn sign_end(bytes: &[u8], start: usize) -> Option<usize> {
    let length = match (at(bytes, start), at(bytes, start + 1)) {
        (b'&', _) => return entity_end(bytes, start),
        // U+00A0 to U+00BF, without the ordinals `ª` and `º`.
        (0xc2, second) if second >= 0xa0 && !matches!(second, 0xaa | 0xba) => 2,
        // Visible general punctuation, and spaces.
        (0xe2, 0x80) if matches!(at(bytes, start + 2), 0x80..=0x8a | 0x90..=0xa7 | 0xaf..=0xbf) => 3,
        // Arrows, mathematics, boxes, dingbats.
        (0xe2, 0x81 | 0x86..=0x8f | 0x94..=0x9f | 0xa4..=0xaf)
            if at(bytes, start + 1) != 0x81 || at(bytes, start + 2) < 0xa0 =>
        {
            3
        }
        // Punctuation of Chinese, Japanese and Korean.
        (0xe3, 0x80) if at(bytes, start + 2) != 0x85 => 3,
        // Variation selector of the sign before it.
        (0xef, 0xb8) => 3,
        (0xf0, 0x9f) => 4,
        _ => return None,
    };
    Some(start + length)
}

/// Returns the start of the sign that ends before `end`.
fn sign_start(bytes: &[u8], end: usize) -> Option<usize> {
    let is_sign = |start: &usize| sign_end(bytes, *start) == Some(end);
    (2..=4).filter_map(|length| end.checked_sub(length)).find(is_sign)
}

/// Returns the end of the list ordinal at `start`: `1.`, `12)`, `a.`, `iv)`.
fn ordinal_end(bytes: &[u8], start: usize) -> Option<usize> {
    let end = run_end(bytes, start, 3, |byte| byte.is_ascii_alphanumeric());
    let number = part(bytes, start, end);
    let is_number = number.iter().all(u8::is_ascii_digit) || number.iter().all(|byte| b"ivx".contains(byte));
    let is_ordinal = end > start && (is_number || number.len() == 1);
    let is_closed = matches!(at(bytes, end), b'.' | b')') && is_space(at(bytes, end + 1));
    (is_ordinal && is_closed && is_space(before(bytes, start))).then_some(end + 1)
}

/// Returns the end of the entity at `start` that is drawn as a sign: `&rarr;`. Entities for ASCII are handled as ASCII.
fn entity_end(bytes: &[u8], start: usize) -> Option<usize> {
    let end = run_end(bytes, start + 1, 8, |byte| byte.is_ascii_alphanumeric() || byte == b'#');
    let is_ascii = matches!(part(bytes, start + 1, end), b"lt" | b"gt" | b"amp" | b"quot" | b"apos");
    (at(bytes, start) == b'&' && end > start + 2 && at(bytes, end) == b';' && !is_ascii).then_some(end + 1)
}

/// Longest link text that is read, in bytes.
const MAX_LINK_BYTES: usize = 256;

/// `true` if a Markdown link starts at `start`: `[text](address)`.
fn is_link(bytes: &[u8], start: usize) -> bool {
    let end = run_end(bytes, start, MAX_LINK_BYTES, |byte| byte != b']' && byte != b'\n');
    matches!(part(bytes, end, end + 2), b"](" | b"][")
}

/// Returns the end of the text before the markup that ends at `end`.
pub(crate) fn before_markup(bytes: &[u8], mut end: usize) -> usize {
    for _ in 0..MAX_MARKUP {
        let is_sign = |byte| matches!(byte, b']' | b'}' | b'?' | b'*' | b'~' | b'|' | b'\\') || is_quote(byte);
        let skipped = gap_start(bytes, end, is_blank, is_sign);
        end = match tag_start(bytes, skipped) {
            // Cells and terms may be on lines of their own.
            Some(start) => run_start(bytes, start, MAX_GAP_BYTES, is_space),
            None => match sign_start(bytes, skipped) {
                Some(start) => start,
                None => return skipped,
            },
        }
    }
    end
}

/// Returns the start of the brackets that end before `end`, as in `Password (prod): …` and `tokens["eu"] = …`.
pub(crate) fn brackets_start(bytes: &[u8], end: usize) -> Option<usize> {
    const LONGEST: usize = 64;
    let is_markup = |byte| matches!(byte, b' ' | b'\t' | b'*' | b'_') || is_quote(byte);
    let close = run_start(bytes, end, LONGEST, is_markup);
    let open = match before(bytes, close) {
        b')' => b'(',
        b']' => b'[',
        b'}' => b'{',
        _ => return None,
    };
    let inside = run_start(bytes, close - 1, LONGEST, |byte| byte != open && byte != b'\n');
    (before(bytes, inside) == open).then(|| inside - 1)
}

/// Returns the start of the text after a separator and markup.
pub(crate) fn behind_markup(bytes: &[u8], mut start: usize) -> usize {
    for _ in 0..MAX_MARKUP {
        start = gap_end(bytes, start, |byte| matches!(byte, b'=' | b'>' | b':' | b'|'));
        let mark = at(bytes, start);
        let next = at(bytes, start + 1);
        let marks = run_end(bytes, start, 80, |byte| byte == mark) - start;
        start += match mark {
            // Four or more asterisks are a masked value.
            b'*' if marks < 4 => marks,
            b'_' if marks == 2 => marks,
            // End of emphasis, `_Password:_ …`.
            b'_' if matches!(next, b' ' | b'\t' | b'\n' | b'\r' | b'*' | b':' | b'|' | b'<') => 1,
            b'_' if marks == 3 => marks,
            b'-' if at(bytes, start + marks) == b'>' => marks + 1,
            b'-' | b'+' if is_space(next) => 1,
            b'-' | b'=' | b'.' if marks >= 2 && is_space(at(bytes, start + marks)) => marks,
            b'&' if is_space(next) => 1,
            b'`' | b'~' if fence_end(bytes, start).is_some() => fence_end(bytes, start).unwrap_or(start) - start,
            b'~' => marks,
            // The last backtick starts the value.
            b'`' if marks > 1 => marks - 1,
            b'"' | b'\'' if marks > 1 && is_word(at(bytes, start + marks)) => marks - 1,
            b'[' if matches!(part(bytes, start, start + 4), b"[ ] " | b"[x] " | b"[X] ") => 4,
            b'[' if is_link(bytes, start) => 1,
            b'<' if part(bytes, start, start + 4) == b"<!--" => 4,
            b'<' => match tag_end(bytes, start) {
                Some(end) => end - start,
                None => return start,
            },
            b'0'..=b'9' | b'a'..=b'z' => match ordinal_end(bytes, start) {
                Some(end) => end - start,
                None => return start,
            },
            _ => match sign_end(bytes, start) {
                Some(end) => end - start,
                None => return start,
            },
        };
    }
    start
}

/// `true` if the line has only markup, punctuation and white space after `end`.
pub(crate) fn ends_line(bytes: &[u8], mut end: usize) -> bool {
    for _ in 0..MAX_MARKUP {
        end = run_end(bytes, end, MAX_GAP_BYTES, |byte| byte != b'\n' && byte != b'<' && !is_word(byte) && byte < 0x80);
        end = match tag_end(bytes, end).or_else(|| sign_end(bytes, end)) {
            Some(end) => end,
            None => break,
        };
    }
    at(bytes, end) == b'\n'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_not_signs() {
        for sign in "«»·–—“”„‘’‹›…→⇒⟶➜•▪│┃「」【】👉🔑★✓➡\u{fe0f}\u{a0}\u{2009}".chars()
        {
            let text = sign.to_string();
            assert_eq!(sign_end(text.as_bytes(), 0), Some(text.len()), "{sign}");
            assert_eq!(sign_start(format!("a{sign}").as_bytes(), 1 + text.len()), Some(1), "{sign}");
        }
        for letter in "aéßжñ日本かカ々한ªº".chars() {
            assert_eq!(sign_end(letter.to_string().as_bytes(), 0), None, "{letter}");
        }
    }

    #[test]
    fn markup_is_skipped_in_both_directions() {
        for markup in [
            "** ",
            ": ",
            " — ",
            " -> ",
            " => ",
            " --> ",
            "\n> ",
            "\n\n1. ",
            "\n- [ ] ",
            "</b>: <code>",
            "\n```toml\n",
            "\n~~~\n",
            "\n----\n",
            "\n=======\n",
            " ..... ",
            "</td>\n<td class=\"a\">",
            ": <!-- ",
            "» : « ",
            ": **[",
            "\n  a) ",
            "\niv. ",
            " &rarr; ",
            "&nbsp;&nbsp;",
        ] {
            let text = format!("{markup}value](x)");
            assert_eq!(behind_markup(text.as_bytes(), 0), markup.len(), "{markup:?}");
        }
        for markup in ["** ", "` ", "</b>", "</td>\n  </tr>", "” ", " » ", "\\*\\* "] {
            let text = format!("label{markup}");
            assert_eq!(before_markup(text.as_bytes(), text.len()), 5, "{markup:?}");
        }
        for text in ["label (of x)", "label [x]", "label(\"x\")"] {
            let start = brackets_start(text.as_bytes(), text.len());
            assert!(matches!(start, Some(5 | 6)), "{text}");
        }
        assert_eq!(brackets_start(b"label x)", 8), None);
    }
}
