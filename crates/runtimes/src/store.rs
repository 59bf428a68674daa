//! All SQL of this crate.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use omgservers_api::{
    DeploymentId, HostId, PoolId, Problem, RuntimeId, RuntimeQualifier, TenantId, config::PortConfig,
    details::ContainerFailure, interchange::DirectPort,
};
use omgservers_core::{Conn, FencedTx, db::maybe};
use serde_json::Value;

use crate::{
    Host, HostConfig, HostState,
    rules::{Desired, Observed},
    schema::{failure, host, pool, runtime},
};

/// A runtime as the table keeps it.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = runtime, check_for_backend(diesel::pg::Pg))]
pub(crate) struct Row {
    pub(crate) id: RuntimeId,
    pub(crate) tenant_id: TenantId,
    pub(crate) deployment_id: DeploymentId,
    pub(crate) qualifier: RuntimeQualifier,
    pub(crate) repository: String,
    pub(crate) digest: String,
    pub(crate) cpu: i32,
    pub(crate) memory: i32,
    pub(crate) labels: Value,
    pub(crate) created: DateTime<Utc>,
    pub(crate) desired: String,
    pub(crate) observed: String,
    pub(crate) epoch: i32,
    pub(crate) host_id: Option<HostId>,
    pub(crate) password_digest: Option<String>,
    pub(crate) started: Option<DateTime<Utc>>,
    pub(crate) failures: i32,
    pub(crate) last_failure: Option<Value>,
    pub(crate) ports: Value,
    pub(crate) published: Option<Value>,
    pub(crate) connect_key: Option<String>,
}

pub(crate) const RUN: &str = "run";
pub(crate) const STOP: &str = "stop";
pub(crate) const PENDING: &str = "pending";
const RUNNING: &str = "running";
const FAILED: &str = "failed";

impl Row {
    pub(crate) fn desired(&self) -> Desired {
        if self.desired == RUN { Desired::Run } else { Desired::Stop }
    }

    pub(crate) fn observed(&self) -> Observed {
        match self.observed.as_str() {
            RUNNING => Observed::Running,
            FAILED => Observed::Failed,
            _ => Observed::Pending,
        }
    }

    pub(crate) fn epoch(&self) -> u32 {
        unsigned(self.epoch)
    }

    pub(crate) fn failures(&self) -> u32 {
        unsigned(self.failures)
    }

    pub(crate) fn has_ports(&self) -> bool {
        self.ports.as_array().is_some_and(|it| !it.is_empty())
    }

    /// The ports that it should have.
    pub(crate) fn ports(&self) -> Vec<PortConfig> {
        serde_json::from_value(self.ports.clone()).unwrap_or_default()
    }

    /// Where they are.
    pub(crate) fn published(&self) -> Vec<DirectPort> {
        self.published.clone().and_then(|it| serde_json::from_value(it).ok()).unwrap_or_default()
    }

    pub(crate) fn last_failure(&self) -> Option<ContainerFailure> {
        self.last_failure.clone().and_then(|it| serde_json::from_value(it).ok())
    }
}

