//! Requests and endpoints of administrators.

use chrono::{DateTime, Utc};

pub use super::{CreateTokenRequest, CreateTokenResponse};
use crate::{
    Problem, Validate,
    roles::WorkerReason,
    validate::{invalid, text},
};

/// What bcrypt can tell apart: 72 bytes with the zero byte at the end.
pub const MOST_HASHED_BYTES: usize = 71;

endpoints! {
    ($) admin_endpoints admin Admin;

    /// Fetches a token for an administrator.
    ///
    /// The token is good for one hour.
    password "create-token" create_token CreateToken (CreateTokenRequest) -> CreateTokenResponse {
        errors: ["auth.credentials"],
        request: { "user": "admin", "password": "correct horse battery staple" },
        response: { "raw_token": "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl" },
    }
    /// Creates an id that no entity has.
    bearer "generate-id" generate_id GenerateId () -> GenerateIdResponse {
        errors: ["core.no_ids"],
        request: {},
        response: { "id": "246000000000000001" },
    }
    /// Hashes a text with bcrypt.
    bearer "bcrypt-hash" bcrypt_hash BcryptHash (BcryptHashRequest) -> BcryptHashResponse {
        errors: [],
        request: { "value": "correct horse battery staple" },
        response: { "hash": "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy" },
    }
    /// Shows the slot of a key and the server that owns it.
    bearer "calculate-shard" calculate_shard CalculateShard (CalculateShardRequest) -> CalculateShardResponse {
        errors: [],
        request: { "shard_key": "246000000000000001" },
        response: {
            "shard_index": 109, "slot": 109,
            "server_uri": "http://localhost:8080", "uri": "http://localhost:8080"
        },
    }
    /// Checks whether a Docker host of the pool answers.
    bearer "ping-docker-host" ping_docker_host PingDockerHost (PingDockerHostRequest) -> PingDockerHostResponse {
        errors: ["runtimes.unknown_host"],
        request: { "docker_daemon_uri": "unix:///var/run/docker.sock" },
        response: { "successful": true, "from_server": "http://localhost:8080" },
    }
    /// Lists the background workers of the server: what they do, their last run and their backlog.
    ///
    /// The order is that of their start. The figures are those of this process since its start.
    bearer "list-workers" list_workers ListWorkers () -> ListWorkersResponse {
        errors: [],
        request: {},
        response: {
            "workers": [{
                "name": "runtimes.reconcile",
                "description": "Starts, watches and removes containers until they are what the runtimes ask for.",
                "period_ms": 5000, "runs": 1042, "failures": 1,
                "last_reason": "DOORBELL", "last_started": "2026-03-01T12:00:00.000Z",
                "last_duration_ms": 12, "running": false,
                "last_changed": 3, "last_problem": null,
                "backlog": 2, "backlog_delayed": 1, "backlog_oldest_ms": 180
            }]
        },
    }
}

requests! {
    /// A text to hash.
    BcryptHashRequest {
        /// The text, 1 to 71 bytes.
        value: String,
    }
    /// A key whose shard is asked for.
    CalculateShardRequest {
        /// The key.
        shard_key: String,
    }
    /// A Docker host of the pool.
    PingDockerHostRequest {
        /// Its URI, as the pool has it.
        docker_daemon_uri: String,
    }
}

wire! {
    /// A fresh id.
    GenerateIdResponse {
        /// The id.
        #[serde(with = "crate::entrypoint::admin::id")] #[cfg_attr(feature = "schema", schema(value_type = String))] id: i64,
    }
    /// The hash.
    BcryptHashResponse {
        /// In bcrypt's own notation.
        hash: String,
    }
    /// Where a key lives.
    CalculateShardResponse {
        /// The slot of an id, or the CRC-16 of another text modulo the number of slots.
        shard_index: i32,
        /// The same under its later name.
        slot: i32,
        /// The server.
        server_uri: String,
        /// The same under its later name.
        uri: String,
    }
    /// The background workers of a server.
    ListWorkersResponse {
        /// In the order of their start.
        workers: Vec<WorkerDetails>,
    }
    /// A background worker, what it has done since the server started, and what it has to do.
    WorkerDetails {
        /// Its name, `crate.verb_noun`.
        name: String,
        /// What it does.
        description: String,
        /// The longest time between two runs, in milliseconds.
        period_ms: u64,
        /// How many runs have ended.
        runs: u64,
        /// How many of them failed.
        failures: u64,
        /// Why the last run began.
        last_reason: Option<WorkerReason>,
        /// When the last run began.
        #[serde(with = "crate::time::option")] last_started: Option<DateTime<Utc>>,
        /// How long the last run took, in milliseconds; so far, while it is running.
        last_duration_ms: Option<u64>,
        /// Whether the last run is still under way.
        running: bool,
        /// How many things the newest run that has ended changed; absent if it failed.
        last_changed: Option<u64>,
        /// Why the newest run that has ended failed.
        last_problem: Option<String>,
        /// How many items are due.
        backlog: u64,
        /// How many items become due later.
        backlog_delayed: u64,
        /// How long the oldest item has been due, in milliseconds.
        backlog_oldest_ms: u64,
    }
    /// Whether the host answers.
    PingDockerHostResponse {
        /// It does.
        successful: bool,
        /// Who asked.
        from_server: String,
    }
}

impl Validate for BcryptHashRequest {
    fn validate(&self) -> Result<(), Problem> {
        if self.value.len() > MOST_HASHED_BYTES {
            return Err(invalid("value", &format!("must have at most {MOST_HASHED_BYTES} bytes")));
        }
        text("value", &self.value, MOST_HASHED_BYTES)
    }
}
impl Validate for CalculateShardRequest {
    fn validate(&self) -> Result<(), Problem> {
        if self.shard_key.len() > 1024 {
            return Err(invalid("shard_key", "must have at most 1024 bytes"));
        }
        Ok(())
    }
}
impl Validate for PingDockerHostRequest {
    fn validate(&self) -> Result<(), Problem> {
        text("docker_daemon_uri", &self.docker_daemon_uri, 1024)
    }
}

/// An id of no particular kind, as a string.
mod id {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(id: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
