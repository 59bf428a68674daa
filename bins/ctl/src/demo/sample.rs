//! The sample game server as a static program, and the archive that becomes its image.

use std::{
    env::consts::ARCH,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use tokio::process::Command;

/// The name of the program, here and in the image.
const NAME: &str = "arena";

/// A static program.
pub(crate) struct Sample {
    path: PathBuf,
}

impl Sample {
    /// The given program, or the one that cargo builds.
    pub(crate) async fn prepare(given: Option<&Path>) -> anyhow::Result<Self> {
        let path = match given {
            Some(path) => path.to_owned(),
            None => build().await?,
        };
        let elf = fs::read(&path).with_context(|| format!("{} can't be read", path.display()))?;
        if !elf.starts_with(b"\x7fELF") {
            bail!("{} isn't a program for Linux", path.display());
        }
        // The name of the dynamic loader stands in every program that needs one; in the image there
        // is none.
        let loader: &[u8] = b"/ld-linux";
        if elf.windows(loader.len()).take(4096).any(|it| it == loader) {
            bail!("{} isn't statically linked, and its image has nothing else in it", path.display());
        }
        Ok(Self { path })
    }

    /// A tar archive with the program at its root.
    pub(crate) fn archive(&self) -> anyhow::Result<Vec<u8>> {
        let folder = tempfile::tempdir()?;
        let copy = folder.path().join(NAME);
        fs::copy(&self.path, &copy).with_context(|| self.path.display().to_string())?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
        let output = std::process::Command::new("tar")
            .args(["--create", "--owner=0", "--group=0", "--directory"])
            .arg(folder.path())
            .arg(NAME)
            .output()
            .context("the program `tar` isn't there: install it")?;
        if !output.status.success() {
            bail!("tar failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(output.stdout)
    }
}

/// Builds it for musl, or where that isn't installed with glibc inside.
async fn build() -> anyhow::Result<PathBuf> {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().await.context(
        "the program `rustc` isn't there: install Rust, or give the sample game server with --sample",
    )?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
    let musl = format!("{ARCH}-unknown-linux-musl");
    let mut cargo = Command::new("cargo");
    let target = if sysroot.join("lib/rustlib").join(&musl).is_dir() {
        musl
    } else {
        cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
        format!("{ARCH}-unknown-linux-gnu")
    };
    let output = cargo
        .args(["build", "--profile", "image", "-p", "omgservers-arena", "--target", &target])
        .output()
        .await
        .context(
            "the program `cargo` isn't there: install Rust, or give the sample game server with --sample",
        )?;
    if !output.status.success() {
        bail!("the sample game server can't be built:\n{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    Ok(folder.join(target).join("image").join(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cant_run_in_an_empty_image_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        let error = Sample::prepare(Some(&script)).await.err().unwrap().to_string();
        assert!(error.contains("isn't a program for Linux"), "{error}");
        let this = std::env::current_exe().unwrap();
        let error = Sample::prepare(Some(&this)).await.err().unwrap().to_string();
        assert!(error.contains("isn't statically linked"), "{error}");
        let error = Sample::prepare(Some(&folder.path().join("none"))).await.err().unwrap().to_string();
        assert!(error.contains("can't be read"), "{error}");
    }

    #[test]
    fn the_archive_holds_one_program_that_everybody_may_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("built");
        fs::write(&path, "program").unwrap();
        let archive = Sample { path }.archive().unwrap();
        assert!(archive.starts_with(b"arena\0"));
        assert_eq!(&archive[100..107], b"0000755");
    }
}
