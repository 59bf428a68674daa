#![doc = include_str!("../README.md")]

mod ca;
mod connect;
mod files;
mod keys;
mod passwords;
mod revoked;
mod secrets;
mod tokens;

pub use connect::ConnectKey;
pub use keys::Keys;
pub use passwords::Passwords;
pub use secrets::Secrets;
pub use tokens::{Access, RegistryClaims, TokenConfig, Tokens, Verified, VerifiedToken, WsClaims};
