//! The decisions about lobbies: a pure function of facts.

use std::time::Duration;

use omgservers_api::{ClientId, LobbyId};

use crate::health::GameServerHealth;

/// A lobby.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LobbyFacts {
    pub(crate) id: LobbyId,
    /// A lobby is never over: without its game server it is broken.
    pub(crate) state: GameServerHealth,
    /// How many clients are in it.
    pub(crate) clients: u32,
    /// Since it was made.
    pub(crate) age: Duration,
}

/// A client without a runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WaitingFacts {
    pub(crate) client: ClientId,
    /// For how long.
    pub(crate) waited: Duration,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeploymentFacts {
    /// It is the newest of its stage.
    pub(crate) active: bool,
    /// Lobbies that are kept without clients while it is active.
    pub(crate) min_lobbies: u32,
    /// Most lobbies at a time.
    pub(crate) max_lobbies: u32,
    /// Most clients of a lobby.
    pub(crate) capacity: u32,
    /// How long an empty lobby of an active deployment is kept, from when it was made.
    pub(crate) min_lifetime: Duration,
    /// How long a client waits before it is disconnected.
    pub(crate) wait_timeout: Duration,
    /// How long no lobby may be opened yet, after failures.
    pub(crate) pause: Duration,
    /// Lobbies that were requested on top.
    pub(crate) requested: u32,
    /// How many matches it has: their players come back.
    pub(crate) matches: usize,
    /// Its lobbies, by id.
    pub(crate) lobbies: Vec<LobbyFacts>,
    /// The clients that wait, first come first.
    pub(crate) waiting: Vec<WaitingFacts>,
}

/// One change that lobbies need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LobbyStep {
    /// Close a lobby that broke; its clients wait again, and the next one may have to wait.
    Discard(LobbyId),
    /// Close an empty lobby that no client needs.
    Close(LobbyId),
    /// Put a client into a lobby.
    Assign { client: ClientId, lobby: LobbyId },
    /// Disconnect a client that has waited for too long.
    GiveUp(ClientId),
    /// Open so many lobbies.
    Open(u32),
    /// Nothing is left and nothing will come: the deployment can go.
    Retire,
}

/// What the lobbies of a deployment need next, and after what time to plan again though nothing
/// happened.
pub(crate) fn plan(facts: &DeploymentFacts) -> (Vec<LobbyStep>, Option<Duration>) {
    let mut steps: Vec<LobbyStep> = broken(facts).map(|it| LobbyStep::Discard(it.id)).collect();
    let (assigned, left) = assign(facts);
    let waiting_left: Vec<&WaitingFacts> = facts.waiting.iter().skip(facts.waiting.len() - left).collect();
    steps.extend(assigned);
    let gives_up = |it: &&&WaitingFacts| it.waited >= facts.wait_timeout;
    steps.extend(waiting_left.iter().filter(gives_up).map(|it| LobbyStep::GiveUp(it.client)));
    let still = waiting_left.iter().filter(|it| it.waited < facts.wait_timeout).count();

    let wanted = lobbies_to_open(facts, still);
    if wanted > 0 && facts.pause.is_zero() {
        steps.push(LobbyStep::Open(wanted));
    }
    if facts.waiting.is_empty() {
        steps.extend(spare_lobbies(facts).into_iter().map(LobbyStep::Close));
    }
    let is_empty = facts.lobbies.is_empty() && facts.matches == 0 && facts.waiting.is_empty();
    if !facts.active && is_empty && facts.requested == 0 {
        steps.push(LobbyStep::Retire);
    }
    let again = plan_again(facts, wanted > 0);
    (steps, again)
}

fn broken(facts: &DeploymentFacts) -> impl Iterator<Item = &LobbyFacts> {
    facts.lobbies.iter().filter(|it| it.state == GameServerHealth::Broken)
}

/// First come first served, into the fullest lobby with free seats: players meet, and empty lobbies
/// can go. Answers how many clients are left without one.
fn assign(facts: &DeploymentFacts) -> (Vec<LobbyStep>, usize) {
    let mut free: Vec<(u32, LobbyId)> = facts
        .lobbies
        .iter()
        .filter(|it| it.state == GameServerHealth::Ready && it.clients < facts.capacity)
        .map(|it| (it.clients, it.id))
        .collect();
    // The fullest last, and of equals the oldest: the next one to fill is popped.
    free.sort_unstable_by_key(|(clients, id)| (*clients, std::cmp::Reverse(*id)));
    let mut steps = Vec::new();
    let mut waiting = facts.waiting.iter();
    while let Some((clients, lobby)) = free.pop() {
        let seats = usize::try_from(facts.capacity - clients).unwrap_or(usize::MAX);
        steps.extend(waiting.by_ref().take(seats).map(|it| LobbyStep::Assign { client: it.client, lobby }));
        if waiting.len() == 0 {
            break;
        }
    }
    (steps, waiting.len())
}

