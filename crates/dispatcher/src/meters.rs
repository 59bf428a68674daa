//! What operators see.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

use crate::Closing;

/// Handles that are looked up once.
pub(crate) struct Meters {
    pub(crate) players: RoleMeters,
    pub(crate) runtimes: RoleMeters,
    dropped_binary: Counter,
    dropped_waiting: Counter,
    dropped_garbage: Counter,
    dropped_moved: Counter,
    dropped_text: Counter,
    paused: Counter,
}

/// Those of one role.
pub(crate) struct RoleMeters {
    pub(crate) open: Gauge,
    pub(crate) received: Counter,
    pub(crate) sent: Counter,
}

impl RoleMeters {
    fn new(role: &'static str) -> Self {
        Self {
            open: gauge!("omgservers_dispatcher_connections", "role" => role),
            received: counter!("omgservers_dispatcher_frames_total", "role" => role, "direction" => "in"),
            sent: counter!("omgservers_dispatcher_frames_total", "role" => role, "direction" => "out"),
        }
    }
}

impl Meters {
    /// The recorder must be installed before.
    pub(crate) fn new() -> Self {
        describe_gauge!("omgservers_dispatcher_connections", "Open WebSockets of rooms, by role.");
        describe_counter!(
            "omgservers_dispatcher_frames_total",
            "Messages over these, by role and direction."
        );
        describe_counter!(
            "omgservers_dispatcher_dropped_total",
            "Frames that reached nobody: binary gave way to newer ones, waiting had no runtime in time, garbage \
             made no sense, moved were to or from a client that is elsewhere, text found no room."
        );
        describe_counter!(
            "omgservers_dispatcher_closed_total",
            "Connections that the backend ended, by reason."
        );
        // What hasn't happened yet is there, too: a rate needs the value before the first time.
        for closing in Closing::ALL {
            counter!("omgservers_dispatcher_closed_total", "reason" => closing.label()).increment(0);
        }
        describe_counter!(
            "omgservers_dispatcher_paused_total",
            "Texts of players that had to wait for room on the way to their game server; meanwhile nothing is read \
             from that player."
        );
        let dropped =
            |reason: &'static str| counter!("omgservers_dispatcher_dropped_total", "reason" => reason);
        Self {
            players: RoleMeters::new("player"),
            runtimes: RoleMeters::new("runtime"),
            dropped_binary: dropped("binary"),
            dropped_waiting: dropped("waiting"),
            dropped_garbage: dropped("garbage"),
            dropped_moved: dropped("moved"),
            dropped_text: dropped("text"),
            paused: counter!("omgservers_dispatcher_paused_total"),
        }
    }

    pub(crate) fn binary(&self, count: usize) {
        add(&self.dropped_binary, count);
    }

    pub(crate) fn expired(&self, count: usize) {
        add(&self.dropped_waiting, count);
    }

    pub(crate) fn garbage(&self) {
        self.dropped_garbage.increment(1);
    }

    pub(crate) fn moved(&self) {
        self.dropped_moved.increment(1);
    }

    pub(crate) fn paused(&self) {
        self.paused.increment(1);
    }

    pub(crate) fn text(&self) {
        self.dropped_text.increment(1);
    }

    pub(crate) fn closed(&self, closing: Closing) {
        counter!("omgservers_dispatcher_closed_total", "reason" => closing.label()).increment(1);
    }
}

fn add(counter: &Counter, count: usize) {
    if count > 0 {
        counter.increment(u64::try_from(count).unwrap_or(u64::MAX));
    }
}
