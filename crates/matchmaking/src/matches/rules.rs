//! What a deployment's matches need next: a pure function of what is.

use std::time::Duration;

use omgservers_api::MatchId;

use super::state::QueueKey;

/// Where a match stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MatchState {
    /// Its game server hasn't polled yet.
    Starting,
    /// Its game server takes players.
    Ready,
    /// Its game server failed or hung, or the match was on its way out when the process ended.
    Broken,
    /// Its game server ended by itself, without an error, after it was ready.
    Over,
}

/// A match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MatchFacts {
    pub(crate) id: MatchId,
    pub(crate) queue: QueueKey,
    pub(crate) state: MatchState,
    /// Somebody was placed in it.
    pub(crate) used: bool,
    /// Nobody is in it or will be.
    pub(crate) empty: bool,
    /// Somebody is placed in it and waits for its game server.
    pub(crate) expects: bool,
    pub(crate) age: Duration,
}

/// The matches of one mode of one matchmaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueueFacts {
    pub(crate) queue: QueueKey,
    /// Matches that are kept started without players.
    pub(crate) min_matches: u32,
    /// Most matches at a time.
    pub(crate) max_matches: Option<u32>,
}

/// The matches of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// It is the newest of its stage.
    pub(crate) active: bool,
    /// In which a game server must have polled.
    pub(crate) start_timeout: Duration,
    /// How long no match may be started yet, after failures.
    pub(crate) pause: Duration,
    pub(crate) queues: Vec<QueueFacts>,
    /// By id.
    pub(crate) matches: Vec<MatchFacts>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Close a match that broke: who was in it goes to a lobby, who was to come waits again in the old place.
    Discard(MatchId),
    /// Close a match that came to its end, or that nobody needs.
    Close(MatchId),
    /// Start so many matches without players.
    Warm(QueueKey, u32),
}

/// What to do next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// How many more matches each queue may form; `None` is any number.
    pub(crate) allowed: Vec<(QueueKey, Option<u32>)>,
    /// After what time to ask again though nothing happened.
    pub(crate) again: Option<Duration>,
}

pub(crate) fn plan(facts: &Facts) -> Plan {
    let mut plan = Plan { again: ask_again(facts), ..Plan::default() };
    plan.steps.extend(facts.matches.iter().filter_map(|it| close(facts, it)));
    for queue in &facts.queues {
        plan_queue(facts, queue, &mut plan);
    }
    plan
}

fn close(facts: &Facts, it: &MatchFacts) -> Option<Step> {
    let late = it.state == MatchState::Starting && it.age >= facts.start_timeout;
    match it.state {
        MatchState::Broken => Some(Step::Discard(it.id)),
        MatchState::Starting if late => Some(Step::Discard(it.id)),
        // Who is still to come finds another one.
        MatchState::Over if it.expects => Some(Step::Discard(it.id)),
        MatchState::Over => Some(Step::Close(it.id)),
        _ if it.used && it.empty => Some(Step::Close(it.id)),
        _ if it.used || is_kept_warm(facts, it.queue) => None,
        _ => Some(Step::Close(it.id)),
    }
}

/// Of a replaced deployment and of a deleted matchmaker nothing is.
fn is_kept_warm(facts: &Facts, queue: QueueKey) -> bool {
    facts.active && facts.queues.iter().any(|it| it.queue == queue)
}

fn plan_queue(facts: &Facts, queue: &QueueFacts, plan: &mut Plan) {
    let living = facts.matches.iter().filter(|it| it.queue == queue.queue && close(facts, it).is_none());
    let (mut count, mut spare) = (0u32, 0u32);
    for it in living {
        count = count.saturating_add(1);
        spare = spare.saturating_add(u32::from(!it.used));
    }
    let room = queue.max_matches.map(|it| it.saturating_sub(count));
    let wanted = if facts.active { queue.min_matches.saturating_sub(spare) } else { 0 };
    let warm = wanted.min(room.unwrap_or(u32::MAX));
    if warm > 0 && facts.pause.is_zero() {
        plan.steps.push(Step::Warm(queue.queue, warm));
    }
    // A pause holds only what would be started anew.
    let new = if facts.pause.is_zero() { room } else { Some(0) };
    plan.allowed.push((queue.queue, new.map(|it| it.saturating_add(spare))));
}

