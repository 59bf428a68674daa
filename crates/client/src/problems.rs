//! Problems that arise on this side of the wire.

use omgservers_api::{Code, Kind};

/// Something answered that isn't the backend, or not as the backend does.
pub const FOREIGN_ANSWER: Code = Code::new(
    "client.foreign_answer",
    "INTERNAL_EXCEPTION_OCCURRED",
    Kind::Internal,
    "the answer isn't the backend's",
);
/// The address of the backend can't be used.
pub const ADDRESS: Code =
    Code::new("client.address", "WRONG_ARGUMENT", Kind::Invalid, "the address of the backend can't be used");
/// A value can't be written as JSON, or is no id or alias.
pub const VALUE: Code = Code::new("client.value", "WRONG_ARGUMENT", Kind::Invalid, "a value can't be sent");
/// A variable that the backend puts into the environment of every runtime is missing or wrong.
pub const ENVIRONMENT: Code = Code::new(
    "client.environment",
    "WRONG_CONFIGURATION",
    Kind::Invalid,
    "the environment isn't that of a runtime",
);
/// A connect token isn't (or no longer) good for this runtime.
pub const CONNECT_TOKEN: Code =
    Code::new("client.connect_token", "WRONG_TOKEN", Kind::Unauthenticated, "the connect token is refused");
/// The same session is played elsewhere: another stream of the client was opened.
pub const REPLACED: Code = Code::new(
    "client.replaced",
    "WRONG_CLIENT_ID",
    Kind::Conflict,
    "another stream of the same client was opened",
);
/// There is no connection through the dispatcher.
pub const NOT_CONNECTED: Code = Code::new(
    "client.not_connected",
    "WRONG_ARGUMENT",
    Kind::Conflict,
    "there is no connection through the dispatcher",
);
/// More waits to be sent through the dispatcher than the connection takes.
pub const CONGESTED: Code = Code::new(
    "client.congested",
    "TOO_MANY_REQUESTS",
    Kind::Exhausted,
    "the connection through the dispatcher is too slow for what is sent",
);

/// All of them.
pub const ALL: &[Code] =
    &[FOREIGN_ANSWER, ADDRESS, VALUE, ENVIRONMENT, CONNECT_TOKEN, REPLACED, NOT_CONNECTED, CONGESTED];
