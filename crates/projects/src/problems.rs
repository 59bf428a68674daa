//! The problems of this crate. Codes are part of the public API and never change their meaning.

use omgservers_api::{Code, Kind};

/// The tenant has no project of this id or name.
pub const NOT_FOUND: Code = Code::new(
    "projects.not_found",
    "OBJECT_NOT_FOUND",
    Kind::NotFound,
    "there is no such project in this tenant",
);

/// The project, or the tenant, has no stage of this id or name.
pub const STAGE_NOT_FOUND: Code =
    Code::new("projects.stage_not_found", "OBJECT_NOT_FOUND", Kind::NotFound, "there is no such stage here");

/// Something can't be made in what isn't there.
pub const PARENT_NOT_FOUND: Code = Code::new(
    "projects.parent_not_found",
    "PARENT_NOT_FOUND",
    Kind::NotFound,
    "what it should be made in isn't there",
);

/// Names of projects are unique in their tenant, names of stages in their project.
pub const ALIAS_TAKEN: Code =
    Code::new("projects.alias_taken", "DB_CONSTRAINT_VIOLATED", Kind::Invalid, "the alias is taken here");

/// Every code above, for the generated list.
pub const ALL: &[Code] = &[NOT_FOUND, STAGE_NOT_FOUND, PARENT_NOT_FOUND, ALIAS_TAKEN];
