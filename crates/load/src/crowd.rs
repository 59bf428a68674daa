//! The players of a scenario: signed up, signed in, in a lobby; and how they leave.

use std::{cell::Cell, collections::BTreeSet, rc::Rc, time::Duration};

use anyhow::{Context as _, anyhow, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use omgservers_api::{
    entrypoint::{
        CreateTokenResponse,
        player::{CreateClientResponse, CreateUserResponse},
    },
    interchange::{ConnectionUpgrade, RuntimeAssignment, message},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    net::{CallFailure, HttpConnection, RequestLine, Target},
    order::StageRefs,
    wire::{Came, GameMessage, ReceivedMessage, RequestBody},
};

/// How many get ready at the same time.
const AT_ONCE: usize = 16;
/// How long one waits for a lobby; the first one's image is pulled within.
const LOBBY_TIMEOUT: Duration = Duration::from_secs(90);
/// How long an interchange waits in the meantime, ms.
const WAIT: u32 = 20_000;
/// How long a player repeats a request that the backend's limits refuse.
const INSISTENCE: Duration = Duration::from_secs(60);
/// How long all have to leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A player in a session, with its token.
pub(crate) struct CrowdMember {
    pub(crate) token: String,
    pub(crate) client: String,
    /// The number of the next message.
    next: Cell<u64>,
}

/// An account, signed in.
pub(crate) struct SignedInUser {
    pub(crate) token: String,
}

impl SignedInUser {
    /// Signs up and in.
    pub(crate) async fn create(http: &mut HttpConnection) -> Result<Self, CallFailure> {
        let made: CreateUserResponse = request(http, "create-user", None, "{}").await?;
        Self::sign_in(http, &made).await
    }

    pub(crate) async fn sign_in(
        http: &mut HttpConnection,
        made: &CreateUserResponse,
    ) -> Result<Self, CallFailure> {
        let body = json!({"user": made.user_id, "password": made.password}).to_string();
        let answer: CreateTokenResponse = request(http, "create-token", None, &body).await?;
        Ok(Self { token: answer.raw_token })
    }

    /// Begins a session.
    pub(crate) async fn join(
        self,
        http: &mut HttpConnection,
        stage_refs: &StageRefs,
    ) -> Result<CrowdMember, CallFailure> {
        let StageRefs { tenant, project, stage } = stage_refs;
        let body = json!({"tenant": tenant, "project": project, "stage": stage}).to_string();
        let answer: CreateClientResponse = request(http, "create-client", Some(&self.token), &body).await?;
        Ok(CrowdMember { token: self.token, client: answer.client_id.to_string(), next: Cell::new(1) })
    }
}

impl CrowdMember {
    /// The numbers of so many messages: the first one.
    pub(crate) fn numbers(&self, count: u32) -> u64 {
        let first = self.next.get();
        self.next.set(first.saturating_add(count.into()));
        first
    }

    /// One interchange; answers what came, with its ids in `consumed` for the next one.
    pub(crate) async fn exchange<T>(
        &self,
        http: &mut HttpConnection,
        outgoing: Option<&str>,
        wait: u32,
        consumed: &mut Vec<String>,
        mut on_message: impl FnMut(&ReceivedMessage<'_>) -> Option<T>,
    ) -> Result<Option<T>, CallFailure> {
        let data: Vec<String> = outgoing.map(text).into_iter().collect();
        let first = self.numbers(u32::from(outgoing.is_some()));
        let body = RequestBody { client: Some((&self.client, wait)), first, data: &data, consumed }.json();
        let came: Came<'_> = read(http.post(self.line(), &body).await?)?;
        consumed.clear();
        consumed.extend(came.incoming_messages.iter().map(|it| it.id.to_owned()));
        let mut received = None;
        for message in &came.incoming_messages {
            received = on_message(message).or(received);
        }
        Ok(received)
    }

    /// How it interchanges.
    pub(crate) fn line(&self) -> RequestLine<'_> {
        RequestLine { role: "player", verb: "interchange", token: Some(&self.token) }
    }

    /// Waits for a runtime; answers its id.
    async fn assigned(&self, http: &mut HttpConnection) -> anyhow::Result<String> {
        let runtime = |message: &ReceivedMessage<'_>| {
            let fits = message.qualifier == message::RUNTIME_ASSIGNMENT;
            let body = fits.then(|| serde_json::from_str::<RuntimeAssignment>(message.body.get()).ok());
            body.flatten().map(|it| it.runtime_id.to_string())
        };
        self.until(http, None, runtime)
            .await?
            .context("no lobby was ready in time; how does the deployment stand?")
    }

    /// Asks its lobby for a connection through the dispatcher; answers the token for it.
    pub(crate) async fn upgraded(&self, http: &mut HttpConnection) -> anyhow::Result<String> {
        let token = |message: &ReceivedMessage<'_>| {
            if message.qualifier == message::CONNECTION_UPGRADE {
                let body = serde_json::from_str::<ConnectionUpgrade>(message.body.get()).ok();
                return body.map(|it| Ok(it.web_socket_config.ws_token));
            }
            matches!(message.game_message(), GameMessage::EchoedText(text) if text == "meet")
                .then_some(Err(()))
        };
        let received =
            self.until(http, Some("meet"), token).await?.context("no connection was offered in time")?;
        received.map_err(|()| {
            anyhow!("the game doesn't know `meet`: deploy the sample game of examples/lobby-echo")
        })
    }

    async fn until<T>(
        &self,
        http: &mut HttpConnection,
        mut outgoing: Option<&str>,
        mut on_message: impl FnMut(&ReceivedMessage<'_>) -> Option<T>,
    ) -> anyhow::Result<Option<T>> {
        let (until, mut consumed) = (Instant::now() + LOBBY_TIMEOUT, Vec::new());
        while Instant::now() < until {
            let received = self.exchange(http, outgoing.take(), WAIT, &mut consumed, &mut on_message).await?;
            if received.is_some() {
                // What came is consumed.
                self.exchange(http, None, 0, &mut consumed, |_| None::<()>).await?;
                return Ok(received);
            }
        }
        Ok(None)
    }
}

