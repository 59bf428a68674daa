//! What programs know of the fields of a request, e.g. to make command line arguments of them.

use crate::{
    Ref,
    config::{DeploymentConfig, VersionConfig},
    ids::Id,
};

/// A field of a request.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name in JSON.
    pub name: &'static str,
    /// The lines of its documentation.
    pub docs: &'static [&'static str],
    /// Other names that the server accepts for it.
    pub aliases: &'static [&'static str],
    /// What its value is.
    pub kind: FieldKind,
    /// Whether it may be absent.
    pub optional: bool,
    /// Whether it is a list of such values.
    pub list: bool,
}

impl Field {
    /// What it is, in one line.
    pub fn summary(&self) -> String {
        self.docs.iter().map(|it| it.trim()).collect::<Vec<_>>().join(" ")
    }
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// Any text.
    Text,
    /// A whole number.
    Number,
    /// An id.
    Id,
    /// An id, or an alias that stands for one.
    IdOrAlias,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A JSON document.
    Json,
}

/// A request whose fields are known.
pub trait Fields {
    /// Its fields, in their order.
    const FIELDS: &'static [Field];
}

/// A type that fields have.
pub trait FieldType {
    /// What its value is.
    const KIND: FieldKind;
    /// Whether it may be absent.
    const OPTIONAL: bool = false;
    /// Whether it is a list.
    const LIST: bool = false;
}

impl FieldType for String {
    const KIND: FieldKind = FieldKind::Text;
}
impl FieldType for u32 {
    const KIND: FieldKind = FieldKind::Number;
}
impl<I: Id> FieldType for I {
    const KIND: FieldKind = FieldKind::Id;
}
impl<I: Id> FieldType for Ref<I> {
    const KIND: FieldKind = FieldKind::IdOrAlias;
}
impl FieldType for VersionConfig {
    const KIND: FieldKind = FieldKind::Json;
}
impl FieldType for DeploymentConfig {
    const KIND: FieldKind = FieldKind::Json;
}
impl<T: FieldType> FieldType for Option<T> {
    const KIND: FieldKind = T::KIND;
    const OPTIONAL: bool = true;
}
impl<T: FieldType> FieldType for Vec<T> {
    const KIND: FieldKind = T::KIND;
    const LIST: bool = true;
}
