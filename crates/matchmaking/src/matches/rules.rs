//! The decisions about matches: pure functions of facts. `plan` says what the matches of a
//! deployment need next, and a round turns that and all requests into changes.

pub(crate) mod changes;
pub(crate) mod restore;
pub(crate) mod round;
mod tickets;

use std::time::Duration;

use omgservers_api::MatchId;

use super::state::QueueKey;
use crate::health::GameServerHealth;

/// A match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MatchFacts {
    pub(super) id: MatchId,
    pub(super) queue: QueueKey,
    pub(super) state: GameServerHealth,
    /// A ticket was matched into it.
    pub(super) used: bool,
    /// No ticket is in it or will be.
    pub(super) empty: bool,
    /// A ticket waits for its game server.
    pub(super) expects: bool,
    pub(super) age: Duration,
}

/// The matches of one mode of one matchmaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueueFacts {
    pub(super) queue: QueueKey,
    /// Matches that are kept started without players.
    pub(super) min_matches: u32,
    /// Most matches at a time.
    pub(super) max_matches: Option<u32>,
}

/// The matches of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// It is the newest of its stage.
    pub(super) active: bool,
    /// In which a game server must have polled.
    pub(super) start_timeout: Duration,
    /// How long no match may be started yet, after failures.
    pub(super) pause: Duration,
    pub(super) queues: Vec<QueueFacts>,
    /// By id.
    pub(super) matches: Vec<MatchFacts>,
}

/// One change that matches need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MatchStep {
    /// Close a match that broke: its clients go to a lobby, its pending tickets wait again in their
    /// old positions.
    Discard(MatchId),
    /// Close a match that came to its end, or that no client needs.
    Close(MatchId),
    /// Start so many matches without players.
    Warm(QueueKey, u32),
}

/// What the matches of a deployment need next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) steps: Vec<MatchStep>,
    /// How many more matches each queue may form; `None` is any number.
    pub(super) allowed: Vec<(QueueKey, Option<u32>)>,
    /// After what time to plan again though nothing happened.
    pub(super) again: Option<Duration>,
}

pub(super) fn plan(facts: &Facts) -> Plan {
    let mut plan = Plan { again: plan_again(facts), ..Plan::default() };
    plan.steps.extend(facts.matches.iter().filter_map(|it| close(facts, it)));
    for queue in &facts.queues {
        plan_queue(facts, queue, &mut plan);
    }
    plan
}

fn close(facts: &Facts, found: &MatchFacts) -> Option<MatchStep> {
    let late = found.state == GameServerHealth::Starting && found.age >= facts.start_timeout;
    match found.state {
        GameServerHealth::Broken => Some(MatchStep::Discard(found.id)),
        GameServerHealth::Starting if late => Some(MatchStep::Discard(found.id)),
        // The pending tickets find another one.
        GameServerHealth::Over if found.expects => Some(MatchStep::Discard(found.id)),
        GameServerHealth::Over => Some(MatchStep::Close(found.id)),
        _ if found.used && found.empty => Some(MatchStep::Close(found.id)),
        _ if found.used || is_kept_warm(facts, found.queue) => None,
        _ => Some(MatchStep::Close(found.id)),
    }
}

/// Nothing is of a replaced deployment, and of a deleted matchmaker.
fn is_kept_warm(facts: &Facts, queue: QueueKey) -> bool {
    facts.active && facts.queues.iter().any(|it| it.queue == queue)
}

fn plan_queue(facts: &Facts, queue: &QueueFacts, plan: &mut Plan) {
    let living = facts.matches.iter().filter(|it| it.queue == queue.queue && close(facts, it).is_none());
    let (mut count, mut spare) = (0u32, 0u32);
    for found in living {
        count = count.saturating_add(1);
        spare = spare.saturating_add(u32::from(!found.used));
    }
    let free = queue.max_matches.map(|it| it.saturating_sub(count));
    let wanted = if facts.active { queue.min_matches.saturating_sub(spare) } else { 0 };
    let warm = wanted.min(free.unwrap_or(u32::MAX));
    if warm > 0 && facts.pause.is_zero() {
        plan.steps.push(MatchStep::Warm(queue.queue, warm));
    }
    // A pause holds only what would be started anew.
    let new = if facts.pause.is_zero() { free } else { Some(0) };
    plan.allowed.push((queue.queue, new.map(|it| it.saturating_add(spare))));
}

