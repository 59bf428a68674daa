//! All the SQL of this crate. Functions take a connection, so that several can share a transaction.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use diesel::{
    pg::Pg,
    prelude::*,
    sql_types::{Array, BigInt, Bool, SingleValue, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use omgservers_api::{AliasId, Problem, Role, UserId};
use omgservers_core::{
    Conn,
    db::{maybe, unique},
};

use crate::{
    problems,
    schema::{account, name},
};

/// A user with its credentials.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = account, check_for_backend(Pg))]
pub(crate) struct AccountRow {
    pub(crate) id: UserId,
    pub(crate) role: Role,
    pub(crate) keyed: bool,
    pub(crate) secret: String,
    pub(crate) created: DateTime<Utc>,
}

#[derive(Debug, Insertable, Queryable, Selectable)]
#[diesel(table_name = name, check_for_backend(Pg))]
pub(crate) struct NameRow {
    pub(crate) slot: i16,
    pub(crate) value: String,
    pub(crate) id: AliasId,
    pub(crate) account_id: UserId,
    pub(crate) created: DateTime<Utc>,
}

#[diesel::declare_sql_function]
extern "SQL" {
    fn unnest<T: diesel::sql_types::SqlType + SingleValue>(values: Array<T>) -> T;
}

/// Adds users in one statement whose text doesn't depend on how many they are.
pub(crate) async fn insert(conn: &mut Conn, rows: Vec<AccountRow>) -> Result<(), Problem> {
    let (mut ids, mut roles, mut keyed) = (Vec::new(), Vec::new(), Vec::new());
    let (mut secrets, mut created) = (Vec::new(), Vec::new());
    for row in rows {
        ids.push(row.id);
        roles.push(row.role);
        keyed.push(row.keyed);
        secrets.push(row.secret);
        created.push(row.created);
    }
    let columns = (account::id, account::role, account::keyed, account::secret, account::created);
    diesel::select((
        unnest::<BigInt, _>(ids),
        unnest::<Text, _>(roles),
        unnest::<Bool, _>(keyed),
        unnest::<Text, _>(secrets),
        unnest::<Timestamptz, _>(created),
    ))
    .insert_into(account::table)
    .into_columns(columns)
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn account(conn: &mut Conn, id: UserId) -> Result<Option<AccountRow>, Problem> {
    maybe(account::table.find(id).select(AccountRow::as_select()).first(conn).await)
}

pub(crate) async fn role(conn: &mut Conn, id: UserId) -> Result<Option<Role>, Problem> {
    maybe(account::table.find(id).select(account::role).first(conn).await)
}

pub(crate) async fn exist(conn: &mut Conn, ids: &[UserId]) -> Result<HashSet<UserId>, Problem> {
    let found = account::table.filter(account::id.eq_any(ids)).select(account::id);
    Ok(found.load(conn).await?.into_iter().collect())
}

pub(crate) async fn set_secret(conn: &mut Conn, id: UserId, secret: &str) -> Result<(), Problem> {
    let change = (account::secret.eq(secret), account::ver.eq(account::ver + 1));
    diesel::update(account::table.find(id)).set(change).execute(conn).await?;
    Ok(())
}

/// Deletes a user if it has this role.
pub(crate) async fn delete(conn: &mut Conn, id: UserId, role: Role) -> Result<bool, Problem> {
    let user = account::table.find(id).filter(account::role.eq(role));
    Ok(diesel::delete(user).execute(conn).await? > 0)
}

/// The row of a name, also when its user is gone.
pub(crate) async fn name(conn: &mut Conn, slot: i16, value: &str) -> Result<Option<NameRow>, Problem> {
    maybe(name::table.find((slot, value)).select(NameRow::as_select()).first(conn).await)
}

/// Problems: `accounts.alias_taken`.
pub(crate) async fn insert_name(conn: &mut Conn, row: &NameRow) -> Result<(), Problem> {
    let inserted = diesel::insert_into(name::table).values(row).execute(conn).await;
    unique(inserted, "name_key", problems::ALIAS_TAKEN).map(drop)
}

/// Frees a name, if it is still given by this row.
pub(crate) async fn delete_name(conn: &mut Conn, row: &NameRow) -> Result<(), Problem> {
    let name = name::table.find((row.slot, &row.value)).filter(name::id.eq(row.id));
    diesel::delete(name).execute(conn).await?;
    Ok(())
}

pub(crate) async fn delete_names_of(conn: &mut Conn, user: UserId) -> Result<(), Problem> {
    diesel::delete(name::table.filter(name::account_id.eq(user))).execute(conn).await?;
    Ok(())
}
