//! The stock Docker client, and the games that tests push with it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{root, run};

/// What an image has in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Game {
    /// The sample game.
    Sample,
    /// The sample game with duels.
    Arena,
    /// Nothing that speaks to the backend: whoever deployed it [does so
    /// itself](crate::Backend::idle_runtimes).
    IdleRuntime,
    /// An image that can't be started: its entrypoint isn't in it.
    Unstartable,
}

impl Game {
    /// The static binary; built once for all tests of a process.
    pub fn binary(self) -> &'static Path {
        static SAMPLE: OnceLock<PathBuf> = OnceLock::new();
        static ARENA: OnceLock<PathBuf> = OnceLock::new();
        static IDLE_RUNTIME: OnceLock<PathBuf> = OnceLock::new();
        let (built, name) = match self {
            Self::Sample => (&SAMPLE, "lobby-echo"),
            Self::Arena => (&ARENA, "arena"),
            Self::IdleRuntime | Self::Unstartable => (&IDLE_RUNTIME, "idle-runtime"),
        };
        built.get_or_init(|| {
            let built = run(Command::new("sh").arg(root().join("scripts/game.sh")).arg(name));
            let path = PathBuf::from(built.lines().last().expect("a path").trim());
            if path.is_absolute() { path } else { root().join(path) }
        })
    }
}

/// A stock Docker client with a configuration of its own.
pub struct Docker {
    config: tempfile::TempDir,
}

impl Docker {
    /// Logged in nowhere.
    pub fn new() -> Self {
        Self { config: tempfile::tempdir().unwrap() }
    }

    /// A command of the client.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_CONFIG", self.config.path()).args(arguments);
        command
    }

    /// Signs in as the specification's guide does.
    pub fn login(&self, registry: &str, user: &str, password: &str) {
        run(&mut self.command(&["login", "-u", user, "-p", password, registry]));
    }

    /// An image with one file, `/content`, of so many random bytes, which no client can make
    /// smaller.
    pub fn random_image(&self, image: &str, bytes: u64) {
        let folder = tempfile::tempdir().unwrap();
        let mut file = std::fs::File::create(folder.path().join("content")).unwrap();
        let random = std::fs::File::open("/dev/urandom").unwrap();
        std::io::copy(&mut std::io::Read::take(random, bytes), &mut file).unwrap();
        run(Command::new("tar").args(["-cf", "image.tar", "content"]).current_dir(folder.path()));
        let archive = folder.path().join("image.tar");
        run(self.command(&["import"]).arg(archive).arg(image));
    }

    /// Makes an image of a game `FROM scratch` and pushes it.
    pub fn push(&self, game: Game, image: &str) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(game.binary(), folder.path().join("game")).unwrap();
        let entrypoint = if game == Game::Unstartable { "/forgotten" } else { "/game" };
        let file =
            format!("FROM scratch\nCOPY game /game\nUSER 65532:65532\nENTRYPOINT [\"{entrypoint}\"]\n");
        std::fs::write(folder.path().join("Dockerfile"), file).unwrap();
        run(self
            .command(&["build", "-q", "-t", image, "."])
            .current_dir(folder.path())
            .env("DOCKER_BUILDKIT", "0"));
        run(&mut self.command(&["push", "-q", image]));
    }
}

impl Default for Docker {
    fn default() -> Self {
        Self::new()
    }
}
