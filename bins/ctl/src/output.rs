//! What the backend answers, for people or for programs.

use std::{collections::BTreeSet, fmt};

use comfy_table::{Table, presets::NOTHING};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

/// An answer as it stands on the wire.
#[derive(Debug)]
pub(crate) struct RawAnswer(Box<RawValue>);

impl RawAnswer {
    pub(crate) fn new(json: Box<RawValue>) -> Self {
        Self(json)
    }

    /// The wire's JSON.
    pub(crate) fn json(&self) -> &str {
        self.0.get()
    }

    /// Small tables.
    pub(crate) fn text(&self) -> String {
        let mut page = Page::default();
        page.add("", &Node::read(&self.0));
        let text = page.print();
        if text.is_empty() { "done\n".to_owned() } else { text }
    }
}

/// JSON whose fields stay in their order.
enum Node {
    Fields(Vec<(String, Node)>),
    List(Vec<Node>),
    Text(String),
}

impl Node {
    fn read(raw: &RawValue) -> Self {
        let json = raw.get();
        let read = match json.chars().next() {
            Some('{') => serde_json::from_str(json).map(|ObjectFields(fields)| {
                Self::Fields(fields.into_iter().map(|(name, value)| (name, Self::read(&value))).collect())
            }),
            Some('[') => serde_json::from_str::<Vec<Box<RawValue>>>(json)
                .map(|it| Self::List(it.iter().map(|it| Self::read(it)).collect())),
            Some('"') => serde_json::from_str(json).map(Self::Text),
            Some('n') => Ok(Self::Text("-".to_owned())),
            _ => Ok(Self::Text(json.to_owned())),
        };
        read.unwrap_or_else(|_not_json| Self::Text(json.to_owned()))
    }
}

impl fmt::Display for Node {
    /// In one cell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |f: &mut fmt::Formatter<'_>, parts: Vec<String>| f.write_str(&parts.join(", "));
        match self {
            Self::Text(text) => f.write_str(text),
            Self::List(items) if items.is_empty() => f.write_str("-"),
            Self::List(items) => join(f, items.iter().map(Self::to_string).collect()),
            // Of an alias its name says everything.
            Self::Fields(fields) => match fields.iter().find(|(name, _)| name == "value") {
                Some((_, value)) => value.fmt(f),
                None => join(f, fields.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            },
        }
    }
}

#[derive(Default)]
struct Page {
    scalars: Vec<(String, String)>,
    tables: Vec<(String, Table)>,
}

impl Page {
    fn add(&mut self, name: &str, node: &Node) {
        match node {
            Node::Fields(fields) => {
                for (field, value) in fields {
                    // The one field around all details says nothing.
                    let whole = name.is_empty() || name == "details";
                    self.add(&if whole { field.clone() } else { format!("{name}.{field}") }, value);
                }
            }
            Node::List(items)
                if items.iter().any(|it| matches!(it, Node::Fields(_))) && !name.ends_with("aliases") =>
            {
                self.tables.push((name.to_owned(), table(items)));
            }
            other => self.scalars.push((name.to_owned(), other.to_string())),
        }
    }

    fn print(self) -> String {
        let mut text = String::new();
        if !self.scalars.is_empty() {
            let mut table = plain();
            for (name, value) in self.scalars {
                table.add_row([name, value]);
            }
            text.push_str(&trimmed(&table));
        }
        for (name, table) in self.tables {
            let gap = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}{name}:\n{}", trimmed(&table)));
        }
        text
    }
}

fn table(items: &[Node]) -> Table {
    let mut names: Vec<&str> = Vec::new();
    let mut seen = BTreeSet::new();
    let rows: Vec<&[(String, Node)]> = items
        .iter()
        .map(|item| match item {
            Node::Fields(fields) => fields.as_slice(),
            _ => &[],
        })
        .collect();
    for (name, _) in rows.iter().copied().flatten() {
        if seen.insert(name) {
            names.push(name);
        }
    }
    let mut table = plain();
    table.set_header(names.iter().map(|it| it.to_uppercase()));
    for row in rows {
        table.add_row(names.iter().map(|name| {
            row.iter()
                .find(|(field, _)| field == name)
                .map(|(_, value)| value.to_string())
                .unwrap_or_default()
        }));
    }
    table
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table
}

fn trimmed(table: &Table) -> String {
    table.to_string().lines().map(|it| format!("{}\n", it.trim_end())).collect()
}

/// The fields of an object in their order.
struct ObjectFields(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for ObjectFields {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> de::Visitor<'de> for FieldsVisitor {
            type Value = ObjectFields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<ObjectFields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(ObjectFields(fields))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(json: &str) -> RawAnswer {
        RawAnswer::new(RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn scalars_are_lines_and_lists_are_tables() {
        let answer = answer(concat!(
            r#"{"details":{"tenant":{"id":"7","created":"2025-01-25T10:00:00Z","aliases":[{"id":"1","value":"acme"}]},"#,
            r#""permissions":[],"projects":[{"id":"8","aliases":[{"id":"2","value":"duel"},{"id":"3","value":"x"}]},"#,
            r#"{"id":"9","aliases":[],"extra":null}]}}"#
        ));
        assert_eq!(
            answer.text(),
            concat!(
                " tenant.id       7\n tenant.created  2025-01-25T10:00:00Z\n tenant.aliases  acme\n permissions     -\n",
                "\nprojects:\n ID  ALIASES  EXTRA\n 8   duel, x\n 9   -        -\n"
            )
        );
    }

    #[test]
    fn an_answer_without_fields_is_done() {
        assert_eq!(answer("{}").text(), "done\n");
        assert_eq!(answer(r#"{"id":"7"}"#).json(), r#"{"id":"7"}"#);
    }
}