fn lobbies_to_open(facts: &DeploymentFacts, without_seat: usize) -> u32 {
    let living = facts.lobbies.iter().filter(|it| it.state != GameServerHealth::Broken);
    let count = u32::try_from(living.clone().count()).unwrap_or(u32::MAX);
    let starting =
        u32::try_from(living.filter(|it| it.state == GameServerHealth::Starting).count()).unwrap_or(u32::MAX);
    let without_seat = u32::try_from(without_seat).unwrap_or(u32::MAX);
    let needed = without_seat.div_ceil(facts.capacity.max(1)).saturating_sub(starting);
    let warm = if facts.active { facts.min_lobbies.saturating_sub(count) } else { 0 };
    needed.max(warm).saturating_add(facts.requested).min(facts.max_lobbies.saturating_sub(count))
}

/// Empty lobbies that no client needs. Of an active deployment the newest go first and
/// `min_lobbies` stay.
fn spare_lobbies(facts: &DeploymentFacts) -> Vec<LobbyId> {
    let living = facts.lobbies.iter().filter(|it| it.state != GameServerHealth::Broken);
    let keep = if facts.active { facts.min_lobbies } else { 0 };
    let most = living.clone().count().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
    let old_enough = |it: &&LobbyFacts| !facts.active || it.age >= facts.min_lifetime;
    let mut spare: Vec<LobbyId> =
        living.filter(|it| it.clients == 0).filter(old_enough).map(|it| it.id).collect();
    spare.sort_unstable_by_key(|it| std::cmp::Reverse(*it));
    spare.truncate(most);
    spare
}

