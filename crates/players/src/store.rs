//! All the SQL of this crate.

use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, SingleValue, SqlType, Text, Timestamptz},
    upsert::excluded,
};
use diesel_async::RunQueryDsl;
use omgservers_api::{Problem, StageId, UserId};
use omgservers_core::Conn;

use crate::schema::profile;

#[diesel::declare_sql_function]
extern "SQL" {
    #[sql_name = "unnest"]
    fn unnest<T: SqlType + SingleValue>(values: Array<T>) -> T;
}

/// A profile to write.
#[derive(Debug, Clone)]
pub(crate) struct NewProfile {
    pub(crate) user: UserId,
    pub(crate) stage: StageId,
    /// `None` writes `{}` where there is no profile, and nothing else.
    pub(crate) body: Option<String>,
    pub(crate) at: DateTime<Utc>,
}

/// Rows must not name a profile twice.
pub(crate) async fn upsert(conn: &mut Conn, rows: &[NewProfile]) -> Result<(), Problem> {
    let (set, ensure): (Vec<_>, Vec<_>) = rows.iter().partition(|it| it.body.is_some());
    for (rows, replace) in [(ensure, false), (set, true)] {
        if rows.is_empty() {
            continue;
        }
        let users: Vec<UserId> = rows.iter().map(|it| it.user).collect();
        let stages: Vec<StageId> = rows.iter().map(|it| it.stage).collect();
        let bodies: Vec<&str> = rows.iter().map(|it| it.body.as_deref().unwrap_or("{}")).collect();
        let times: Vec<DateTime<Utc>> = rows.iter().map(|it| it.at).collect();
        let insert = diesel::select((
            unnest::<BigInt, _>(&users),
            unnest::<BigInt, _>(&stages),
            unnest::<Text, _>(&bodies),
            unnest::<Timestamptz, _>(&times),
            unnest::<Timestamptz, _>(&times),
        ))
        .insert_into(profile::table)
        .into_columns((
            profile::user_id,
            profile::stage_id,
            profile::body,
            profile::created,
            profile::modified,
        ));
        if replace {
            insert
                .on_conflict((profile::user_id, profile::stage_id))
                .do_update()
                .set((
                    profile::body.eq(excluded(profile::body)),
                    profile::modified.eq(excluded(profile::modified)),
                    profile::ver.eq(profile::ver + 1),
                ))
                .execute(conn)
                .await?;
        } else {
            insert.on_conflict_do_nothing().execute(conn).await?;
        }
    }
    Ok(())
}

pub(crate) async fn of_users(
    conn: &mut Conn,
    stage: StageId,
    users: &[UserId],
) -> Result<Vec<(UserId, String)>, Problem> {
    Ok(profile::table
        .filter(profile::user_id.eq_any(users))
        .filter(profile::stage_id.eq(stage))
        .select((profile::user_id, profile::body))
        .load(conn)
        .await?)
}

pub(crate) async fn stages_after(
    conn: &mut Conn,
    after: Option<StageId>,
    limit: i64,
) -> Result<Vec<StageId>, Problem> {
    let mut query = profile::table
        .select(profile::stage_id)
        .distinct()
        .order(profile::stage_id)
        .limit(limit)
        .into_boxed();
    if let Some(after) = after {
        query = query.filter(profile::stage_id.gt(after));
    }
    Ok(query.load(conn).await?)
}

pub(crate) async fn users_after(
    conn: &mut Conn,
    after: Option<UserId>,
    limit: i64,
) -> Result<Vec<UserId>, Problem> {
    let mut query =
        profile::table.select(profile::user_id).distinct().order(profile::user_id).limit(limit).into_boxed();
    if let Some(after) = after {
        query = query.filter(profile::user_id.gt(after));
    }
    Ok(query.load(conn).await?)
}

pub(crate) async fn delete_of_stages(conn: &mut Conn, stages: &[StageId]) -> Result<usize, Problem> {
    Ok(diesel::delete(profile::table.filter(profile::stage_id.eq_any(stages))).execute(conn).await?)
}

pub(crate) async fn delete_of_users(conn: &mut Conn, users: &[UserId]) -> Result<usize, Problem> {
    Ok(diesel::delete(profile::table.filter(profile::user_id.eq_any(users))).execute(conn).await?)
}
