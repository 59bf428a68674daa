//! Who asks.

use omgservers_api::{Problem, Role, RuntimeId, UserId, problem::codes};

/// Who asks. The first argument of everything that a user can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The backend itself, or a tool that embeds a crate; the name is for the log.
    System(&'static str),
    /// A user of any role.
    User {
        /// Who.
        id: UserId,
        /// What the user is.
        role: Role,
    },
    /// A game server.
    Runtime(RuntimeId),
}

impl Caller {
    /// The id of a user of `role`. Problems: `auth.role`.
    pub fn user(&self, role: Role) -> Result<UserId, Problem> {
        match self {
            Self::User { id, role: is } if *is == role => Ok(*id),
            _ => Err(codes::WRONG_ROLE.into()),
        }
    }

    /// Whether no permission is asked of this caller: the backend itself and support.
    pub fn is_trusted(&self) -> bool {
        matches!(self, Self::System(_) | Self::User { role: Role::Support | Role::Service, .. })
    }

    /// For what only trusted callers may do. Problems: `auth.role`.
    pub fn trusted(&self) -> Result<(), Problem> {
        if self.is_trusted() { Ok(()) } else { Err(codes::WRONG_ROLE.into()) }
    }

    /// For what needs a permission: the developer who must hold it, or `None` for a trusted caller, of whom none
    /// is asked. Problems: `auth.role` for everybody else.
    pub fn holder(&self) -> Result<Option<UserId>, Problem> {
        if self.is_trusted() { Ok(None) } else { self.user(Role::Developer).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use omgservers_api::ids::Id as _;

    use super::*;

    #[test]
    fn permissions_are_asked_of_developers_and_of_nobody_else() {
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
