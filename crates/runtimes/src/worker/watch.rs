//! Receives the events of hosts. They are hints: the reconciler inspects a container before it
//! acts.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, future::join_all};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    host::{ContainerHost, HostError},
    pg::PING_TIMEOUT,
    shared::{HostClient, Shared},
};

/// How often a host is pinged. Otherwise a cut network would go unnoticed.
const PING_PERIOD: Duration = Duration::from_secs(2);
/// The pause before a new connection.
const RECONNECT: Duration = Duration::from_millis(500);
/// The number of unanswered pings after which the connection is closed.
const MOST_UNANSWERED: u32 = 3;

/// Receives the events of all hosts of the pool until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let host_clients = loop {
        match shared.host_clients().await {
            Ok(host_clients) => break host_clients,
            Err(problem) => {
                tracing::error!(?problem, "the hosts of the pool can't be read; retrying");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(RECONNECT) => {}
                }
            }
        }
    };
    let all = join_all(host_clients.into_iter().map(|it| listen(&shared, it)));
    tokio::select! {
        () = stop.cancelled() => {}
        _never = all => {}
    }
}

async fn listen(shared: &Shared, host_client: Arc<HostClient>) {
    let mut reported = None;
    loop {
        let error = match host_client.client(shared.connector.as_ref()) {
            Ok(client) => follow(shared, &host_client, client.as_ref(), &mut reported).await,
            Err(error) => error,
        };
        // Logged once for each reason, not twice a second.
        let text = error.to_string();
        if reported.as_ref() != Some(&text) {
            tracing::warn!(host.uri = host_client.host.config.uri, %error, "the events of the Docker host can't be received; retrying");
            reported = Some(text);
        }
        shared.signal(|it| it.missed(host_client.host.id));
        tokio::time::sleep(RECONNECT).await;
    }
}

/// Passes on the events of a host, until it stops answering.
async fn follow(
    shared: &Shared,
    host_client: &HostClient,
    client: &dyn ContainerHost,
    reported: &mut Option<String>,
) -> HostError {
    let host = host_client.host.id;
    let mut events = match client.events().await {
        Ok(events) => events,
        Err(error) => return error,
    };
    let mut ping = interval(PING_PERIOD);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Earlier events were missed, so a list follows the first answer.
    let (mut caught_up, mut unanswered) = (false, 0u32);
    loop {
        tokio::select! {
            // The subscription is sent before the first ping.
            biased;
            event = events.next() => match event {
                Some(Ok(event)) => shared.signal_event(host, event),
                Some(Err(error)) => return error,
                None => return HostError::Unreachable("the stream of events ended".into()),
            },
            _ = ping.tick() => {
                let answer = timeout(PING_TIMEOUT, client.ping()).await;
                if matches!(answer, Ok(Ok(()))) {
                    shared.note_answer(host);
                    if !caught_up || unanswered > 0 {
                        shared.signal(|it| it.list(host));
                        if reported.take().is_some() {
                            tracing::info!(host.uri = host_client.host.config.uri, "the Docker host is back");
                        }
                    }
                    (caught_up, unanswered) = (true, 0);
                } else {
                    unanswered = unanswered.saturating_add(1);
                    shared.signal(|it| it.missed(host));
                    if unanswered >= MOST_UNANSWERED {
                        return HostError::Unreachable(format!("no answer to {unanswered} pings"));
                    }
                }
            }
        }
    }
}
