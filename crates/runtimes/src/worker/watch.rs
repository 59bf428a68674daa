//! Listens to hosts. What is heard here are hints: the reconciler looks before it believes.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, future::join_all};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    host::{ContainerHost, HostError},
    inner::{Inner, Link},
    pg::PING_TIMEOUT,
};

/// How often a host is asked whether it is there. A cut network tells nothing by itself.
const PING_PERIOD: Duration = Duration::from_secs(2);
/// How long after a break the host is tried again.
const RECONNECT: Duration = Duration::from_millis(500);
/// After so many unanswered pings the connection is given up.
const MOST_SILENCE: u32 = 3;

/// Listens to all hosts of the pool until `stop`.
pub(crate) async fn run(inner: Arc<Inner>, stop: CancellationToken) {
    let links = loop {
        match inner.links().await {
            Ok(links) => break links,
            Err(problem) => {
                tracing::error!(?problem, "the hosts of the pool can't be read; trying again");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(RECONNECT) => {}
                }
            }
        }
    };
    let all = join_all(links.into_iter().map(|it| listen(&inner, it)));
    tokio::select! {
        () = stop.cancelled() => {}
        _never = all => {}
    }
}

async fn listen(inner: &Inner, link: Arc<Link>) {
    let mut reported = None;
    loop {
        let error = match link.client(inner.connector.as_ref()) {
            Ok(client) => follow(inner, &link, client.as_ref(), &mut reported).await,
            Err(error) => error,
        };
        // Said once for each reason, not twice a second.
        let text = error.to_string();
        if reported.as_ref() != Some(&text) {
            tracing::warn!(host.uri = link.host.config.uri, %error, "the Docker host is not to be heard; trying again");
            reported = Some(text);
        }
        inner.signal(|it| it.missed(link.host.id));
        tokio::time::sleep(RECONNECT).await;
    }
}

/// Passes on what the host says, until it falls silent.
async fn follow(
    inner: &Inner,
    link: &Link,
    client: &dyn ContainerHost,
    reported: &mut Option<String>,
) -> HostError {
    let host = link.host.id;
    let mut events = match client.events().await {
        Ok(events) => events,
        Err(error) => return error,
    };
    let mut ping = interval(PING_PERIOD);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Events before now were missed: the first answer is followed by a list.
    let (mut caught_up, mut silence) = (false, 0u32);
    loop {
        tokio::select! {
            // The subscription is sent before the first ping.
            biased;
            event = events.next() => match event {
                Some(Ok(event)) => inner.signal_event(host, event),
                Some(Err(error)) => return error,
                None => return HostError::Unreachable("the stream of events ended".into()),
            },
            _ = ping.tick() => {
                let answer = timeout(PING_TIMEOUT, client.ping()).await;
                if matches!(answer, Ok(Ok(()))) {
                    inner.note_answer(host);
                    if !caught_up || silence > 0 {
                        inner.signal(|it| it.list(host));
                        if reported.take().is_some() {
                            tracing::info!(host.uri = link.host.config.uri, "the Docker host is back");
                        }
                    }
                    (caught_up, silence) = (true, 0);
                } else {
                    silence = silence.saturating_add(1);
                    inner.signal(|it| it.missed(host));
                    if silence >= MOST_SILENCE {
                        return HostError::Unreachable(format!("no answer to {silence} pings"));
                    }
                }
            }
        }
    }
}
