//! What may be deployed, how it runs and how old it is. No I/O.

use chrono::{DateTime, TimeDelta, Utc};
use omgservers_api::{
    Problem, RuntimeQualifier,
    config::{DeploymentConfig, VersionConfig},
};
use omgservers_versions::{PinnedImage, image_for};

use crate::problems;

/// Refuses a version that nothing was pushed for. Problems: `deployments.no_image`.
pub(crate) fn check_pushed(images: &[PinnedImage]) -> Result<(), Problem> {
    if images.is_empty() {
        return Err(problems::NO_IMAGE.detail("no image was pushed for this version"));
    }
    Ok(())
}

/// Refuses images that can't run what the version needs: a lobby always, matches if it has modes.
/// Problems: `deployments.no_image` says which image is missing.
pub(crate) fn check_complete(images: &[PinnedImage], config: &VersionConfig) -> Result<(), Problem> {
    check_pushed(images)?;
    let missing = |qualifier| image_for(images, qualifier).is_none();
    if missing(RuntimeQualifier::Lobby) {
        return Err(problems::NO_IMAGE.detail(
            "the version has no image for lobbies: push `lobby` or `universal`, with the version's id as the tag",
        ));
    }
    if !config.modes.is_empty() && missing(RuntimeQualifier::Match) {
        return Err(problems::NO_IMAGE.detail(
            "the version has modes, but no image for matches: push `match` or `universal`, with the version's id \
             as the tag",
        ));
    }
    Ok(())
}

/// How a deployment runs: as the request says, else as the version says, else as by default.
pub(crate) fn effective(asked: Option<&DeploymentConfig>, version: &VersionConfig) -> DeploymentConfig {
    asked.or(version.deployment.as_ref()).cloned().unwrap_or_default()
}

/// The age of a new deployment: `now`, but always after its predecessor, even if the clock steps
/// back.
pub(crate) fn created(now: DateTime<Utc>, newest: Option<DateTime<Utc>>) -> DateTime<Utc> {
    newest.map_or(now, |it| now.max(it.checked_add_signed(TimeDelta::microseconds(1)).unwrap_or(now)))
}

#[cfg(test)]
mod tests {
    use omgservers_api::{config::LobbyConfig, roles::ImageQualifier};
    use proptest::prelude::*;

    use super::*;

    fn images(qualifiers: &[ImageQualifier]) -> Vec<PinnedImage> {
        let image = |qualifier: &ImageQualifier| PinnedImage {
            qualifier: *qualifier,
            repository: "omgservers/1/2/any".to_owned(),
            digest: "sha256:00".to_owned(),
        };
        qualifiers.iter().map(image).collect()
    }

    fn version(modes: bool) -> VersionConfig {
        let modes = if modes {
            r#"[{"name":"a","min_players":1,"max_players":1,"groups":[{"name":"a","min_players":1,"max_players":1}]}]"#
        } else {
            "[]"
        };
        serde_json::from_str(&format!(r#"{{"modes":{modes}}}"#)).unwrap()
    }

    #[test]
    fn what_a_version_needs_depends_on_its_modes() {
        use ImageQualifier::{Lobby, Match, Universal};
        for (has, modes, missing) in [
            (&[][..], false, Some("no image was pushed")),
            (&[Universal], true, None),
            (&[Lobby], false, None),
            (&[Lobby], true, Some("no image for matches")),
            (&[Match], false, Some("no image for lobbies")),
            (&[Match], true, Some("no image for lobbies")),
            (&[Lobby, Match], true, None),
            (&[Match, Universal], true, None),
        ] {
            let checked = check_complete(&images(has), &version(modes));
            match missing {
                None => assert!(checked.is_ok(), "{has:?} {modes}"),
                Some(text) => {
                    let refused = checked.unwrap_err();
                    assert!(
                        refused.is(problems::NO_IMAGE) && refused.sentence().contains(text),
                        "{refused:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_request_wins_over_the_version_and_the_version_over_the_default() {
        let config = |most| DeploymentConfig {
            lobby: LobbyConfig { max_assignments: most, ..LobbyConfig::default() },
            ..DeploymentConfig::default()
        };
        let plain = version(false);
        let special = VersionConfig { deployment: Some(config(7)), ..version(false) };
        assert_eq!(effective(Some(&config(9)), &special), config(9));
        assert_eq!(effective(None, &special), config(7));
        assert_eq!(effective(None, &plain), DeploymentConfig::default());
    }

    proptest! {
        #[test]
        fn a_new_deployment_is_always_the_newest(now in 0i64..4_000_000_000_000_000, newest in 0i64..4_000_000_000_000_000) {
            let at = |micros| DateTime::from_timestamp_micros(micros).unwrap();
            let made = created(at(now), Some(at(newest)));
            prop_assert!(made > at(newest) && made >= at(now));
            prop_assert_eq!(created(at(now), None), at(now));
        }
    }
}
