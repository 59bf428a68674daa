//! The rules by which players are matched. `docs/matchmaking.md` explains the language.

use serde::{Deserialize, Serialize};

use super::{ModeConfig, unique};
use crate::{
    Problem,
    validate::{invalid, text},
};

/// Most rules of a mode, and most expansions of a rule.
pub(super) const MOST_RULES: usize = 16;
/// Longest time that a rule may name, seconds.
pub(super) const MOST_SECONDS: u32 = 86_400;

/// What tickets of a mode have to fulfil beyond its sizes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct MatchRules {
    /// Several clients on one ticket; absent: as many as fit into a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub party: Option<PartyConfig>,
    /// All of them have to hold.
    pub rules: Vec<MatchRule>,
    /// What happens to a ticket that waits too long; absent: it waits on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<TimeoutConfig>,
}

/// Bounds of a party: it comes on one ticket and stays in one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PartyConfig {
    /// Most clients of a ticket.
    pub max_size: u32,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MatchRule {
    /// A number that lies close together.
    Range(RangeRule),
    /// A value that is the same for all.
    Equal(EqualRule),
    /// The groups' averages of a number lie close together.
    TeamBalance(RangeRule),
}

/// How far apart a number may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RangeRule {
    /// Its name, unique in the mode.
    pub name: String,
    /// The attribute that it looks at.
    pub attribute: String,
    /// The greatest difference.
    pub max_difference: f64,
    /// The value of a ticket without the attribute; absent: such a ticket is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<f64>,
    /// How it widens while a ticket waits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expansions: Vec<RangeExpansion>,
}

/// From when on a number may be further apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RangeExpansion {
    /// Seconds of waiting.
    pub after: u32,
    /// The greatest difference from then on; null: any.
    pub max_difference: Option<f64>,
}

/// What must be the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EqualRule {
    /// Its name, unique in the mode.
    pub name: String,
    /// The attribute that it looks at; tickets without it are equal to each other.
    pub attribute: String,
    /// When it is given up for a ticket that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expansion: Option<EqualExpansion>,
}

/// From when on a value may differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EqualExpansion {
    /// Seconds of waiting.
    pub after: u32,
}

/// When a ticket has waited too long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TimeoutConfig {
    /// Seconds of waiting.
    pub after: u32,
    /// What happens then.
    pub then: AfterTimeout,
    /// Seconds after which a ticket that was relaxed or may start smaller fails; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_after: Option<u32>,
    /// For `start_smaller`: fewest players of a match from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_players: Option<u32>,
}

/// What happens to a ticket that has waited too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AfterTimeout {
    /// It ends without a match.
    Fail,
    /// The rules no longer hold for it, the sizes do.
    Relax,
    /// A match may start with fewer players.
    StartSmaller,
}

impl MatchRule {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Range(rule) | Self::TeamBalance(rule) => &rule.name,
            Self::Equal(rule) => &rule.name,
        }
    }

    /// The attribute that it compares.
    pub fn attribute(&self) -> &str {
        match self {
            Self::Range(rule) | Self::TeamBalance(rule) => &rule.attribute,
            Self::Equal(rule) => &rule.attribute,
        }
    }
}

impl MatchRules {
    pub(super) fn check(&self, field: &str, mode: &ModeConfig) -> Result<(), Problem> {
        if let Some(party) = &self.party {
            let most = mode.groups.iter().map(|it| it.max_players).max().unwrap_or(0);
            if party.max_size == 0 || party.max_size > most {
                let why = format!("must be 1 to {most}: a party stays in one group");
                return Err(invalid(&format!("{field}.party.max_size"), &why));
            }
        }
        if self.rules.len() > MOST_RULES {
            return Err(invalid(
                &format!("{field}.rules"),
                &format!("must have at most {MOST_RULES} entries"),
            ));
        }
        unique(&format!("{field}.rules"), self.rules.iter().map(MatchRule::name))?;
        for (index, rule) in self.rules.iter().enumerate() {
            check_rule(&format!("{field}.rules[{index}]"), rule)?;
        }
        self.timeout.as_ref().map_or(Ok(()), |it| it.check(&format!("{field}.timeout"), mode))
    }
}

