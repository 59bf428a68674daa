//! What a deployment's matches need next: a pure function of what is.

use std::time::Duration;

use omgservers_api::MatchId;

use super::Queue;

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
    pub(crate) queue: Queue,
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
    pub(crate) queue: Queue,
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
    Warm(Queue, u32),
    /// Let who was placed in it join.
    Admit(MatchId),
}

/// What to do next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// How many more matches each queue may form; `None` is any number.
    pub(crate) allowed: Vec<(Queue, Option<u32>)>,
    /// After what time to ask again though nothing happened.
    pub(crate) again: Option<Duration>,
}

pub(crate) fn plan(facts: &Facts) -> Plan {
    let mut plan = Plan { again: ask_again(facts), ..Plan::default() };
    plan.steps.extend(facts.matches.iter().filter_map(|it| close(facts, it)));
    let admitted = facts.matches.iter().filter(|it| it.state == MatchState::Ready && it.expects);
    plan.steps.extend(admitted.map(|it| Step::Admit(it.id)));
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
        _ if !it.used && !(facts.active && is_known(facts, it.queue)) => Some(Step::Close(it.id)),
        _ => None,
    }
}

/// Its matchmaker wasn't deleted.
fn is_known(facts: &Facts, queue: Queue) -> bool {
    facts.queues.iter().any(|it| it.queue == queue)
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