/// A column that a check keeps from being negative.
pub(crate) fn unsigned(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

/// Rows of one statement: it takes 65,535 parameters at most.
const MOST_ROWS: usize = 1_000;

/// Adds runtimes, unless they are there.
pub(crate) async fn insert(mut tx: FencedTx<'_>, rows: &[Row]) -> Result<(), Problem> {
    for rows in rows.chunks(MOST_ROWS) {
        diesel::insert_into(runtime::table)
            .values(rows)
            .on_conflict(runtime::id)
            .do_nothing()
            .execute(tx.conn())
            .await?;
    }
    Ok(())
}

pub(crate) async fn by_ids(conn: &mut Conn, ids: &[RuntimeId]) -> Result<Vec<Row>, Problem> {
    Ok(runtime::table.filter(runtime::id.eq_any(ids)).select(Row::as_select()).load(conn).await?)
}

/// The next runtimes by id.
pub(crate) async fn page(conn: &mut Conn, after: Option<RuntimeId>, limit: i64) -> Result<Vec<Row>, Problem> {
    let mut query = runtime::table.order(runtime::id).limit(limit).select(Row::as_select()).into_boxed();
    if let Some(after) = after {
        query = query.filter(runtime::id.gt(after));
    }
    Ok(query.load(conn).await?)
}

pub(crate) async fn of_deployment(conn: &mut Conn, deployment: DeploymentId) -> Result<Vec<Row>, Problem> {
    Ok(runtime::table
        .filter(runtime::deployment_id.eq(deployment))
        .order((runtime::created, runtime::id))
        .select(Row::as_select())
        .load(conn)
        .await?)
}

pub(crate) async fn wanted(conn: &mut Conn) -> Result<Vec<(RuntimeId, DeploymentId)>, Problem> {
    Ok(runtime::table
        .filter(runtime::desired.eq(RUN))
        .order(runtime::id)
        .select((runtime::id, runtime::deployment_id))
        .load(conn)
        .await?)
}

/// Wishes that runtimes stop.
pub(crate) async fn request_stop(mut tx: FencedTx<'_>, ids: &[RuntimeId]) -> Result<usize, Problem> {
    let some = runtime::table.filter(runtime::id.eq_any(ids)).filter(runtime::desired.ne(STOP));
    Ok(diesel::update(some).set(runtime::desired.eq(STOP)).execute(tx.conn()).await?)
}

/// Begins an attempt, unless the runtime should not run any more or has gone on since it was read.
pub(crate) async fn begin(
    mut tx: FencedTx<'_>,
    row: &Row,
    host: HostId,
    password_digest: &str,
    connect_key: Option<&str>,
) -> Result<Option<Row>, Problem> {
    let same = runtime::table
        .find(row.id)
        .filter(runtime::desired.eq(RUN))
        .filter(runtime::observed.eq(PENDING))
        .filter(runtime::epoch.eq(row.epoch))
        .filter(runtime::host_id.is_null());
    let update = (
        runtime::epoch.eq(row.epoch.saturating_add(1)),
        runtime::host_id.eq(host),
        runtime::password_digest.eq(password_digest),
        runtime::published.eq(None::<Value>),
        runtime::connect_key.eq(connect_key),
    );
    maybe(diesel::update(same).set(update).returning(Row::as_returning()).get_result(tx.conn()).await)
}

/// Records that the attempt of `row` runs, and where its ports are.
pub(crate) async fn set_running(
    mut tx: FencedTx<'_>,
    row: &Row,
    started: DateTime<Utc>,
    published: Option<&Value>,
) -> Result<Option<Row>, Problem> {
    let same = runtime::table.find(row.id).filter(runtime::epoch.eq(row.epoch));
    let update =
        (runtime::observed.eq(RUNNING), runtime::started.eq(started), runtime::published.eq(published));
    maybe(diesel::update(same).set(update).returning(Row::as_returning()).get_result(tx.conn()).await)
}

/// Records that the ports of a running runtime are elsewhere now.
pub(crate) async fn set_published(
    mut tx: FencedTx<'_>,
    row: &Row,
    published: &Value,
) -> Result<Option<Row>, Problem> {
    let same = runtime::table
        .find(row.id)
        .filter(runtime::epoch.eq(row.epoch))
        .filter(runtime::observed.eq(RUNNING));
    let update = runtime::published.eq(published);
    maybe(diesel::update(same).set(update).returning(Row::as_returning()).get_result(tx.conn()).await)
}

/// Gives the host of an attempt back.
pub(crate) async fn release(mut tx: FencedTx<'_>, row: &Row) -> Result<Option<Row>, Problem> {
    let same = runtime::table.find(row.id).filter(runtime::epoch.eq(row.epoch));
    let update = (runtime::host_id.eq(None::<HostId>), runtime::password_digest.eq(None::<String>));
    maybe(diesel::update(same).set(update).returning(Row::as_returning()).get_result(tx.conn()).await)
}

/// Records a failed attempt. Its password is worth nothing any more.
pub(crate) async fn set_attempt_failed(
    mut tx: FencedTx<'_>,
    row: &Row,
    body: &Value,
) -> Result<Option<Row>, Problem> {
    let same = runtime::table
        .find(row.id)
        .filter(runtime::epoch.eq(row.epoch))
        .filter(runtime::failures.eq(row.failures));
    let update = (
        runtime::host_id.eq(None::<HostId>),
        runtime::password_digest.eq(None::<String>),
        runtime::failures.eq(row.failures.saturating_add(1)),
        runtime::last_failure.eq(body),
    );
    maybe(diesel::update(same).set(update).returning(Row::as_returning()).get_result(tx.conn()).await)
}

/// Records that the runtime came to an end. Its password stays, so that what is still out there
/// learns that it should not run any more.
pub(crate) async fn set_failed(
    mut tx: FencedTx<'_>,
    row: &Row,
    body: &Value,
) -> Result<Option<Row>, Problem> {
    let same = runtime::table
        .find(row.id)
        .filter(runtime::epoch.eq(row.epoch))
        .filter(runtime::failures.eq(row.failures));
    let update = (
        runtime::observed.eq(FAILED),
        runtime::host_id.eq(None::<HostId>),
        runtime::failures.eq(row.failures.saturating_add(1)),
        runtime::last_failure.eq(body),
    );
    maybe(diesel::update(same).set(update).returning(Row::as_returning()).get_result(tx.conn()).await)
}

/// Forgets a runtime that should not run.
pub(crate) async fn delete(mut tx: FencedTx<'_>, id: RuntimeId) -> Result<usize, Problem> {
    let stopped = runtime::table.find(id).filter(runtime::desired.eq(STOP));
    Ok(diesel::delete(stopped).execute(tx.conn()).await?)
}

/// How many failures of a deployment are kept.
pub(crate) const FAILURES_KEPT: i64 = 20;

/// Notes a failure and drops the oldest beyond [`FAILURES_KEPT`].
pub(crate) async fn note_failure(
    mut tx: FencedTx<'_>,
    row: &Row,
    at: DateTime<Utc>,
    body: &Value,
) -> Result<(), Problem> {
    let values = (
        failure::deployment_id.eq(row.deployment_id),
        failure::runtime_id.eq(row.id),
        failure::attempt.eq(row.failures.saturating_add(1)),
        failure::at.eq(at),
        failure::body.eq(body),
    );
    diesel::insert_into(failure::table)
        .values(values)
        .on_conflict((failure::deployment_id, failure::runtime_id, failure::attempt))
        .do_nothing()
        .execute(tx.conn())
        .await?;
    let beyond: Vec<(RuntimeId, i32)> = failure::table
        .filter(failure::deployment_id.eq(row.deployment_id))
        .order((failure::at.desc(), failure::runtime_id.desc(), failure::attempt.desc()))
        .offset(FAILURES_KEPT)
        .limit(100)
        .select((failure::runtime_id, failure::attempt))
        .load(tx.conn())
        .await?;
    for (runtime_id, attempt) in beyond {
        diesel::delete(failure::table.find((row.deployment_id, runtime_id, attempt)))
            .execute(tx.conn())
            .await?;
    }
    Ok(())
}

pub(crate) async fn failures(
    conn: &mut Conn,
    deployment: DeploymentId,
) -> Result<Vec<ContainerFailure>, Problem> {
    let bodies: Vec<Value> = failure::table
        .filter(failure::deployment_id.eq(deployment))
        .order((failure::at.desc(), failure::runtime_id.desc(), failure::attempt.desc()))
        .limit(FAILURES_KEPT)
        .select(failure::body)
        .load(conn)
        .await?;
    bodies.into_iter().map(|it| serde_json::from_value(it).map_err(Problem::internal)).collect()
}

/// The next deployments with failures, by id.
pub(crate) async fn failed_deployments(
    conn: &mut Conn,
    after: Option<DeploymentId>,
    limit: i64,
) -> Result<Vec<DeploymentId>, Problem> {
    let mut query = failure::table
        .select(failure::deployment_id)
        .distinct()
        .order(failure::deployment_id)
        .limit(limit)
        .into_boxed();
    if let Some(after) = after {
        query = query.filter(failure::deployment_id.gt(after));
    }
    Ok(query.load(conn).await?)
}

pub(crate) async fn forget_failures(
    mut tx: FencedTx<'_>,
    deployment: DeploymentId,
) -> Result<usize, Problem> {
    let all = failure::table.filter(failure::deployment_id.eq(deployment));
    Ok(diesel::delete(all).execute(tx.conn()).await?)
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = host, check_for_backend(diesel::pg::Pg))]
struct HostRow {
    pool_id: PoolId,
    id: HostId,
    uri: String,
    tls_path: Option<String>,
    cpu: i32,
    memory: i32,
    max_containers: i32,
    state: String,
    public_address: Option<String>,
    created: DateTime<Utc>,
}

