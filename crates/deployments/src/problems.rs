//! The problems of this crate.

use omgservers_api::{Code, Kind};

/// There is no such deployment in the tenant.
pub const NOT_FOUND: Code =
    Code::new("deployments.not_found", "OBJECT_NOT_FOUND", Kind::NotFound, "there is no such deployment");
/// Nothing is deployed in the stage.
pub const NONE: Code =
    Code::new("deployments.none", "DEPLOYMENT_NOT_FOUND", Kind::NotFound, "nothing is deployed in the stage");
/// The version lacks an image that its runtimes need.
pub const NO_IMAGE: Code = Code::new(
    "deployments.no_image",
    "WRONG_VERSION_STATE",
    Kind::Conflict,
    "the version lacks an image that its runtimes need",
);
/// The version, the stage and the project of the request don't belong together.
pub const FOREIGN_VERSION: Code = Code::new(
    "deployments.foreign_version",
    "WRONG_REQUEST",
    Kind::Forbidden,
    "the version and the stage don't belong to the same project",
);

/// All of them.
pub const ALL: &[Code] = &[NOT_FOUND, NONE, NO_IMAGE, FOREIGN_VERSION];
