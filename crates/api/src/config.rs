//! The configuration that a developer gives a version, and what of it a deployment uses.

mod matchmaking;
mod ports;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    Problem, Validate,
    roles::Delivery,
    validate::{invalid, text},
};

pub use self::{
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
    #[cfg_attr(feature = "schema", schema(value_type = Option<Object>))]
    pub user_data: Option<Box<RawValue>>,
    /// How its deployments run; defaults where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentConfig>,
}

/// One mode: how many players a match of it has, in which groups, and who is matched with whom.
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
    /// Who is matched with whom; absent: whoever comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matchmaking: Option<MatchRules>,
    /// Matches whose game servers are kept started without players while the deployment is active.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_matches: u32,
    /// Most matches at a time; absent: no bound.
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

/// How a deployment runs. Every field has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct DeploymentConfig {
    /// Lobbies that are kept warm without players.
    pub min_lobbies: u32,
    /// Most lobbies at a time.
    pub max_lobbies: u32,
    /// Lobbies.
    pub lobby: LobbyConfig,
    /// Matches.
    pub r#match: ResourceConfig,
    /// How long messages live.
    pub delivery: Delivery,
}

/// How lobbies run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct LobbyConfig {
    /// Most clients of a lobby.
    pub max_assignments: u32,
    /// Seconds that a lobby lives at least, players or not; 0 takes the server's default.
    pub min_lifetime: u32,
    /// CPU, 100 = one core; 0 takes the server's default.
    pub cpu_limit: u32,
    /// Memory in MiB; 0 takes the server's default.
    pub memory_limit: u32,
    /// Ports of the container that players connect to directly.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortConfig>,
}

/// What a container may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct ResourceConfig {
    /// CPU, 100 = one core; 0 takes the server's default.
    pub cpu_limit: u32,
    /// Memory in MiB; 0 takes the server's default.
    pub memory_limit: u32,
    /// Ports of the container that players connect to directly.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortConfig>,
}

impl Default for DeploymentConfig {
    fn default() -> Self {
        Self {
            min_lobbies: 0,
            max_lobbies: 2_147_483_647,
            lobby: LobbyConfig::default(),
            r#match: ResourceConfig::default(),
            delivery: Delivery::Durable,
        }
    }
}

impl Default for LobbyConfig {
    fn default() -> Self {
        Self { max_assignments: 128, min_lifetime: 0, cpu_limit: 0, memory_limit: 0, ports: Vec::new() }
    }
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
        if self.user_data.as_ref().is_some_and(|it| it.get().len() > MOST_CONFIG_BYTES) {
            return Err(invalid("config.user_data", &format!("must have at most {MOST_CONFIG_BYTES} bytes")));
        }
        self.deployment.as_ref().map_or(Ok(()), |it| it.check("config.deployment"))
    }
}

impl DeploymentConfig {
    /// Checks the bounds; `field` is where the configuration stands in the request.
    pub fn check(&self, field: &str) -> Result<(), Problem> {
        if self.max_lobbies == 0 {
            return Err(invalid(&format!("{field}.max_lobbies"), "must be greater than 0"));
        }
        if self.min_lobbies > self.max_lobbies {
            return Err(invalid(&format!("{field}.max_lobbies"), "must not be below `min_lobbies`"));
        }
        if self.lobby.max_assignments == 0 {
            return Err(invalid(&format!("{field}.lobby.max_assignments"), "must be greater than 0"));
        }
        ports::check(&format!("{field}.lobby.ports"), &self.lobby.ports)?;
        ports::check(&format!("{field}.match.ports"), &self.r#match.ports)
    }
}

fn check_mode(field: &str, mode: &ModeConfig) -> Result<(), Problem> {
    text(&format!("{field}.name"), &mode.name, 64)?;
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
    if mode.max_matches.is_some_and(|it| it == 0 || it < mode.min_matches) {
        let why = "must be greater than 0 and not below `min_matches`";
        return Err(invalid(&format!("{field}.max_matches"), why));
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
    if min == 0 {
        return Err(invalid(&format!("{field}.min_players"), "must be greater than 0"));
    }
    if max == 0 || max > MOST_PLAYERS {
        return Err(invalid(&format!("{field}.max_players"), &format!("must be 1 to {MOST_PLAYERS}")));
    }
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
        ] {
            let refused = config(&json).unwrap_err();
            assert!(refused.starts_with(field), "{refused}");
        }
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
