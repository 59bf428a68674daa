//! Accounts as these tests need them beside those of the fixture.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use omgservers_accounts::{Accounts as _, NewUser, PgAccounts};
use omgservers_api::{Role, UserId, ids::Id as _};
use omgservers_auth::{Passwords, Secrets};
use omgservers_core::{Caller, db::Fault};
use omgservers_fixtures::{Fixture, fast_passwords, system};

/// Another process on the same database, with passwords of this cost.
pub(crate) fn elsewhere(fixture: &Fixture, cost: u32) -> PgAccounts {
    fixture.accounts_on(&fixture.foundation.db, Arc::new(Passwords::new(cost, 2)))
}

/// The same accounts, and what counts their slow hashes.
pub(crate) fn watched(fixture: &Fixture) -> (PgAccounts, Arc<Passwords>) {
    let passwords = fast_passwords();
    (fixture.accounts_on(&fixture.foundation.db, Arc::clone(&passwords)), passwords)
}

/// The same accounts on a database whose transactions ask `fault` first.
pub(crate) fn faulty(
    fixture: &Fixture,
    fault: impl Fn() -> Option<Fault> + Send + Sync + 'static,
) -> PgAccounts {
    fixture.accounts_on(&fixture.foundation.db.with_faults(Arc::new(fault)), fast_passwords())
}

/// The same accounts, and how many transactions they ran.
pub(crate) fn counted(fixture: &Fixture) -> (Arc<PgAccounts>, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let accounts = faulty(fixture, move || {
        counter.fetch_add(1, Ordering::SeqCst);
        None
    });
    (Arc::new(accounts), count)
}

/// What the digests of this installation are made with.
pub(crate) fn secrets(fixture: &Fixture) -> Secrets {
    Secrets::new(&fixture.keys)
}

/// A player who has just signed up.
pub(crate) async fn player(fixture: &Fixture) -> NewUser {
    fixture.accounts.create(&stranger(), Role::Player).await.unwrap()
}

/// The one number that a query returns.
#[expect(clippy::disallowed_methods, reason = "a test looks behind the service")]
pub(crate) async fn number(fixture: &Fixture, sql: &str) -> i64 {
    #[derive(diesel::QueryableByName)]
    struct Number {
        #[diesel(sql_type = BigInt)]
        number: i64,
    }
    let mut conn = fixture.foundation.db.read().await.unwrap();
    let query = diesel::sql_query(format!("select ({sql})::bigint as number"));
    let found: Number = query.get_result(&mut *conn).await.unwrap();
    found.number
}

/// The caller of a sign-up: the entrypoint has nobody to name.
pub(crate) fn stranger() -> Caller {
    system()
}

/// Everybody who may not do what is for support.
pub(crate) fn strangers() -> Vec<Caller> {
    omgservers_fixtures::strangers(UserId::from_i64(1).unwrap())
}

pub(crate) fn nobody() -> UserId {
    UserId::from_i64(77).unwrap()
}
