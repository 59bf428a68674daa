//! Requests and responses of the entrypoints, by role.
//!
//! Pairs of accepted names (`user_id`/`user`, `id`/`version_id`, …) are aliases of one field. Unknown fields
//! are ignored: existing clients send some.

macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
        pub struct $name { $($(#[$fdoc])* pub $field: $type),* }
    )*};
}

pub mod admin;
pub mod developer;
pub mod docker;
pub mod player;
pub mod runtime;
pub mod support;

use crate::{Problem, Ref, UserId, Validate, validate::text};

wire! {
    /// Nothing: `{}`, and what existing clients send instead (`[]`, `null`, no body, `{"__object":true}`).
    Empty {}
    /// Credentials of a user.
    CreateTokenRequest {
        /// The user, by id or alias.
        #[serde(alias = "user_id")] user: Ref<UserId>,
        /// The password, 1 to 64 characters.
        password: String,
    }
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
    /// Whether something was made.
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
