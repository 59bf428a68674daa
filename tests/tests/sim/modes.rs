//! The modes of the simulated game.

use omgservers_api::config::{ModeConfig, VersionConfig};

use crate::rng::Rng;

/// Those of the first version. The second one has only the first of them and the one that is kept
/// warm.
const MODES: &str = r#"{"modes":[
{"name":"duel","min_players":2,"max_players":2,"groups":[{"name":"all","min_players":2,"max_players":2}]},
{"name":"warm","min_players":1,"max_players":3,"min_matches":1,
 "groups":[{"name":"all","min_players":1,"max_players":3}]},
{"name":"squad","min_players":2,"max_players":4,
 "groups":[{"name":"red","min_players":1,"max_players":2},{"name":"blue","min_players":1,"max_players":2}],
 "matchmaking":{"timeout":{"after":40,"then":"fail"}}},
{"name":"ranked","min_players":2,"max_players":2,"groups":[{"name":"all","min_players":2,"max_players":2}],
 "matchmaking":{"rules":[{"kind":"range","name":"skill","attribute":"mmr","max_difference":10,
  "expansions":[{"after":20,"max_difference":20}]}],"timeout":{"after":60,"then":"fail"}}},
{"name":"single","min_players":2,"max_players":3,"max_matches":1,
 "groups":[{"name":"all","min_players":2,"max_players":3}],
 "matchmaking":{"timeout":{"after":50,"then":"fail"}}},
{"name":"small","min_players":4,"max_players":4,"groups":[{"name":"all","min_players":4,"max_players":4}],
 "matchmaking":{"timeout":{"after":15,"then":"start_smaller","min_players":1,"fail_after":60}}}
]}"#;

/// The configuration of a version.
pub(crate) fn of_version(index: usize) -> VersionConfig {
    let mut config: VersionConfig = serde_json::from_str(MODES).unwrap();
    if index > 0 {
        config.modes.truncate(2);
    }
    config
}

/// A mode, by the name that it has in all versions.
pub(crate) fn named(name: &str) -> Option<ModeConfig> {
    of_version(0).modes.into_iter().find(|it| it.name == name)
}

/// Fewest players with which a match may start.
pub(crate) fn fewest(mode: &ModeConfig) -> u32 {
    let smaller = mode.matchmaking.as_ref().and_then(|it| it.timeout.as_ref()?.min_players);
    smaller.unwrap_or(mode.min_players)
}

/// Names, and how often each is asked for. There is no mode of the last one.
const NAMES: &[(usize, &str)] =
    &[(6, "duel"), (3, "warm"), (5, "squad"), (4, "ranked"), (3, "single"), (2, "small"), (1, "nothing")];

/// The name of a mode, sometimes of none.
pub(crate) fn any(rng: &mut Rng) -> &'static str {
    rng.weighted(NAMES)
}

/// The same name, for ever.
pub(crate) fn static_name(name: &str) -> &'static str {
    NAMES.iter().find(|it| it.1 == name).map_or("", |it| it.1)
}
