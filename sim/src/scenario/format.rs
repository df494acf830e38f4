//! A scenario file as everybody writes it: spaces, blank lines and line ends, and nothing that is said.

use toml_edit::{Array, Decor, DocumentMut, Item, RawString, TableLike, TomlError, Value};

const BYTE_ORDER_MARK: &str = "\u{feff}";
const INDENT: &str = "    ";

/// The text with one space around `=`, one blank line before each table and none behind its head, lists on one
/// line or with an element a line as they were, no space at the end of a line, `\n` at the end of each. Comments
/// stay, and the order of everything.
///
/// # Errors
/// When `text` is not TOML.
pub fn format(text: &str) -> Result<String, TomlError> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).replace("\r\n", "\n");
    let mut document: DocumentMut = text.parse()?;
    let trailing = above(document.trailing().as_str().unwrap_or_default(), Blank::Kept);
    document.set_trailing(
        trailing.trim_end_matches('\n').to_owned()
            + if trailing.trim().is_empty() { "" } else { "\n" },
    );
    keys(document.as_table_mut());
    tables(document.as_item_mut());
    let text = document.to_string();
    let text = text.trim_start_matches('\n').trim_end_matches('\n');
    Ok(format!("{text}\n"))
}

/// What becomes of the blank lines at the head of what stands above something.
#[derive(Clone, Copy, PartialEq)]
enum Blank {
    None,
    Kept,
    One,
}

/// Comments and blank lines above a key or table, without what is too much.
fn above(raw: &str, blank: Blank) -> String {
    // The last piece is the indentation of what follows.
    let lines: Vec<&str> = raw.split('\n').map(str::trim).collect();
    let lines = &lines[..lines.len() - 1];
    let mut text = String::new();
    let mut last_was_blank = blank == Blank::None;
    // What stands right below the table above it may belong there, if a blank line follows.
    if blank == Blank::One
        && (lines.first().is_none_or(|line| line.is_empty()) || !lines.contains(&""))
    {
        text.push('\n');
        last_was_blank = true;
    }
    for line in lines {
        if !(line.is_empty() && last_was_blank) {
            text.push_str(line);
            text.push('\n');
        }
        last_was_blank = line.is_empty();
    }
    text
}

fn str_of(raw: Option<&RawString>) -> &str {
    raw.and_then(RawString::as_str).unwrap_or_default()
}

/// A comment on the same line; as far away as it was, so that comments can be aligned.
fn beside(raw: &str) -> String {
    let comment = raw.trim_end();
    if comment.starts_with('#') { format!(" {comment}") } else { comment.to_owned() }
}

fn decorate(decor: &mut Decor, prefix: String, suffix: String) {
    decor.set_prefix(prefix);
    decor.set_suffix(suffix);
}

/// The keys of a table that have values.
fn keys(table: &mut dyn TableLike) {
    let mut is_first = true;
    for (mut key, item) in table.iter_mut() {
        match item {
            Item::Value(of) => {
                let blank = if is_first { Blank::None } else { Blank::Kept };
                let prefix = above(str_of(key.leaf_decor().prefix()), blank);
                decorate(key.leaf_decor_mut(), prefix, " ".to_owned());
                let suffix = beside(str_of(of.decor().suffix()));
                value(of, 0);
                decorate(of.decor_mut(), " ".to_owned(), suffix);
                is_first = false;
            }
            // `a.b = 1` is no table of its own.
            Item::Table(inner) if inner.is_dotted() => {
                keys(inner);
                is_first = false;
            }
            _ => {}
        }
    }
}

/// All tables below one.
fn tables(item: &mut Item) {
    let head = |decor: &mut Decor| {
        let prefix = above(str_of(decor.prefix()), Blank::One);
        let suffix = beside(str_of(decor.suffix()));
        decorate(decor, prefix, suffix);
    };
    match item {
        Item::Table(table) => {
            for (_, inner) in table.iter_mut() {
                match inner {
                    Item::Table(of) if !of.is_dotted() => {
                        if !of.is_implicit() {
                            head(of.decor_mut());
                        }
                        keys(of);
                    }
                    Item::ArrayOfTables(all) => {
                        for of in all.iter_mut() {
                            head(of.decor_mut());
                            keys(of);
                        }
                    }
                    _ => {}
                }
                tables(inner);
            }
        }
        Item::ArrayOfTables(all) => {
            for table in all.iter_mut() {
                let mut of = Item::Table(std::mem::take(table));
                tables(&mut of);
                if let Item::Table(of) = of {
                    *table = of;
                }
            }
        }
        _ => {}
    }
}

