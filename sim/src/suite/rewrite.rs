//! Replaces the expectations of a file's text and leaves the rest as it is.

use toml_edit::{DocumentMut, Item, Table, TomlError};

use crate::scenario::{Scenario, print};

/// The arrays of tables that are replaced.
const ARRAYS: [&str; 2] = ["expect", "violation"];

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Behind the last table of any file.
const END: isize = 1 << 32;

/// `text` with the expectations and expected violations of `scenario`, at its end. Comments
/// elsewhere stay, as do those above the first entry of each kind, a byte order mark, and the line ends
/// that the first line has.
///
/// # Errors
/// When `text` is not TOML.
pub fn rewrite(text: &str, scenario: &Scenario) -> Result<String, TomlError> {
    let (mark, text) = match text.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) => (BYTE_ORDER_MARK, rest),
        None => ("", text),
    };
    let mut document: DocumentMut = text.parse()?;
    let mut printed: DocumentMut = print(scenario).parse()?;
    for key in ARRAYS {
        let comment = document.remove(key).and_then(|item| comment_above(&item));
        let Some(mut item) = printed.remove(key) else { continue };
        if let Item::ArrayOfTables(tables) = &mut item {
            tables.iter_mut().for_each(move_back);
            if let (Some(comment), Some(first)) = (comment, tables.get_mut(0)) {
                first.decor_mut().set_prefix(comment);
            }
        }
        document.insert(key, item);
    }
    let mut rewritten = document.to_string().replace("\r\n", "\n");
    if text.split_inclusive('\n').next().is_some_and(|line| line.ends_with("\r\n")) {
        rewritten = rewritten.replace('\n', "\r\n");
    }
    Ok(format!("{mark}{rewritten}"))
}

fn comment_above(item: &Item) -> Option<String> {
    let first = item.as_array_of_tables()?.get(0)?;
    let above = first.decor().prefix()?.as_str()?;
    above.contains('#').then(|| above.to_owned())
}

/// Tables are written in the order of their positions.
fn move_back(table: &mut Table) {
    let position = table.position().unwrap_or_default();
    table.set_position(Some(END + position));
    for (_, item) in table.iter_mut() {
        match item {
            Item::Table(inner) => move_back(inner),
            Item::ArrayOfTables(inner) => inner.iter_mut().for_each(move_back),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::parse;

    const BEFORE: &str = r#"# A file.
shakedown = 1
title = "t" # the title

# What is expected.
[[expect]]
left-when-quiet = ["task web created"]

[[expect.answer]]
call = "start-1"
code = "unknown"

# The container.
[[world.container]]
name = "web"

[[call]]
do = "start"
container = "web"
# The end.
"#;

    #[test]
    fn the_rest_of_the_file_stays() {
        let mut scenario = parse("t.toml", BEFORE).unwrap();
        scenario.expects[0].left_when_quiet = Some(Vec::new());
        scenario.expects[0].answers[0].code = "ok".to_owned();
        let after = rewrite(BEFORE, &scenario).unwrap();
        assert_eq!(parse("t.toml", &after).unwrap(), scenario);
        for kept in ["# A file.", "# the title", "# What is", "# The container.", "# The end."] {
            assert!(after.contains(kept), "{kept} is gone:\n{after}");
        }
    }

    #[test]
    fn marks_and_line_ends_stay() {
        let scenario = parse("t.toml", BEFORE).unwrap();
        let crlf = format!("\u{feff}{}", BEFORE.replace('\n', "\r\n"));
        let after = rewrite(&crlf, &scenario).unwrap();
        assert_eq!(
            after,
            format!("\u{feff}{}", rewrite(BEFORE, &scenario).unwrap().replace('\n', "\r\n"))
        );
        assert_eq!(parse("t.toml", &after).unwrap(), scenario);
    }
}
