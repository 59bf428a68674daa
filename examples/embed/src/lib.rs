//! The domain crates as a library, without HTTP and without the server. Each module embeds one
//! crate and needs only what is to its left; [`accounts_to_players`] is the short way through most
//! of them.

pub mod accounts;
pub mod deployments;
pub mod matchmaking;
pub mod messaging;
pub mod players;
pub mod projects;
pub mod runtimes;
pub mod tenants;
pub mod versions;

use std::sync::Arc;

use omgservers_api::{DeploymentId, Problem, ProjectId, Role, StageId, TenantId, UserId};
use omgservers_auth::Keys;
use omgservers_core::{Caller, Clock, Db, Mint, Ownership, Schema, SystemClock, WorkQueue};

/// The schemas of the embedded crates, left to right: what `Db::migrate` creates.
pub const SCHEMAS: &[Schema] = &[
    omgservers_core::SCHEMA,
    omgservers_accounts::SCHEMA,
    omgservers_tenants::SCHEMA,
    omgservers_projects::SCHEMA,
    omgservers_versions::SCHEMA,
    omgservers_deployments::SCHEMA,
    omgservers_messaging::SCHEMA,
    omgservers_runtimes::SCHEMA,
    omgservers_players::SCHEMA,
    omgservers_matchmaking::SCHEMA,
];

/// The program that embeds the crates, as the caller of their services: it may do everything.
pub const EMBEDDER: Caller = Caller::System("embed");

/// What every service stands on.
pub struct Base {
    /// A pool of connections to a database with all [`SCHEMAS`].
    pub db: Db,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// The source of ids.
    pub mint: Mint,
    /// The slots of this process: another process that takes them ends this one's writes.
    pub ownership: Ownership,
    /// Keys for secrets and tokens. A program keeps them with `Keys::load_or_create`.
    pub keys: Arc<Keys>,
    /// Deployments that changed, or whose runtimes did: `deployments` and `runtimes` enqueue them,
    /// `matchmaking` reconciles them.
    pub changed: WorkQueue<DeploymentId>,
}

impl Base {
    /// Connects to a database that is migrated, and takes its slots.
    pub async fn new(database_url: &str) -> Result<Self, Problem> {
        let db = Db::connect(database_url, 4).await?;
        let (mint, ownership) = (Mint::take(&db).await?, Ownership::take(&db, "embed").await?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let changed = WorkQueue::new(Arc::clone(&clock));
        Ok(Self { db, clock, mint, ownership, keys: Arc::new(Keys::ephemeral()), changed })
    }
}

/// The ids of a stage and of what it is in.
#[derive(Debug, Clone, Copy)]
pub struct StageIds {
    /// The tenant.
    pub tenant: TenantId,
    /// The project.
    pub project: ProjectId,
    /// The stage.
    pub stage: StageId,
}

/// From the first account to a player with a profile. A tenant gets a project, the project a
/// version with an image, and its stage a deployment; a new player enters it.
pub async fn accounts_to_players(base: &Base) -> Result<(UserId, DeploymentId, Arc<str>), Problem> {
    let accounts = accounts::build(base);
    let tenants = tenants::build(base, &accounts);
    let projects = projects::build(base, &accounts, &tenants);
    let versions = versions::build(base, &projects);
    let deployments = deployments::build(base, &projects, &versions);
    let players = players::build(base, &tenants, &projects, &deployments);

    let tenant = tenants.create(&EMBEDDER).await?;
    let (project, stage) = projects.create(&EMBEDDER, tenant).await?;
    let at = StageIds { tenant, project, stage };
    let version = versions::with_image(&*versions, at).await?;
    let deployment = deployments.deploy(&EMBEDDER, tenant, project, stage, version, None).await?;

    let user = accounts.create(&EMBEDDER, Role::Player).await?;
    accounts.verify(&[Role::Player], &user.id.into(), &user.password).await?;
    let caller = Caller::User { id: user.id, role: Role::Player };
    let entered = players.enter(&caller, &tenant.into(), &project.into(), &stage.into()).await?;
    debug_assert_eq!(entered.deployment.deployment.id, deployment);
    players::remember_level(&*players, user.id, stage, 7).await?;
    let profile = players::profile(&*players, user.id, stage).await?;
    Ok((user.id, deployment, profile))
}
