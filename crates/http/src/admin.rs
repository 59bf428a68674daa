//! What admins ask.

use actix_web::web::{Data, Json};
use omgservers_api::{
    Role, TenantId,
    entrypoint::{
        CreateTokenRequest, CreateTokenResponse, Empty,
        admin::{
            BcryptHashRequest, BcryptHashResponse, CalculateShardRequest, CalculateShardResponse,
            GenerateIdResponse, PingDockerHostRequest, PingDockerHostResponse,
        },
    },
    ids::{Id as _, SLOTS},
};

use crate::{
    Services,
    auth::{Admin, Authenticated},
    body::Body,
    endpoints::Mount,
    problem::Answer,
    token::token,
};

const ROLE: &str = "admin";

pub(crate) fn mount(m: &mut Mount<'_>) {
    m.post::<CreateTokenRequest, CreateTokenResponse, _, _>(ROLE, "create-token", false, create_token);
    m.post::<Empty, GenerateIdResponse, _, _>(ROLE, "generate-id", true, generate_id);
    m.post::<BcryptHashRequest, BcryptHashResponse, _, _>(ROLE, "bcrypt-hash", true, bcrypt_hash);
    m.post::<CalculateShardRequest, CalculateShardResponse, _, _>(
        ROLE,
        "calculate-shard",
        true,
        calculate_shard,
    );
    m.post::<PingDockerHostRequest, PingDockerHostResponse, _, _>(
        ROLE,
        "ping-docker-host",
        true,
        ping_docker_host,
    );
}

type Api = Data<Services>;
type Who = Authenticated<Admin>;

async fn create_token(api: Api, Body(it): Body<CreateTokenRequest>) -> Answer<CreateTokenResponse> {
    token(&api, Role::Admin, &it).await
}

async fn generate_id(api: Api, _: Who, _: Body<Empty>) -> Answer<GenerateIdResponse> {
    // Of no kind in particular; ids of all kinds share their numbers.
    Ok(Json(GenerateIdResponse { id: api.mint.root::<TenantId>()?.get() }))
}

async fn bcrypt_hash(api: Api, _: Who, Body(it): Body<BcryptHashRequest>) -> Answer<BcryptHashResponse> {
    Ok(Json(BcryptHashResponse { hash: api.passwords.hash(&it.value).await? }))
}

async fn calculate_shard(
    api: Api,
    _: Who,
    Body(it): Body<CalculateShardRequest>,
) -> Answer<CalculateShardResponse> {
    let slot = i32::from(slot_of(&it.shard_key));
    let uri = api.public_url.to_string();
    Ok(Json(CalculateShardResponse { shard_index: slot, slot, server_uri: uri.clone(), uri }))
}

/// The slot that is in an id; of any other text the contract's checksum, modulo the number of slots.
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

async fn ping_docker_host(
    api: Api,
    _: Who,
    Body(it): Body<PingDockerHostRequest>,
) -> Answer<PingDockerHostResponse> {
    let successful = api.runtimes.ping_host(&it.docker_daemon_uri).await?;
    Ok(Json(PingDockerHostResponse { successful, from_server: api.public_url.to_string() }))
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
