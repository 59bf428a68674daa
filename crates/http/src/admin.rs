//! Endpoints of administrators: one handler for each, of the name of its method.

use omgservers_api::{
    Problem, Role, TenantId,
    entrypoint::{
        CreateTokenRequest, CreateTokenResponse, Empty,
        admin::{
            BcryptHashRequest, BcryptHashResponse, CalculateShardRequest, CalculateShardResponse,
            GenerateIdResponse, ListWorkersResponse, PingDockerHostRequest, PingDockerHostResponse,
            WorkerDetails,
        },
    },
    ids::{Id as _, SLOTS},
};
use omgservers_core::{Caller, WorkerStatus};

use crate::{Api, token::create};

pub(crate) async fn create_token(
    api: Api,
    request: CreateTokenRequest,
) -> Result<CreateTokenResponse, Problem> {
    create(&api, Role::Admin, &request).await
}

pub(crate) async fn generate_id(api: Api, _: Caller, _: Empty) -> Result<GenerateIdResponse, Problem> {
    // Of no kind in particular; ids of all kinds share their numbers.
    Ok(GenerateIdResponse { id: api.mint.root::<TenantId>()?.get() })
}

pub(crate) async fn bcrypt_hash(
    api: Api,
    _: Caller,
    request: BcryptHashRequest,
) -> Result<BcryptHashResponse, Problem> {
    Ok(BcryptHashResponse { hash: api.passwords.hash(&request.value).await? })
}

pub(crate) async fn calculate_shard(
    api: Api,
    _: Caller,
    request: CalculateShardRequest,
) -> Result<CalculateShardResponse, Problem> {
    let slot = i32::from(slot_of(&request.shard_key));
    let uri = api.public_url.to_string();
    Ok(CalculateShardResponse { shard_index: slot, slot, server_uri: uri.clone(), uri })
}

/// The slot that is in an id; of any other text the contract's checksum, modulo the number of
/// slots.
fn slot_of(key: &str) -> u16 {
    match key.parse::<TenantId>() {
        Ok(id) => id.slot().number(),
        Err(_) => crc16(key.as_bytes()).checked_rem(SLOTS).unwrap_or(0),
    }
}

/// CRC-16/ARC: reflected polynomial 0xA001, start 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8)
            .fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 })
    })
}

pub(crate) async fn ping_docker_host(
    api: Api,
    _: Caller,
    request: PingDockerHostRequest,
) -> Result<PingDockerHostResponse, Problem> {
    let successful = api.runtimes.ping_host(&request.docker_daemon_uri).await?;
    Ok(PingDockerHostResponse { successful, from_server: api.public_url.to_string() })
}

pub(crate) async fn list_workers(api: Api, _: Caller, _: Empty) -> Result<ListWorkersResponse, Problem> {
    Ok(ListWorkersResponse { workers: api.workers.statuses().into_iter().map(details).collect() })
}

fn details(worker: WorkerStatus) -> WorkerDetails {
    let milliseconds = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let (last_changed, last_problem) = match worker.last_result {
        Some(Ok(changed)) => (Some(count(changed)), None),
        Some(Err(problem)) => (None, Some(problem)),
        None => (None, None),
    };
    let run = worker.last_run;
    WorkerDetails {
        name: worker.name.to_owned(),
        description: worker.description.to_owned(),
        period_ms: milliseconds(worker.period),
        runs: worker.runs,
        failures: worker.failures,
        last_reason: run.map(|it| it.reason),
        last_started: run.map(|it| it.started),
        last_duration_ms: run.map(|it| milliseconds(it.duration)),
        running: run.is_some_and(|it| it.in_progress),
        last_changed,
        last_problem,
        backlog: count(worker.backlog.due),
        backlog_delayed: count(worker.backlog.delayed),
        backlog_oldest_ms: milliseconds(worker.backlog.oldest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_has_the_contracts_check_values() {
        for (text, sum) in
            [("123456789", 0xBB3D), ("0", 0x1400), ("1", 0xD4C1), ("245515657456648192", 0x1D38)]
        {
            assert_eq!(crc16(text.as_bytes()), sum, "{text}");
        }
    }
}
