//! Names of repositories and tags, as the OCI distribution specification spells them.

use omgservers_api::Problem;
use omgservers_versions::Repository;

use crate::problems;

/// Longest name of a repository, and longest tag.
const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;

/// Whether a text is a name in the specification's grammar. Its parts are lower-case letters and
/// digits, joined by `.`, `_`, `__` or dashes inside a part, and by `/` between parts.
fn is_name(text: &str) -> bool {
    text.len() <= LONGEST_NAME && text.split('/').all(is_part)
}

fn is_part(part: &str) -> bool {
    let word = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit();
    let ends = part.bytes().next().is_some_and(word) && part.bytes().next_back().is_some_and(word);
    let joints = part.split(|it: char| it.is_ascii_lowercase() || it.is_ascii_digit());
    ends && joints.into_iter().all(|it| matches!(it, "" | "." | "_" | "__") || it.bytes().all(|b| b == b'-'))
}

/// The repository of this name. Problems: `registry.name_invalid` for what isn't a name at all,
/// `registry.name_unknown` for what isn't one of ours.
pub fn repository(name: &str) -> Result<Repository, Problem> {
    if !is_name(name) {
        return Err(problems::NAME_INVALID.into());
    }
    name.parse().map_err(|_not_ours| problems::NAME_UNKNOWN.into())
}

/// Whether a text is a tag: 1 to 128 letters, digits, `_`, `.` and `-`, not starting with the last
/// two.
pub(crate) fn is_tag(text: &str) -> bool {
    let word = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
    text.len() <= LONGEST_TAG
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|it| word(it) || it == b'.' || it == b'-')
}

/// Whether a tag names a version: only digits do. Other tags have no meaning to the backend.
pub(crate) fn names_version(tag: &str) -> bool {
    !tag.is_empty() && tag.bytes().all(|it| it.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        for good in ["a", "omgservers/1/2/lobby", "a.b/c_d/e__f/g--h", "0"] {
            assert!(is_name(good), "{good}");
        }
        let long = "a".repeat(256);
        for bad in
            ["", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "-a", "a-", "a._b", "ä", "a b", "a:b", &long]
        {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_name_of_another_registry_differs_from_an_invalid_one() {
        assert!(repository("library/ubuntu").unwrap_err().is(problems::NAME_UNKNOWN));
        assert!(repository("Library/Ubuntu").unwrap_err().is(problems::NAME_INVALID));
        for bad in
            ["omgservers/01/2/lobby", "omgservers/1/2/rooms", "omgservers/1/2", "omgservers/1/2/lobby/x"]
        {
            assert!(repository(bad).unwrap_err().is(problems::NAME_UNKNOWN), "{bad}");
        }
    }

    #[test]
    fn only_digits_name_a_version() {
        for (tag, expected) in [("12", true), ("012", true), ("", false), ("v12", false), ("1.2", false)] {
            assert_eq!(names_version(tag), expected, "{tag}");
        }
    }

    proptest! {
        #[test]
        fn a_repository_has_one_spelling(tenant in 1i64.., project in 1i64.., kind in "(lobby|match|universal)") {
            let name = format!("omgservers/{tenant}/{project}/{kind}");
            prop_assert_eq!(repository(&name).unwrap().to_string(), name);
        }

        #[test]
        fn what_the_specification_calls_a_name_is_one(name in "[a-z0-9]{1,9}(([._]|__|-{1,3})[a-z0-9]{1,9}){0,3}(/[a-z0-9]{1,9}(([._]|__|-{1,3})[a-z0-9]{1,9}){0,3}){0,3}") {
            prop_assume!(name.len() <= LONGEST_NAME);
            prop_assert!(is_name(&name));
        }

        #[test]
        fn no_text_is_taken_for_a_name_or_a_tag_by_mistake(text in "\\PC{0,40}") {
            let word = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
            if is_name(&text) {
                prop_assert!(text.chars().all(|it| word(it) || "._-/".contains(it)));
                prop_assert!(text.starts_with(word) && text.ends_with(word) && !text.contains("//"));
            }
            if is_tag(&text) {
                prop_assert!(text.chars().all(|it| it.is_ascii_alphanumeric() || "._-".contains(it)));
            }
            let _ = repository(&text);
        }

        #[test]
        fn tags_follow_the_grammar(tag in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", first in "[.-]") {
            prop_assert!(is_tag(&tag));
            let (wrong, long) = (format!("{first}{tag}"), format!("{tag}{}", "x".repeat(128)));
            prop_assert!(!is_tag(&wrong));
            prop_assert!(!is_tag(&long));
        }
    }
}
