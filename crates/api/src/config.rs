//! The configuration that a developer gives a version, and what of it a deployment uses.

mod deployment;
mod matchmaking;
mod ports;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    Problem, Validate,
    interchange::MAX_MODE,
    validate::{invalid, text, within},
};

pub use self::{
    deployment::{
        DeploymentConfig, LEAST_MEMORY, LobbyConfig, MOST_AT_A_TIME, MOST_CPU, MOST_LIFETIME, MOST_MEMORY,
        MOST_WARM, ResourceConfig,
    },
    matchmaking::{
        AfterTimeout, EqualExpansion, EqualRule, MatchRule, MatchRules, PartyConfig, RangeExpansion,
        RangeRule, TimeoutConfig,
    },
    ports::{PortConfig, PortProtocol},
};

/// Most modes of a version, and most groups of a mode.
pub const MOST_MODES: usize = 1_000;
/// Most players of a mode or a group.
pub const MOST_PLAYERS: u32 = 1_000_000;
/// Longest version configuration, bytes of JSON.
pub const MOST_CONFIG_BYTES: usize = 1 << 20;

/// What a version of a game is made of, beside its images.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VersionConfig {
    /// The modes that players can be matched in.
    pub modes: Vec<ModeConfig>,
    /// Anything; handed to runtimes byte for byte.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = Option<serde_json::Value>))]
    pub user_data: Option<Box<RawValue>>,
    /// How its deployments run; defaults where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentConfig>,
}

/// One mode: how many players a match of it has, in which groups, and by which rules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ModeConfig {
    /// Its name, unique in the version.
    pub name: String,
    /// Fewest players of a match.
    pub min_players: u32,
    /// Most players of a match.
    pub max_players: u32,
    /// Its groups (teams); at least one.
    pub groups: Vec<GroupConfig>,
    /// The rules by which players are matched; absent: by their order of arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matchmaking: Option<MatchRules>,
    /// Matches whose game servers are kept started without players while the deployment is active;
    /// at most 1,000 in all modes of the version together.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_matches: u32,
    /// Most matches at a time, 1 to 2,147,483,647; absent: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_matches: Option<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// One group of a mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct GroupConfig {
    /// Its name, unique in the mode.
    pub name: String,
    /// Fewest players of the group.
    pub min_players: u32,
    /// Most players of the group.
    pub max_players: u32,
}

impl Validate for VersionConfig {
    fn validate(&self) -> Result<(), Problem> {
        if self.modes.len() > MOST_MODES {
            return Err(invalid("config.modes", &format!("must have at most {MOST_MODES} entries")));
        }
        unique("config.modes", self.modes.iter().map(|it| it.name.as_str()))?;
        for (index, mode) in self.modes.iter().enumerate() {
            check_mode(&format!("config.modes[{index}]"), mode)?;
        }
        // Each of them becomes a container at once when the version is deployed.
        let warm: u64 = self.modes.iter().map(|it| u64::from(it.min_matches)).sum();
        if warm > u64::from(MOST_WARM) {
            let why = format!("must have at most {MOST_WARM} `min_matches` together, and have {warm}");
            return Err(invalid("config.modes", &why));
        }
        if self.user_data.as_ref().is_some_and(|it| it.get().len() > MOST_CONFIG_BYTES) {
            return Err(invalid("config.user_data", &format!("must have at most {MOST_CONFIG_BYTES} bytes")));
        }
        self.deployment.as_ref().map_or(Ok(()), |it| it.check("config.deployment"))
    }
}

fn check_mode(field: &str, mode: &ModeConfig) -> Result<(), Problem> {
    text(&format!("{field}.name"), &mode.name, MAX_MODE)?;
    sizes(field, mode.min_players, mode.max_players)?;
    if mode.groups.is_empty() || mode.groups.len() > MOST_MODES {
        return Err(invalid(&format!("{field}.groups"), &format!("must have 1 to {MOST_MODES} entries")));
    }
    unique(&format!("{field}.groups"), mode.groups.iter().map(|it| it.name.as_str()))?;
    for (index, group) in mode.groups.iter().enumerate() {
        let field = format!("{field}.groups[{index}]");
        text(&format!("{field}.name"), &group.name, 64)?;
        sizes(&field, group.min_players, group.max_players)?;
    }
    within(&format!("{field}.min_matches"), mode.min_matches, 0, MOST_WARM)?;
    if let Some(most) = mode.max_matches {
        within(&format!("{field}.max_matches"), most, 1, MOST_AT_A_TIME)?;
        if most < mode.min_matches {
            return Err(invalid(&format!("{field}.max_matches"), "must not be below `min_matches`"));
        }
    }
    if let Some(rules) = &mode.matchmaking {
        rules.check(&format!("{field}.matchmaking"), mode)?;
    }
    let fewest: u64 = mode.groups.iter().map(|it| u64::from(it.min_players)).sum();
    let most: u64 = mode.groups.iter().map(|it| u64::from(it.max_players)).sum();
    if fewest > u64::from(mode.max_players) {
        return Err(invalid(&format!("{field}.groups"), "need more players than the mode's `max_players`"));
    }
    if most < u64::from(mode.min_players) {
        return Err(invalid(&format!("{field}.groups"), "have less room than the mode's `min_players`"));
    }
    Ok(())
}

