//! The problems of this crate. Codes are part of the public API and never change their meaning.

use omgservers_api::{Code, Kind};

/// There is no such client, or not any more.
pub const CLIENT_NOT_FOUND: Code =
    Code::new("messaging.client_not_found", "OBJECT_NOT_FOUND", Kind::NotFound, "there is no such client");
/// The client belongs to another user.
pub const FOREIGN_CLIENT: Code = Code::new(
    "messaging.foreign_client",
    "WRONG_CLIENT_ID",
    Kind::Invalid,
    "the client belongs to another user",
);
/// There is no such runtime, or not any more.
pub const RUNTIME_NOT_FOUND: Code =
    Code::new("messaging.runtime_not_found", "RUNTIME_NOT_FOUND", Kind::NotFound, "there is no such runtime");
/// The receiver doesn't receive fast enough.
pub const MAILBOX_FULL: Code =
    Code::new("messaging.mailbox_full", "MAILBOX_FULL", Kind::Exhausted, "the receiver's mailbox is full");
/// The database doesn't write fast enough, or not at all.
pub const BACKLOG: Code = Code::new(
    "messaging.backlog",
    "SERVICE_UNAVAILABLE",
    Kind::Unavailable,
    "too many messages wait for the database; try again",
);
/// A client sends a message whose qualifier only the backend sends.
pub const WRONG_QUALIFIER: Code = Code::new(
    "messaging.wrong_qualifier",
    "WRONG_CLIENT_MESSAGE_BODY_TYPE",
    Kind::Invalid,
    "only CLIENT_OUTGOING_MESSAGE can be sent",
);

/// A newer stream of the client has replaced the one that sends.
pub const STREAM_REPLACED: Code = Code::new(
    "messaging.stream_replaced",
    "STREAM_REPLACED",
    Kind::Conflict,
    "another stream of this client was opened",
);
/// An earlier message of the same stream was refused or lost: this one must not overtake it.
pub const OUT_OF_TURN: Code = Code::new(
    "messaging.out_of_turn",
    "SERVICE_UNAVAILABLE",
    Kind::Unavailable,
    "an earlier message of this stream was not accepted; send again from there",
);

/// All of them.
pub const ALL: &[Code] = &[
    CLIENT_NOT_FOUND,
    FOREIGN_CLIENT,
    RUNTIME_NOT_FOUND,
    MAILBOX_FULL,
    BACKLOG,
    WRONG_QUALIFIER,
    STREAM_REPLACED,
    OUT_OF_TURN,
];
