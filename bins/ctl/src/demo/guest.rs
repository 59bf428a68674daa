//! A player with a name for people.

use std::time::Duration;

use anyhow::{Context as _, bail};
use omgservers_client::{
    Client, Event, Player, Session,
    api::{ClientId, RuntimeQualifier, interchange::DirectConnection},
};
use serde_json::Value;
use tokio::time::timeout;

use super::studio::Studio;

/// How long players wait for what they expect; the first lobby's image is pulled within.
const TIMEOUT: Duration = Duration::from_secs(90);

/// A player with a name for people.
pub(crate) struct Guest {
    pub(crate) name: &'static str,
    pub(crate) session: Session,
}

impl Guest {
    /// Signs up, signs in and begins a session.
    pub(crate) async fn arrive(name: &'static str, client: &Client, studio: &Studio) -> anyhow::Result<Self> {
        let account = Player::sign_up(client).await?;
        let player = Player::sign_in(client, account.user_id, &account.password).await?;
        let session = player.create_client(&studio.alias, "game", "main").await?;
        Ok(Self { name, session })
    }

    pub(crate) fn id(&self) -> ClientId {
        self.session.client_id()
    }

    pub(crate) async fn welcome(&mut self) -> anyhow::Result<()> {
        self.until("a welcome", |event| matches!(event, Event::Welcome(_)).then_some(())).await
    }

    /// Waits for a runtime of this kind: its id, and how to connect to it directly.
    pub(crate) async fn assigned(
        &mut self,
        kind: RuntimeQualifier,
    ) -> anyhow::Result<(String, Option<DirectConnection>)> {
        let what = if kind == RuntimeQualifier::Lobby { "a lobby" } else { "a match" };
        self.until(what, |event| match event {
            Event::Assigned { runtime_id, qualifier, direct, .. } if *qualifier == kind => {
                Some((runtime_id.to_string(), direct.clone()))
            }
            _ => None,
        })
        .await
    }

    /// The first message that is `wanted`.
    pub(crate) async fn receives(
        &mut self,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<String> {
        self.until(what, |event| match event {
            Event::Message(message) => {
                let value: Value = serde_json::from_str(message.get()).ok()?;
                wanted(&value).then(|| message.get().to_owned())
            }
            _ => None,
        })
        .await
    }

    /// The next event of a session that goes on.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Event> {
        let name = self.name;
        match self.session.next().await? {
            Some(Event::Disconnected { reason }) => bail!("{name} was disconnected ({reason:?})"),
            Some(Event::MatchmakingFailed(failure)) => bail!("{name} wasn't matched: {}", failure.detail),
            Some(event) => Ok(event),
            None => bail!("{name}'s session ended"),
        }
    }

    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        wanted: impl Fn(&Event) -> Option<T>,
    ) -> anyhow::Result<T> {
        let name = self.name;
        let search = async {
            loop {
                let event = self.next().await.with_context(|| format!("{name} was waiting for {what}"))?;
                if let Some(found) = wanted(&event) {
                    return Ok(found);
                }
            }
        };
        timeout(TIMEOUT, search)
            .await
            .with_context(|| format!("{name} waited {} s for {what} in vain", TIMEOUT.as_secs()))?
    }
}
