//! Verdicts as JUnit XML.
//!
//! There are several schemas of that name. What is written here is valid by each of the usual three (Ant's,
//! Jenkins' and that of its xUnit plugin): a suite has all attributes that one of them demands and none that
//! another refuses, and a case has at most one `failure` or `error`.

use std::fmt::Write;
use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::plain;
use super::verdicts::{Entry, Verdicts};

/// `began`: when, as `2026-11-26T00:30:00`.
pub fn junit(verdicts: &Verdicts, began: &str) -> String {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    document(&mut writer, verdicts, began).expect("memory can be written to");
    let mut text = String::from_utf8(writer.into_inner()).expect("only texts are written");
    text.push('\n');
    text
}

fn document(writer: &mut Writer<Vec<u8>>, verdicts: &Verdicts, began: &str) -> io::Result<()> {
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let same = |a: &Entry, b: &Entry| (&a.label, &a.profile) == (&b.label, &b.profile);
    writer.create_element("testsuites").write_inner_content(|writer| {
        for (number, entries) in verdicts.entries().chunk_by(same).enumerate() {
            suite(writer, number, entries, began)?;
        }
        Ok(())
    })?;
    Ok(())
}

fn suite(
    writer: &mut Writer<Vec<u8>>,
    number: usize,
    entries: &[Entry],
    began: &str,
) -> io::Result<()> {
    let Entry { label, profile, file, .. } = &entries[0];
    let errors = entries.iter().filter(|entry| entry.is_error()).count();
    let failures = entries.iter().filter(|entry| !entry.passed() && !entry.is_error()).count();
    let took: f64 = entries.iter().map(|entry| entry.took.as_secs_f64()).sum();
    let name = if profile.is_empty() { label.clone() } else { format!("{label} as {profile}") };
    let suite = writer.create_element("testsuite").with_attributes([
        ("name", &*text(&name)),
        ("package", "shakedown"),
        ("id", &number.to_string()),
        ("timestamp", began),
        ("hostname", "localhost"),
        ("tests", &entries.len().to_string()),
        ("failures", &failures.to_string()),
        ("errors", &errors.to_string()),
        ("time", &format!("{took:.3}")),
    ]);
    suite.write_inner_content(|writer| {
        writer.create_element("properties").write_inner_content(|writer| {
            for (name, value) in [("profile", profile), ("file", file)] {
                let property = writer.create_element("property");
                property
                    .with_attributes([("name", name), ("value", &*text(value))])
                    .write_empty()?;
            }
            Ok(())
        })?;
        for entry in entries {
            case(writer, entry)?;
        }
        writer.create_element("system-out").write_empty()?;
        writer.create_element("system-err").write_empty()?;
        Ok(())
    })?;
    Ok(())
}

fn case(writer: &mut Writer<Vec<u8>>, entry: &Entry) -> io::Result<()> {
    let class = entry.label.replace('/', ".");
    let name = match &*entry.profile {
        "" => entry.case.clone(),
        profile => format!("{} as {profile}", entry.case),
    };
    let took = format!("{:.3}", entry.took.as_secs_f64());
    let case = writer.create_element("testcase").with_attributes([
        ("name", &*text(&name)),
        ("classname", &*text(&class)),
        ("time", &took),
    ]);
    let Some(first) = entry.problems.first() else {
        case.write_empty()?;
        return Ok(());
    };
    let more = match entry.problems.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let message = text(&format!("{}{more}", first.message));
    let kind = if entry.is_error() { "error" } else { "failure" };
    case.write_inner_content(|writer| {
        let element = writer.create_element(kind);
        let element = element.with_attributes([("type", &*first.rule()), ("message", &*message)]);
        element.write_text_content(BytesText::new(&body(entry)))?;
        Ok(())
    })?;
    Ok(())
}

/// Everything that is wrong, a line each.
fn body(entry: &Entry) -> String {
    let mut body = String::new();
    for problem in &entry.problems {
        if let Some(place) = &problem.place {
            let _ = write!(body, "{}:{}:{}: ", text(&place.file), place.line, place.column);
        }
        let _ = writeln!(body, "{}", text(&problem.message));
        for line in problem.details() {
            let _ = writeln!(body, "    {}", text(&line));
        }
    }
    if let Some(replay) = entry.replay() {
        let _ = writeln!(body, "replay: {}", text(&replay));
    }
    body
}

/// With nothing in it that XML cannot say.
fn text(text: &str) -> String {
    plain(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}
