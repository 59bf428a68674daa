//! Conversions that lose nothing that counts here.

use std::time::Duration;

/// As a floating-point number: exact up to 2^53.
#[expect(clippy::as_conversions, reason = "there is no lossless conversion, and counts stay below 2^53")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// Whole microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A length as a count.
pub(crate) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
