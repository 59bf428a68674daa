//! What happened, as those saw it who took part, and whether all of it may have happened.
//!
//! There is no I/O and no clock here, but for [`mod@file`]. A history is a list of [`Record`]s in
//! the order in which they were noticed. A [`Judge`] reads it once, from the front, in memory that
//! grows with the number of messages; it can be asked at any point. What it lets pass, and why, is
//! in `docs/torture.md`.

mod assignments;
pub mod file;
mod judge;
mod kills;
mod messages;
mod profiles;
mod record;
mod tickets;
mod violation;

pub use self::{
    judge::{Counts, Judge, check},
    record::{Actor, ParseActorError, Record, To},
    violation::{Kind, Violation},
};
