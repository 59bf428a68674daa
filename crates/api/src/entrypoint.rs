//! Requests and responses of the entrypoints, by role.
//!
//! Pairs of accepted names (`user_id`/`user`, `id`/`version_id`, …) are aliases of one field.
//! Unknown fields are ignored: existing clients send some.

macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
        pub struct $name { $($(#[$fdoc])* pub $field: $type),* }
    )*};
}

/// As [`wire!`], for requests: programs know their [fields](field::Fields).
macro_rules! requests {
    ($(
        $(#[$doc:meta])* $name:ident {
            $($(#[$($attribute:tt)*])* $field:ident: $type:ty),* $(,)?
        }
    )*) => {$(
        wire! {
            $(#[$doc])* $name { $($(#[$($attribute)*])* $field: $type),* }
        }
        impl $crate::entrypoint::Fields for $name {
            const FIELDS: &'static [$crate::entrypoint::Field] = &[$($crate::entrypoint::Field {
                name: stringify!($field),
                docs: attributes!(doc [] $(#[$($attribute)*])*),
                aliases: attributes!(alias [] $(#[$($attribute)*])*),
                kind: <$type as $crate::entrypoint::FieldType>::KIND,
                optional: <$type as $crate::entrypoint::FieldType>::OPTIONAL,
                list: <$type as $crate::entrypoint::FieldType>::LIST,
            }),*];
        }
    )*};
}

/// The texts of the attributes `#[doc = "…"]`, or of `#[serde(alias = "…")]`.
macro_rules! attributes {
    (doc [$($found:literal)*] #[doc = $text:literal] $($rest:tt)*) => {
        attributes!(doc [$($found)* $text] $($rest)*)
    };
    (alias [$($found:literal)*] #[serde($(alias = $text:literal),+)] $($rest:tt)*) => {
        attributes!(alias [$($found)* $($text)+] $($rest)*)
    };
    ($which:ident [$($found:literal)*] #[$($other:tt)*] $($rest:tt)*) => {
        attributes!($which [$($found)*] $($rest)*)
    };
    ($which:ident [$($found:literal)*]) => { &[$($found),*] };
}

#[macro_use]
pub mod endpoint;
pub mod field;

pub mod admin;
pub mod developer;
pub mod docker;
pub mod player;
pub mod runtime;
pub mod support;

#[cfg(feature = "schema")]
pub use self::endpoint::Shape;
pub use self::{
    endpoint::{
        AnonymousEndpoint, BearerEndpoint, Descriptor, Endpoint, EndpointAccess, EntrypointRole,
        RequiredPermission,
    },
    field::{Field, FieldKind, FieldType, Fields},
};

use crate::{Problem, Ref, UserId, Validate, validate::text};

requests! {
    /// Nothing: `{}`, and what existing clients send instead (`[]`, `null`, no body,
    /// `{"__object":true}`).
    Empty {}
    /// Credentials of a user.
    CreateTokenRequest {
        /// The user.
        #[serde(alias = "user_id")] user: Ref<UserId>,
        /// The password, 1 to 64 characters.
        password: String,
    }
}

wire! {
    /// A token.
    CreateTokenResponse {
        /// For `Authorization: Bearer`.
        raw_token: String,
    }
    /// Whether something was deleted.
    DeletedResponse {
        /// False when there was nothing to delete.
        deleted: bool,
    }
    /// Whether something was created.
    CreatedResponse {
        /// Always true.
        created: bool,
    }
}

impl Validate for Empty {}
impl Validate for CreateTokenRequest {
    fn validate(&self) -> Result<(), Problem> {
        text("password", &self.password, 64)
    }
}
