//! How texts of the command line become JSON.

use std::{fs, io::Read as _};

use clap::builder::{PossibleValuesParser, TypedValueParser as _, ValueParser};
use omgservers_client::api::{Ref, TenantId, entrypoint::FieldKind};
use serde_json::value::RawValue;

/// Parses a value of this kind into JSON.
pub(crate) fn parser(kind: FieldKind) -> ValueParser {
    match kind {
        FieldKind::Text => ValueParser::new(text),
        FieldKind::Number => ValueParser::new(number),
        FieldKind::Id => ValueParser::new(id),
        FieldKind::IdOrAlias => ValueParser::new(id_or_alias),
        FieldKind::Word(words) => ValueParser::new(PossibleValuesParser::new(words).try_map(|it| text(&it))),
        FieldKind::Json => ValueParser::new(file),
    }
}

fn text(text: &str) -> Result<String, String> {
    serde_json::to_string(text).map_err(|error| error.to_string())
}

fn number(text: &str) -> Result<String, String> {
    let number: u32 = text.parse().map_err(|_parse| "expected a whole number".to_owned())?;
    Ok(number.to_string())
}

// Ids of all kinds look alike.
fn id(given: &str) -> Result<String, String> {
    let id: TenantId = given.parse().map_err(|error| format!("{error}"))?;
    text(&id.to_string())
}

fn id_or_alias(given: &str) -> Result<String, String> {
    let reference = Ref::<TenantId>::parse(given)?;
    text(&reference.to_string())
}

/// Reads a JSON document out of a file, or out of the standard input for `-`.
fn file(path: &str) -> Result<String, String> {
    let read = if path == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_length| text)
    } else {
        fs::read_to_string(path)
    };
    let json: Box<RawValue> =
        serde_json::from_str(&read.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    Ok(json.get().to_owned())
}
