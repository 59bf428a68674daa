//! The room: what players send through the dispatcher goes back to them.

use omgservers_client::{Room, RoomEvent};
use serde_json::json;

use crate::log::log;

/// Echoes until the backend refuses the room.
pub(crate) async fn echo(mut room: Room) {
    loop {
        match room.next().await {
            Ok(RoomEvent::Frame { client_id, frame }) => {
                if let Err(problem) = room.respond(client_id, frame) {
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
