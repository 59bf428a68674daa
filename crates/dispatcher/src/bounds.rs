//! Bounds of frames, lists and queues.

use std::time::Duration;

use omgservers_api::dispatcher::{MAX_CLIENTS, MAX_FRAME_BYTES, MAX_MESSAGE_BYTES};

/// Bounds of frames, of lists and of the queues of receivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Largest WebSocket frame of a member, bytes of its payload.
    pub frame: usize,
    /// Largest message of a member, bytes of the payloads of its frames.
    pub message: usize,
    /// Most recipients in an envelope.
    pub clients: usize,
    /// Queue of a player.
    pub player: QueueLimit,
    /// Queue of a runtime, connected or not.
    pub runtime: QueueLimit,
    /// Frames of one client in a runtime's queue, over all of its connections. Otherwise one client
    /// could fill the queue for all.
    pub client_quota: QueueLimit,
    /// How long frames are kept for a runtime that isn't connected.
    pub backlog_time: Duration,
    /// How long a player's text may wait for the runtime's queue before the connection ends.
    pub max_text_wait: Duration,
}

/// Limit of a queue. One frame always fits into an empty queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimit {
    /// Most frames.
    pub frames: usize,
    /// Most bytes.
    pub bytes: usize,
}

impl QueueLimit {
    /// Whether a queue of `frames` and `bytes` takes one more frame of `more` bytes.
    pub(crate) const fn fits(self, frames: usize, bytes: usize, more: usize) -> bool {
        frames == 0 || (frames < self.frames && bytes.saturating_add(more) <= self.bytes)
    }

    /// Whether at least half is free. Blocked senders wake up then, not once for each frame.
    pub(crate) const fn is_half_free(self, frames: usize, bytes: usize) -> bool {
        frames <= self.frames / 2 && bytes <= self.bytes / 2
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            frame: MAX_FRAME_BYTES,
            message: MAX_MESSAGE_BYTES,
            clients: MAX_CLIENTS,
            player: QueueLimit { frames: 1_024, bytes: 1 << 20 },
            runtime: QueueLimit { frames: 16_384, bytes: 16 << 20 },
            client_quota: QueueLimit { frames: 256, bytes: 1 << 20 },
            backlog_time: Duration::from_secs(10),
            // The backend replaces a game server that is idle for longer.
            max_text_wait: Duration::from_secs(30),
        }
    }
}
