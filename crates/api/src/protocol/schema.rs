//! JSON Schemas of the protocol, derived from the types.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr, Schema,
        schema::{ObjectBuilder, OneOfBuilder, Type},
    },
};

use super::{DEFINITIONS, Definition, Direction};
use crate::{
    EntryId,
    dispatcher::{InboundFrame, OutboundFrame},
    entrypoint::Empty,
    ids::SenderSeq,
    interchange::{
        PlayerInterchangeRequest, PlayerInterchangeResponse, RuntimeInterchangeRequest,
        RuntimeInterchangeResponse,
    },
    problem::ErrorBody,
    stream::{ClientFrame, ServerFrame},
};

type NamedSchema = (String, RefOr<Schema>);

/// Schema of a body with the schemas that it refers to.
pub(super) struct BodySchema {
    name: String,
    schemas: Vec<NamedSchema>,
}

impl BodySchema {
    pub(super) fn of<T: ToSchema>() -> Self {
        let name = T::name().into_owned();
        let mut schemas = vec![(name.clone(), T::schema())];
        T::schemas(&mut schemas);
        Self { name, schemas }
    }
}

/// Describes one message or command with its id and its qualifier.
fn entry(definition: &Definition, body: &BodySchema) -> Schema {
    let id = if definition.direction.is_incoming() { EntryId::schema() } else { SenderSeq::schema() };
    let qualifier = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([definition.qualifier]));
    let mut object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(definition.summary))
        .property("id", id)
        .property("qualifier", qualifier)
        .property("body", Ref::from_schema_name(&body.name))
        .required("qualifier");
    if definition.direction.is_incoming() {
        object = object.required("id");
    }
    // A command without fields may come without its body.
    if body.name != Empty::name() {
        object = object.required("body");
    }
    object.into()
}

fn of(direction: Direction) -> impl Iterator<Item = &'static Definition> {
    DEFINITIONS.iter().filter(move |it| it.direction == direction)
}

/// Generates one union type for each direction.
macro_rules! unions {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let all = of(Direction::$name).fold(OneOfBuilder::new(), |union, it| {
                    union.item(Ref::from_schema_name(it.qualifier))
                });
                RefOr::T(all.build().into())
            }
        }
        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
            fn schemas(schemas: &mut Vec<NamedSchema>) {
                for definition in of(Direction::$name) {
                    let body = (definition.body)();
                    schemas.push((definition.qualifier.to_owned(), RefOr::T(entry(definition, &body))));
                    schemas.extend(body.schemas);
                }
            }
        }
    )*};
}

unions! {
    /// Any message of a player.
    OutgoingMessage;
    /// Any message to a player.
    IncomingMessage;
    /// Any command of a game server.
    OutgoingCommand;
    /// Any command to a game server.
    IncomingCommand;
}

/// Returns the JSON Schema (2020-12) of the interchange, the player stream and the dispatcher.
///
/// Each type is a member of `$defs`, each message and command under its qualifier.
pub fn document() -> Value {
    let roots = [
        BodySchema::of::<PlayerInterchangeRequest<'static>>(),
        BodySchema::of::<PlayerInterchangeResponse>(),
        BodySchema::of::<RuntimeInterchangeRequest<'static>>(),
        BodySchema::of::<RuntimeInterchangeResponse>(),
        BodySchema::of::<ClientFrame<'static>>(),
        BodySchema::of::<ServerFrame>(),
        BodySchema::of::<InboundFrame<'static>>(),
        BodySchema::of::<OutboundFrame<'static>>(),
        BodySchema::of::<ErrorBody>(),
    ];
    let mut definitions: Vec<NamedSchema> = roots.into_iter().flat_map(|it| it.schemas).collect();
    definitions.sort_by(|a, b| a.0.cmp(&b.0));
    definitions.dedup_by(|a, b| a.0 == b.0);
    let definitions: Map<String, Value> = definitions
        .into_iter()
        .map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default()))
        .collect();
    local(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The protocol of OMGSERVERS",
        "description": "Interchange, player stream and dispatcher. docs/protocol.md explains each of them. \
                        Receivers ignore unknown fields and unknown qualifiers.",
        "$defs": definitions,
    }))
}

/// Returns [`document`] as it is checked in.
pub fn document_text() -> String {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}

/// Turns references into the OpenAPI document into references into `$defs`, and sorts all members.
/// Otherwise the order of members would depend on the features of `serde_json` that other crates
/// switch on.
fn local(schema: Value) -> Value {
    match schema {
        Value::String(text) => match text.strip_prefix("#/components/schemas/") {
            Some(name) => Value::String(format!("#/$defs/{name}")),
            None => Value::String(text),
        },
        Value::Array(items) => items.into_iter().map(local).collect(),
        Value::Object(fields) => {
            let sorted: BTreeMap<String, Value> =
                fields.into_iter().map(|(name, it)| (name, local(it))).collect();
            sorted.into_iter().collect()
        }
        other => other,
    }
}