fn value(of: &mut Value, depth: usize) {
    match of {
        Value::Array(array) => list(array, depth),
        Value::InlineTable(table) => {
            let count = table.len();
            for (number, (mut key, of)) in table.iter_mut().enumerate() {
                decorate(key.leaf_decor_mut(), " ".to_owned(), " ".to_owned());
                value(of, depth);
                let end = if number + 1 == count { " " } else { "" };
                decorate(of.decor_mut(), " ".to_owned(), end.to_owned());
            }
        }
        _ => {}
    }
}

fn list(array: &mut Array, depth: usize) {
    let raw = |of: Option<&RawString>| str_of(of).to_owned();
    let ends: Vec<String> = array.iter().map(|of| raw(of.decor().suffix())).collect();
    let begins: Vec<String> = array.iter().map(|of| raw(of.decor().prefix())).collect();
    let trailing = array.trailing().as_str().unwrap_or_default().to_owned();
    let lines = begins.iter().chain(&ends).chain([&trailing]);
    let is_tall = lines.clone().any(|text| text.contains('\n'));
    // A comment between an element and its comma has no better place.
    let stays = ends.iter().any(|end| end.contains('#'));
    for of in array.iter_mut() {
        value(of, depth + 1);
    }
    if stays {
        return;
    }
    if !is_tall {
        for (number, of) in array.iter_mut().enumerate() {
            let space = if number == 0 { "" } else { " " };
            decorate(of.decor_mut(), space.to_owned(), String::new());
        }
        array.set_trailing_comma(false);
        array.set_trailing("");
        return;
    }
    for (of, begin) in array.iter_mut().zip(&begins) {
        decorate(of.decor_mut(), between(begin, depth + 1), String::new());
    }
    array.set_trailing_comma(!array.is_empty());
    array.set_trailing(between(&trailing, depth));
}

/// What stands between two elements of a list that has a line for each.
fn between(raw: &str, depth: usize) -> String {
    let (beside, above) = raw.split_once('\n').unwrap_or((raw, ""));
    let mut text = String::new();
    if !beside.trim().is_empty() {
        text = format!(" {}", beside.trim());
    }
    let inner = INDENT.repeat(depth.max(1));
    for comment in above.split('\n').map(str::trim).filter(|line| line.starts_with('#')) {
        text.push_str(&format!("\n{inner}{comment}"));
    }
    text.push('\n');
    text.push_str(&INDENT.repeat(depth));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_and_lines_are_as_everybody_writes_them() {
        let before = "\n\n#:schema x\nshakedown=1   \ntitle  =  \"t\"# why\n\n\n\n# The matrix.\n[matrix]\n\n\
                      a=[ \"x\",\"y\" ,]\nb = [\n\"x\", # first\n  # above\n\"y\"\n]\n   [[call]]  # c\ndo='start'\n\
                      m = {every-moment-of=\"x\",from = \"y\"}\n[call.x]\ny = 1\n[[call]]\n\n\n# The end.\n\n";
        let after = "#:schema x\nshakedown = 1\ntitle = \"t\" # why\n\n# The matrix.\n[matrix]\n\
                     a = [\"x\", \"y\"]\nb = [\n    \"x\", # first\n    # above\n    \"y\",\n]\n\n[[call]]  # c\ndo = 'start'\n\
                     m = { every-moment-of = \"x\", from = \"y\" }\n\n[call.x]\ny = 1\n\n[[call]]\n\n# The end.\n";
        assert_eq!(format(before).unwrap(), after);
        assert_eq!(format(after).unwrap(), after);
        assert_eq!(format("\u{feff}a = 1\r\nb = 2").unwrap(), "a = 1\nb = 2\n");
    }
}
