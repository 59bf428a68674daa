//! What this crate can refuse.

use omgservers_api::{Code, Kind};

/// The credentials are right, and the runtime has ended or should stop.
pub const STOPPED: Code =
    Code::new("runtimes.stopped", "RUNTIME_NOT_FOUND", Kind::NotFound, "the runtime should not run any more");
/// No host of the pool has this URI.
pub const UNKNOWN_HOST: Code = Code::new(
    "runtimes.unknown_host",
    "OBJECT_NOT_FOUND",
    Kind::NotFound,
    "no Docker host of the pool has this URI",
);
/// A host in the configuration makes no sense.
pub const WRONG_HOST: Code = Code::new(
    "runtimes.wrong_host",
    "WRONG_CONFIGURATION",
    Kind::Invalid,
    "a Docker host of the configuration isn't usable",
);
/// The limits that were asked for can't be kept by any container.
pub const WRONG_LIMITS: Code = Code::new(
    "runtimes.limits",
    "VALIDATION_CONSTRAINT_VIOLATED",
    Kind::Invalid,
    "a container can't have these limits",
);

/// Every code of this crate.
pub const ALL: &[Code] = &[STOPPED, UNKNOWN_HOST, WRONG_HOST, WRONG_LIMITS];
