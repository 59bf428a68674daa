//! Commands of the backend, and what became of those of the runtime.

use omgservers_api::{
    ClientId,
    ids::SenderSeq,
    interchange::{
        AddClient, ClientRef, Incoming, InitRuntime, RejectedCommand, RuntimeConfig, ToClient, command,
    },
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A command from the backend.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Command {
    /// First of all.
    Init {
        /// What the runtime is.
        config: RuntimeConfig,
    },
    /// A client joined; in a match with its group.
    AddClient(AddClient),
    /// A client left.
    DeleteClient {
        /// The session.
        client_id: ClientId,
    },
    /// A client said something.
    HandleMessage {
        /// The session.
        client_id: ClientId,
        /// What it said, byte for byte.
        message: Box<RawValue>,
    },
    /// Something that this version doesn't know.
    Unknown {
        /// What it is.
        qualifier: String,
        /// Its fields.
        body: Box<RawValue>,
    },
}

/// What an exchange brought.
#[derive(Debug, Clone, Default)]
pub struct Exchanged {
    /// Commands of the backend, in order.
    pub commands: Vec<Command>,
    /// Commands of the runtime that were not carried out.
    pub rejected: Vec<Rejected>,
}

/// A command that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The number that the method returned which queued it; `None` if the backend names none of the
    /// request.
    pub seq: Option<SenderSeq>,
    /// What it was, and why not.
    pub command: RejectedCommand,
}

impl Command {
    pub(super) fn read(incoming: Incoming) -> Self {
        let body = incoming.body.get();
        let known = match incoming.qualifier.as_str() {
            command::INIT_RUNTIME => {
                parse(body).map(|it: InitRuntime| Self::Init { config: it.runtime_config })
            }
            command::ADD_CLIENT | command::ADD_MATCH_CLIENT => parse(body).map(Self::AddClient),
            command::DELETE_CLIENT => {
                parse(body).map(|it: ClientRef| Self::DeleteClient { client_id: it.client_id })
            }
            command::HANDLE_MESSAGE => parse(body).map(|sent: ToClient<'_>| Self::HandleMessage {
                client_id: sent.client_id,
                message: sent.message.to_owned(),
            }),
            _ => None,
        };
        known.unwrap_or(Self::Unknown { qualifier: incoming.qualifier, body: incoming.body })
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a str) -> Option<T> {
    serde_json::from_str(body).ok()
}
