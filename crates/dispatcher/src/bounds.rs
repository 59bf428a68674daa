//! How much fits.

use std::time::Duration;

use omgservers_api::dispatcher::{MAX_CLIENTS, MAX_FRAME_BYTES, MAX_MESSAGE_BYTES};

/// The bounds of frames, of what waits for a receiver, and of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Largest frame of a peer, bytes of its payload.
    pub frame: usize,
    /// Largest message of a peer, bytes of the payloads of its frames.
    pub message: usize,
    /// Most clients in the list of a runtime's frame.
    pub clients: usize,
    /// Most frames and bytes that wait for a player.
    pub player: Room,
    /// Most frames and bytes that wait for a runtime, connected or not.
    pub runtime: Room,
    /// Most of them that are one client's, whatever its connections: so that one can't take the room of all.
    pub share: Room,
    /// How long frames wait for a runtime that isn't connected.
    pub hold: Duration,
    /// How long a player's text may wait for room on the way to its runtime, unread by the backend, before the
    /// connection ends.
    pub patience: Duration,
}

/// How much room there is. One frame always fits where nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Most frames.
    pub frames: usize,
    /// Most bytes.
    pub bytes: usize,
}

impl Room {
    /// Whether so many frames of so many bytes leave room for one more of this size.
    pub(crate) const fn fits(self, frames: usize, bytes: usize, more: usize) -> bool {
        frames == 0 || (frames < self.frames && bytes.saturating_add(more) <= self.bytes)
    }

    /// Whether at least half of it is free: whoever waits for room is woken then, and not for each frame.
    pub(crate) const fn is_roomy(self, frames: usize, bytes: usize) -> bool {
        frames <= self.frames / 2 && bytes <= self.bytes / 2
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            frame: MAX_FRAME_BYTES,
            message: MAX_MESSAGE_BYTES,
            clients: MAX_CLIENTS,
            player: Room { frames: 1_024, bytes: 1 << 20 },
            runtime: Room { frames: 16_384, bytes: 16 << 20 },
            share: Room { frames: 256, bytes: 1 << 20 },
            hold: Duration::from_secs(10),
            // A game server that is silent for longer is taken for dead.
            patience: Duration::from_secs(30),
        }
    }
}
