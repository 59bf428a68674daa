//! The details of tickets and matches for players and developers.

use omgservers_api::{
    ClientId, MatchId, Problem, TicketId,
    details::{MatchDetails, MatchPlayer, MatchRef, TicketDetails},
};
use omgservers_core::Ticks;
use omgservers_deployments::DeploymentFull;
use omgservers_versions::VersionFull;
use serde_json::Value;

use super::state::{Match, Queues, TicketEntry, TicketState, millis};
use crate::{PgMatchmaking, WhichTicket, problems, state::DeploymentState};

/// Matches that a deployment's details show.
const MOST_SHOWN: usize = 1_000;

impl PgMatchmaking {
    pub(crate) async fn show_ticket(
        &self,
        full: &DeploymentFull,
        which: WhichTicket,
    ) -> Result<TicketDetails, Problem> {
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        let handle = self.states.handle(full.deployment.id);
        let mut state = handle.state.lock().await;
        self.load_queues(&handle, &mut state, full).await?;
        let queues = &state.queues;
        let id = match which {
            WhichTicket::Id(id) => Some(id),
            WhichTicket::Of(client) => queues.by_client.get(&client).copied(),
        };
        let found = id.and_then(|id| Some((id, queues.tickets.get(&id)?)));
        let (id, entry) = found.ok_or(problems::NO_TICKET)?;
        queues.show_ticket(id, entry, &version, self.parts.clock.ticks())
    }

    pub(crate) async fn show_match(
        &self,
        full: &DeploymentFull,
        id: MatchId,
    ) -> Result<MatchDetails, Problem> {
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        let handle = self.states.handle(full.deployment.id);
        let mut state = handle.state.lock().await;
        self.load_queues(&handle, &mut state, full).await?;
        let shown = state.queues.matches.get(&id).ok_or(problems::NO_MATCH)?;
        state.queues.show_match(id, shown, &version)
    }
}

/// The matches of a deployment, and how many tickets wait.
pub(crate) fn match_refs(state: &DeploymentState, version: &VersionFull) -> (Vec<MatchRef>, u64) {
    let queues = &state.queues;
    let shown = queues.matches.iter().filter(|(_, it)| !it.closing).take(MOST_SHOWN);
    let refs = shown.map(|(id, open)| MatchRef {
        id: *id,
        created: open.created,
        match_id: *id,
        matchmaker_id: open.queue.0,
        mode: mode_name(version, open.queue.1),
        runtime_id: open.runtime,
        players: u64::try_from(queues.players(open).len()).unwrap_or(u64::MAX),
    });
    (refs.collect(), u64::try_from(queues.waiting()).unwrap_or(u64::MAX))
}

fn mode_name(version: &VersionFull, index: usize) -> String {
    version.config.modes.get(index).map(|it| it.name.clone()).unwrap_or_default()
}

impl Queues {
    fn show_ticket(
        &self,
        id: TicketId,
        entry: &TicketEntry,
        version: &VersionFull,
        now: Ticks,
    ) -> Result<TicketDetails, Problem> {
        let (state, match_id, attributes, explanation) = match &entry.state {
            TicketState::Queued => {
                let pool = self.pools.get(&entry.queue);
                let attributes = pool.and_then(|it| it.get(id)).map(|it| it.attributes.clone());
                let why = pool.and_then(|it| it.explain(id, millis(now)));
                let why = why.map(serde_json::to_value).transpose().map_err(Problem::internal)?;
                ("waiting", None, attributes.unwrap_or_default(), why)
            }
            TicketState::Matched { match_id, ticket, .. } => {
                let joined = self.matches.get(match_id).is_some_and(|it| it.joined.contains(&id));
                let state = if joined { "matched" } else { "starting" };
                (state, Some(*match_id), ticket.attributes.clone(), None)
            }
        };
        Ok(TicketDetails {
            id,
            mode: mode_name(version, entry.queue.1),
            clients: entry.clients.clone(),
            attributes,
            created: entry.created,
            state: state.to_owned(),
            match_id,
            explanation,
        })
    }

    fn show_match(&self, id: MatchId, shown: &Match, version: &VersionFull) -> Result<MatchDetails, Problem> {
        let groups =
            version.config.modes.get(shown.queue.1).map(|it| it.groups.as_slice()).unwrap_or_default();
        let player = |(client_id, ticket_id, group): (_, _, usize)| MatchPlayer {
            client_id,
            ticket_id,
            group_name: groups.get(group).map(|it| it.name.clone()).unwrap_or_default(),
            joined: shown.joined.contains(&ticket_id),
        };
        let state = match shown {
            Match { closing: true, .. } => "closing",
            Match { ready: None, .. } => "starting",
            Match { stopped: true, .. } => "stopped",
            _ => "open",
        };
        let rationale: Result<Vec<Value>, _> = shown.rationale.iter().map(serde_json::to_value).collect();
        Ok(MatchDetails {
            id,
            matchmaker_id: shown.queue.0,
            mode: mode_name(version, shown.queue.1),
            runtime_id: shown.runtime,
            state: state.to_owned(),
            created: shown.created,
            players: self.players(shown).into_iter().map(player).collect(),
            rationale: rationale.map_err(Problem::internal)?,
        })
    }

    /// The clients of a match, joined or pending: client, ticket, group.
    fn players(&self, shown: &Match) -> Vec<(ClientId, TicketId, usize)> {
        let tickets = shown.joined.iter().chain(&shown.pending_join);
        let entry = tickets.filter_map(|id| Some((*id, self.tickets.get(id)?)));
        entry
            .flat_map(|(id, entry)| {
                let group = if let TicketState::Matched { group, .. } = &entry.state { *group } else { 0 };
                entry.clients.iter().map(move |client| (*client, id, group))
            })
            .collect()
    }
}
