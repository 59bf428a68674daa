//! What every test here stands on.

use std::{sync::Arc, time::Duration};

use omgservers_accounts::{Accounts, PgAccounts};
use omgservers_api::{
    DeploymentId, Problem, ProjectId, ProjectPermission, Role, RuntimeId, StageId, StagePermission, TenantId,
    TenantPermission, UserId, VersionId,
    config::{DeploymentConfig, LobbyConfig},
    ids::Id as _,
    roles::ImageQualifier,
};
use omgservers_auth::{Keys, Passwords, Secrets};
use omgservers_core::{Caller, Db, Doorbell, Worker as _};
use omgservers_deployments::{Deployments as _, PgDeployments, SCHEMA};
use omgservers_projects::{PgProjects, Projects};
use omgservers_tenants::{PgTenants, Tenants};
use omgservers_testkit::Ground;
use omgservers_versions::{PgVersions, Repository, Versions};

/// One mode, as JSON.
pub(crate) const MODE: &str = r#"{"name":"duel","min_players":2,"max_players":2,"groups":[{"name":"all","min_players":2,"max_players":2}]}"#;

pub(crate) struct Bed {
    pub(crate) ground: Ground,
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) tenants: Arc<dyn Tenants>,
    pub(crate) projects: Arc<dyn Projects>,
    pub(crate) pg_versions: PgVersions,
    pub(crate) versions: Arc<dyn Versions>,
    pub(crate) deployments: PgDeployments,
    /// Of who comes after deployments.
    pub(crate) heir: Doorbell,
}

