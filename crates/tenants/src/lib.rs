#![doc = include_str!("../README.md")]

mod pg;
pub mod problems;
mod rules;
mod schema;
mod service;
mod store;
mod worker;

pub use pg::{PgTenants, TenantsParts};
pub use service::Tenants;
pub use worker::{FreeNames, SweepPermissions};

omgservers_core::schema!("tenants", "../../migrations/tenants");
