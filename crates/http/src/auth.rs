//! Who asks: extractors that stand in a handler's signature and show who may call it.

use std::{
    future::{Ready, ready},
    marker::PhantomData,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header, web};
use omgservers_api::{Problem, Role, problem::codes};
use omgservers_auth::{Tokens, Verified};
use omgservers_core::Caller;

use crate::{Services, problem::HttpProblem};

/// A role in a signature.
pub(crate) trait Rank {
    /// Whether the token's owner is of it.
    fn is(verified: &Verified) -> bool;
}

macro_rules! ranks {
    ($($(#[$doc:meta])* $name:ident = $pattern:pat,)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;
        impl Rank for $name {
            fn is(verified: &Verified) -> bool { matches!(verified, $pattern) }
        }
    )*};
}

ranks! {
    /// An admin.
    Admin = Verified::User { role: Role::Admin, .. },
    /// Support.
    Support = Verified::User { role: Role::Support, .. },
    /// A developer.
    Developer = Verified::User { role: Role::Developer, .. },
    /// A player.
    Player = Verified::User { role: Role::Player, .. },
    /// A game server.
    Runtime = Verified::Runtime(_),
}

/// A caller of one role, proven by the bearer token.
pub(crate) struct As<R> {
    pub(crate) caller: Caller,
    rank: PhantomData<R>,
}

impl<R: Rank> FromRequest for As<R> {
    type Error = HttpProblem;
    type Future = Ready<Result<Self, HttpProblem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(prove::<R>(request).map_err(HttpProblem))
    }
}

fn prove<R: Rank>(request: &HttpRequest) -> Result<As<R>, Problem> {
    prove_token(&services(request)?.tokens, bearer(request)?)
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

/// A caller of one role, proven by a token that came in whatever way.
pub(crate) fn prove_token<R: Rank>(tokens: &Tokens, token: &str) -> Result<As<R>, Problem> {
    let verified = tokens.verify(token)?;
    if !R::is(&verified) {
        return Err(codes::WRONG_ROLE.into());
    }
    let caller = match verified {
        Verified::User { id, role } => Caller::User { id, role },
        Verified::Runtime(id) => Caller::Runtime(id),
    };
    Ok(As { caller, rank: PhantomData })
}

pub(crate) fn services(request: &HttpRequest) -> Result<&web::Data<Services>, Problem> {
    request.app_data::<web::Data<Services>>().ok_or_else(|| Problem::internal("the services are not mounted"))
}