impl From<HostRow> for Host {
    fn from(row: HostRow) -> Self {
        let config = HostConfig {
            uri: row.uri,
            tls: row.tls_path.map(PathBuf::from),
            cpu: unsigned(row.cpu),
            memory: unsigned(row.memory),
            max_containers: unsigned(row.max_containers),
            state: HostState::of(&row.state),
            public_address: row.public_address,
        };
        Self { pool: row.pool_id, id: row.id, config }
    }
}

/// The pool, if there is one.
pub(crate) async fn pool(conn: &mut Conn) -> Result<Option<PoolId>, Problem> {
    maybe(pool::table.order((pool::created, pool::id)).select(pool::id).first(conn).await)
}

pub(crate) async fn insert_pool(tx: &mut FencedTx<'_>, id: PoolId, at: DateTime<Utc>) -> Result<(), Problem> {
    diesel::insert_into(pool::table)
        .values((pool::id.eq(id), pool::created.eq(at)))
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(crate) async fn hosts(conn: &mut Conn) -> Result<Vec<Host>, Problem> {
    let rows: Vec<HostRow> =
        host::table.order((host::pool_id, host::id)).select(HostRow::as_select()).load(conn).await?;
    Ok(rows.into_iter().map(Host::from).collect())
}

/// Adds a host, or gives the one of this URI another description.
pub(crate) async fn put_host(tx: &mut FencedTx<'_>, target: &Host, at: DateTime<Utc>) -> Result<(), Problem> {
    let signed = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let row = HostRow {
        pool_id: target.pool,
        id: target.id,
        uri: target.config.uri.clone(),
        tls_path: target.config.tls.as_ref().map(|path| path.to_string_lossy().into_owned()),
        cpu: signed(target.config.cpu),
        memory: signed(target.config.memory),
        max_containers: signed(target.config.max_containers),
        state: target.config.state.as_str().to_owned(),
        public_address: target.config.public_address.clone(),
        created: at,
    };
    let update = (
        host::tls_path.eq(row.tls_path.clone()),
        host::cpu.eq(row.cpu),
        host::memory.eq(row.memory),
        host::max_containers.eq(row.max_containers),
        host::state.eq(row.state.clone()),
        host::public_address.eq(row.public_address.clone()),
    );
    diesel::insert_into(host::table)
        .values(row)
        .on_conflict((host::pool_id, host::uri))
        .do_update()
        .set(update)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Lets a host that is configured no longer go: at once if nothing runs there, else when it is
/// empty.
pub(crate) async fn drop_host(tx: &mut FencedTx<'_>, pool: PoolId, id: HostId) -> Result<(), Problem> {
    let busy: i64 = runtime::table.filter(runtime::host_id.eq(id)).count().get_result(tx.conn()).await?;
    if busy == 0 {
        diesel::delete(host::table.find((pool, id))).execute(tx.conn()).await?;
    } else {
        diesel::update(host::table.find((pool, id)))
            .set(host::state.eq(HostState::Draining.as_str()))
            .execute(tx.conn())
            .await?;
    }
    Ok(())
}
