//! What every test here stands on.

use std::{sync::Arc, time::Duration};

use omgservers_accounts::{Accounts, PgAccounts};
use omgservers_api::{Role, RuntimeId, TenantId, UserId, ids::Id as _};
use omgservers_auth::{Keys, Passwords, Secrets};
use omgservers_core::{Caller, Db, Doorbell};
use omgservers_tenants::{PgTenants, SCHEMA, Tenants as _};
use omgservers_testkit::Ground;

/// Tenants, the users that they know of, and the doorbell of who comes after them.
pub(crate) struct Bed {
    pub(crate) ground: Ground,
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) heir: Doorbell,
    pub(crate) tenants: PgTenants,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        let ground = Ground::new(&[omgservers_accounts::SCHEMA, SCHEMA]).await;
        let accounts: Arc<dyn Accounts> = Arc::new(accounts(&ground));
        let heir = Doorbell::default();
        let tenants = tenants(&ground, &ground.db, &accounts, &heir);
        Self { ground, accounts, heir, tenants }
    }

    /// The same tenants on another handle of the database.
    pub(crate) fn tenants_on(&self, db: &Db) -> PgTenants {
        tenants(&self.ground, db, &self.accounts, &self.heir)
    }

    pub(crate) async fn tenant(&self) -> TenantId {
        self.tenants.create(&support()).await.unwrap()
    }

    pub(crate) async fn developer(&self) -> UserId {
        self.accounts.create(&support(), Role::Developer).await.unwrap().id
    }
}

fn accounts(ground: &Ground) -> PgAccounts {
    // The lowest cost that bcrypt has: nobody here proves anything.
    let (passwords, secrets) = (Passwords::new(4, 2), Secrets::new(&Keys::ephemeral()));
    let (passwords, secrets) = (Arc::new(passwords), Arc::new(secrets));
    PgAccounts::new(ground.db.clone(), ground.clock(), ground.mint.clone(), passwords, secrets)
}

fn tenants(ground: &Ground, db: &Db, accounts: &Arc<dyn Accounts>, heir: &Doorbell) -> PgTenants {
    let heirs = vec![heir.clone()];
    PgTenants::new(db.clone(), ground.clock(), ground.mint.clone(), Arc::clone(accounts), heirs)
}

pub(crate) fn support() -> Caller {
    user(Role::Support, UserId::from_i64(1).unwrap())
}

pub(crate) fn user(role: Role, id: UserId) -> Caller {
    Caller::User { id, role }
}

/// Everybody who may not do what is for support. Each of them has the id `id`.
pub(crate) fn strangers(id: UserId) -> Vec<Caller> {
    let runtime = Caller::Runtime(RuntimeId::from_i64(id.get()).unwrap());
    vec![user(Role::Developer, id), user(Role::Player, id), user(Role::Admin, id), runtime]
}

/// Whether the doorbell was rung since it was asked last.
pub(crate) async fn was_rung(doorbell: &Doorbell) -> bool {
    tokio::time::timeout(Duration::ZERO, doorbell.rung()).await.is_ok()
}
