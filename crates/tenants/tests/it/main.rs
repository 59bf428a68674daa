//! Tenants on a real database.

mod aliases;
mod deletion;
mod permissions;
