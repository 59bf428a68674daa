//! The claims of all kinds of tokens, and what each kind must say.

use omgservers_api::{Problem, Role, RuntimeId, UserId, problem::codes};
use serde::{Deserialize, Serialize};

use super::{Access, RUNTIME, RegistryClaims, Verified, WEBSOCKET, WsClaims};

/// Who a token is for. A token of one audience is nothing to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    Api,
    Ws,
    Registry,
    Refresh,
}

impl Audience {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "omgservers",
            Self::Ws => "dispatcher",
            Self::Registry => "registry",
            Self::Refresh => "registry-refresh",
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) iat: i64,
    pub(super) exp: i64,
    pub(super) jti: String,
    pub(super) aud: String,
    pub(super) sub: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user_id: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) runtime_id: Option<RuntimeId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user_role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) assignment: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) access: Option<Vec<Access>>,
}

impl Claims {
    /// What an API token says.
    pub(super) fn api(&self) -> Result<Verified, Problem> {
        match (self.group()?, self.user_id, self.runtime_id) {
            (RUNTIME, None, Some(runtime)) => Ok(Verified::Runtime(runtime)),
            (role, Some(id), None) => {
                let role: Role = role.parse().map_err(refused)?;
                Ok(Verified::User { id, role })
            }
            _ => Err(codes::WRONG_TOKEN.into()),
        }
    }

    /// What a WebSocket token says.
    pub(super) fn ws(&self) -> Result<WsClaims, Problem> {
        let (WEBSOCKET, Some(runtime), Some(role), Some(assignment)) =
            (self.group()?, self.runtime_id, self.user_role.as_deref(), self.assignment)
        else {
            return Err(codes::WRONG_TOKEN.into());
        };
        if role == RUNTIME {
            Ok(WsClaims::Runtime { runtime, assignment })
        } else if role == Role::Player.as_str() {
            let client = self.sub.parse().map_err(refused)?;
            Ok(WsClaims::Player { client, runtime, assignment })
        } else {
            Err(codes::WRONG_TOKEN.into())
        }
    }

    /// What a registry access token says.
    pub(super) fn registry(self) -> Result<RegistryClaims, Problem> {
        let access = self.access.ok_or(codes::WRONG_TOKEN)?;
        Ok(RegistryClaims { subject: self.sub, access })
    }

    /// What a refresh token says.
    pub(super) fn refresh(&self) -> Result<UserId, Problem> {
        self.user_id.ok_or_else(|| codes::WRONG_TOKEN.into())
    }

    fn group(&self) -> Result<&str, Problem> {
        match self.groups.as_slice() {
            [only] => Ok(only),
            _ => Err(codes::WRONG_TOKEN.into()),
        }
    }
}

fn refused(cause: impl std::error::Error + Send + Sync + 'static) -> Problem {
    Problem::from(codes::WRONG_TOKEN).because(cause)
}
