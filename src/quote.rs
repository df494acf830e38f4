//! Go's `%q`: how ids, paths and raw bytes stand in messages.

/// Bytes in double quotes, with Go's escapes. Bytes that are no UTF-8 stand as `\xNN`; characters
/// that are not printable as `\xNN`, `\uNNNN` or `\UNNNNNNNN`.
pub fn quote<T: AsRef<[u8]> + ?Sized>(text: &T) -> String {
    use std::fmt::Write as _;

    let bytes = text.as_ref();
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_char(&mut out, c);
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

fn push_char(out: &mut String, c: char) {
    use std::fmt::Write as _;

    let _ = match c {
        '"' | '\\' => write!(out, "\\{c}"),
        '\x07' => out.write_str("\\a"),
        '\x08' => out.write_str("\\b"),
        '\x0c' => out.write_str("\\f"),
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        '\x0b' => out.write_str("\\v"),
        ' '..='~' => out.write_char(c),
        '\0'..='\x7f' => write!(out, "\\x{:02x}", u32::from(c)),
        _ if is_printable(c) => out.write_char(c),
        '\0'..='\u{ffff}' => write!(out, "\\u{:04x}", u32::from(c)),
        _ => write!(out, "\\U{:08x}", u32::from(c)),
    };
}

/// Letters, marks, numbers, punctuation and symbols, for characters beyond ASCII.
fn is_printable(c: char) -> bool {
    // The standard library decides by the same categories, but tells only in its debug format,
    // which also escapes a mark that has nothing to stand on: hence the letter before it.
    let mut buffer = [b'a'; 5];
    let end = 1 + c.encode_utf8(&mut buffer[1..]).len();
    let text = std::str::from_utf8(&buffer[..end]).expect("a letter and an encoded character");
    text.escape_debug().nth(1) == Some(c)
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn as_go_does() {
        for (raw, quoted) in [
            (&b""[..], r#""""#),
            (b"web", r#""web""#),
            (b"a\"b\\c'", r#""a\"b\\c'""#),
            (b"\x07\x08\x0c\n\r\t\x0b\0\x7f\x1b", r#""\a\b\f\n\r\t\v\x00\x7f\x1b""#),
            ("\u{e9}\u{301}\u{4e16}\u{1f600}".as_bytes(), "\"\u{e9}\u{301}\u{4e16}\u{1f600}\""),
            (
                "\u{80}\u{a0}\u{2028}\u{feff}\u{e000}\u{e0001}".as_bytes(),
                r#""\u0080\u00a0\u2028\ufeff\ue000\U000e0001""#,
            ),
            (b"a\xff\xc3(\xe2\x82", r#""a\xff\xc3(\xe2\x82""#),
            ("\u{fffd}".as_bytes(), "\"\u{fffd}\""),
        ] {
            assert_eq!(quote(raw), quoted);
        }
    }
}
