//! Points in time on the wire: ISO-8601 UTC ending in `Z`, milliseconds, no fraction when it is
//! zero.

use chrono::{DateTime, SecondsFormat, Timelike as _, Utc};
use serde::{Deserialize, Deserializer, Serializer};

/// The text of a point in time.
pub fn text(at: DateTime<Utc>) -> String {
    let whole = at.nanosecond() / 1_000_000 == 0;
    at.to_rfc3339_opts(if whole { SecondsFormat::Secs } else { SecondsFormat::Millis }, true)
}

/// For `#[serde(with = "time")]`.
pub fn serialize<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(*at))
}

/// For `#[serde(with = "time")]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    DateTime::<Utc>::deserialize(deserializer)
}

/// For `#[serde(with = "time::option")]`.
pub mod option {
    use chrono::{DateTime, Utc};
    use serde::{Deserialize, Deserializer, Serializer};

    /// For `#[serde(with = "time::option")]`.
    pub fn serialize<S: Serializer>(at: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => serializer.serialize_str(&super::text(*at)),
            None => serializer.serialize_none(),
        }
    }
    /// For `#[serde(with = "time::option")]`.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<DateTime<Utc>>, D::Error> {
        Option::<DateTime<Utc>>::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fraction_is_left_out_when_it_is_zero() {
        let at = "2025-01-25T10:00:00.123456Z".parse::<DateTime<Utc>>().unwrap();
        assert_eq!(text(at), "2025-01-25T10:00:00.123Z");
        let at = "2025-01-25T10:00:00.000456Z".parse::<DateTime<Utc>>().unwrap();
        assert_eq!(text(at), "2025-01-25T10:00:00Z");
    }
}
