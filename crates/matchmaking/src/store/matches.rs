//! Matches and tickets.

use chrono::{DateTime, Utc};
use diesel::{prelude::*, sql_types};
use diesel_async::RunQueryDsl;
use omgservers_api::{DeploymentId, MatchId, MatchmakerId, Problem, RuntimeId, TicketId};
use omgservers_core::{Conn, FencedTx};

use crate::schema::{r#match, ticket};

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = r#match, check_for_backend(diesel::pg::Pg))]
pub(crate) struct MatchRow {
    pub(crate) id: MatchId,
    pub(crate) matchmaker_id: MatchmakerId,
    pub(crate) mode: String,
    pub(crate) runtime_id: RuntimeId,
    pub(crate) used: bool,
    pub(crate) stopped: bool,
    pub(crate) closing: bool,
    pub(crate) rationale: String,
    pub(crate) created: DateTime<Utc>,
}

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = ticket, check_for_backend(diesel::pg::Pg))]
pub(crate) struct TicketRow {
    pub(crate) id: TicketId,
    pub(crate) matchmaker_id: MatchmakerId,
    pub(crate) mode: String,
    pub(crate) body: String,
    pub(crate) match_id: Option<MatchId>,
    pub(crate) group_index: Option<i32>,
    pub(crate) ending: Option<String>,
    pub(crate) created: DateTime<Utc>,
}

/// Arrays instead of rows of parameters: thousands of rows are one statement that is planned once.
const PUT_MATCHES: &str = "\
insert into matchmaking.match \
(deployment_id, id, matchmaker_id, mode, runtime_id, used, stopped, closing, rationale, created) \
select $1, it.* from unnest($2, $3, $4, $5, $6, $7, $8, $9, $10) it \
on conflict (deployment_id, id) do update set used = excluded.used, stopped = excluded.stopped, \
closing = excluded.closing, rationale = excluded.rationale";

#[expect(clippy::disallowed_methods, reason = "the DSL has no `unnest` of several arrays")]
pub(crate) async fn put_matches(
    tx: &mut FencedTx<'_>,
    deployment: DeploymentId,
    rows: &[MatchRow],
) -> Result<(), Problem> {
    use sql_types::{Array, BigInt, Bool, Text, Timestamptz};
    if rows.is_empty() {
        return Ok(());
    }
    diesel::sql_query(PUT_MATCHES)
        .bind::<BigInt, _>(deployment)
        .bind::<Array<BigInt>, _>(column(rows, |it| it.id))
        .bind::<Array<BigInt>, _>(column(rows, |it| it.matchmaker_id))
        .bind::<Array<Text>, _>(column(rows, |it| it.mode.as_str()))
        .bind::<Array<BigInt>, _>(column(rows, |it| it.runtime_id))
        .bind::<Array<Bool>, _>(column(rows, |it| it.used))
        .bind::<Array<Bool>, _>(column(rows, |it| it.stopped))
        .bind::<Array<Bool>, _>(column(rows, |it| it.closing))
        .bind::<Array<Text>, _>(column(rows, |it| it.rationale.as_str()))
        .bind::<Array<Timestamptz>, _>(column(rows, |it| it.created))
        .execute(tx.conn())
        .await?;
    Ok(())
}

fn column<'a, R, T>(rows: &'a [R], pick: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(pick).collect()
}

const PUT_TICKETS: &str = "\
insert into matchmaking.ticket \
(deployment_id, id, matchmaker_id, mode, body, match_id, group_index, ending, created) \
select $1, it.* from unnest($2, $3, $4, $5, $6, $7, $8, $9) it \
on conflict (deployment_id, id) do update set matchmaker_id = excluded.matchmaker_id, body = excluded.body, match_id = excluded.match_id, \
group_index = excluded.group_index, ending = excluded.ending";

#[expect(clippy::disallowed_methods, reason = "the DSL has no `unnest` of several arrays")]
pub(crate) async fn put_tickets(
    tx: &mut FencedTx<'_>,
    deployment: DeploymentId,
    rows: &[TicketRow],
) -> Result<(), Problem> {
    use sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz};
    if rows.is_empty() {
        return Ok(());
    }
    diesel::sql_query(PUT_TICKETS)
        .bind::<BigInt, _>(deployment)
        .bind::<Array<BigInt>, _>(column(rows, |it| it.id))
        .bind::<Array<BigInt>, _>(column(rows, |it| it.matchmaker_id))
        .bind::<Array<Text>, _>(column(rows, |it| it.mode.as_str()))
        .bind::<Array<Text>, _>(column(rows, |it| it.body.as_str()))
        .bind::<Array<Nullable<BigInt>>, _>(column(rows, |it| it.match_id))
        .bind::<Array<Nullable<Integer>>, _>(column(rows, |it| it.group_index))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |it| it.ending.as_deref()))
        .bind::<Array<Timestamptz>, _>(column(rows, |it| it.created))
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(crate) async fn delete_tickets(
    tx: &mut FencedTx<'_>,
    deployment: DeploymentId,
    ids: &[TicketId],
) -> Result<(), Problem> {
    if !ids.is_empty() {
        let rows = ticket::table.filter(ticket::deployment_id.eq(deployment)).filter(ticket::id.eq_any(ids));
        diesel::delete(rows).execute(tx.conn()).await?;
    }
    Ok(())
}

/// Deletes matches and the tickets of their players.
pub(crate) async fn delete_matches(
    tx: &mut FencedTx<'_>,
    deployment: DeploymentId,
    ids: &[MatchId],
) -> Result<(), Problem> {
    let tickets =
        ticket::table.filter(ticket::deployment_id.eq(deployment)).filter(ticket::match_id.eq_any(ids));
    diesel::delete(tickets).execute(tx.conn()).await?;
    let matches =
        r#match::table.filter(r#match::deployment_id.eq(deployment)).filter(r#match::id.eq_any(ids));
    diesel::delete(matches).execute(tx.conn()).await?;
    Ok(())
}

/// Deletes all matches and tickets of a deployment.
pub(crate) async fn delete_all(tx: &mut FencedTx<'_>, deployment: DeploymentId) -> Result<(), Problem> {
    diesel::delete(ticket::table.filter(ticket::deployment_id.eq(deployment))).execute(tx.conn()).await?;
    diesel::delete(r#match::table.filter(r#match::deployment_id.eq(deployment))).execute(tx.conn()).await?;
    Ok(())
}

pub(crate) async fn matches(conn: &mut Conn, deployment: DeploymentId) -> Result<Vec<MatchRow>, Problem> {
    let rows = r#match::table.filter(r#match::deployment_id.eq(deployment)).order(r#match::id);
    Ok(rows.select(MatchRow::as_select()).load(conn).await?)
}

pub(crate) async fn tickets(conn: &mut Conn, deployment: DeploymentId) -> Result<Vec<TicketRow>, Problem> {
    let rows = ticket::table.filter(ticket::deployment_id.eq(deployment)).order(ticket::id);
    Ok(rows.select(TicketRow::as_select()).load(conn).await?)
}
