//! What this crate can refuse.

use omgservers_api::{Code, Kind};

/// A game server sets a profile that is too large.
pub const PROFILE_TOO_LARGE: Code = Code::new(
    "players.profile_too_large",
    "VALIDATION_CONSTRAINT_VIOLATED",
    Kind::Invalid,
    "a profile is larger than allowed",
);

/// Every code of this crate.
pub const ALL: &[Code] = &[PROFILE_TOO_LARGE];