fn plan_again(facts: &DeploymentFacts, wants_lobby: bool) -> Option<Duration> {
    let pause = (wants_lobby && !facts.pause.is_zero()).then_some(facts.pause);
    let empty = facts.lobbies.iter().filter(|it| it.clients == 0 && it.age < facts.min_lifetime);
    let grown_old = empty.map(|it| facts.min_lifetime - it.age).min();
    // This very plan gives up on the others.
    let waiting = facts.waiting.iter().filter(|it| it.waited < facts.wait_timeout);
    let timeout = waiting.map(|it| facts.wait_timeout - it.waited).min();
    [pause, grown_old, timeout].into_iter().flatten().filter(|it| !it.is_zero()).min()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use omgservers_api::ids::Id as _;
    use proptest::prelude::*;

    use super::*;

    fn lobby(id: i64, state: GameServerHealth, clients: u32, age: u64) -> LobbyFacts {
        LobbyFacts { id: LobbyId::from_i64(id).unwrap(), state, clients, age: Duration::from_secs(age) }
    }
    fn client(id: i64) -> WaitingFacts {
        WaitingFacts { client: ClientId::from_i64(id).unwrap(), waited: Duration::ZERO }
    }
    fn facts() -> DeploymentFacts {
        DeploymentFacts {
            active: true,
            min_lobbies: 0,
            max_lobbies: 100,
            capacity: 4,
            min_lifetime: Duration::from_secs(60),
            wait_timeout: Duration::from_secs(300),
            pause: Duration::ZERO,
            requested: 0,
            matches: 0,
            lobbies: Vec::new(),
            waiting: Vec::new(),
        }
    }
    fn steps(facts: &DeploymentFacts) -> Vec<LobbyStep> {
        plan(facts).0
    }

    #[test]
    fn a_deployment_without_players_starts_nothing() {
        assert_eq!(plan(&facts()), (vec![], None));
    }

    #[test]
    fn the_first_player_opens_one_lobby_and_the_next_ones_none() {
        let mut facts = DeploymentFacts { waiting: vec![client(1)], ..facts() };
        assert_eq!(steps(&facts), [LobbyStep::Open(1)]);
        facts.lobbies.push(lobby(9, GameServerHealth::Starting, 0, 0));
        facts.waiting.push(client(2));
        assert_eq!(steps(&facts), []);
    }

    #[test]
    fn players_gather_in_the_fullest_lobby_that_has_room() {
        let lobbies = vec![
            lobby(1, GameServerHealth::Ready, 1, 0),
            lobby(2, GameServerHealth::Ready, 3, 0),
            lobby(3, GameServerHealth::Ready, 4, 0),
        ];
        let facts = DeploymentFacts { lobbies, waiting: vec![client(1), client(2)], ..facts() };
        let into = |client: i64, lobby: i64| LobbyStep::Assign {
            client: ClientId::from_i64(client).unwrap(),
            lobby: LobbyId::from_i64(lobby).unwrap(),
        };
        assert_eq!(steps(&facts), [into(1, 2), into(2, 1)]);
    }

    #[test]
    fn warm_lobbies_are_kept_and_a_fresh_empty_one_is_not_closed_at_once() {
        let warm = DeploymentFacts { min_lobbies: 2, ..facts() };
        assert_eq!(steps(&warm), [LobbyStep::Open(2)]);
        let young = DeploymentFacts { lobbies: vec![lobby(1, GameServerHealth::Ready, 0, 59)], ..facts() };
        assert_eq!(plan(&young), (vec![], Some(Duration::from_secs(1))));
        let old = DeploymentFacts { lobbies: vec![lobby(1, GameServerHealth::Ready, 0, 60)], ..facts() };
        assert_eq!(steps(&old), [LobbyStep::Close(LobbyId::from_i64(1).unwrap())]);
        let warm = DeploymentFacts { min_lobbies: 1, ..old };
        assert_eq!(steps(&warm), []);
    }

    #[test]
    fn a_replaced_deployment_keeps_its_players_then_closes_its_lobbies_then_goes() {
        let full = DeploymentFacts {
            active: false,
            lobbies: vec![lobby(1, GameServerHealth::Ready, 2, 5)],
            ..facts()
        };
        assert_eq!(steps(&full), []);
        let empty = DeploymentFacts { lobbies: vec![lobby(1, GameServerHealth::Ready, 0, 5)], ..full };
        assert_eq!(steps(&empty), [LobbyStep::Close(LobbyId::from_i64(1).unwrap())]);
        let playing = DeploymentFacts { lobbies: vec![], matches: 1, ..empty };
        assert_eq!(steps(&playing), [], "who plays comes back to a lobby of the same deployment");
        let gone = DeploymentFacts { matches: 0, ..playing };
        assert_eq!(steps(&gone), [LobbyStep::Retire]);
    }

    #[test]
    fn after_failures_the_next_lobby_waits_and_in_the_end_the_client_is_disconnected() {
        let pause = Duration::from_secs(8);
        let mut facts = DeploymentFacts { pause, waiting: vec![client(1)], ..facts() };
        assert_eq!(plan(&facts), (vec![], Some(pause)));
        facts.waiting[0].waited = facts.wait_timeout;
        assert_eq!(steps(&facts), [LobbyStep::GiveUp(ClientId::from_i64(1).unwrap())]);
    }

    fn any_facts() -> impl Strategy<Value = DeploymentFacts> {
        let state = prop_oneof![
            Just(GameServerHealth::Starting),
            Just(GameServerHealth::Ready),
            Just(GameServerHealth::Broken)
        ];
        let lobbies = prop::collection::vec((state, 0u32..6, 0u64..120), 0..8);
        let waiting = prop::collection::vec(0u64..400, 0..40);
        (any::<bool>(), 0u32..4, 1u32..10, 1u32..6, 0u64..10, 0u32..3, lobbies, waiting).prop_map(
            |(active, min_lobbies, max_lobbies, capacity, pause, requested, lobbies, waiting)| {
                DeploymentFacts {
                    active,
                    min_lobbies,
                    max_lobbies,
                    capacity,
                    pause: Duration::from_secs(pause),
                    requested,
                    lobbies: lobbies
                        .into_iter()
                        .zip(1..)
                        .map(|((state, clients, age), id)| {
                            let clients =
                                if state == GameServerHealth::Ready { clients.min(capacity) } else { 0 };
                            lobby(id, state, clients, age)
                        })
                        .collect(),
                    waiting: waiting
                        .into_iter()
                        .zip(1..)
                        .map(|(waited, id)| WaitingFacts {
                            waited: Duration::from_secs(waited),
                            ..client(id)
                        })
                        .collect(),
                    ..facts()
                }
            },
        )
    }

    proptest! {
        #[test]
        fn a_plan_keeps_every_bound(facts in any_facts()) {
            let (steps, _) = plan(&facts);
            let mut clients: BTreeMap<LobbyId, u32> = facts.lobbies.iter().map(|it| (it.id, it.clients)).collect();
            let state: HashMap<LobbyId, GameServerHealth> = facts.lobbies.iter().map(|it| (it.id, it.state)).collect();
            let mut handled = HashMap::new();
            let mut opened = 0;
            for step in &steps {
                match step {
                    LobbyStep::Assign { client, lobby } => {
                        prop_assert_eq!(state[lobby], GameServerHealth::Ready);
                        *clients.get_mut(lobby).unwrap() += 1;
                        prop_assert!(handled.insert(*client, ()).is_none(), "a client is handled once");
                    }
                    LobbyStep::GiveUp(client) => prop_assert!(handled.insert(*client, ()).is_none()),
                    LobbyStep::Discard(lobby) => prop_assert_eq!(state[lobby], GameServerHealth::Broken),
                    LobbyStep::Close(lobby) => prop_assert_eq!(clients[lobby], 0, "no lobby with clients is closed"),
                    LobbyStep::Open(count) => opened += count,
                    LobbyStep::Retire => prop_assert!(!facts.active && facts.lobbies.is_empty() && facts.waiting.is_empty()),
                }
            }
            prop_assert!(clients.values().all(|it| *it <= facts.capacity), "no lobby above its capacity");
            let living = facts.lobbies.iter().filter(|it| it.state != GameServerHealth::Broken).count();
            let living = u32::try_from(living).unwrap();
            prop_assert!(opened + living <= facts.max_lobbies.max(living));
        }

        #[test]
        fn waiting_clients_always_have_something_to_wait_for(facts in any_facts()) {
            let (steps, again) = plan(&facts);
            let handled = steps.iter().filter(|it| matches!(it, LobbyStep::Assign { .. } | LobbyStep::GiveUp(_))).count();
            if handled < facts.waiting.len() {
                prop_assert!(again.is_some(), "a clock runs for those who are left");
            }
        }
    }
}
