//! The problems of this crate.

use omgservers_api::{Code, Kind, Problem};

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
/// A command that only lobbies can use.
pub const NOT_FOR_MATCHES: Code = Code::new(
    "matchmaking.not_for_matches",
    "WRONG_REQUEST",
    Kind::Conflict,
    "a match can't use this command",
);
/// The version has no such mode.
pub const UNKNOWN_MODE: Code =
    Code::new("matchmaking.unknown_mode", "WRONG_REQUEST", Kind::Invalid, "the version has no such mode");
/// A ticket that could never be matched.
pub const TICKET_REFUSED: Code = Code::new(
    "matchmaking.ticket_refused",
    "WRONG_REQUEST",
    Kind::Invalid,
    "the request doesn't fit the rules of its mode",
);
/// So many wait already that one more is refused.
pub const QUEUE_FULL: Code =
    Code::new("matchmaking.queue_full", "WRONG_REQUEST", Kind::Conflict, "too many tickets wait already");
/// The client has no open ticket.
pub const NO_TICKET: Code =
    Code::new("matchmaking.no_ticket", "OBJECT_NOT_FOUND", Kind::NotFound, "there is no such ticket");
/// There is no such match.
pub const NO_MATCH: Code =
    Code::new("matchmaking.no_match", "OBJECT_NOT_FOUND", Kind::NotFound, "there is no such match");
/// The client's game server publishes no ports. The code is older than this crate and stays as
/// clients know it.
pub const NO_DIRECT_CONNECTION: Code = Code::new(
    "player.no_direct_connection",
    "OBJECT_NOT_FOUND",
    Kind::NotFound,
    "the client is with no game server that players connect to directly",
);

/// All of them.
pub const ALL: &[Code] = &[
    WRONG_BODY,
    UNKNOWN_COMMAND,
    CLIENT_NOT_HERE,
    NOT_FOR_LOBBIES,
    NOT_FOR_MATCHES,
    UNKNOWN_MODE,
    TICKET_REFUSED,
    QUEUE_FULL,
    NO_TICKET,
    NO_MATCH,
    NO_DIRECT_CONNECTION,
];

/// True for transient or internal errors: the command's outcome is unknown, so it must not be
/// reported as rejected.
pub(crate) fn is_own_fault(problem: &Problem) -> bool {
    matches!(problem.kind(), Kind::Unavailable | Kind::Internal)
}
