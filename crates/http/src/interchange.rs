//! What the interchanges of players and runtimes, and the player stream, have in common.

use std::time::Duration;

use omgservers_api::{
    Problem,
    interchange::{ClientOutgoing, MOST_WAIT, Outgoing, message},
    problem::codes,
};
use omgservers_messaging::{ClientMessage, problems::WRONG_QUALIFIER};

/// Decodes the messages of a client. Problems: `messaging.wrong_qualifier`, `request.wrong`.
pub(crate) fn client_messages<'a>(messages: &[Outgoing<'a>]) -> Result<Vec<ClientMessage<'a>>, Problem> {
    let read = |(index, it): (usize, &Outgoing<'a>)| {
        if it.qualifier != message::CLIENT_OUTGOING {
            let known = message::FROM_SERVER.contains(&it.qualifier.as_ref());
            let code = if known { WRONG_QUALIFIER } else { codes::WRONG_REQUEST };
            return Err(code
                .detail(format!("`outgoing_messages[{index}].qualifier` {:?} can't be sent", it.qualifier)));
        }
        let wrong =
            |why: &str| codes::WRONG_REQUEST.detail(format!("`outgoing_messages[{index}].body`: {why}"));
        let body = it.body.ok_or_else(|| wrong("is missing"))?;
        let body: ClientOutgoing<'a> =
            serde_json::from_str(body.get()).map_err(|error| wrong(&error.to_string()))?;
        Ok(ClientMessage { seq: it.id, data: body.data })
    };
    messages.iter().enumerate().map(read).collect()
}

/// How long an answer may be held until something arrives.
pub(crate) fn wait(milliseconds: Option<u32>) -> Option<Duration> {
    milliseconds.filter(|it| *it > 0).map(|it| Duration::from_millis(u64::from(it.min(MOST_WAIT))))
}

/// The interchange as the OpenAPI document shows it.
#[expect(dead_code, reason = "shapes for the document; requests are decoded without copies")]
pub(crate) mod schema {
    use omgservers_api::{ClientId, EntryId};
    use utoipa::ToSchema;

    /// A player's exchange.
    #[derive(ToSchema)]
    pub(crate) struct PlayerInterchange {
        client_id: ClientId,
        outgoing_messages: Vec<OutgoingMessage>,
        consumed_messages: Vec<EntryId>,
        /// Milliseconds to wait when nothing waits; at most 25000.
        wait: Option<u32>,
    }
    /// What a player says.
    #[derive(ToSchema)]
    pub(crate) struct OutgoingMessage {
        /// The client's own counter, from 0.
        id: Option<u64>,
        /// `CLIENT_OUTGOING_MESSAGE`.
        qualifier: String,
        /// `{"data": anything}`.
        #[schema(value_type = Object)]
        body: String,
    }
    /// What waits for a player.
    #[derive(ToSchema)]
    pub(crate) struct PlayerInterchangeAnswer {
        incoming_messages: Vec<IncomingEntry>,
    }
    /// A message or a command.
    #[derive(ToSchema)]
    pub(crate) struct IncomingEntry {
        id: EntryId,
        qualifier: String,
        #[schema(value_type = Object)]
        body: String,
    }
    /// A runtime's exchange.
    #[derive(ToSchema)]
    pub(crate) struct RuntimeInterchange {
        outgoing_commands: Vec<OutgoingCommand>,
        consumed_commands: Vec<EntryId>,
        /// Milliseconds to wait when nothing waits; at most 25000.
        wait: Option<u32>,
    }
    /// What a runtime wants done.
    #[derive(ToSchema)]
    pub(crate) struct OutgoingCommand {
        /// The runtime's own counter; a repeated one is not carried out again.
        id: Option<u64>,
        qualifier: String,
        #[schema(value_type = Option<Object>)]
        body: Option<String>,
    }
    /// What waits for a runtime.
    #[derive(ToSchema)]
    pub(crate) struct RuntimeInterchangeAnswer {
        incoming_commands: Vec<IncomingEntry>,
        /// Absent when all were carried out.
        rejected_commands: Option<Vec<Rejected>>,
    }
    /// A command that was not carried out.
    #[derive(ToSchema)]
    pub(crate) struct Rejected {
        index: u32,
        qualifier: String,
        code: String,
        detail: String,
    }
}
