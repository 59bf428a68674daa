//! The problems of this crate. Codes are part of the public API and never change their meaning.

use omgservers_api::{Code, Kind};

/// No tenant has this id or name.
pub const NOT_FOUND: Code =
    Code::new("tenants.not_found", "OBJECT_NOT_FOUND", Kind::NotFound, "there is no such tenant");

/// Names of tenants are unique in the installation.
pub const ALIAS_TAKEN: Code = Code::new(
    "tenants.alias_taken",
    "DB_CONSTRAINT_VIOLATED",
    Kind::Invalid,
    "another tenant has this alias",
);

/// Every code above, for the generated list.
pub const ALL: &[Code] = &[NOT_FOUND, ALIAS_TAKEN];
