//! What every test here stands on.

use std::{sync::Arc, time::Duration};

use omgservers_accounts::{Accounts, PgAccounts};
use omgservers_api::{
    ProjectId, ProjectPermission, Role, RuntimeId, StageId, TenantId, TenantPermission, UserId, VersionId,
    config::VersionConfig, ids::Id as _,
};
use omgservers_auth::{Keys, Passwords, Secrets};
use omgservers_core::{Caller, Db, Doorbell};
use omgservers_projects::{PgProjects, Projects};
use omgservers_tenants::{PgTenants, Tenants};
use omgservers_testkit::Ground;
use omgservers_versions::{PgVersions, SCHEMA, Versions as _};

pub(crate) struct Bed {
    pub(crate) ground: Ground,
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) tenants: Arc<dyn Tenants>,
    pub(crate) projects: Arc<dyn Projects>,
    pub(crate) versions: PgVersions,
    /// Of who comes after versions.
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
        let schemas =
            [omgservers_accounts::SCHEMA, omgservers_tenants::SCHEMA, omgservers_projects::SCHEMA, SCHEMA];
        let ground = Ground::new(&schemas).await;
        let accounts: Arc<dyn Accounts> = accounts(&ground);
        let (db, mint) = (ground.db.clone(), ground.mint.clone());
        let tenants: Arc<dyn Tenants> =
            Arc::new(PgTenants::new(db, ground.clock(), mint, Arc::clone(&accounts), vec![]));
        let (db, mint) = (ground.db.clone(), ground.mint.clone());
        let projects: Arc<dyn Projects> = Arc::new(PgProjects::new(
            db,
            ground.clock(),
            mint,
            Arc::clone(&accounts),
            Arc::clone(&tenants),
            vec![],
        ));
        let heir = Doorbell::default();
        let versions = versions(&ground, &ground.db, &projects, &heir);
        Self { ground, accounts, tenants, projects, versions, heir }
    }

    /// The same versions on another handle of the database, with a memory of their own.
    pub(crate) fn versions_on(&self, db: &Db) -> PgVersions {
        versions(&self.ground, db, &self.projects, &self.heir)
    }

    pub(crate) async fn place(&self) -> Place {
        let tenant = self.tenants.create(&support()).await.unwrap();
        self.place_in(tenant).await
    }

    pub(crate) async fn place_in(&self, tenant: TenantId) -> Place {
        let (project, stage) = self.projects.create(&support(), tenant).await.unwrap();
        Place { tenant, project, stage }
    }

    pub(crate) async fn version(&self, place: Place) -> VersionId {
        self.versions.create(&support(), place.tenant, place.project, &config("[]")).await.unwrap()
    }

    /// A developer who holds these permissions in the project, and all there are in its tenant and stage.
    pub(crate) async fn developer(&self, place: Place, permissions: &[ProjectPermission]) -> Caller {
        let id = self.accounts.create(&support(), Role::Developer).await.unwrap().id;
        let Place { tenant, project, stage } = place;
        self.tenants.grant(&support(), tenant, &id.into(), TenantPermission::ALL).await.unwrap();
        self.projects.grant(&support(), tenant, project, &id.into(), permissions).await.unwrap();
        let all = omgservers_api::StagePermission::ALL;
        self.projects.grant_stage(&support(), tenant, stage, &id.into(), all).await.unwrap();
        Caller::User { id, role: Role::Developer }
    }

    /// Developers who hold everything but `permission` in the project, or everything in another project of the
    /// tenant.
    pub(crate) async fn unpermitted(&self, place: Place, permission: ProjectPermission) -> Vec<Caller> {
        let others: Vec<_> = ProjectPermission::ALL.iter().copied().filter(|it| *it != permission).collect();
        let elsewhere = self.place_in(place.tenant).await;
        vec![self.developer(place, &others).await, self.developer(elsewhere, ProjectPermission::ALL).await]
    }
}

fn accounts(ground: &Ground) -> Arc<dyn Accounts> {
    let passwords = Arc::new(Passwords::new(4, 2));
    let secrets = Arc::new(Secrets::new(&Keys::ephemeral()));
    Arc::new(PgAccounts::new(ground.db.clone(), ground.clock(), ground.mint.clone(), passwords, secrets))
}

fn versions(ground: &Ground, db: &Db, projects: &Arc<dyn Projects>, heir: &Doorbell) -> PgVersions {
    let projects = Arc::clone(projects);
    PgVersions::new(db.clone(), ground.clock(), ground.mint.clone(), projects, vec![heir.clone()])
}

pub(crate) fn support() -> Caller {
    Caller::User { id: UserId::from_i64(1).unwrap(), role: Role::Support }
}

/// Who has nothing to do with versions, whatever they hold.
pub(crate) fn strangers() -> [Caller; 2] {
    let player = Caller::User { id: UserId::from_i64(2).unwrap(), role: Role::Player };
    [player, Caller::Runtime(RuntimeId::from_i64(2).unwrap())]
}

/// A configuration with these modes, as JSON.
pub(crate) fn config(modes: &str) -> VersionConfig {
    serde_json::from_str(&format!(r#"{{"modes":{modes}}}"#)).unwrap()
}

/// Whether the doorbell was rung since it was asked last.
pub(crate) async fn was_rung(doorbell: &Doorbell) -> bool {
    tokio::time::timeout(Duration::ZERO, doorbell.rung()).await.is_ok()
}
