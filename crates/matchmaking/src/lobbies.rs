//! Lobbies: what they need next, and what brings them there.

pub(crate) mod apply;
pub(crate) mod reconcile;
pub(crate) mod rules;
pub(crate) mod state;