fn ask_again(facts: &Facts) -> Option<Duration> {
    let starting = facts.matches.iter().filter(|it| it.state == MatchState::Starting);
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
    fn played(number: i64, state: MatchState) -> MatchFacts {
        let (used, empty, expects) = (true, false, false);
        MatchFacts { id: id(number), queue: queue(0), state, used, empty, expects, age: Duration::ZERO }
    }
    fn warm(number: i64) -> MatchFacts {
        MatchFacts { used: false, empty: true, ..played(number, MatchState::Ready) }
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
        let plan = plan(&facts(0, None, vec![played(1, MatchState::Ready)]));
        assert_eq!(plan, Plan { steps: vec![], allowed: vec![(queue(0), None)], again: None });
    }

    #[test]
    fn an_empty_match_ends_and_a_broken_one_is_given_up() {
        let empty = MatchFacts { empty: true, ..played(1, MatchState::Ready) };
        let broken = played(2, MatchState::Broken);
        let over = played(3, MatchState::Over);
        let plan = plan(&facts(0, None, vec![empty, broken, over]));
        assert_eq!(plan.steps, [Step::Close(id(1)), Step::Discard(id(2)), Step::Close(id(3))]);
    }

    #[test]
    fn who_was_to_come_into_a_match_that_is_over_finds_another_one() {
        let over = MatchFacts { expects: true, ..played(1, MatchState::Over) };
        assert_eq!(plan(&facts(0, None, vec![over])).steps, [Step::Discard(id(1))]);
    }

    #[test]
    fn a_match_takes_players_when_its_game_server_polls_and_is_given_up_when_it_never_does() {
        let mut it = MatchFacts { expects: true, ..played(1, MatchState::Starting) };
        let waits = plan(&facts(0, None, vec![it.clone()]));
        assert_eq!((waits.steps, waits.again), (vec![], Some(Duration::from_secs(120))));
        it.age = Duration::from_secs(120);
        assert_eq!(plan(&facts(0, None, vec![it.clone()])).steps, [Step::Discard(id(1))]);
        it.state = MatchState::Ready;
        assert_eq!(plan(&facts(0, None, vec![it])).steps, []);
    }

    #[test]
    fn matches_are_kept_warm_up_to_the_bound_and_go_with_their_deployment() {
        assert_eq!(plan(&facts(2, None, vec![])).steps, [Step::Warm(queue(0), 2)]);
        let bound = facts(2, Some(2), vec![played(1, MatchState::Ready)]);
        assert_eq!(plan(&bound).steps, [Step::Warm(queue(0), 1)]);
        let replaced = Facts { active: false, ..facts(2, None, vec![warm(1)]) };
        assert_eq!(plan(&replaced).steps, [Step::Close(id(1))]);
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
            Just(MatchState::Starting),
            Just(MatchState::Ready),
            Just(MatchState::Broken),
            Just(MatchState::Over)
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
            let mut it = facts(min, more.map(|it| it + min.max(1)), matches);
            (it.active, it.pause) = (active, Duration::from_secs(pause));
            for (found, number) in it.matches.iter_mut().zip(1..) {
                found.id = id(number);
            }
            let plan = plan(&it);
            let closed: Vec<MatchId> = plan.steps.iter().filter_map(|step| match step {
                Step::Close(id) | Step::Discard(id) => Some(*id),
                _ => None,
            }).collect();
            let started: u32 = plan.steps.iter().map(|step| if let Step::Warm(_, count) = step { *count } else { 0 }).sum();
            let kept = it.matches.iter().filter(|found| !closed.contains(&found.id));
            let count = u32::try_from(kept.clone().count()).unwrap();
            let spare = u32::try_from(kept.filter(|found| !found.used).count()).unwrap();
            prop_assert!(started == 0 || (active && pause == 0 && spare + started <= min));
            if let Some(most) = it.queues[0].max_matches {
                prop_assert!(started == 0 || count + started <= most);
                let (_, allowed) = plan.allowed[0];
                prop_assert!(allowed.is_some_and(|it| it <= most.saturating_sub(count) + spare));
            }
            for found in &it.matches {
                let plays = found.used && !found.empty && found.state == MatchState::Ready;
                prop_assert!(!plays || !closed.contains(&found.id), "who plays goes on");
                let waits = found.state == MatchState::Starting && !closed.contains(&found.id);
                prop_assert!(!waits || plan.again.is_some(), "a clock runs for who waits");
            }
        }
    }
}
