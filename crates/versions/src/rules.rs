//! Which repositories, tags, digests and configurations are right. No I/O.

use std::{fmt, str::FromStr};

use omgservers_api::{
    Problem, ProjectId, TenantId, Validate as _, VersionId,
    config::{MOST_CONFIG_BYTES, VersionConfig},
    ids::Id,
    roles::ImageQualifier,
    validate::invalid,
};

use crate::problems;

/// A repository that images of versions are pushed to:
/// `omgservers/<tenant id>/<project id>/<universal|lobby|match>`, without host and tag.
///
/// There is one spelling for each: ids have no leading zeros, and kinds are lower-case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Repository {
    /// Whose project it is.
    pub tenant: TenantId,
    /// The project whose versions are pushed to it.
    pub project: ProjectId,
    /// Which runtimes its images are for.
    pub qualifier: ImageQualifier,
}

/// The first part of each repository.
const ROOT: &str = "omgservers";

const fn kind(qualifier: ImageQualifier) -> &'static str {
    match qualifier {
        ImageQualifier::Universal => "universal",
        ImageQualifier::Lobby => "lobby",
        ImageQualifier::Match => "match",
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ROOT}/{}/{}/{}", self.tenant, self.project, kind(self.qualifier))
    }
}

impl FromStr for Repository {
    /// `versions.repository`.
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let read = || {
            let mut parts = text.split('/');
            if parts.next()? != ROOT {
                return None;
            }
            let tenant = exact_id(parts.next()?)?;
            let project = exact_id(parts.next()?)?;
            let last = parts.next()?;
            let qualifier = ImageQualifier::ALL.iter().copied().find(|it| kind(*it) == last)?;
            parts.next().is_none().then_some(Self { tenant, project, qualifier })
        };
        read().ok_or_else(|| problems::REPOSITORY.into())
    }
}

/// The version that a tag names. Problems: `versions.not_found`.
pub(crate) fn version_of_tag(tag: &str) -> Result<VersionId, Problem> {
    exact_id(tag).ok_or_else(|| problems::NOT_FOUND.detail("the tag must be the id of a version"))
}

/// The id in its only spelling: a second one would be a second name for the same image.
fn exact_id<I: Id>(text: &str) -> Option<I> {
    if text.starts_with('0') { None } else { text.parse().ok() }
}

/// Checks that `digest` is one that a container host can pull by. Problems: `request.invalid`.
pub(crate) fn check_digest(digest: &str) -> Result<(), Problem> {
    let length = match digest.split_once(':') {
        Some(("sha256", hex)) => hex.len().checked_sub(64),
        Some(("sha512", hex)) => hex.len().checked_sub(128),
        _ => None,
    };
    let is_hex = |it: &str| it.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it));
    match (length, digest.split_once(':')) {
        (Some(0), Some((_, hex))) if is_hex(hex) => Ok(()),
        _ => Err(invalid("digest", "must be `sha256:` or `sha512:` and lower-case hexadecimal digits")),
    }
}

/// The text that is kept of a configuration. Problems: `request.invalid` names the field.
pub(crate) fn config_text(config: &VersionConfig) -> Result<String, Problem> {
    config.validate()?;
    let text = serde_json::to_string(config).map_err(Problem::internal)?;
    if text.len() > MOST_CONFIG_BYTES {
        return Err(invalid("config", &format!("must have at most {MOST_CONFIG_BYTES} bytes of JSON")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id<I: Id>(value: i64) -> I {
        I::from_i64(value).unwrap()
    }

    fn qualifiers() -> impl Strategy<Value = ImageQualifier> {
        proptest::sample::select(ImageQualifier::ALL)
    }

    proptest! {
        #[test]
        fn a_repository_survives_a_round_trip(tenant in 1i64.., project in 1i64.., qualifier in qualifiers()) {
            let repository = Repository { tenant: id(tenant), project: id(project), qualifier };
            prop_assert_eq!(repository.to_string().parse::<Repository>().unwrap(), repository);
        }

        #[test]
        fn what_is_read_has_one_spelling(text in "(omgservers|other|)/[0-9+ ]{1,3}/[0-9a]{1,3}/(universal|lobby|match|MATCH|)(/[a-z]?)?") {
            if let Ok(repository) = text.parse::<Repository>() {
                prop_assert_eq!(repository.to_string(), text);
            }
        }

        #[test]
        fn no_text_makes_a_rule_panic(text in ".*") {
            let _ = text.parse::<Repository>();
            let _ = version_of_tag(&text);
            let _ = check_digest(&text);
        }
    }

    #[test]
    fn the_contracts_repositories_are_read() {
        let read: Repository = "omgservers/1/2/universal".parse().unwrap();
        assert_eq!(read, Repository { tenant: id(1), project: id(2), qualifier: ImageQualifier::Universal });
        for (last, qualifier) in [("lobby", ImageQualifier::Lobby), ("match", ImageQualifier::Match)] {
            let read: Repository = format!("omgservers/1/2/{last}").parse().unwrap();
            assert_eq!(read.qualifier, qualifier);
        }
    }

    #[test]
    fn other_repositories_are_refused() {
        for text in [
            "",
            "omgservers",
            "omgservers/1/2",
            "omgservers/1/2/",
            "omgservers/1/2/other",
            "omgservers/1/2/Lobby",
            "omgservers/1/2/lobby/",
            "omgservers/1/2/lobby/3",
            "omgservers/acme/2/lobby",
            "omgservers/01/2/lobby",
            "omgservers/0/2/lobby",
            "omgservers/+1/2/lobby",
            "omgservers/-1/2/lobby",
            "omgservers/9223372036854775808/2/lobby",
            "/omgservers/1/2/lobby",
            "host:5000/omgservers/1/2/lobby",
            "evil/1/2/lobby",
        ] {
            let refused = text.parse::<Repository>().unwrap_err();
            assert!(refused.is(problems::REPOSITORY), "{text:?}");
        }
    }

    #[test]
    fn a_tag_is_the_id_of_a_version() {
        assert_eq!(version_of_tag("12").unwrap(), id(12));
        for tag in ["", "latest", "012", "0", "12 ", "-1"] {
            assert!(version_of_tag(tag).unwrap_err().is(problems::NOT_FOUND), "{tag:?}");
        }
    }

    #[test]
    fn a_digest_has_the_length_of_its_algorithm() {
        let (a, b) = (format!("sha256:{}", "a".repeat(64)), format!("sha512:{}", "0".repeat(128)));
        assert!(check_digest(&a).is_ok() && check_digest(&b).is_ok());
        let (short, upper) = (format!("sha256:{}", "a".repeat(63)), format!("sha256:{}", "A".repeat(64)));
        for digest in ["", "sha256:", "md5:d41d8cd98f00b204e9800998ecf8427e", &short, &upper] {
            let refused = check_digest(digest).unwrap_err();
            assert!(refused.sentence().starts_with("`digest`"), "{digest:?}");
        }
    }

    #[test]
    fn a_configuration_that_is_too_long_as_a_whole_is_refused() {
        let text = format!(r#"{{"modes":[],"user_data":"{}"}}"#, "x".repeat(MOST_CONFIG_BYTES - 10));
        let config: VersionConfig = serde_json::from_str(&text).unwrap();
        assert!(config.validate().is_ok(), "the part alone is not too long");
        let refused = config_text(&config).unwrap_err();
        assert!(refused.sentence().starts_with("`config` "), "{refused:?}");
    }
}
