//! The token service of the registry, in the words of Docker's token specification.

use serde::{Deserialize, Serialize};

/// A token for the registry.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DockerTokenResponse {
    /// The token.
    pub token: String,
    /// The same token under its OAuth2 name.
    pub access_token: String,
    /// Seconds that it lives: a number.
    pub expires_in: u64,
    /// When it was made.
    pub issued_at: String,
    /// What was granted, space separated.
    pub scope: String,
    /// For later tokens, where one was asked for.
    pub refresh_token: Option<String>,
}

/// The form of the OAuth2 style request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DockerTokenForm {
    /// `refresh_token` or `password`.
    pub grant_type: String,
    /// The registry's name.
    #[serde(default)]
    pub service: String,
    /// The program that asks.
    #[serde(default)]
    pub client_id: String,
    /// `offline` asks for a refresh token.
    #[serde(default)]
    pub access_type: String,
    /// Space separated scopes.
    #[serde(default)]
    pub scope: String,
    /// For the grant of the same name.
    #[serde(default)]
    pub refresh_token: Option<String>,
    /// For the grant `password`.
    #[serde(default)]
    pub username: Option<String>,
    /// For the grant `password`.
    #[serde(default)]
    pub password: Option<String>,
}
