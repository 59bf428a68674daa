//! Two players meet.

use std::time::Duration;

use anyhow::{Context as _, bail};
use omgservers_client::{Client, Event, Player, Session, api::RuntimeQualifier};
use serde_json::Value;
use tokio::time::timeout;

use super::{steps::Steps, studio::Studio};

/// How long players wait for what they expect; the first lobby's image is pulled within.
const PATIENCE: Duration = Duration::from_secs(90);

/// A player with a name for people.
struct Guest {
    name: &'static str,
    session: Session,
}

/// Signs two players up and lets them talk with their lobby and with each other.
pub(crate) async fn play(client: &Client, studio: &Studio, steps: &mut Steps) -> anyhow::Result<()> {
    let (mut ann, mut bob) = steps
        .step("Two players sign up, sign in and begin a session", async {
            tokio::try_join!(Guest::arrive("Ann", client, studio), Guest::arrive("Bob", client, studio))
        })
        .await?;
    steps
        .step("Both are welcomed", async { tokio::try_join!(ann.welcome(), bob.welcome()).map(|_| ()) })
        .await?;
    let lobby = steps
        .step("Both are in a lobby, which runs in a container", async {
            let (ann, bob) = tokio::try_join!(ann.assigned(), bob.assigned())?;
            Ok(if ann == bob { ann } else { format!("{ann} and {bob}") })
        })
        .await?;
    steps.note(&format!("runtime {lobby}"))?;
    let greeting = steps
        .step("The lobby greets them", async {
            tokio::try_join!(
                ann.hears("a greeting", |it| it.get("hello").is_some()),
                bob.hears("a greeting", |it| it.get("hello").is_some())
            )
        })
        .await?;
    steps.note(&format!("{}\n{}", greeting.0, greeting.1))?;
    let echo = steps
        .step("Ann says hello, and the lobby echoes it", async {
            ann.session.say("hello")?;
            ann.hears("an echo", |it| it.get("echo").is_some_and(|it| it == "hello")).await
        })
        .await?;
    steps.note(&echo)?;
    let heard = steps
        .step("Bob talks to everybody, and Ann hears it", async {
            bob.session.say("all: good evening")?;
            let said = |it: &Value| it.get("all").is_some_and(|it| it == "good evening");
            tokio::try_join!(ann.hears("Bob", said), bob.hears("himself", said)).map(|it| it.0)
        })
        .await?;
    steps.note(&heard)
}

impl Guest {
    async fn arrive(name: &'static str, client: &Client, studio: &Studio) -> anyhow::Result<Self> {
        let account = Player::sign_up(client).await?;
        let player = Player::sign_in(client, account.user_id, &account.password).await?;
        let session = player.create_client(&studio.alias, "game", "main").await?;
        Ok(Self { name, session })
    }

    async fn welcome(&mut self) -> anyhow::Result<()> {
        self.until("a welcome", |event| matches!(event, Event::Welcome(_)).then_some(())).await
    }

    async fn assigned(&mut self) -> anyhow::Result<String> {
        self.until("a lobby", |event| match event {
            Event::Assigned { runtime_id, qualifier: RuntimeQualifier::Lobby, .. } => {
                Some(runtime_id.to_string())
            }
            _ => None,
        })
        .await
    }

    /// The first message that is `wanted`.
    async fn hears(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<String> {
        self.until(what, |event| match event {
            Event::Message(message) => {
                let value: Value = serde_json::from_str(message.get()).ok()?;
                wanted(&value).then(|| message.get().to_owned())
            }
            _ => None,
        })
        .await
    }

    async fn until<T>(&mut self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> anyhow::Result<T> {
        let name = self.name;
        let search = async {
            while let Some(event) = self.session.next().await? {
                if let Some(found) = wanted(&event) {
                    return Ok(found);
                }
                if let Event::Disconnected { reason } = event {
                    bail!("{name} was disconnected ({reason:?}) while waiting for {what}");
                }
            }
            bail!("{name}'s session ended while waiting for {what}")
        };
        timeout(PATIENCE, search)
            .await
            .with_context(|| format!("{name} waited {} s for {what} in vain", PATIENCE.as_secs()))?
    }
}
