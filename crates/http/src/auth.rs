//! Who asks: extractors that stand in a handler's signature and show who may call it.

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
use omgservers_api::{Problem, Role, problem::codes};
use omgservers_auth::{Tokens, Verified, VerifiedToken};
use omgservers_core::Caller;

use crate::{Services, problem::HttpProblem};

/// A role in a signature.
pub(crate) trait RoleMarker {
    /// Whether the token's owner is of it.
    fn is(verified: &Verified) -> bool;
}

macro_rules! roles {
    ($($(#[$doc:meta])* $name:ident = $pattern:pat,)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;
        impl RoleMarker for $name {
            fn is(verified: &Verified) -> bool { matches!(verified, $pattern) }
        }
    )*};
}

roles! {
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

/// A caller of one role, token by the bearer token.
pub(crate) struct Authenticated<R> {
    pub(crate) caller: Caller,
    role: PhantomData<R>,
}

impl<R: RoleMarker> FromRequest for Authenticated<R> {
    type Error = HttpProblem;
    type Future = Ready<Result<Self, HttpProblem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(prove::<R>(request).map_err(HttpProblem))
    }
}

/// The header with a token that came last over a connection, and what it proves: mostly the next request has the same.
#[derive(Default)]
struct LastToken(RefCell<Option<(Box<[u8]>, VerifiedToken)>>);

/// Lets a new connection remember the token that came last over it: call it in `on_connect`. Without it every
/// request looks its token up.
pub fn remember_token(connection: &mut Extensions) {
    connection.insert(LastToken::default());
}

fn prove<R: RoleMarker>(request: &HttpRequest) -> Result<Authenticated<R>, Problem> {
    let tokens = &services(request)?.tokens;
    let remembered = request.conn_data::<LastToken>().and_then(|it| it.0.try_borrow_mut().ok());
    let Some(mut remembered) = remembered else { return prove_token(tokens, bearer(request)?) };
    let header = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    if let (Some((last, token)), Some(header)) = (&*remembered, header)
        && **last == *header
    {
        return as_role(tokens.check(token)?);
    }
    let token = tokens.prove(bearer(request)?)?;
    *remembered = header.map(|it| (it.into(), token));
    as_role(token.verified())
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

/// A caller of one role, token by a token that came in whatever way.
pub(crate) fn prove_token<R: RoleMarker>(tokens: &Tokens, token: &str) -> Result<Authenticated<R>, Problem> {
    as_role(tokens.verify(token)?)
}

fn as_role<R: RoleMarker>(verified: Verified) -> Result<Authenticated<R>, Problem> {
    if !R::is(&verified) {
        return Err(codes::WRONG_ROLE.into());
    }
    let caller = match verified {
        Verified::User { id, role } => Caller::User { id, role },
        Verified::Runtime(id) => Caller::Runtime(id),
    };
    Ok(Authenticated { caller, role: PhantomData })
}

pub(crate) fn services(request: &HttpRequest) -> Result<&web::Data<Services>, Problem> {
    request.app_data::<web::Data<Services>>().ok_or_else(|| Problem::internal("the services are not mounted"))
}
