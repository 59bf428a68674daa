//! Decisions without I/O: names, digests, ranges, scopes, paths and manifests.

pub(crate) mod digest;
pub(crate) mod manifest;
pub(crate) mod name;
pub(crate) mod range;
pub(crate) mod route;
pub(crate) mod scope;
