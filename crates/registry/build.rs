//! A new migration folder is a reason to build again; cargo does not see it by itself.
fn main() {
    println!("cargo:rerun-if-changed=../../migrations/registry");
}
