//! How long tokens live.

use std::time::Duration;

use crate::keys::LONGEST_LIFE_DAYS;

const DAY: u64 = 86_400;

/// How long tokens live, and who issues them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenConfig {
    /// API tokens of users. A day by default: the SDK has no way to renew one.
    pub user: Duration,
    /// API tokens of game servers. A year by default: no SDK renews them, and a lobby must not die
    /// of it.
    pub runtime: Duration,
    /// WebSocket tokens. A minute by default: they travel in URLs.
    pub ws: Duration,
    /// Connect tokens. A minute by default: they are used at once.
    pub connect: Duration,
    /// Registry access tokens. Half an hour by default: a push of a large image must end in it.
    pub registry: Duration,
    /// Registry refresh tokens. A year by default: they stand for a `docker login`.
    pub refresh: Duration,
    /// The claim `iss`, also demanded.
    pub issuer: String,
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self {
            user: Duration::from_secs(DAY),
            runtime: Duration::from_secs(365 * DAY),
            ws: Duration::from_secs(60),
            connect: Duration::from_secs(60),
            registry: Duration::from_secs(1800),
            refresh: Duration::from_secs(365 * DAY),
            issuer: "omgservers".to_owned(),
        }
    }
}

impl TokenConfig {
    /// No token outlives the key that signed it.
    pub(super) fn cut(self) -> Self {
        let most = Duration::from_secs(LONGEST_LIFE_DAYS.unsigned_abs() * DAY);
        Self {
            user: self.user.min(most),
            runtime: self.runtime.min(most),
            ws: self.ws.min(most),
            connect: self.connect.min(most),
            registry: self.registry.min(most),
            refresh: self.refresh.min(most),
            issuer: self.issuer,
        }
    }
}
