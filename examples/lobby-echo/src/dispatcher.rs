//! The room: what players send through the dispatcher goes back to them.

use omgservers_client::{DispatcherConnection, DispatcherEvent};
use serde_json::json;

use crate::log::log;

/// Echoes until the backend refuses the room.
pub(crate) async fn echo(mut room: DispatcherConnection) {
    loop {
        match room.next().await {
            Ok(DispatcherEvent::Frame { client_id, frame }) => {
                if let Err(problem) = room.send_unreliable(client_id, frame) {
                    log("not echoed", &json!({"client": client_id, "detail": problem.sentence()}));
                }
            }
            Ok(event) => log("room", &format!("{event:?}")),
            Err(problem) => {
                log("no room", &json!({"code": problem.code(), "detail": problem.sentence()}));
                return;
            }
        }
    }
}
