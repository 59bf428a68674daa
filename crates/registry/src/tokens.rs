//! The token service: who may do what with which repository.

use std::{sync::Arc, time::Duration};

use omgservers_accounts::{Accounts, User};
use omgservers_api::{
    Kind, Problem, ProjectPermission, Ref, Role, UserId, entrypoint::docker::DockerTokenResponse,
    problem::codes, time,
};
use omgservers_auth::{Access, Tokens};
use omgservers_core::{Caller, Clock};
use omgservers_projects::Projects;
use omgservers_versions::Repository;

use crate::{
    problems,
    rules::{
        name,
        scope::{self, Action, Scope},
    },
};

/// Who can log in to the registry.
const ROLES: &[Role] = &[Role::Developer, Role::Support, Role::Service];
/// Whom the backend's own tokens are made for.
const BACKEND: &str = "omgservers";

/// Makes tokens for the registry, ours or one outside. Permissions are read for each token. Cheap
/// to clone.
#[derive(Clone)]
pub struct RegistryTokens {
    tokens: Arc<Tokens>,
    clock: Arc<dyn Clock>,
    accounts: Arc<dyn Accounts>,
    projects: Arc<dyn Projects>,
}

impl RegistryTokens {
    /// Signs with `tokens`; `accounts` identifies callers and `projects` their permissions.
    pub fn new(
        tokens: Arc<Tokens>,
        clock: Arc<dyn Clock>,
        accounts: Arc<dyn Accounts>,
        projects: Arc<dyn Projects>,
    ) -> Self {
        Self { tokens, clock, accounts, projects }
    }

    /// Makes a token for the user with these credentials. `user` is an id or an alias; `scopes` are
    /// as they came. `offline` asks for a refresh token, which stays good until the user is gone.
    /// What isn't granted is left out of the token. Problems: `auth.credentials`.
    pub async fn by_password(
        &self,
        user: &str,
        password: &str,
        scopes: &[String],
        offline: bool,
    ) -> Result<DockerTokenResponse, Problem> {
        let user = Ref::parse(user).map_err(|_reason| Problem::from(codes::WRONG_CREDENTIALS))?;
        let user = self.accounts.verify(ROLES, &user, password).await?;
        let refresh = if offline { Some(self.tokens.registry_refresh(user.id)?) } else { None };
        self.token(user, scopes, refresh).await
    }

    /// Makes a token for the holder of this refresh token, and for no other kind of token. The
    /// answer has the same refresh token: Docker's daemon has no way to keep another one. Problems:
    /// `registry.grant_invalid`; `auth.credentials` when the user is gone.
    pub async fn by_refresh(&self, refresh: &str, scopes: &[String]) -> Result<DockerTokenResponse, Problem> {
        let user = self.tokens.verify_refresh(refresh).map_err(|problem| {
            if problem.is(codes::WRONG_TOKEN) {
                problems::GRANT_INVALID.detail("log in again").because(problem)
            } else {
                problem
            }
        })?;
        let user = match self.accounts.find(&Ref::<UserId>::Id(user)).await {
            Err(problem) if problem.kind() == Kind::NotFound => return Err(codes::WRONG_CREDENTIALS.into()),
            found => found?,
        };
        if !ROLES.contains(&user.role) {
            return Err(codes::WRONG_CREDENTIALS.into());
        }
        self.token(user, scopes, Some(refresh.to_owned())).await
    }

    /// A token that the backend gives a Docker host, which pulls this repository with it and needs
    /// no login: `{"registrytoken": "…"}` in `X-Registry-Auth`. Problems: `registry.name_invalid`,
    /// `registry.name_unknown`.
    pub fn pull_token(&self, repository: &str) -> Result<String, Problem> {
        let repository = name::repository(repository)?;
        let access = scope::access(&repository, vec![Action::Pull.as_str().to_owned()]);
        self.tokens.registry(BACKEND, &[access])
    }

    /// How long a token lives.
    pub fn life(&self) -> Duration {
        self.tokens.config().registry
    }

    async fn token(
        &self,
        user: User,
        scopes: &[String],
        refresh_token: Option<String>,
    ) -> Result<DockerTokenResponse, Problem> {
        let mut granted: Vec<Access> = Vec::new();
        for scope in scope::parse(scopes.iter().map(String::as_str)) {
            granted.extend(self.grant(user, &scope).await?);
        }
        let token = self.tokens.registry(&user.id.to_string(), &granted)?;
        Ok(DockerTokenResponse {
            access_token: token.clone(),
            token,
            expires_in: self.life().as_secs(),
            issued_at: time::text(self.clock.now()),
            scope: scope::print(&granted),
            refresh_token,
        })
    }

    async fn grant(&self, user: User, scope: &Scope) -> Result<Option<Access>, Problem> {
        let Repository { tenant, project, .. } = scope.repository;
        // A project of another tenant isn't found either.
        match self.projects.find(tenant, &Ref::Id(project)).await {
            Err(problem) if problem.kind() == Kind::NotFound => return Ok(None),
            found => found?,
        };
        Ok(scope::grant(scope, self.allowed(user, &scope.repository).await?))
    }

    async fn allowed(&self, user: User, repository: &Repository) -> Result<&'static [Action], Problem> {
        match user.role {
            Role::Service | Role::Support => Ok(&[Action::Pull]),
            Role::Developer => {
                let caller = Caller::User { id: user.id, role: user.role };
                let Repository { tenant, project, .. } = *repository;
                let permitted =
                    self.projects.require(&caller, tenant, project, ProjectPermission::VersionManager);
                match permitted.await {
                    Ok(()) => Ok(&[Action::Pull, Action::Push, Action::Delete]),
                    Err(problem) if matches!(problem.kind(), Kind::Forbidden | Kind::NotFound) => Ok(&[]),
                    Err(problem) => Err(problem),
                }
            }
            Role::Admin | Role::Player => Ok(&[]),
        }
    }
}
