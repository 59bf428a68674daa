//! What tickets and matches look like from outside.

use omgservers_api::{
    MatchId, Problem, TicketId,
    details::{MatchDetails, MatchPlayer, MatchRef, TicketDetails},
};
use omgservers_core::Ticks;
use omgservers_deployments::DeploymentFull;
use omgservers_versions::VersionFull;
use serde_json::Value;

use super::{Held, Match, Place, Queues, round::moment};
use crate::{PgMatchmaking, WhichTicket, halls::Hall, problems};

/// Matches that a deployment's details show.
const MOST_SHOWN: usize = 1_000;

impl PgMatchmaking {
    pub(crate) async fn show_ticket(
        &self,
        full: &DeploymentFull,
        which: WhichTicket,
    ) -> Result<TicketDetails, Problem> {
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        let cell = self.halls.cell(full.deployment.id);
        let mut hall = cell.hall.lock().await;
        self.load_queues(&cell, &mut hall, full).await?;
        let queues = &hall.queues;
        let id = match which {
            WhichTicket::Id(id) => Some(id),
            WhichTicket::Of(client) => queues.by_client.get(&client).copied(),
        };
        let found = id.and_then(|id| Some((id, queues.tickets.get(&id)?)));
        let (id, held) = found.ok_or(problems::NO_TICKET)?;
        queues.show_ticket(id, held, &version, self.parts.clock.ticks())
    }

    pub(crate) async fn show_match(
        &self,
        full: &DeploymentFull,
        id: MatchId,
    ) -> Result<MatchDetails, Problem> {
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        let cell = self.halls.cell(full.deployment.id);
        let mut hall = cell.hall.lock().await;
        self.load_queues(&cell, &mut hall, full).await?;
        let it = hall.queues.matches.get(&id).ok_or(problems::NO_MATCH)?;
        hall.queues.show_match(id, it, &version)
    }
}

/// The matches of a deployment, and how many tickets wait.
pub(crate) fn match_refs(hall: &Hall, version: &VersionFull) -> (Vec<MatchRef>, u64) {
    let queues = &hall.queues;
    let shown = queues.matches.iter().filter(|(_, it)| !it.closing).take(MOST_SHOWN);
    let refs = shown.map(|(id, it)| MatchRef {
        id: *id,
        created: it.created,
        match_id: *id,
        matchmaker_id: it.queue.0,
        mode: mode_name(version, it.queue.1),
        runtime_id: it.runtime,
        players: u64::try_from(queues.players(it).len()).unwrap_or(u64::MAX),
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
        held: &Held,
        version: &VersionFull,
        now: Ticks,
    ) -> Result<TicketDetails, Problem> {
        let (state, match_id, attributes, explanation) = match &held.place {
            Place::Waiting => {
                let pool = self.pools.get(&held.queue);
                let attributes = pool.and_then(|it| it.get(id)).map(|it| it.attributes.clone());
                let why = pool.and_then(|it| it.explain(id, moment(now)));
                let why = why.map(serde_json::to_value).transpose().map_err(Problem::internal)?;
                ("waiting", None, attributes.unwrap_or_default(), why)
            }
            Place::Placed { match_id, ticket, .. } => {
                let seated = self.matches.get(match_id).is_some_and(|it| it.seated.contains(&id));
                let state = if seated { "matched" } else { "starting" };
                (state, Some(*match_id), ticket.attributes.clone(), None)
            }
        };
        Ok(TicketDetails {
            id,
            mode: mode_name(version, held.queue.1),
            clients: held.clients.clone(),
            attributes,
            created: held.created,
            state: state.to_owned(),
            match_id,
            explanation,
        })
    }

    fn show_match(&self, id: MatchId, it: &Match, version: &VersionFull) -> Result<MatchDetails, Problem> {
        let groups = version.config.modes.get(it.queue.1).map(|it| it.groups.as_slice()).unwrap_or_default();
        let player = |(client_id, ticket_id, group): (_, _, usize)| MatchPlayer {
            client_id,
            ticket_id,
            group_name: groups.get(group).map(|it| it.name.clone()).unwrap_or_default(),
            joined: it.seated.contains(&ticket_id),
        };
        let state = match it {
            Match { closing: true, .. } => "closing",
            Match { ready: None, .. } => "starting",
            Match { stopped: true, .. } => "stopped",
            _ => "open",
        };
        let rationale: Result<Vec<Value>, _> = it.rationale.iter().map(serde_json::to_value).collect();
        Ok(MatchDetails {
            id,
            matchmaker_id: it.queue.0,
            mode: mode_name(version, it.queue.1),
            runtime_id: it.runtime,
            state: state.to_owned(),
            created: it.created,
            players: self.players(it).into_iter().map(player).collect(),
            rationale: rationale.map_err(Problem::internal)?,
        })
    }

    /// Who is in a match or will be: client, ticket, group.
    fn players(&self, it: &Match) -> Vec<(omgservers_api::ClientId, TicketId, usize)> {
        let tickets = it.seated.iter().chain(&it.coming);
        let held = tickets.filter_map(|id| Some((*id, self.tickets.get(id)?)));
        held.flat_map(|(id, held)| {
            let group = if let Place::Placed { group, .. } = &held.place { *group } else { 0 };
            held.clients.iter().map(move |client| (*client, id, group))
        })
        .collect()
    }
}
