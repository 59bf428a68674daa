//! Collects the facts of matches and tickets, lets a round decide on them, and has its changes
//! carried out.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use omgservers_api::{ClientId, MatchmakerId, Problem, RuntimeId, TicketId, ids::Id as _};
use omgservers_deployments::DeploymentFull;
use omgservers_versions::VersionFull;

use super::{
    requests::MatchmakerRequest,
    rules::{
        restore::{StoredQueues, clients_of, restore},
        round::{MOST_WARMED, Review, RoundFacts, RoundInput, decide},
    },
    state::{ClientFacts, IdSupply, NewMatchIds, Queues},
};
use crate::{
    PgMatchmaking,
    state::{DeploymentHandle, DeploymentState},
    store,
};

/// Ids that a round has for new matches unless it was short of them before.
const MOST_NEW_IDS: usize = 1_024;

/// What a round has done.
#[derive(Debug, Default)]
pub(crate) struct RoundOutcome {
    /// How many things have changed.
    pub(crate) done: usize,
    /// After what time to take another one though nothing happened.
    pub(crate) again: Option<Duration>,
}

impl PgMatchmaking {
    /// Does what matches and tickets need. Answers how many things were done.
    pub(crate) async fn reconcile_matches(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        full: &DeploymentFull,
        active: bool,
    ) -> Result<RoundOutcome, Problem> {
        self.load_queues(handle, state, full).await?;
        let runtimes: Vec<RuntimeId> = state.queues.matches.values().map(|it| it.runtime).collect();
        let review = Review {
            active,
            runtimes: self.observe_runtimes(&runtimes).await?,
            start_timeout: self.parts.config.match_start_timeout,
            max_idle: self.parts.config.runtime_inactive,
        };
        let round = self.take_round(handle, state, full, Vec::new(), Some(review)).await?;
        self.open_matches(handle, state, full).await?;
        self.admit(state, full).await?.wait().await?;
        Ok(round)
    }

    /// Answers requests and decides on what has happened since the last round. After a problem the
    /// matches and tickets are loaded again.
    pub(crate) async fn take_round(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        full: &DeploymentFull,
        requests: Vec<MatchmakerRequest>,
        review: Option<Review>,
    ) -> Result<RoundOutcome, Problem> {
        let begun = Instant::now();
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        let matchmakers = self.matchmakers(handle).await?;
        let gone = handle.take_gone();
        let count = requests.len();
        // Until the changes are written nobody knows whether they are.
        state.queues.loaded = false;
        let clients = self.client_facts(named_clients(&requests, &gone));
        let ticket_ids = self.ticket_ids(handle, &requests)?;
        let warm = review.as_ref().is_some_and(|it| it.active);
        let mut input = RoundInput { gone, requests, ticket_ids, review };
        let mut outcome = RoundOutcome::default();
        loop {
            self.supply_ids(handle, &mut state.queues, &version, warm, input.requests.len())?;
            state.queues.loaded = false;
            let facts = self.round_facts(&version, &matchmakers, &clients);
            let changes = decide(&mut state.queues, &facts, std::mem::take(&mut input))?;
            outcome.again = [outcome.again, changes.again].into_iter().flatten().min();
            outcome.done = outcome.done.saturating_add(self.apply_changes(handle, state, changes).await?);
            if state.queues.new_ids.short.is_empty() {
                break;
            }
        }
        self.meters.round(count, begun.elapsed());
        handle.show(state);
        Ok(outcome)
    }

    /// Reads matches and tickets unless memory has what the database has.
    pub(crate) async fn load_queues(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        full: &DeploymentFull,
    ) -> Result<(), Problem> {
        if state.queues.loaded {
            return Ok(());
        }
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        let matchmakers = self.matchmakers(handle).await?;
        let stored = {
            let mut conn = self.parts.db.read().await?;
            StoredQueues {
                matches: store::matches::matches(&mut conn, handle.id).await?,
                tickets: store::matches::tickets(&mut conn, handle.id).await?,
            }
        };
        let clients = self.client_facts(clients_of(&stored.tickets)?);
        let runtimes = stored.matches.iter().map(|it| it.runtime_id);
        let members: HashMap<RuntimeId, Vec<ClientId>> =
            runtimes.map(|it| (it, self.parts.messaging.clients_of(it))).collect();
        let former = std::mem::take(&mut state.queues);
        state.queues.failures = former.failures;
        let tickets = stored.tickets.len();
        self.supply_ids(handle, &mut state.queues, &version, false, tickets)?;
        let facts = self.round_facts(&version, &matchmakers, &clients);
        let changes = restore(&mut state.queues, &facts, stored, &former, &members)?;
        self.apply_changes(handle, state, changes).await?;
        Ok(())
    }

