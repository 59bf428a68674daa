//! Who may pass: a registry token says what its bearer may do, and a challenge says where to get
//! one.

use actix_web::{HttpRequest, http::header};
use omgservers_api::{Problem, problem::codes};
use omgservers_auth::{RegistryClaims, Tokens};
use omgservers_registry::{Action, allows, problems};

use super::{RegistryHttpConfig, TOKEN_PATHS, answer::Refused};

/// The token of one request.
pub(super) struct RegistryAuth<'a> {
    claims: Option<Result<RegistryClaims, Problem>>,
    request: &'a HttpRequest,
    config: &'a RegistryHttpConfig,
}

impl<'a> RegistryAuth<'a> {
    pub(super) fn new(request: &'a HttpRequest, tokens: &Tokens, config: &'a RegistryHttpConfig) -> Self {
        let claims = bearer(request).map(|it| tokens.verify_registry(it));
        Self { claims, request, config }
    }

    /// The claims of any token of ours.
    pub(super) fn any(&self) -> Result<&RegistryClaims, Refused> {
        self.claims("")
    }

    /// Who may do all of `actions` with the repository.
    pub(super) fn pass(&self, name: &str, actions: &[Action]) -> Result<(), Refused> {
        let words: Vec<&str> = actions.iter().map(|it| it.as_str()).collect();
        let scope = format!(",scope=\"repository:{name}:{}\"", words.join(","));
        let claims = self.claims(&scope)?;
        if actions.iter().all(|it| allows(&claims.access, name, *it)) {
            return Ok(());
        }
        let problem = problems::DENIED.detail(format!("{} access to {name} is denied", words.join(" and ")));
        // Not 403: a client that has a token for less asks for one for more.
        Err(self.challenge(unauthenticated(&problem), &format!("{scope},error=\"insufficient_scope\"")))
    }

    /// Whether the token allows an action with another repository.
    pub(super) fn allows(&self, name: &str, action: Action) -> bool {
        matches!(&self.claims, Some(Ok(claims)) if allows(&claims.access, name, action))
    }

    fn claims(&self, scope: &str) -> Result<&RegistryClaims, Refused> {
        match &self.claims {
            Some(Ok(claims)) => Ok(claims),
            Some(Err(problem)) if problem.is(codes::WRONG_TOKEN) => {
                Err(self.challenge(codes::WRONG_TOKEN.into(), &format!("{scope},error=\"invalid_token\"")))
            }
            Some(Err(problem)) => Err(Problem::internal(problem.to_string()).into()),
            None => {
                let problem = codes::NO_CREDENTIALS.detail("log in to this registry first: `docker login`");
                Err(self.challenge(problem, scope))
            }
        }
    }

    fn challenge(&self, problem: Problem, more: &str) -> Refused {
        let [path, _] = TOKEN_PATHS;
        let realm = match &self.config.public_url {
            Some(url) => format!("{}{path}", url.trim_end_matches('/')),
            None => {
                let connection = self.request.connection_info();
                format!("{}://{}{path}", connection.scheme(), connection.host())
            }
        };
        let service = &self.config.service;
        let challenge = format!("Bearer realm=\"{realm}\",service=\"{service}\"{more}");
        Refused { problem, challenge: Some(challenge) }
    }
}

/// The bearer token of a request.
pub(super) fn bearer(request: &HttpRequest) -> Option<&str> {
    credentials(request, "bearer")
}

/// What follows the scheme in `Authorization`, if it is this scheme.
pub(super) fn credentials<'a>(request: &'a HttpRequest, scheme: &str) -> Option<&'a str> {
    let (given, rest) = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

fn unauthenticated(problem: &Problem) -> Problem {
    problems::SCOPE_INSUFFICIENT.detail(problem.sentence())
}
