//! The problems of this crate.

use omgservers_api::{Code, Kind};

/// There is no such version in the tenant.
pub const NOT_FOUND: Code =
    Code::new("versions.not_found", "OBJECT_NOT_FOUND", Kind::NotFound, "there is no such version");
/// The repository is none that versions have.
pub const REPOSITORY: Code = Code::new(
    "versions.repository",
    "WRONG_REQUEST",
    Kind::Invalid,
    "images of versions live in `omgservers/<tenant id>/<project id>/<universal, lobby or match>`",
);
/// The version belongs to another project than the repository that was pushed to.
pub const FOREIGN_PROJECT: Code = Code::new(
    "versions.foreign_project",
    "WRONG_REQUEST",
    Kind::Forbidden,
    "the version belongs to another project than the repository",
);

/// All of them.
pub const ALL: &[Code] = &[NOT_FOUND, REPOSITORY, FOREIGN_PROJECT];