fn sizes(field: &str, min: u32, max: u32) -> Result<(), Problem> {
    within(&format!("{field}.min_players"), min, 1, MOST_PLAYERS)?;
    within(&format!("{field}.max_players"), max, 1, MOST_PLAYERS)?;
    if max < min {
        return Err(invalid(&format!("{field}.max_players"), "must not be below `min_players`"));
    }
    Ok(())
}

fn unique<'a>(field: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Problem> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(invalid(field, &format!("has the name {name:?} twice")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Result<(), String> {
        serde_json::from_str::<VersionConfig>(json)
            .map_err(|it| it.to_string())?
            .validate()
            .map_err(|it| it.sentence().to_owned())
    }

    #[test]
    fn the_contracts_sample_is_accepted() {
        let sample = r#"{"modes":[{"name":"duel","min_players":2,"max_players":2,"groups":[{"name":"all","min_players":2,"max_players":2}]}],"user_data":{"any":"json"}}"#;
        assert_eq!(config(sample), Ok(()));
        assert_eq!(config(r#"{"modes":[]}"#), Ok(()));
    }

    #[test]
    fn a_wrong_field_is_named() {
        let mode = |text: &str| format!(r#"{{"modes":[{{"name":"a",{text}}}]}}"#);
        let group = r#""groups":[{"name":"g","min_players":1,"max_players":2}]"#;
        for (json, field) in [
            (mode(&format!(r#""min_players":0,"max_players":2,{group}"#)), "`config.modes[0].min_players`"),
            (mode(&format!(r#""min_players":3,"max_players":2,{group}"#)), "`config.modes[0].max_players`"),
            (mode(r#""min_players":1,"max_players":2,"groups":[]"#), "`config.modes[0].groups`"),
            (mode(&format!(r#""min_players":3,"max_players":3,{group}"#)), "`config.modes[0].groups`"),
            (
                mode(
                    r#""min_players":1,"max_players":2,"groups":[{"name":"g","min_players":1,"max_players":1},{"name":"g","min_players":1,"max_players":1}]"#,
                ),
                "`config.modes[0].groups`",
            ),
            (r#"{"modes":[],"deployment":{"max_lobbies":0}}"#.to_owned(), "`config.deployment.max_lobbies`"),
            (
                mode(&format!(r#""min_players":4294967295,"max_players":4294967295,{group}"#)),
                "`config.modes[0].min_players` must be 1 to 1000000",
            ),
            (
                mode(&format!(r#""min_players":1,"max_players":2,"min_matches":4294967295,{group}"#)),
                "`config.modes[0].min_matches` must be 0 to 1000",
            ),
            (
                mode(&format!(r#""min_players":1,"max_players":2,"max_matches":4294967295,{group}"#)),
                "`config.modes[0].max_matches` must be 1 to 2147483647",
            ),
            (
                mode(&format!(r#""min_players":1,"max_players":2,"min_matches":2,"max_matches":1,{group}"#)),
                "`config.modes[0].max_matches` must not be below",
            ),
        ] {
            let refused = config(&json).unwrap_err();
            assert!(refused.starts_with(field), "{refused}");
        }
    }

    #[test]
    fn modes_can_not_ask_for_more_together_than_one_may() {
        let modes = |warm: &[u32]| {
            let mode = |(index, warm)| {
                format!(
                    r#"{{"name":"{index}","min_players":1,"max_players":2,"min_matches":{warm},"groups":[{{"name":"g","min_players":1,"max_players":2}}]}}"#
                )
            };
            let modes: Vec<_> = warm.iter().enumerate().map(mode).collect();
            config(&format!(r#"{{"modes":[{}]}}"#, modes.join(",")))
        };
        assert_eq!(modes(&[600, 400]), Ok(()));
        let refused = modes(&[600, 401]).unwrap_err();
        assert_eq!(refused, "`config.modes` must have at most 1000 `min_matches` together, and have 1001");
    }

    #[test]
    fn user_data_keeps_its_bytes() {
        let config: VersionConfig =
            serde_json::from_str(r#"{"modes":[],"user_data":{"z":1,"a":12345678901234567890.10}}"#).unwrap();
        assert_eq!(
            serde_json::to_string(&config).unwrap(),
            r#"{"modes":[],"user_data":{"z":1,"a":12345678901234567890.10}}"#
        );
    }
}
