//! What a profile may be.

use omgservers_api::Problem;

use crate::problems::PROFILE_TOO_LARGE;

/// Most bytes of a profile by default.
pub const MOST_PROFILE_BYTES: usize = 256 * 1024;

/// A profile as it is kept: an empty list, which is how Lua writes an empty table, and null become
/// `{}`. Problems: `players.profile_too_large` above `most` bytes.
pub(crate) fn profile(json: &str, most: usize) -> Result<&str, Problem> {
    if json.len() > most {
        let size = json.len();
        return Err(PROFILE_TOO_LARGE.detail(format!("`profile` has {size} bytes, and may have {most}")));
    }
    let is_empty_list = || {
        let inside = json.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        inside.is_some_and(|it| it.trim().is_empty())
    };
    Ok(if json == "null" || is_empty_list() { "{}" } else { json })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_nothing_is_an_empty_object() {
        for nothing in ["null", "[]", "[ \n]", "{}"] {
            assert_eq!(profile(nothing, 10).unwrap(), "{}", "{nothing}");
        }
        for json in ["[1]", r#"{ "a" : 1.0 }"#, "5", r#""[]""#, "{ }"] {
            assert_eq!(profile(json, 20).unwrap(), json, "byte for byte");
        }
    }

    #[test]
    fn one_byte_more_than_allowed_is_refused_with_both_numbers() {
        let json = format!("\"{}\"", "ä".repeat(4));
        assert_eq!(profile(&json, 10).unwrap(), json);
        let refused = profile(&json, 9).unwrap_err();
        assert!(refused.is(PROFILE_TOO_LARGE));
        assert_eq!(refused.sentence(), "`profile` has 10 bytes, and may have 9");
    }
}
