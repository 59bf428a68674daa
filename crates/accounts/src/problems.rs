//! The problems of this crate. Codes are part of the public API and never change their meaning.

use omgservers_api::{Code, Kind};

/// No user has this id or name, or not in this role.
pub const NOT_FOUND: Code =
    Code::new("accounts.not_found", "OBJECT_NOT_FOUND", Kind::NotFound, "there is no such user");

/// Names of users are unique in the installation.
pub const ALIAS_TAKEN: Code =
    Code::new("accounts.alias_taken", "DB_CONSTRAINT_VIOLATED", Kind::Invalid, "another user has this alias");

/// Every code above, for the generated list.
pub const ALL: &[Code] = &[NOT_FOUND, ALIAS_TAKEN];
