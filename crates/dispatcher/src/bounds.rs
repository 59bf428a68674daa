//! How much fits.

use std::time::Duration;

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
    /// Most frames and bytes that wait for a runtime.
    pub runtime: Room,
    /// Most frames of one player that wait for its runtime, so that one can't take the room of all.
    pub share: usize,
    /// How long frames wait for a runtime that isn't connected.
    pub hold: Duration,
}

/// How much room a queue has. One frame always fits into an empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Most frames.
    pub frames: usize,
    /// Most bytes.
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            frame: 64 << 10,
            message: 256 << 10,
            clients: 10_000,
            player: Room { frames: 1_024, bytes: 1 << 20 },
            runtime: Room { frames: 16_384, bytes: 16 << 20 },
            share: 256,
            hold: Duration::from_secs(10),
        }
    }
}
