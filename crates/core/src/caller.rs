//! The caller of a service.

use omgservers_api::{Problem, Role, RuntimeId, UserId, problem::codes};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The caller of a service: the first argument of each method that a user can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The backend itself, or a tool that embeds a crate; the name is for the log.
    System(&'static str),
    /// A user of any role.
    User {
        /// The user.
        id: UserId,
        /// The user's role.
        role: Role,
    },
    /// A game server.
    Runtime(RuntimeId),
}

/// A caller on its path to another process. The name of a part of the backend stays behind: it is
/// for the log.
#[derive(Serialize, Deserialize)]
enum CallerRecord {
    System,
    User { id: UserId, role: Role },
    Runtime(RuntimeId),
}

impl Serialize for Caller {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = match *self {
            Self::System(_) => CallerRecord::System,
            Self::User { id, role } => CallerRecord::User { id, role },
            Self::Runtime(runtime) => CallerRecord::Runtime(runtime),
        };
        record.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Caller {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match CallerRecord::deserialize(deserializer)? {
            CallerRecord::System => Self::System("another process"),
            CallerRecord::User { id, role } => Self::User { id, role },
            CallerRecord::Runtime(runtime) => Self::Runtime(runtime),
        })
    }
}

impl Caller {
    /// Returns the id of a user of `role`. Problems: `auth.role`.
    pub fn user(&self, role: Role) -> Result<UserId, Problem> {
        match self {
            Self::User { id, role: is } if *is == role => Ok(*id),
            _ => Err(codes::WRONG_ROLE.into()),
        }
    }

    /// Whether this caller needs no permission: the backend itself and support.
    pub fn is_trusted(&self) -> bool {
        matches!(self, Self::System(_) | Self::User { role: Role::Support | Role::Service, .. })
    }

    /// Lets only trusted callers pass. Problems: `auth.role`.
    pub fn trusted(&self) -> Result<(), Problem> {
        if self.is_trusted() { Ok(()) } else { Err(codes::WRONG_ROLE.into()) }
    }

    /// Returns the developer who must hold a permission, or `None` for a trusted caller, who needs
    /// none. Problems: `auth.role` for everybody else.
    pub fn holder(&self) -> Result<Option<UserId>, Problem> {
        if self.is_trusted() { Ok(None) } else { self.user(Role::Developer).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use omgservers_api::ids::Id as _;

    use super::*;

    #[test]
    fn developers_alone_need_permissions() {
        let id = UserId::from_i64(7).unwrap();
        let user = |role| Caller::User { id, role };
        for trusted in [Caller::System("test"), user(Role::Support), user(Role::Service)] {
            assert!(trusted.trusted().is_ok());
            assert_eq!(trusted.holder().unwrap(), None);
        }
        let developer = user(Role::Developer);
        assert!(developer.trusted().unwrap_err().is(codes::WRONG_ROLE));
        assert_eq!(developer.holder().unwrap(), Some(id));
        let runtime = Caller::Runtime(RuntimeId::from_i64(7).unwrap());
        for other in [user(Role::Admin), user(Role::Player), runtime] {
            assert!(other.trusted().unwrap_err().is(codes::WRONG_ROLE));
            assert!(other.holder().unwrap_err().is(codes::WRONG_ROLE));
        }
    }
}
