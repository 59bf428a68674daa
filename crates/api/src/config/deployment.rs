//! How a deployment runs, and what its containers may use.

use serde::{Deserialize, Serialize};

use super::{MOST_PLAYERS, PortConfig, ports};
use crate::{
    Problem,
    roles::Delivery,
    validate::{invalid, within},
};

/// Most game servers that are kept started without players: each is a container from the deployment
/// on.
pub const MOST_WARM: u32 = 1_000;
/// The highest bound of lobbies or matches at a time; the contract's own default. So many only come
/// with players.
pub const MOST_AT_A_TIME: u32 = 2_147_483_647;
/// Longest minimum life of a lobby, seconds: a year.
pub const MOST_LIFETIME: u32 = 31_536_000;
/// Most CPU of a container, 100 = one core: a thousand cores.
pub const MOST_CPU: u32 = 100_000;
/// Least memory of a container, MiB: Docker takes no less.
pub const LEAST_MEMORY: u32 = 6;
/// Most memory of a container, MiB: 16 TiB.
pub const MOST_MEMORY: u32 = 16_777_216;

/// How a deployment runs. Every field has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct DeploymentConfig {
    /// Lobbies that are kept warm without players; at most 1,000.
    pub min_lobbies: u32,
    /// Most lobbies at a time, 1 to 2,147,483,647.
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
    /// Most clients of a lobby, 1 to 1,000,000.
    pub max_assignments: u32,
    /// Seconds that a lobby lives at least, players or not, at most a year; 0 takes the server's
    /// default.
    pub min_lifetime: u32,
    /// CPU, 100 = one core, at most 100,000; 0 takes the server's default.
    pub cpu_limit: u32,
    /// Memory in MiB, 6 to 16,777,216; 0 takes the server's default.
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
    /// CPU, 100 = one core, at most 100,000; 0 takes the server's default.
    pub cpu_limit: u32,
    /// Memory in MiB, 6 to 16,777,216; 0 takes the server's default.
    pub memory_limit: u32,
    /// Ports of the container that players connect to directly.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortConfig>,
}

