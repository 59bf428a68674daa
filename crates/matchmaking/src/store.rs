//! All the SQL of this crate.

pub(crate) mod matches;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use omgservers_api::{DeploymentId, LobbyId, MatchmakerId, Problem, RuntimeId};
use omgservers_core::{Conn, FencedTx, db::maybe};

use crate::schema::{lobby, r#match, matchmaker};

#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = lobby, check_for_backend(diesel::pg::Pg))]
pub(crate) struct LobbyRow {
    pub(crate) deployment_id: DeploymentId,
    pub(crate) id: LobbyId,
    pub(crate) runtime_id: RuntimeId,
    pub(crate) closing: bool,
    pub(crate) created: DateTime<Utc>,
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = matchmaker, check_for_backend(diesel::pg::Pg))]
pub(crate) struct MatchmakerRow {
    pub(crate) deployment_id: DeploymentId,
    pub(crate) id: MatchmakerId,
    pub(crate) created: DateTime<Utc>,
}

pub(crate) async fn insert_lobbies(tx: &mut FencedTx<'_>, rows: &[LobbyRow]) -> Result<(), Problem> {
    diesel::insert_into(lobby::table).values(rows).execute(tx.conn()).await?;
    Ok(())
}

pub(crate) async fn mark_closing(
    tx: &mut FencedTx<'_>,
    deployment: DeploymentId,
    id: LobbyId,
) -> Result<(), Problem> {
    diesel::update(lobby::table.find((deployment, id)))
        .set(lobby::closing.eq(true))
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(crate) async fn delete_lobby(
    tx: &mut FencedTx<'_>,
    deployment: DeploymentId,
    id: LobbyId,
) -> Result<(), Problem> {
    diesel::delete(lobby::table.find((deployment, id))).execute(tx.conn()).await?;
    Ok(())
}

pub(crate) async fn lobbies(conn: &mut Conn, deployment: DeploymentId) -> Result<Vec<LobbyRow>, Problem> {
    Ok(lobby::table
        .filter(lobby::deployment_id.eq(deployment))
        .order(lobby::id)
        .select(LobbyRow::as_select())
        .load(conn)
        .await?)
}

pub(crate) async fn lobby(conn: &mut Conn, id: LobbyId) -> Result<Option<LobbyRow>, Problem> {
    maybe(lobby::table.filter(lobby::id.eq(id)).select(LobbyRow::as_select()).first(conn).await)
}

pub(crate) async fn insert_matchmaker(tx: &mut FencedTx<'_>, row: &MatchmakerRow) -> Result<(), Problem> {
    diesel::insert_into(matchmaker::table).values(row).execute(tx.conn()).await?;
    Ok(())
}

pub(crate) async fn delete_matchmaker(
    tx: &mut FencedTx<'_>,
    deployment: DeploymentId,
    id: MatchmakerId,
) -> Result<usize, Problem> {
    Ok(diesel::delete(matchmaker::table.find((deployment, id))).execute(tx.conn()).await?)
}

pub(crate) async fn delete_matchmakers(
    tx: &mut FencedTx<'_>,
    deployment: DeploymentId,
) -> Result<usize, Problem> {
    let all = matchmaker::table.filter(matchmaker::deployment_id.eq(deployment));
    Ok(diesel::delete(all).execute(tx.conn()).await?)
}

pub(crate) async fn matchmakers(
    conn: &mut Conn,
    deployment: DeploymentId,
) -> Result<Vec<MatchmakerRow>, Problem> {
    Ok(matchmaker::table
        .filter(matchmaker::deployment_id.eq(deployment))
        .order(matchmaker::id)
        .select(MatchmakerRow::as_select())
        .load(conn)
        .await?)
}

pub(crate) async fn matchmaker(conn: &mut Conn, id: MatchmakerId) -> Result<Option<MatchmakerRow>, Problem> {
    maybe(
        matchmaker::table.filter(matchmaker::id.eq(id)).select(MatchmakerRow::as_select()).first(conn).await,
    )
}

/// Runtimes that lobbies and matches are, by deployment.
pub(crate) async fn owned_runtimes(conn: &mut Conn) -> Result<Vec<(RuntimeId, DeploymentId)>, Problem> {
    let lobbies = lobby::table.select((lobby::runtime_id, lobby::deployment_id));
    let matches = r#match::table.select((r#match::runtime_id, r#match::deployment_id));
    Ok(lobbies.union_all(matches).load(conn).await?)
}

/// Deployments that have a lobby, a match or a matchmaker.
pub(crate) async fn deployments(conn: &mut Conn) -> Result<Vec<DeploymentId>, Problem> {
    let mut found: Vec<DeploymentId> =
        lobby::table.select(lobby::deployment_id).distinct().load(conn).await?;
    found.extend(
        matchmaker::table.select(matchmaker::deployment_id).distinct().load::<DeploymentId>(conn).await?,
    );
    found.extend(r#match::table.select(r#match::deployment_id).distinct().load::<DeploymentId>(conn).await?);
    found.sort_unstable();
    found.dedup();
    Ok(found)
}
