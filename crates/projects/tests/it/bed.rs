//! What every test here stands on.

use std::{sync::Arc, time::Duration};

use omgservers_accounts::{Accounts, PgAccounts};
use omgservers_api::{
    ProjectId, ProjectPermission, Ref, Role, RuntimeId, StageId, StagePermission, TenantId, TenantPermission,
    UserId, ids::Id,
};
use omgservers_auth::{Keys, Passwords, Secrets};
use omgservers_core::{Caller, Db, Doorbell};
use omgservers_projects::{PgProjects, Projects as _, SCHEMA, SweepOrphans, SweepPermissions};
use omgservers_tenants::{PgTenants, Tenants};
use omgservers_testkit::Ground;

/// Projects, what they know of, and the doorbells of who comes after tenants and after projects.
pub(crate) struct Bed {
    pub(crate) ground: Ground,
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) tenants: Arc<dyn Tenants>,
    pub(crate) projects: PgProjects,
    pub(crate) sweep_bell: Doorbell,
    pub(crate) heirs: [Doorbell; 2],
}

/// A project and its first stage.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) tenant: TenantId,
    pub(crate) project: ProjectId,
    pub(crate) stage: StageId,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        let ground = Ground::new(&[omgservers_accounts::SCHEMA, omgservers_tenants::SCHEMA, SCHEMA]).await;
        let accounts: Arc<dyn Accounts> = Arc::new(accounts(&ground));
        let sweep_bell = Doorbell::default();
        let tenants: Arc<dyn Tenants> = Arc::new(PgTenants::new(
            ground.db.clone(),
            ground.clock(),
            ground.mint.clone(),
            Arc::clone(&accounts),
            vec![sweep_bell.clone()],
        ));
        let heirs = [Doorbell::default(), Doorbell::default()];
        let projects = PgProjects::new(
            ground.db.clone(),
            ground.clock(),
            ground.mint.clone(),
            Arc::clone(&accounts),
            Arc::clone(&tenants),
            heirs.to_vec(),
        );
        Self { ground, accounts, tenants, projects, sweep_bell, heirs }
    }

    /// The same projects on another handle of the database.
    pub(crate) fn projects_on(&self, db: &Db) -> PgProjects {
        PgProjects::new(
            db.clone(),
            self.ground.clock(),
            self.ground.mint.clone(),
            Arc::clone(&self.accounts),
            Arc::clone(&self.tenants),
            self.heirs.to_vec(),
        )
    }

    pub(crate) fn sweep_orphans(&self) -> SweepOrphans {
        let (db, tenants) = (self.ground.db.clone(), Arc::clone(&self.tenants));
        SweepOrphans { db, tenants, heirs: self.heirs.to_vec() }
    }

    pub(crate) fn sweep_permissions(&self) -> SweepPermissions {
        SweepPermissions { db: self.ground.db.clone(), accounts: Arc::clone(&self.accounts) }
    }

    pub(crate) async fn tenant(&self) -> TenantId {
        self.tenants.create(&support()).await.unwrap()
    }

    /// A project in a tenant of its own.
    pub(crate) async fn place(&self) -> Place {
        let tenant = self.tenant().await;
        self.place_in(tenant).await
    }

    pub(crate) async fn place_in(&self, tenant: TenantId) -> Place {
        let (project, stage) = self.projects.create(&support(), tenant).await.unwrap();
        Place { tenant, project, stage }
    }

    pub(crate) async fn developer(&self) -> UserId {
        self.accounts.create(&support(), Role::Developer).await.unwrap().id
    }

    /// Gives `user` all permissions at the place but these.
    pub(crate) async fn grant_all_but(&self, user: UserId, at: Place, but: &[&str]) {
        let user = Ref::Id(user);
        let kinds = all_but(TenantPermission::ALL, but);
        self.tenants.grant(&support(), at.tenant, &user, &kinds).await.unwrap();
        let kinds = all_but(ProjectPermission::ALL, but);
        self.projects.grant(&support(), at.tenant, at.project, &user, &kinds).await.unwrap();
        let kinds = all_but(StagePermission::ALL, but);
        self.projects.grant_stage(&support(), at.tenant, at.stage, &user, &kinds).await.unwrap();
    }

    /// Whether all who come after projects were woken since they were asked last.
    pub(crate) async fn were_heirs_woken(&self) -> bool {
        let [first, second] = [was_rung(&self.heirs[0]).await, was_rung(&self.heirs[1]).await];
        assert_eq!(first, second, "all or none");
        first
    }
}

fn all_but<P: Copy + ToString>(all: &[P], but: &[&str]) -> Vec<P> {
    all.iter().copied().filter(|it| !but.contains(&it.to_string().as_str())).collect()
}

fn accounts(ground: &Ground) -> PgAccounts {
    // The lowest cost that bcrypt has: nobody here proves anything.
    let (passwords, secrets) = (Passwords::new(4, 2), Secrets::new(&Keys::ephemeral()));
    let (passwords, secrets) = (Arc::new(passwords), Arc::new(secrets));
    PgAccounts::new(ground.db.clone(), ground.clock(), ground.mint.clone(), passwords, secrets)
}

pub(crate) fn support() -> Caller {
    user(Role::Support, UserId::from_i64(1).unwrap())
}

pub(crate) fn user(role: Role, id: UserId) -> Caller {
    Caller::User { id, role }
}

/// Everybody of whom no permission is even asked. Each of them has the id `id`.
pub(crate) fn strangers(id: UserId) -> [Caller; 3] {
    let runtime = Caller::Runtime(RuntimeId::from_i64(id.get()).unwrap());
    [user(Role::Player, id), user(Role::Admin, id), runtime]
}

pub(crate) fn named<I>(name: &str) -> Ref<I> {
    Ref::Alias(name.to_owned())
}

/// An id that nobody has.
pub(crate) fn missing<I: Id>() -> I {
    I::from_i64(i64::MAX).unwrap()
}

/// Whether the doorbell was rung since it was asked last.
pub(crate) async fn was_rung(doorbell: &Doorbell) -> bool {
    tokio::time::timeout(Duration::ZERO, doorbell.rung()).await.is_ok()
}
