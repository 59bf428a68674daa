#![doc = include_str!("../README.md")]

mod blobs;
mod disk;
mod events;
mod manifests;
pub mod problems;
mod registry;
mod rules;
mod schema;
mod store;
mod tokens;
mod uploads;
mod worker;

pub use blobs::Blob;
pub use events::{ContentEvent, EventTarget, Events};
pub use manifests::{Accepted, Referrers, StoredManifest, Tags};
pub use registry::{MAX_BLOB_BYTES, Registry, RegistryParts};
pub use rules::{
    digest::{Algorithm, Digest},
    manifest::{MOST_MANIFEST_BYTES, OCI_INDEX},
    name::repository,
    range::{Wanted, chunk, wanted},
    route::Route,
    scope::{Action, Scope, allows, parse as scopes},
};
pub use tokens::RegistryTokens;
pub use uploads::{Appended, Progress};
pub use worker::{CollectGarbage, ForgetProjects};

omgservers_core::schema!("registry", "../../migrations/registry");