fn check_rule(field: &str, rule: &MatchRule) -> Result<(), Problem> {
    text(&format!("{field}.name"), rule.name(), 64)?;
    text(&format!("{field}.attribute"), rule.attribute(), 64)?;
    match rule {
        MatchRule::Range(rule) | MatchRule::TeamBalance(rule) => check_range(field, rule),
        MatchRule::Equal(EqualRule { expansion: Some(expansion), .. }) => {
            seconds(&format!("{field}.expansion.after"), expansion.after)
        }
        MatchRule::Equal(_) => Ok(()),
    }
}

fn check_range(field: &str, rule: &RangeRule) -> Result<(), Problem> {
    let mut last = (0, difference(&format!("{field}.max_difference"), rule.max_difference)?);
    if rule.default.is_some_and(|it| !it.is_finite()) {
        return Err(invalid(&format!("{field}.default"), "must be a number"));
    }
    if rule.expansions.len() > MOST_RULES {
        let why = format!("must have at most {MOST_RULES} entries");
        return Err(invalid(&format!("{field}.expansions"), &why));
    }
    for (index, expansion) in rule.expansions.iter().enumerate() {
        let field = format!("{field}.expansions[{index}]");
        seconds(&format!("{field}.after"), expansion.after)?;
        let wide = expansion
            .max_difference
            .map_or(Ok(f64::INFINITY), |it| difference(&format!("{field}.max_difference"), it))?;
        if expansion.after <= last.0 {
            return Err(invalid(&format!("{field}.after"), "must be later than the expansion before"));
        }
        if wide < last.1 {
            return Err(invalid(&format!("{field}.max_difference"), "must not be below the one before"));
        }
        last = (expansion.after, wide);
    }
    Ok(())
}

impl TimeoutConfig {
    fn check(&self, field: &str, mode: &ModeConfig) -> Result<(), Problem> {
        seconds(&format!("{field}.after"), self.after)?;
        if let Some(fail_after) = self.fail_after {
            seconds(&format!("{field}.fail_after"), fail_after)?;
            if self.then == AfterTimeout::Fail || fail_after <= self.after {
                let why = "must be later than `after`, and is not for `then: fail`";
                return Err(invalid(&format!("{field}.fail_after"), why));
            }
        }
        match (self.then, self.min_players) {
            (AfterTimeout::StartSmaller, Some(players)) if players > 0 && players < mode.min_players => {
                Ok(())
            }
            (AfterTimeout::StartSmaller, _) => Err(invalid(
                &format!("{field}.min_players"),
                "must be 1 or more, and below the mode's `min_players`",
            )),
            (_, Some(_)) => {
                Err(invalid(&format!("{field}.min_players"), "is only for `then: start_smaller`"))
            }
            (_, None) => Ok(()),
        }
    }
}

fn seconds(field: &str, given: u32) -> Result<(), Problem> {
    if given == 0 || given > MOST_SECONDS {
        return Err(invalid(field, &format!("must be 1 to {MOST_SECONDS} seconds")));
    }
    Ok(())
}