/// A project and its first stage.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) tenant: TenantId,
    pub(crate) project: ProjectId,
    pub(crate) stage: StageId,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        let ground = Ground::new(&[
            omgservers_accounts::SCHEMA,
            omgservers_tenants::SCHEMA,
            omgservers_projects::SCHEMA,
            omgservers_versions::SCHEMA,
            SCHEMA,
        ])
        .await;
        let (db, clock, mint) = (|| ground.db.clone(), || ground.clock(), || ground.mint.clone());
        let accounts: Arc<dyn Accounts> = accounts(&ground);
        let tenants: Arc<dyn Tenants> =
            Arc::new(PgTenants::new(db(), clock(), mint(), Arc::clone(&accounts), vec![]));
        let projects: Arc<dyn Projects> = Arc::new(PgProjects::new(
            db(),
            clock(),
            mint(),
            Arc::clone(&accounts),
            Arc::clone(&tenants),
            vec![],
        ));
        let pg_versions = PgVersions::new(db(), clock(), mint(), Arc::clone(&projects), vec![]);
        let versions: Arc<dyn Versions> = Arc::new(pg_versions.clone());
        let heir = Doorbell::default();
        let heirs = vec![heir.clone()];
        let (to_projects, to_versions) = (Arc::clone(&projects), Arc::clone(&versions));
        let deployments = PgDeployments::new(db(), clock(), mint(), to_projects, to_versions, heirs);
        Self { ground, accounts, tenants, projects, pg_versions, versions, deployments, heir }
    }

    /// The same deployments on another handle of the database, with a memory of their own.
    pub(crate) fn deployments_on(&self, db: &Db) -> PgDeployments {
        PgDeployments::new(
            db.clone(),
            self.ground.clock(),
            self.ground.mint.clone(),
            Arc::clone(&self.projects),
            Arc::clone(&self.versions),
            vec![self.heir.clone()],
        )
    }

    pub(crate) async fn place(&self) -> Place {
        let tenant = self.tenants.create(&support()).await.unwrap();
        self.place_in(tenant).await
    }

    pub(crate) async fn place_in(&self, tenant: TenantId) -> Place {
        let (project, stage) = self.projects.create(&support(), tenant).await.unwrap();
        Place { tenant, project, stage }
    }

    /// A version with this configuration and images of these kinds.
    pub(crate) async fn version(&self, place: Place, config: &str, images: &[ImageQualifier]) -> VersionId {
        let config = serde_json::from_str(config).unwrap();
        let id = self.versions.create(&support(), place.tenant, place.project, &config).await.unwrap();
        for qualifier in images {
            self.push(place, id, *qualifier, 1).await;
        }
        id
    }

    /// A version without modes that can be deployed.
    pub(crate) async fn ready(&self, place: Place) -> VersionId {
        self.version(place, r#"{"modes":[]}"#, &[ImageQualifier::Universal]).await
    }

    pub(crate) async fn push(&self, place: Place, version: VersionId, qualifier: ImageQualifier, of: u8) {
        let into = Repository { tenant: place.tenant, project: place.project, qualifier };
        self.versions.attach_image(&into.to_string(), &version.to_string(), &digest(of)).await.unwrap();
    }

    /// Deploys as support.
    pub(crate) async fn deploy(&self, place: Place, version: VersionId) -> Result<DeploymentId, Problem> {
        let Place { tenant, project, stage } = place;
        self.deployments.deploy(&support(), tenant, project, stage, version, None).await
    }

    /// A developer who holds these permissions, and all there are in the tenant.
    pub(crate) async fn developer(
        &self,
        place: Place,
        in_project: &[ProjectPermission],
        in_stage: &[StagePermission],
    ) -> Caller {
        let id = self.accounts.create(&support(), Role::Developer).await.unwrap().id;
        let Place { tenant, project, stage } = place;
        self.tenants.grant(&support(), tenant, &id.into(), TenantPermission::ALL).await.unwrap();
        self.projects.grant(&support(), tenant, project, &id.into(), in_project).await.unwrap();
        self.projects.grant_stage(&support(), tenant, stage, &id.into(), in_stage).await.unwrap();
        Caller::User { id, role: Role::Developer }
    }

    /// Deletes the projects of tenants that are gone.
    pub(crate) async fn sweep_projects(&self) {
        let (db, tenants) = (self.ground.db.clone(), Arc::clone(&self.tenants));
        omgservers_projects::SweepOrphans { db, tenants, heirs: vec![] }.run_once().await.unwrap();
    }

    /// Developers who hold everything but the stage's DEPLOYMENT_MANAGER, or everything in another project of
    /// the tenant.
    pub(crate) async fn no_managers(&self, place: Place) -> [Caller; 2] {
        let elsewhere = self.place_in(place.tenant).await;
        [
            self.developer(place, ProjectPermission::ALL, &[StagePermission::StageViewer]).await,
            self.developer(elsewhere, ProjectPermission::ALL, StagePermission::ALL).await,
        ]
    }
}

fn accounts(ground: &Ground) -> Arc<dyn Accounts> {
    let passwords = Arc::new(Passwords::new(4, 2));
    let secrets = Arc::new(Secrets::new(&Keys::ephemeral()));
    Arc::new(PgAccounts::new(ground.db.clone(), ground.clock(), ground.mint.clone(), passwords, secrets))
}

pub(crate) fn digest(of: u8) -> String {
    format!("sha256:{}", format!("{of:02x}").repeat(32))
}

/// A configuration that can be told from the default one.
pub(crate) fn config(max_assignments: u32) -> DeploymentConfig {
    let lobby = LobbyConfig { max_assignments, ..LobbyConfig::default() };
    DeploymentConfig { lobby, ..DeploymentConfig::default() }
}

pub(crate) fn support() -> Caller {
    Caller::User { id: UserId::from_i64(1).unwrap(), role: Role::Support }
}

/// Who has nothing to do with deployments, whatever they hold.
pub(crate) fn strangers() -> [Caller; 2] {
    let player = Caller::User { id: UserId::from_i64(2).unwrap(), role: Role::Player };
    [player, Caller::Runtime(RuntimeId::from_i64(2).unwrap())]
}

/// Whether the doorbell was rung since it was asked last.
pub(crate) async fn was_rung(doorbell: &Doorbell) -> bool {
    tokio::time::timeout(Duration::ZERO, doorbell.rung()).await.is_ok()
}
