//! The JSON Schema of scenario files: as the parser is, and as the repository has it.

#![expect(clippy::disallowed_methods, reason = "schema and scenarios are real files")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use shakedown::scenario::{parse, schema};
use shakedown::suite::collect;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn parsed() -> Value {
    serde_json::from_str(&schema()).unwrap()
}

fn document(text: &str) -> Option<Value> {
    toml::from_str(text).ok()
}

#[test]
fn the_repository_has_the_current_one() {
    let kept = fs::read_to_string(root().join("scenario.schema.json")).unwrap();
    assert!(kept == schema(), "run `shakedown schema > scenario.schema.json`");
}

#[test]
fn it_is_a_schema() {
    jsonschema::meta::validate(&parsed()).unwrap();
}

/// Editors show a description of each key, and what each word means.
#[test]
fn everything_is_described() {
    fn check(at: &str, of: &Value) {
        let Value::Object(map) = of else {
            if let Value::Array(list) = of {
                list.iter().enumerate().for_each(|(i, of)| check(&format!("{at}/{i}"), of));
            }
            return;
        };
        let is_rule = at.contains("/allOf/") || at.contains("/oneOf/");
        if let Some(Value::Object(keys)) = map.get("properties").filter(|_| !is_rule) {
            for (key, of) in keys {
                let described = of["description"].as_str().is_some_and(|text| !text.is_empty());
                assert!(described, "{at}/properties/{key} has no description");
            }
        }
        if let Some(Value::Array(words)) = map.get("enum").filter(|_| !is_rule) {
            let meanings = map["enumDescriptions"].as_array().unwrap();
            assert_eq!(words.len(), meanings.len(), "{at}");
            assert_eq!(map["x-taplo"]["docs"]["enumValues"], map["enumDescriptions"], "{at}");
            assert!(meanings.iter().all(|of| of.as_str().is_some_and(|of| !of.is_empty())), "{at}");
        }
        map.iter().for_each(|(key, of)| check(&format!("{at}/{key}"), of));
    }
    check("", &parsed());
}

#[test]
fn it_accepts_the_corpus() {
    let validator = jsonschema::validator_for(&parsed()).unwrap();
    let paths = ["scenarios", "tests/found"].map(|path| root().join(path));
    let found = collect(&paths).unwrap();
    assert!(found.len() > 200, "{}", found.len());
    for file in found {
        let text = fs::read_to_string(&file.path).unwrap();
        let document = document(&text).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&document)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", file.path.display());
        let line = text.lines().next().unwrap();
        let schema = line
            .strip_prefix("#:schema ")
            .unwrap_or_else(|| panic!("{} has no schema", file.label));
        let schema = file.path.with_file_name(schema).canonicalize().unwrap();
        assert_eq!(schema, root().join("scenario.schema.json").canonicalize().unwrap());
    }
}

/// Keys that the schema has, in tables of all depths.
fn keys(schema: &Value, into: &mut BTreeSet<String>) {
    match schema {
        Value::Object(entries) => {
            let properties = entries.get("properties").and_then(Value::as_object);
            into.extend(properties.into_iter().flat_map(|properties| properties.keys().cloned()));
            entries.values().for_each(|value| keys(value, into));
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, into)),
        _ => {}
    }
}

#[test]
fn every_key_is_in_an_example_of_the_documentation() {
    let page = fs::read_to_string(root().join("docs/scenarios.md")).unwrap();
    let mut all = BTreeSet::new();
    keys(&parsed(), &mut all);
    assert!(all.len() > 90, "{}", all.len());
    // In a block, or in a line of it that is quoted.
    let shown = |key: &String| {
        let written = format!("{key} = ");
        let headers =
            [format!("[{key}]"), format!("[{key}."), format!(".{key}]"), format!(".{key}.")];
        page.contains(&format!("\n{written}"))
            || page.contains(&format!(" {written}"))
            || headers.iter().any(|header| page.contains(header.as_str()))
    };
    let missing: Vec<&String> = all.iter().filter(|key| !shown(key)).collect();
    assert!(missing.is_empty(), "no example has {missing:?}");
}

/// What a schema cannot know, as it sees one place of a file at a time.
const FOR_THE_PARSER: [(&str, &str); 25] = [
    ("call_after_itself", "which call a moment is of"),
    ("calls_in_a_circle", "which call a moment is of"),
    ("key_twice", "it is no document"),
    ("axis_unused", "whether a text uses an axis"),
    ("call_twice", "names that are there twice"),
    ("case_of_unknown_value", "the values of the file's axes"),
    ("container_twice", "names that are there twice"),
    ("container_unknown", "the names of the world"),
    ("crash_pending_unknown", "what can be pending"),
    ("fault_actor_unknown", "the actors of the file"),
    ("fault_effect_of_a_sweep", "the values of the file's axes"),
    ("fault_kind_of_an_axis", "the values of the file's axes"),
    ("fault_operation_unknown", "the operations of the code"),
    ("fault_twice", "names that are there twice"),
    ("not_toml", "it is no document"),
    ("output_too_long", "a product of two keys"),
    ("placeholder_unknown", "the file's axes"),
    ("placeholder_with_wrong_value", "the values of the file's axes"),
    ("state_of_a_start", "what the call is that an answer is expected of"),
    ("sweep_of_unknown_actor", "the actors of the file"),
    ("toml_with_a_leading_zero", "it is no document"),
    ("toml_with_ends_of_lines", "it is no document"),
    ("toml_with_half_a_header", "it is no document"),
    ("toml_with_yaml_keys", "it is no document"),
    ("toml_without_quotes", "it is no document"),
];

