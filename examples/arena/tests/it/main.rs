//! The match as a function of what it hears, its UDP side, and the process against a fake backend.

#[cfg(test)]
mod direct;
#[cfg(test)]
mod duel;
#[cfg(test)]
mod lobby;
#[cfg(test)]
mod process;