impl Default for DeploymentConfig {
    fn default() -> Self {
        Self {
            min_lobbies: 0,
            max_lobbies: MOST_AT_A_TIME,
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

impl DeploymentConfig {
    /// Checks the bounds; `field` is where the configuration stands in the request. What passes can
    /// be run: no service refuses a number of it later.
    pub fn check(&self, field: &str) -> Result<(), Problem> {
        within(&format!("{field}.min_lobbies"), self.min_lobbies, 0, MOST_WARM)?;
        within(&format!("{field}.max_lobbies"), self.max_lobbies, 1, MOST_AT_A_TIME)?;
        if self.min_lobbies > self.max_lobbies {
            return Err(invalid(&format!("{field}.max_lobbies"), "must not be below `min_lobbies`"));
        }
        let (lobby, r#match) = (&self.lobby, &self.r#match);
        within(&format!("{field}.lobby.max_assignments"), lobby.max_assignments, 1, MOST_PLAYERS)?;
        within(&format!("{field}.lobby.min_lifetime"), lobby.min_lifetime, 0, MOST_LIFETIME)?;
        resources(&format!("{field}.lobby"), lobby.cpu_limit, lobby.memory_limit)?;
        ports::check(&format!("{field}.lobby.ports"), &lobby.ports)?;
        resources(&format!("{field}.match"), r#match.cpu_limit, r#match.memory_limit)?;
        ports::check(&format!("{field}.match.ports"), &r#match.ports)
    }
}

fn resources(field: &str, cpu: u32, memory: u32) -> Result<(), Problem> {
    within(&format!("{field}.cpu_limit"), cpu, 0, MOST_CPU)?;
    if memory == 0 || (LEAST_MEMORY..=MOST_MEMORY).contains(&memory) {
        return Ok(());
    }
    let why = format!("must be 0 for the server's default, or {LEAST_MEMORY} to {MOST_MEMORY} MiB");
    Err(invalid(&format!("{field}.memory_limit"), &why))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(json: &str) -> Option<String> {
        let config: DeploymentConfig = serde_json::from_str(json).unwrap();
        config.check("config").err().map(|it| it.sentence().to_owned())
    }

    #[test]
    fn every_number_has_bounds_that_the_refusal_names() {
        let most = u32::MAX;
        for (json, sentence) in [
            (format!(r#"{{"min_lobbies":{most}}}"#), "`config.min_lobbies` must be 0 to 1000"),
            (r#"{"min_lobbies":1001}"#.to_owned(), "`config.min_lobbies` must be 0 to 1000"),
            (format!(r#"{{"max_lobbies":{most}}}"#), "`config.max_lobbies` must be 1 to 2147483647"),
            (r#"{"max_lobbies":0}"#.to_owned(), "`config.max_lobbies` must be 1 to 2147483647"),
            (r#"{"min_lobbies":3,"max_lobbies":2}"#.to_owned(), "`config.max_lobbies` must not be below"),
            (
                format!(r#"{{"lobby":{{"max_assignments":{most}}}}}"#),
                "`config.lobby.max_assignments` must be 1 to 1000000",
            ),
            (
                format!(r#"{{"lobby":{{"min_lifetime":{most}}}}}"#),
                "`config.lobby.min_lifetime` must be 0 to 31536000",
            ),
            (
                format!(r#"{{"lobby":{{"cpu_limit":{most}}}}}"#),
                "`config.lobby.cpu_limit` must be 0 to 100000",
            ),
            (r#"{"match":{"cpu_limit":100001}}"#.to_owned(), "`config.match.cpu_limit` must be 0 to 100000"),
            (r#"{"lobby":{"memory_limit":5}}"#.to_owned(), "`config.lobby.memory_limit` must be 0 for"),
            (
                format!(r#"{{"match":{{"memory_limit":{most}}}}}"#),
                "`config.match.memory_limit` must be 0 for",
            ),
        ] {
            let refused = refusal(&json).unwrap_or_default();
            assert!(refused.starts_with(sentence), "{json}: {refused}");
        }
    }

    #[test]
    fn what_is_at_the_bounds_is_accepted() {
        for json in [
            "{}",
            r#"{"min_lobbies":1000,"max_lobbies":1000}"#,
            r#"{"max_lobbies":2147483647}"#,
            r#"{"lobby":{"cpu_limit":1,"memory_limit":6,"max_assignments":1000000,"min_lifetime":31536000}}"#,
            r#"{"match":{"cpu_limit":100000,"memory_limit":16777216}}"#,
        ] {
            assert_eq!(refusal(json), None, "{json}");
        }
    }

    /// Small numbers, numbers about the bounds, and any.
    fn number() -> impl Strategy<Value = u32> {
        let bounds = [5, 6, 1_000, 1_001, MOST_CPU, MOST_CPU + 1, MOST_MEMORY, MOST_MEMORY + 1, u32::MAX];
        prop_oneof![0..10_u32, prop::sample::select(bounds.to_vec()), any::<u32>()]
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_can_be_run(
            (min_lobbies, max_lobbies) in (number(), number()),
            (lobby_cpu, lobby_memory, match_cpu, match_memory) in (number(), number(), number(), number()),
            (max_assignments, min_lifetime) in (number(), number()),
        ) {
            let lobby = LobbyConfig {
                max_assignments, min_lifetime, cpu_limit: lobby_cpu, memory_limit: lobby_memory, ports: vec![],
            };
            let r#match = ResourceConfig { cpu_limit: match_cpu, memory_limit: match_memory, ports: vec![] };
            let config =
                DeploymentConfig { min_lobbies, max_lobbies, lobby, r#match, delivery: Delivery::Durable };
            if config.check("config").is_ok() {
                prop_assert!(min_lobbies <= 1_000 && min_lobbies <= max_lobbies && max_lobbies > 0);
                for (cpu, memory) in [(lobby_cpu, lobby_memory), (match_cpu, match_memory)] {
                    // What the columns of `runtimes` and Docker take.
                    prop_assert!(i32::try_from(cpu).is_ok() && i32::try_from(memory).is_ok());
                    prop_assert!(memory == 0 || memory >= 6);
                }
                // What was accepted is accepted as it is written.
                let text = serde_json::to_string(&config).unwrap();
                prop_assert_eq!(refusal(&text), None);
            }
        }
    }
}