#[test]
fn it_refuses_what_is_malformed() {
    let validator = jsonschema::validator_for(&parsed()).unwrap();
    let found = collect(&[root().join("tests/malformed")]).unwrap();
    let mut accepted = BTreeSet::new();
    for file in &found {
        let text = fs::read_to_string(&file.path).unwrap();
        if document(&text).is_none_or(|document| validator.is_valid(&document)) {
            accepted.insert(file.label.as_str());
        }
    }
    let known: BTreeSet<&str> = FOR_THE_PARSER.iter().map(|(name, _)| *name).collect();
    assert_eq!(accepted, known, "what is accepted, and what a schema cannot know");
}

/// The keys that the parser has for a table: it lists them when it meets one that it does not know.
fn keys_of_the_parser(text: &str) -> BTreeSet<String> {
    let diagnostics = parse("probe.toml", text).unwrap_err();
    let unknown = diagnostics.iter().find(|d| d.message.ends_with("has no key `zzz`"));
    let unknown = unknown.unwrap_or_else(|| panic!("{text}: {diagnostics:#?}"));
    let valid = unknown.notes.iter().find_map(|note| note.strip_prefix("valid here: ")).unwrap();
    valid.split(", ").map(|key| key.trim_matches('`').to_owned()).collect()
}

/// The keys that the schema has for a table; `word`: where a key has that word.
fn keys_of_the_schema(table: &Value, word: Option<(&str, &str)>) -> BTreeSet<String> {
    let texts = |list: &Value| -> BTreeSet<String> {
        list.as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect()
    };
    let all = table["properties"].as_object().unwrap().keys().cloned().collect();
    let Some((key, word)) = word else { return all };
    let rules = table["allOf"].as_array().unwrap();
    let rule = rules.iter().find(|rule| rule["if"]["properties"][key]["const"] == word);
    let keys = texts(&rule.unwrap_or_else(|| panic!("{word}"))["then"]["propertyNames"]["enum"]);
    assert!(keys.is_subset(&all), "{word}: {keys:?}");
    keys
}

#[test]
fn its_keys_are_those_of_the_parser() {
    const HEAD: &str = "shakedown = 1\ntitle = \"t\"\n";
    let schema = parsed();
    let check = |pointer: &str, text: &str, word: Option<(&str, &str)>| {
        let table = schema.pointer(pointer).unwrap_or_else(|| panic!("{pointer}"));
        let word_line =
            word.map_or_else(String::new, |(key, word)| format!("{key} = \"{word}\"\n"));
        let text = format!("{HEAD}{text}\n{word_line}zzz = 1\n");
        assert_eq!(
            keys_of_the_schema(table, word),
            keys_of_the_parser(&text),
            "{pointer} {word:?}"
        );
    };
    check("", "", None);
    let tables = [
        ("/world", "[world]"),
        ("/world/properties/disk", "[world.disk]"),
        ("/world/properties/plugin/items", "[[world.plugin]]"),
        ("/world/properties/image/items", "[[world.image]]"),
        ("/world/properties/sandbox/items", "[[world.sandbox]]"),
        ("/world/properties/container/items", "[[world.container]]"),
        (
            "/world/properties/container/items/properties/process",
            "[[world.container]]\n[world.container.process]",
        ),
        (
            "/world/properties/container/items/properties/process/properties/output/items",
            "[[world.container]]\n[[world.container.process.output]]",
        ),
        ("/hold/items", "[[hold]]"),
        ("/clock/items", "[[clock]]"),
        ("/crash/items", "[[crash]]"),
        ("/expect/items", "[[expect]]"),
        ("/expect/items/properties/answer/items", "[[expect]]\n[[expect.answer]]"),
        ("/expect/items/properties/status/items", "[[expect]]\n[[expect.status]]"),
        ("/violation/items", "[[violation]]"),
        ("/matrix/additionalProperties/anyOf/1", "[matrix.a]\nevery-moment-of = \"x\""),
        (
            "/world/properties/plugin/items/properties/reply/items",
            "[[world.plugin]]\n[[world.plugin.reply]]\nupdate = \"web\"\nevict = \"web\"",
        ),
    ];
    for (pointer, text) in tables {
        // Limits are only known where something is to be limited.
        let text = text.replace("\nevict = \"web\"", "");
        let pointer = format!("/properties{pointer}");
        check(&pointer, &text, None);
    }
    for (table, key) in [("call", "do"), ("occurrence", "what"), ("fault", "kind")] {
        let pointer = format!("/properties/{table}/items");
        let of_key = &schema.pointer(&pointer).unwrap()["properties"][key];
        let words = of_key.get("enum").unwrap_or(&of_key["anyOf"][0]["enum"]);
        for word in words.as_array().unwrap() {
            check(&pointer, &format!("[[{table}]]"), Some((key, word.as_str().unwrap())));
        }
    }
    let pointer = "/properties/world/properties/path/items";
    for kind in ["file", "directory", "fifo", "symlink", "removed", "read-only"] {
        check(pointer, "[[world.path]]", Some(("kind", kind)));
    }
}