fn difference(field: &str, given: f64) -> Result<f64, Problem> {
    if given.is_finite() && given >= 0.0 { Ok(given) } else { Err(invalid(field, "must be a number from 0")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Validate as _, config::VersionConfig};

    fn read(matchmaking: &str) -> Result<VersionConfig, String> {
        let mode = format!(
            r#"{{"name":"m","min_players":2,"max_players":4,"matchmaking":{matchmaking},
            "groups":[{{"name":"a","min_players":1,"max_players":2}},{{"name":"b","min_players":1,"max_players":2}}]}}"#
        );
        let version: VersionConfig =
            serde_json::from_str(&format!(r#"{{"modes":[{mode}]}}"#)).map_err(|it| it.to_string())?;
        version.validate().map_err(|it| it.sentence().to_owned())?;
        Ok(version)
    }

    #[test]
    fn all_of_the_language_is_accepted_and_comes_back_as_it_went() {
        let all = r#"{"party":{"max_size":2},"rules":[
            {"kind":"range","name":"skill","attribute":"mmr","max_difference":100,"default":-1.5,
             "expansions":[{"after":10,"max_difference":150.25},{"after":20,"max_difference":null}]},
            {"kind":"equal","name":"region","attribute":"region","expansion":{"after":30}},
            {"kind":"team_balance","name":"fair","attribute":"mmr","max_difference":0.1}],
            "timeout":{"after":60,"then":"start_smaller","min_players":1,"fail_after":120}}"#;
        let once = read(all).unwrap();
        let text = serde_json::to_string(&once).unwrap();
        let again: VersionConfig = serde_json::from_str(&text).unwrap();
        assert_eq!(once.modes, again.modes);
        assert_eq!(text, serde_json::to_string(&again).unwrap());
        let rules = &again.modes[0].matchmaking.as_ref().unwrap().rules;
        let MatchRule::Range(range) = &rules[0] else { panic!("{rules:?}") };
        assert_eq!((range.max_difference, range.default), (100.0, Some(-1.5)));
        assert_eq!(range.expansions[0].max_difference, Some(150.25));
        assert_eq!(range.expansions[1].max_difference, None);
        assert!(read("{}").is_ok() && read("null").is_ok());
    }

    #[test]
    fn a_wrong_field_of_a_rule_is_named() {
        let range = |fields: &str| {
            format!(
                r#"{{"rules":[{{"kind":"range","name":"r","attribute":"a","max_difference":10,{fields}}}]}}"#
            )
        };
        let one = |rule: &str| format!(r#"{{"rules":[{rule}]}}"#);
        let timeout = |fields: &str| format!(r#"{{"timeout":{{"after":10,{fields}}}}}"#);
        let equal = r#"{"kind":"equal","name":"e","attribute":"a"}"#;
        for (matchmaking, field) in [
            (r#"{"party":{"max_size":0}}"#.to_owned(), "party.max_size"),
            (r#"{"party":{"max_size":3}}"#.to_owned(), "party.max_size"),
            (one(&format!("{equal},{equal}")), "rules"),
            (one(&vec![equal; MOST_RULES + 1].join(",")), "rules"),
            (one(r#"{"kind":"equal","name":" ","attribute":"a"}"#), "rules[0].name"),
            (one(r#"{"kind":"equal","name":"e","attribute":""}"#), "rules[0].attribute"),
            (
                one(r#"{"kind":"equal","name":"e","attribute":"a","expansion":{"after":0}}"#),
                "rules[0].expansion.after",
            ),
            (
                one(r#"{"kind":"team_balance","name":"t","attribute":"a","max_difference":-1}"#),
                "rules[0].max_difference",
            ),
            (range(r#""expansions":[{"after":0,"max_difference":20}]"#), "rules[0].expansions[0].after"),
            (range(r#""expansions":[{"after":86401,"max_difference":20}]"#), "rules[0].expansions[0].after"),
            (
                range(r#""expansions":[{"after":5,"max_difference":9}]"#),
                "rules[0].expansions[0].max_difference",
            ),
            (
                range(r#""expansions":[{"after":5,"max_difference":null},{"after":6,"max_difference":99}]"#),
                "rules[0].expansions[1].max_difference",
            ),
            (
                range(r#""expansions":[{"after":5,"max_difference":20},{"after":5,"max_difference":30}]"#),
                "rules[0].expansions[1].after",
            ),
            (timeout(r#""then":"fail","fail_after":20"#), "timeout.fail_after"),
            (timeout(r#""then":"relax","fail_after":10"#), "timeout.fail_after"),
            (timeout(r#""then":"relax","min_players":1"#), "timeout.min_players"),
            (timeout(r#""then":"start_smaller""#), "timeout.min_players"),
            (timeout(r#""then":"start_smaller","min_players":2"#), "timeout.min_players"),
            (timeout(r#""then":"start_smaller","min_players":0"#), "timeout.min_players"),
        ] {
            let problem = read(&matchmaking).unwrap_err();
            let named = format!("`config.modes[0].matchmaking.{field}` ");
            assert!(problem.starts_with(&named), "{matchmaking}: {problem}");
        }
    }

    #[test]
    fn an_unknown_kind_names_those_that_there_are() {
        let problem = read(r#"{"rules":[{"kind":"luck","name":"r","attribute":"a"}]}"#).unwrap_err();
        assert!(problem.contains("`range`, `equal`, `team_balance`"), "{problem}");
        let problem = read(r#"{"timeout":{"after":1,"then":"dance"}}"#).unwrap_err();
        assert!(problem.contains("`fail`, `relax`, `start_smaller`"), "{problem}");
    }
}
