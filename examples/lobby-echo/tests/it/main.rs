//! The lobby against a fake backend, and as a process.

#[cfg(test)]
mod direct;
#[cfg(test)]
mod lobby;
#[cfg(test)]
mod process;
