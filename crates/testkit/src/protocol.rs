//! Validates what travels over the wire against the protocol's JSON Schemas.

use std::{collections::BTreeMap, sync::OnceLock};

use jsonschema::Validator;
use omgservers_api::protocol::schema;
use serde_json::{Value, json};

fn validators() -> &'static BTreeMap<String, Validator> {
    static VALIDATORS: OnceLock<BTreeMap<String, Validator>> = OnceLock::new();
    VALIDATORS.get_or_init(|| {
        let document = schema::document();
        let names =
            document.get("$defs").and_then(Value::as_object).expect("a document has definitions").keys();
        let compile = |name: &String| {
            let mut schema = document.clone();
            let fields = schema.as_object_mut().expect("a document is an object");
            fields.insert("$ref".to_owned(), json!(format!("#/$defs/{name}")));
            (name.clone(), jsonschema::validator_for(&schema).expect("a definition is a schema"))
        };
        names.map(compile).collect()
    })
}

/// Returns how `value` violates a definition, e.g. `IncomingMessage` or `ADD_CLIENT`; nothing for a
/// valid one. Panics when the protocol has no such definition.
pub fn violations(definition: &str, value: &Value) -> Vec<String> {
    let validator = validators().get(definition);
    let validator = validator.unwrap_or_else(|| panic!("the protocol has no definition {definition}"));
    validator.iter_errors(value).map(|it| format!("{}: {it}", it.instance_path())).collect()
}

/// Panics unless an entry of a mailbox is valid against a definition.
#[track_caller]
pub fn assert_entry(definition: &str, id: impl ToString, qualifier: &str, body: &str) {
    let body: Value = serde_json::from_str(body).expect("a body is JSON");
    assert_valid(definition, &json!({"id": id.to_string(), "qualifier": qualifier, "body": body}));
}

/// Panics unless `value` is valid against a definition.
#[track_caller]
pub fn assert_valid(definition: &str, value: &Value) {
    let violations = violations(definition, value);
    assert!(violations.is_empty(), "no valid {definition}: {violations:?}\n{value}");
}
