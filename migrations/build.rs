//! The build script of each crate that has a schema. A new folder of migrations is a reason to
//! build the crate again; cargo does not see it by itself.

fn main() {
    let package = env!("CARGO_PKG_NAME");
    let schema = package.strip_prefix("omgservers-").unwrap_or(package);
    println!("cargo:rerun-if-changed=../../migrations/{schema}");
}
