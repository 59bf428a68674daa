//! The schemas of the document say what serde takes and gives.

use std::collections::BTreeSet;

use omgservers_api::{
    ProjectPermission, RuntimeQualifier, StagePermission, TenantPermission, WorkerReason,
    config::{AfterTimeout, MatchRule, PortProtocol},
    interchange::{MatchmakingFailureReason, Reason},
    protocol::DEFINITIONS,
    roles::{AliasQualifier, Delivery, ImageQualifier},
};
use omgservers_http::openapi;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Whether a value is read, and written as it was.
type RoundTrip = fn(&Value) -> bool;

fn word<T: Serialize + DeserializeOwned>(value: &Value) -> bool {
    let read = serde_json::from_value::<T>(value.clone());
    read.is_ok_and(|it| serde_json::to_value(&it).is_ok_and(|it| it == *value))
}

/// A value of the field that tells the rules apart.
fn kind_of_rule(value: &Value) -> bool {
    let rule = json!({"kind": value, "name": "n", "attribute": "a", "max_difference": 1.0});
    let read = serde_json::from_value::<MatchRule>(rule);
    read.is_ok_and(|it| serde_json::to_value(&it).is_ok_and(|it| it["kind"] == *value))
}

/// The enumerations of the document, by the name of their schema.
const ENUMERATIONS: &[(&str, RoundTrip)] = &[
    ("AfterTimeout", word::<AfterTimeout>),
    ("AliasQualifier", word::<AliasQualifier>),
    ("Delivery", word::<Delivery>),
    ("ImageQualifier", word::<ImageQualifier>),
    ("MatchRule", kind_of_rule),
    ("MatchmakingFailureReason", word::<MatchmakingFailureReason>),
    ("PortProtocol", word::<PortProtocol>),
    ("ProjectPermission", word::<ProjectPermission>),
    ("Reason", word::<Reason>),
    ("RuntimeQualifier", word::<RuntimeQualifier>),
    ("StagePermission", word::<StagePermission>),
    ("TenantPermission", word::<TenantPermission>),
    ("WorkerReason", word::<WorkerReason>),
];

/// All values that enumerations in a schema declare.
fn declared(schema: &Value, values: &mut Vec<Value>) {
    match schema {
        Value::Object(fields) => {
            values.extend(fields.get("enum").and_then(Value::as_array).into_iter().flatten().cloned());
            fields.values().for_each(|it| declared(it, values));
        }
        Value::Array(items) => items.iter().for_each(|it| declared(it, values)),
        _ => {}
    }
}

#[test]
fn every_declared_value_of_an_enumeration_is_what_serde_reads_and_writes() {
    let document: Value = serde_json::from_str(&openapi()).unwrap();
    let mut found = BTreeSet::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let mut values = Vec::new();
        declared(schema, &mut values);
        if values.is_empty() {
            continue;
        }
        // A message or command declares its own qualifier, under which its schema stands.
        if DEFINITIONS.iter().any(|it| it.qualifier == name) {
            assert_eq!(values, [json!(name)]);
            continue;
        }
        let known = ENUMERATIONS.iter().find(|it| it.0 == name);
        let (_, round_trip) = known.unwrap_or_else(|| panic!("add {name} to the enumerations of this test"));
        for value in values {
            assert!(round_trip(&value), "{name} declares {value}, which serde doesn't read or write");
        }
        found.insert(name.as_str());
    }
    let expected: BTreeSet<_> = ENUMERATIONS.iter().map(|it| it.0).collect();
    assert_eq!(found, expected);
}

#[test]
fn ids_are_strings_of_digits_in_the_document() {
    let document: Value = serde_json::from_str(&openapi()).unwrap();
    for name in
        ["TenantId", "ProjectId", "StageId", "VersionId", "DeploymentId", "UserId", "ClientId", "EntryId"]
    {
        let schema = &document["components"]["schemas"][name];
        assert_eq!(
            (&schema["type"], &schema["pattern"]),
            (&json!("string"), &json!("^[1-9][0-9]{0,18}$")),
            "{name}"
        );
    }
}
