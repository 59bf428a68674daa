//! The matchmaking of one database and what it stands on.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use omgservers_api::DeploymentId;
use omgservers_auth::Tokens;
use omgservers_core::{Clock, Db, Mint, Ownership, WorkQueue};
use omgservers_deployments::Deployments;
use omgservers_messaging::Messaging;
use omgservers_players::Players;
use omgservers_projects::Projects;
use omgservers_runtimes::Runtimes;
use omgservers_versions::Versions;

use crate::{
    TicketLog,
    meters::{Depths, Meters},
    state::StateMap,
};

/// Times and bounds of matchmaking.
#[derive(Debug, Clone)]
pub struct MatchmakingConfig {
    /// A client without a sign of life for this long is disconnected.
    pub client_inactive: Duration,
    /// A runtime that doesn't poll for this long, counted from the start of its container, is
    /// replaced.
    pub runtime_inactive: Duration,
    /// A client that waits for a runtime for this long is disconnected.
    pub wait_timeout: Duration,
    /// How long an empty lobby is kept from when it was made, unless its version says otherwise.
    pub lobby_min_lifetime: Duration,
    /// A match whose game server doesn't poll for this long is given up.
    pub match_start_timeout: Duration,
    /// Most tickets that wait in one mode of one matchmaker.
    pub max_tickets: usize,
    /// Where tickets are logged as they come.
    pub ticket_log: Option<Arc<TicketLog>>,
    /// How long the entries of a disconnected client are kept after it last received.
    pub closed_kept: Duration,
}

impl Default for MatchmakingConfig {
    fn default() -> Self {
        Self {
            client_inactive: Duration::from_secs(30),
            runtime_inactive: Duration::from_secs(30),
            wait_timeout: Duration::from_secs(300),
            lobby_min_lifetime: Duration::from_secs(60),
            match_start_timeout: Duration::from_secs(120),
            max_tickets: 1_000_000,
            ticket_log: None,
            closed_kept: Duration::from_secs(60),
        }
    }
}

/// The services and resources of [`PgMatchmaking`].
pub struct MatchmakingParts {
    /// The database.
    pub db: Db,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub mint: Mint,
    /// The slots of this process.
    pub ownership: Ownership,
    /// Permissions.
    pub projects: Arc<dyn Projects>,
    /// Configurations and images.
    pub versions: Arc<dyn Versions>,
    /// Which versions take players.
    pub deployments: Arc<dyn Deployments>,
    /// Mailboxes and routes.
    pub messaging: Arc<dyn Messaging>,
    /// Game servers.
    pub runtimes: Arc<dyn Runtimes>,
    /// Profiles.
    pub players: Arc<dyn Players>,
    /// Makes players' tokens for the dispatcher.
    pub tokens: Arc<Tokens>,
    /// Times.
    pub config: MatchmakingConfig,
    /// The deployments to reconcile. `deployments` and `runtimes` enqueue those that change.
    pub changed: WorkQueue<DeploymentId>,
}

/// The lobbies and matches of one database.
pub struct PgMatchmaking {
    pub(crate) parts: MatchmakingParts,
    pub(crate) states: StateMap,
    pub(crate) meters: Meters,
    /// For the tasks that take rounds: no call may break these off.
    pub(crate) me: Weak<Self>,
}

impl PgMatchmaking {
    /// Knows of no deployment yet; [`Resync`](crate::Resync) enqueues those that need work.
    pub fn new(parts: MatchmakingParts) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            parts,
            states: StateMap::default(),
            meters: Meters::new(),
            me: Weak::clone(me),
        })
    }

    /// How much waits, for operators: as of the last round of each deployment.
    pub fn depths(&self) -> Depths {
        let mut depths = Depths::default();
        self.states.known().iter().for_each(|it| it.add_depths(&mut depths));
        depths
    }
}
