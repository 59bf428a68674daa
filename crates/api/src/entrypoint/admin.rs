//! What an admin asks.

use crate::{
    Problem, Validate,
    validate::{invalid, text},
};

/// What bcrypt can tell apart: 72 bytes with the zero byte at the end.
pub const MOST_HASHED_BYTES: usize = 71;

wire! {
    /// A fresh id.
    GenerateIdResponse {
        /// The id.
        #[serde(with = "crate::entrypoint::admin::id")] #[cfg_attr(feature = "schema", schema(value_type = String))] id: i64,
    }
    /// A text to hash.
    BcryptHashRequest {
        /// The text, 1 to 71 bytes.
        value: String,
    }
    /// The hash.
    BcryptHashResponse {
        /// In bcrypt's own notation.
        hash: String,
    }
    /// A key whose shard is asked for.
    CalculateShardRequest {
        /// The key.
        shard_key: String,
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
    /// A Docker host of the pool.
    PingDockerHostRequest {
        /// Its URI, as the pool has it.
        docker_daemon_uri: String,
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
