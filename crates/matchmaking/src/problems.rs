//! The problems of this crate.

use omgservers_api::{Code, Kind};

/// A command's body doesn't fit its qualifier.
pub const WRONG_BODY: Code = Code::new(
    "matchmaking.wrong_body",
    "WRONG_COMMAND_BODY_TYPE",
    Kind::Invalid,
    "the command's body doesn't fit its qualifier",
);
/// There is no such command.
pub const UNKNOWN_COMMAND: Code = Code::new(
    "matchmaking.unknown_command",
    "COMMAND_EXECUTOR_NOT_FOUND",
    Kind::Invalid,
    "there is no such command",
);
/// The client of a command isn't with the runtime that sent it.
pub const CLIENT_NOT_HERE: Code = Code::new(
    "matchmaking.client_not_here",
    "WRONG_CLIENT_ID",
    Kind::Conflict,
    "the client isn't with this runtime",
);
/// A command that this kind of runtime can't use.
pub const NOT_FOR_LOBBIES: Code = Code::new(
    "matchmaking.not_for_lobbies",
    "WRONG_REQUEST",
    Kind::Conflict,
    "a lobby can't use this command",
);
/// The backend carries out no such command.
pub const UNSUPPORTED: Code = Code::new(
    "matchmaking.unsupported",
    "WRONG_REQUEST",
    Kind::Conflict,
    "this version of the backend doesn't carry out this command",
);

/// All of them.
pub const ALL: &[Code] = &[WRONG_BODY, UNKNOWN_COMMAND, CLIENT_NOT_HERE, NOT_FOR_LOBBIES, UNSUPPORTED];