    fn round_facts<'a>(
        &self,
        version: &'a VersionFull,
        matchmakers: &'a [MatchmakerId],
        clients: &'a ClientFacts,
    ) -> RoundFacts<'a> {
        RoundFacts {
            modes: &version.config.modes,
            matchmakers,
            clients,
            max_tickets: self.parts.config.max_tickets,
            is_logged: self.parts.config.ticket_log.is_some(),
            now: self.parts.clock.ticks(),
            wall: self.parts.clock.now(),
        }
    }

    fn client_facts(&self, clients: Vec<ClientId>) -> ClientFacts {
        let known = clients.into_iter().filter_map(|it| Some((it, self.parts.messaging.client(it)?)));
        known.collect()
    }

    /// Mints the ids of the tickets that a round may make.
    fn ticket_ids(
        &self,
        handle: &DeploymentHandle,
        requests: &[MatchmakerRequest],
    ) -> Result<VecDeque<TicketId>, Problem> {
        let tickets = requests.iter().filter(|it| matches!(it, MatchmakerRequest::Add(..)));
        tickets.map(|_| self.parts.mint.child(handle.id)).collect()
    }

    /// Mints ids for the matches that a round may form. Those that it doesn't use stay for the next
    /// one. When the round before was short of them, there is one for each ticket.
    fn supply_ids(
        &self,
        handle: &DeploymentHandle,
        queues: &mut Queues,
        version: &VersionFull,
        warm: bool,
        tickets: usize,
    ) -> Result<(), Problem> {
        let most = if queues.new_ids.short.is_empty() { MOST_NEW_IDS } else { usize::MAX };
        let mut wanted = queues.queued().saturating_add(tickets).min(most);
        if warm {
            let modes = version.config.modes.iter().map(|it| it.min_matches.min(MOST_WARMED));
            wanted = wanted.saturating_add(usize::try_from(modes.sum::<u32>()).unwrap_or(0));
        }
        let epoch = match self.parts.ownership.tenure(handle.id.slot()) {
            Ok(tenure) => tenure.epoch(),
            // Nothing can form, and nothing has to.
            Err(_) if wanted == 0 => return Ok(()),
            Err(problem) => return Err(problem),
        };
        if queues.new_ids.epoch != epoch {
            let short = std::mem::take(&mut queues.new_ids.short);
            queues.new_ids = IdSupply { epoch, short, ..IdSupply::default() };
        }
        while queues.new_ids.ids.len() < wanted {
            let (id, runtime) = (self.parts.mint.child(handle.id)?, self.parts.mint.child(handle.id)?);
            queues.new_ids.ids.push_back(NewMatchIds { id, runtime });
        }
        Ok(())
    }

    /// Ends all matches and tickets of a deployment that is gone. Its clients are disconnected
    /// already.
    pub(crate) async fn tear_down_matches(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
    ) -> Result<usize, Problem> {
        state.queues = Queues::default();
        drop((handle.take_requests(), handle.take_gone()));
        let rows = store::matches::matches(&mut *self.parts.db.read().await?, handle.id).await?;
        let slots = [handle.id.slot()];
        let runtimes: Vec<RuntimeId> = rows.iter().map(|it| it.runtime_id).collect();
        self.close_runtimes(state, &runtimes).await?;
        self.parts.runtimes.stop(&runtimes).await?;
        self.parts
            .db
            .write_owned(&self.parts.ownership, &slots, async |mut tx| {
                store::matches::delete_all(&mut tx, handle.id).await
            })
            .await?;
        Ok(rows.len())
    }
}

/// The clients that requests and ended sessions name.
fn named_clients(requests: &[MatchmakerRequest], gone: &[ClientId]) -> Vec<ClientId> {
    let mut named = gone.to_vec();
    for request in requests {
        match request {
            MatchmakerRequest::Add(request, _) => named.extend_from_slice(&request.clients),
            MatchmakerRequest::Leave(_, client, _) => named.push(*client),
            MatchmakerRequest::Cancel(..) | MatchmakerRequest::Stop(..) => {}
        }
    }
    named
}
