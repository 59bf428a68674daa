//! What every test here stands on.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use omgservers_accounts::{Accounts as _, NewUser, PgAccounts, SCHEMA};
use omgservers_api::{Ref, Role, RuntimeId, UserId, ids::Id as _};
use omgservers_auth::{Keys, Passwords, Secrets};
use omgservers_core::{Caller, Db, db::Fault};
use omgservers_testkit::Ground;

/// The lowest that bcrypt has: fast.
const COST: u32 = 4;

pub(crate) struct Bed {
    pub(crate) ground: Ground,
    pub(crate) accounts: Arc<PgAccounts>,
    keys: Keys,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        let (ground, keys) = (Ground::new(&[SCHEMA]).await, Keys::ephemeral());
        let accounts = Arc::new(accounts(&ground, &ground.db, &keys, Arc::new(Passwords::new(COST, 2))));
        Self { ground, accounts, keys }
    }

    /// Another process on the same database, with passwords of this cost.
    pub(crate) fn elsewhere(&self, cost: u32) -> PgAccounts {
        accounts(&self.ground, &self.ground.db, &self.keys, Arc::new(Passwords::new(cost, 2)))
    }

    /// The same accounts, and what counts their slow hashes.
    pub(crate) fn watched(&self) -> (PgAccounts, Arc<Passwords>) {
        let passwords = Arc::new(Passwords::new(COST, 2));
        (accounts(&self.ground, &self.ground.db, &self.keys, Arc::clone(&passwords)), passwords)
    }

    /// The same accounts on a database whose transactions ask `fault` first.
    pub(crate) fn faulty(&self, fault: impl Fn() -> Option<Fault> + Send + Sync + 'static) -> PgAccounts {
        accounts(
            &self.ground,
            &self.ground.db.with_faults(Arc::new(fault)),
            &self.keys,
            Arc::new(Passwords::new(COST, 2)),
        )
    }

    /// The same accounts, and how many transactions they ran.
    pub(crate) fn counted(&self) -> (Arc<PgAccounts>, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let accounts = self.faulty(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            None
        });
        (Arc::new(accounts), count)
    }

    /// What the digests of this installation are made with.
    pub(crate) fn secrets(&self) -> Secrets {
        Secrets::new(&self.keys)
    }

    pub(crate) async fn developer(&self) -> NewUser {
        self.accounts.create(&support(), Role::Developer).await.unwrap()
    }

    pub(crate) async fn player(&self) -> NewUser {
        self.accounts.create(&stranger(), Role::Player).await.unwrap()
    }

    /// The one number that a query answers.
    #[expect(clippy::disallowed_methods, reason = "a test looks behind the service")]
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        #[derive(diesel::QueryableByName)]
        struct Number {
            #[diesel(sql_type = BigInt)]
            number: i64,
        }
        let mut conn = self.ground.db.read().await.unwrap();
        let query = diesel::sql_query(format!("select ({sql})::bigint as number"));
        let found: Number = query.get_result(&mut *conn).await.unwrap();
        found.number
    }
}

fn accounts(ground: &Ground, db: &Db, keys: &Keys, passwords: Arc<Passwords>) -> PgAccounts {
    let secrets = Arc::new(Secrets::new(keys));
    PgAccounts::new(db.clone(), ground.clock(), ground.mint.clone(), passwords, secrets)
}

pub(crate) fn support() -> Caller {
    user(Role::Support)
}

pub(crate) fn system() -> Caller {
    Caller::System("test")
}

/// Who signs up: the entrypoint has nobody to name.
pub(crate) fn stranger() -> Caller {
    system()
}

pub(crate) fn user(role: Role) -> Caller {
    Caller::User { id: UserId::from_i64(1).unwrap(), role }
}

/// Everybody who may not do what is for support.
pub(crate) fn strangers() -> [Caller; 4] {
    let runtime = Caller::Runtime(RuntimeId::from_i64(1).unwrap());
    [user(Role::Admin), user(Role::Developer), user(Role::Player), runtime]
}

pub(crate) fn alias(text: &str) -> Ref<UserId> {
    Ref::Alias(text.to_owned())
}

pub(crate) fn nobody() -> UserId {
    UserId::from_i64(77).unwrap()
}
