//! Authentication: an extractor that proves the caller of an endpoint by the bearer token.

use std::{
    cell::RefCell,
    future::{Ready, ready},
    marker::PhantomData,
};

use actix_web::{
    FromRequest, HttpRequest,
    dev::{Extensions, Payload},
    http::header::{self, HeaderValue},
    web,
};
use omgservers_api::{
    Problem, Role,
    entrypoint::{BearerEndpoint, EntrypointRole},
    problem::codes,
};
use omgservers_auth::{Tokens, Verified, VerifiedToken};
use omgservers_core::Caller;

use crate::{HttpServices, problem::HttpProblem};

/// A caller with a bearer token of the role that endpoint `E` is for.
pub(crate) struct Authenticated<E> {
    pub(crate) caller: Caller,
    endpoint: PhantomData<E>,
}

impl<E: BearerEndpoint> FromRequest for Authenticated<E> {
    type Error = HttpProblem;
    type Future = Ready<Result<Self, HttpProblem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = authenticate(request, E::DESCRIPTOR.role);
        ready(caller.map(|caller| Self { caller, endpoint: PhantomData }).map_err(HttpProblem))
    }
}

/// The header with a token that came last over a connection, and what it proves: mostly the next
/// request has the same.
#[derive(Default)]
struct LastToken(RefCell<Option<(Box<[u8]>, VerifiedToken)>>);

/// Lets a new connection remember the token that came last over it: call it in `on_connect`.
/// Without it every request looks its token up.
pub fn remember_token(connection: &mut Extensions) {
    connection.insert(LastToken::default());
}

fn authenticate(request: &HttpRequest, role: EntrypointRole) -> Result<Caller, Problem> {
    let tokens = &services(request)?.tokens;
    let remembered = request.conn_data::<LastToken>().and_then(|it| it.0.try_borrow_mut().ok());
    let Some(mut remembered) = remembered else { return verify(tokens, bearer(request)?, role) };
    let header = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    if let (Some((last, token)), Some(header)) = (&*remembered, header)
        && **last == *header
    {
        return as_role(tokens.check(token)?, role);
    }
    let token = tokens.prove(bearer(request)?)?;
    *remembered = header.map(|it| (it.into(), token));
    as_role(token.verified(), role)
}

/// The token of the header.
pub(crate) fn bearer(request: &HttpRequest) -> Result<&str, Problem> {
    let value = request.headers().get(header::AUTHORIZATION).ok_or(codes::NO_CREDENTIALS)?;
    let value = std::str::from_utf8(value.as_bytes()).ok();
    let (scheme, token) = value.and_then(|it| it.split_once(' ')).ok_or(codes::NO_CREDENTIALS)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(codes::NO_CREDENTIALS.into());
    }
    Ok(token.trim())
}

/// Verifies a token from any part of a request. Errors: `auth.token`, `auth.role`.
pub(crate) fn verify(tokens: &Tokens, token: &str, role: EntrypointRole) -> Result<Caller, Problem> {
    as_role(tokens.verify(token)?, role)
}

fn as_role(verified: Verified, role: EntrypointRole) -> Result<Caller, Problem> {
    match (verified, role) {
        (Verified::User { id, role: Role::Player }, EntrypointRole::Player) => {
            Ok(Caller::User { id, role: Role::Player })
        }
        (Verified::User { id, role: Role::Developer }, EntrypointRole::Developer) => {
            Ok(Caller::User { id, role: Role::Developer })
        }
        (Verified::User { id, role: Role::Support }, EntrypointRole::Support) => {
            Ok(Caller::User { id, role: Role::Support })
        }
        (Verified::User { id, role: Role::Admin }, EntrypointRole::Admin) => {
            Ok(Caller::User { id, role: Role::Admin })
        }
        (Verified::Runtime(id), EntrypointRole::Runtime) => Ok(Caller::Runtime(id)),
        _ => Err(codes::WRONG_ROLE.into()),
    }
}

pub(crate) fn services(request: &HttpRequest) -> Result<&web::Data<HttpServices>, Problem> {
    request
        .app_data::<web::Data<HttpServices>>()
        .ok_or_else(|| Problem::internal("the services are not mounted"))
}
