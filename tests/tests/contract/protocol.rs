//! The protocol's schemas, and that `docs/protocol.md` describes all of it.

use omgservers_api::protocol::{DEFINITIONS, schema};
use omgservers_testkit::protocol::violations;
use serde_json::Value;

fn document() -> String {
    std::fs::read_to_string(omgservers_tests::root().join("docs/protocol.md")).unwrap()
}

#[test]
fn the_checked_in_schemas_are_what_the_code_generates() {
    let file = omgservers_tests::root().join("docs/schemas/protocol.json");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, schema::document_text()).unwrap();
    }
    let checked_in = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(checked_in == schema::document_text(), "docs/schemas/protocol.json is old: run `make generate`");
}

#[test]
fn the_protocol_document_names_every_message_and_command() {
    let document = document();
    for definition in DEFINITIONS {
        let heading = format!("#### `{}`", definition.qualifier);
        assert!(document.contains(&heading), "docs/protocol.md has no heading {heading}");
    }
}

/// Returns the type and the text of every block that begins with "```json <type>".
fn examples(document: &str) -> Vec<(&str, &str)> {
    let blocks = document.split("```json ").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().split_once('\n').unwrap()).collect()
}

#[test]
fn every_json_example_of_the_protocol_document_is_valid() {
    let document = document();
    assert!(!document.contains("```json\n"), "every JSON block of docs/protocol.md names its type");
    let examples = examples(&document);
    for (definition, text) in &examples {
        let value: Value =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{definition}: {error}\n{text}"));
        let violations = violations(definition, &value);
        assert!(violations.is_empty(), "{definition}: {violations:?}\n{text}");
    }
    for definition in DEFINITIONS {
        let shown = examples.iter().any(|it| it.0 == definition.qualifier);
        assert!(shown, "docs/protocol.md has no example of {}", definition.qualifier);
    }
}

#[test]
fn a_schema_refuses_what_the_protocol_does_not_know() {
    let welcome = serde_json::json!({
        "id": "7",
        "qualifier": "SERVER_WELCOME_MESSAGE",
        "body": {"tenant_id": "1", "version_id": "2", "version_created": "2026-11-29T10:00:00Z"}
    });
    assert_eq!(violations("IncomingMessage", &welcome), Vec::<String>::new());
    for (pointer, value) in [
        ("/id", Value::from(7)),
        ("/qualifier", Value::from("WELCOME")),
        ("/body", serde_json::json!({})),
        ("/body/version_id", Value::from("two")),
        ("/body/version_created", Value::from(5)),
    ] {
        let mut wrong = welcome.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        assert!(!violations("IncomingMessage", &wrong).is_empty(), "{pointer}");
    }
}