fn plan_again(facts: &Facts) -> Option<Duration> {
    let starting = facts.matches.iter().filter(|it| it.state == GameServerHealth::Starting);
    let late =
        starting.filter(|it| it.age < facts.start_timeout).map(|it| facts.start_timeout - it.age).min();
    let pause = Some(facts.pause).filter(|it| !it.is_zero());
    [late, pause].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use omgservers_api::{MatchmakerId, ids::Id as _};
    use proptest::prelude::*;

    use super::*;

    fn queue(mode: usize) -> QueueKey {
        (MatchmakerId::from_i64(7).unwrap(), mode)
    }
    fn id(id: i64) -> MatchId {
        MatchId::from_i64(id).unwrap()
    }
    /// One that is played.
    fn played(number: i64, state: GameServerHealth) -> MatchFacts {
        let (used, empty, expects) = (true, false, false);
        MatchFacts { id: id(number), queue: queue(0), state, used, empty, expects, age: Duration::ZERO }
    }
    fn warm(number: i64) -> MatchFacts {
        MatchFacts { used: false, empty: true, ..played(number, GameServerHealth::Ready) }
    }
    fn facts(min_matches: u32, max_matches: Option<u32>, matches: Vec<MatchFacts>) -> Facts {
        Facts {
            active: true,
            start_timeout: Duration::from_secs(120),
            pause: Duration::ZERO,
            queues: vec![QueueFacts { queue: queue(0), min_matches, max_matches }],
            matches,
        }
    }

    #[test]
    fn a_match_that_is_played_is_left_alone_and_nothing_else_is_started() {
        let plan = plan(&facts(0, None, vec![played(1, GameServerHealth::Ready)]));
        assert_eq!(plan, Plan { steps: vec![], allowed: vec![(queue(0), None)], again: None });
    }

    #[test]
    fn an_empty_match_ends_and_a_broken_one_is_given_up() {
        let empty = MatchFacts { empty: true, ..played(1, GameServerHealth::Ready) };
        let broken = played(2, GameServerHealth::Broken);
        let over = played(3, GameServerHealth::Over);
        let plan = plan(&facts(0, None, vec![empty, broken, over]));
        assert_eq!(plan.steps, [MatchStep::Close(id(1)), MatchStep::Discard(id(2)), MatchStep::Close(id(3))]);
    }

    #[test]
    fn who_was_to_come_into_a_match_that_is_over_finds_another_one() {
        let over = MatchFacts { expects: true, ..played(1, GameServerHealth::Over) };
        assert_eq!(plan(&facts(0, None, vec![over])).steps, [MatchStep::Discard(id(1))]);
    }

    #[test]
    fn a_match_takes_players_when_its_game_server_polls_and_is_given_up_when_it_never_does() {
        let mut found = MatchFacts { expects: true, ..played(1, GameServerHealth::Starting) };
        let waits = plan(&facts(0, None, vec![found.clone()]));
        assert_eq!((waits.steps, waits.again), (vec![], Some(Duration::from_secs(120))));
        found.age = Duration::from_secs(120);
        assert_eq!(plan(&facts(0, None, vec![found.clone()])).steps, [MatchStep::Discard(id(1))]);
        found.state = GameServerHealth::Ready;
        assert_eq!(plan(&facts(0, None, vec![found])).steps, []);
    }

    #[test]
    fn matches_are_kept_warm_up_to_the_bound_and_go_with_their_deployment() {
        assert_eq!(plan(&facts(2, None, vec![])).steps, [MatchStep::Warm(queue(0), 2)]);
        let bound = facts(2, Some(2), vec![played(1, GameServerHealth::Ready)]);
        assert_eq!(plan(&bound).steps, [MatchStep::Warm(queue(0), 1)]);
        let replaced = Facts { active: false, ..facts(2, None, vec![warm(1)]) };
        assert_eq!(plan(&replaced).steps, [MatchStep::Close(id(1))]);
    }

    #[test]
    fn after_failures_only_what_is_warm_is_used() {
        let paused = Facts { pause: Duration::from_secs(4), ..facts(3, None, vec![warm(1)]) };
        let plan = plan(&paused);
        assert_eq!((plan.steps, plan.allowed), (vec![], vec![(queue(0), Some(1))]));
        assert_eq!(plan.again, Some(Duration::from_secs(4)));
    }

    fn any_match() -> impl Strategy<Value = MatchFacts> {
        let state = prop_oneof![
            Just(GameServerHealth::Starting),
            Just(GameServerHealth::Ready),
            Just(GameServerHealth::Broken),
            Just(GameServerHealth::Over)
        ];
        (state, any::<bool>(), 0u32..3, 0u64..200).prop_map(|(state, used, players, age)| MatchFacts {
            used,
            empty: !used || players == 0,
            expects: used && players == 1,
            age: Duration::from_secs(age),
            ..played(1, state)
        })
    }

    proptest! {
        #[test]
        fn a_plan_keeps_every_bound(
            active in any::<bool>(), min in 0u32..4, more in prop::option::of(0u32..4), pause in 0u64..5,
            matches in prop::collection::vec(any_match(), 0..8),
        ) {
            let mut facts = facts(min, more.map(|it| it + min.max(1)), matches);
            (facts.active, facts.pause) = (active, Duration::from_secs(pause));
            for (found, number) in facts.matches.iter_mut().zip(1..) {
                found.id = id(number);
            }
            let plan = plan(&facts);
            let closed: Vec<MatchId> = plan.steps.iter().filter_map(|step| match step {
                MatchStep::Close(id) | MatchStep::Discard(id) => Some(*id),
                _ => None,
            }).collect();
            let started: u32 = plan.steps.iter().map(|step| if let MatchStep::Warm(_, count) = step { *count } else { 0 }).sum();
            let kept = facts.matches.iter().filter(|found| !closed.contains(&found.id));
            let count = u32::try_from(kept.clone().count()).unwrap();
            let spare = u32::try_from(kept.filter(|found| !found.used).count()).unwrap();
            prop_assert!(started == 0 || (active && pause == 0 && spare + started <= min));
            if let Some(most) = facts.queues[0].max_matches {
                prop_assert!(started == 0 || count + started <= most);
                let (_, allowed) = plan.allowed[0];
                prop_assert!(allowed.is_some_and(|it| it <= most.saturating_sub(count) + spare));
            }
            for found in &facts.matches {
                let plays = found.used && !found.empty && found.state == GameServerHealth::Ready;
                prop_assert!(!plays || !closed.contains(&found.id), "who plays goes on");
                let waits = found.state == GameServerHealth::Starting && !closed.contains(&found.id);
                prop_assert!(!waits || plan.again.is_some(), "a clock runs for who waits");
            }
        }
    }
}
