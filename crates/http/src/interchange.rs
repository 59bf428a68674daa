//! What the interchanges of players and runtimes, and the player stream, have in common.

use std::time::Duration;

use omgservers_api::{
    Problem,
    interchange::{ClientOutgoing, MAX_WAIT_MS, Outgoing, message},
    problem::codes,
};
use omgservers_messaging::{ClientMessage, problems::WRONG_QUALIFIER};

/// Decodes the messages of a client. Problems: `messaging.wrong_qualifier`, `request.wrong`.
pub(crate) fn client_messages<'a>(messages: &[Outgoing<'a>]) -> Result<Vec<ClientMessage<'a>>, Problem> {
    let read = |(index, message): (usize, &Outgoing<'a>)| {
        if message.qualifier != message::CLIENT_OUTGOING {
            let known = message::FROM_SERVER.contains(&message.qualifier.as_ref());
            let code = if known { WRONG_QUALIFIER } else { codes::WRONG_REQUEST };
            return Err(code.detail(format!(
                "`outgoing_messages[{index}].qualifier` {:?} can't be sent",
                message.qualifier
            )));
        }
        let wrong =
            |why: &str| codes::WRONG_REQUEST.detail(format!("`outgoing_messages[{index}].body`: {why}"));
        let body = message.body.ok_or_else(|| wrong("is missing"))?;
        let body: ClientOutgoing<'a> =
            serde_json::from_str(body.get()).map_err(|error| wrong(&error.to_string()))?;
        Ok(ClientMessage { seq: message.id, data: body.data })
    };
    messages.iter().enumerate().map(read).collect()
}

/// How long an answer may be held until something arrives.
pub(crate) fn wait(milliseconds: Option<u32>) -> Option<Duration> {
    milliseconds.filter(|it| *it > 0).map(|it| Duration::from_millis(u64::from(it.min(MAX_WAIT_MS))))
}
