//! What accounts promise to everybody else.

use omgservers_api::{Problem, Ref, Role, UserId};
use omgservers_core::{Caller, Existences};

/// A user, without credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// What the user is.
    pub role: Role,
}

/// A user that was just made. The password is in no other answer.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Who.
    pub id: UserId,
    /// 32 characters that stand for 192 random bits.
    pub password: String,
}

/// What other crates, the HTTP API and tools may ask of accounts.
#[async_trait::async_trait]
pub trait Accounts: Send + Sync {
    /// Makes a developer or a player with a generated password. A player anybody may make (`caller`
    /// is not asked); a developer support only. Problems: `auth.role`.
    async fn create(&self, caller: &Caller, role: Role) -> Result<NewUser, Problem>;

    /// Checks credentials. An unknown user, a wrong password and a role that isn't one of `roles`
    /// get the same answer, after the same time. Problems: `auth.credentials`.
    async fn verify(&self, roles: &[Role], user: &Ref<UserId>, password: &str) -> Result<User, Problem>;

    /// Gives a user of `role` a second name. The name is unique among users. Problems: `auth.role`,
    /// `accounts.not_found`, `accounts.alias_taken`.
    async fn create_alias(
        &self,
        caller: &Caller,
        role: Role,
        user: UserId,
        alias: &str,
    ) -> Result<(), Problem>;

    /// Deletes a user of `role`, its credentials and its names. Support may delete developers.
    /// `false` when there is no such user of that role. Problems: `auth.role`.
    async fn delete(&self, caller: &Caller, role: Role, user: &Ref<UserId>) -> Result<bool, Problem>;

    /// The user behind an id or a name. Problems: `accounts.not_found`.
    async fn find(&self, user: &Ref<UserId>) -> Result<User, Problem>;

    /// Whether `ids` exist; what their owner can't tell is unknown. For the crates to the right,
    /// which hold ids of users.
    async fn exist(&self, ids: &[UserId]) -> Result<Existences<UserId>, Problem>;

    /// Makes the user with this name and role unless it is there; a given password replaces the one
    /// it has. Returns the password when one was generated. For the first start.
    async fn ensure(
        &self,
        alias: &str,
        role: Role,
        password: Option<&str>,
    ) -> Result<Option<String>, Problem>;
}