/// Gets so many players ready. Errors are for people.
pub(crate) async fn join_members(
    target: &Rc<Target>,
    stage_refs: &StageRefs,
    count: u32,
) -> anyhow::Result<Vec<(CrowdMember, String)>> {
    let one = |_| async move {
        let mut http = HttpConnection::new(target);
        let account = insist(&mut http, async |http| SignedInUser::create(http).await).await?;
        let member = account.join(&mut http, stage_refs).await.context("the session can't be begun")?;
        let runtime = member.assigned(&mut http).await?;
        anyhow::Ok((member, runtime))
    };
    stream::iter(0..count).map(one).buffer_unordered(AT_ONCE).try_collect().await
}

/// In how many lobbies they are.
pub(crate) fn lobbies(members: &[(CrowdMember, String)]) -> usize {
    members.iter().map(|it| it.1.as_str()).collect::<BTreeSet<_>>().len()
}

/// All have to be in the same lobby.
pub(crate) fn in_one_lobby(lobbies: usize) -> anyhow::Result<()> {
    ensure!(
        lobbies <= 1,
        "the players are in {lobbies} lobbies: let a lobby take more (`deployment.lobby.max_assignments` of the version), \
         or say fewer --players"
    );
    Ok(())
}

/// All players leave their lobby, so that it broadcasts nothing to them any more. The backend ends
/// the sessions of the others after a while.
pub(crate) async fn leave(target: &Rc<Target>, members: &[Rc<CrowdMember>]) {
    let one = |member: Rc<CrowdMember>| async move {
        let mut http = HttpConnection::new(target);
        // A session that is over already has nothing to leave.
        let _over = member.exchange(&mut http, Some("kick me"), 0, &mut Vec::new(), |_| None::<()>).await;
    };
    let all =
        stream::iter(members.iter().cloned()).map(one).buffer_unordered(AT_ONCE).for_each(|()| async {});
    let _elapsed = tokio::time::timeout(LEAVE_TIMEOUT, all).await;
}

/// Repeats the request after the pause that the backend answers.
async fn insist<T>(
    http: &mut HttpConnection,
    mut work: impl AsyncFnMut(&mut HttpConnection) -> Result<T, CallFailure>,
) -> anyhow::Result<T> {
    let until = Instant::now() + INSISTENCE;
    loop {
        match work(http).await {
            Err(CallFailure { pause: Some(pause), .. }) if Instant::now() + pause < until => {
                sleep(pause).await
            }
            Err(failure) => return Err(anyhow!(failure).context("a player can't sign up")),
            Ok(done) => return Ok(done),
        }
    }
}

/// Asks a player's endpoint.
pub(crate) async fn request<T: DeserializeOwned>(
    http: &mut HttpConnection,
    verb: &str,
    token: Option<&str>,
    body: &str,
) -> Result<T, CallFailure> {
    let answer = http.post(RequestLine { role: "player", verb, token }, body).await?;
    serde_json::from_slice(answer).map_err(CallFailure::foreign)
}

/// A text as JSON.
pub(crate) fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Reads what came.
pub(crate) fn read(body: &[u8]) -> Result<Came<'_>, CallFailure> {
    serde_json::from_slice(body).map_err(CallFailure::foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(runtime: &str) -> (CrowdMember, String) {
        let member = CrowdMember { token: "t".into(), client: "1".into(), next: Cell::new(1) };
        (member, runtime.to_owned())
    }

    #[test]
    fn numbers_of_a_session_never_repeat() {
        let (member, _) = member("7");
        assert_eq!(
            [member.numbers(1), member.numbers(0), member.numbers(10), member.numbers(1)],
            [1, 2, 2, 12]
        );
    }

    #[test]
    fn a_broadcast_needs_one_lobby() {
        in_one_lobby(lobbies(&[member("7"), member("7")])).unwrap();
        let refused = in_one_lobby(lobbies(&[member("7"), member("8")])).unwrap_err().to_string();
        assert!(refused.contains("2 lobbies") && refused.contains("max_assignments"), "{refused}");
    }
}
