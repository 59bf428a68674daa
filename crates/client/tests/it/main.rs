//! Both sides of the interchange and the administration against a fake backend.

#[cfg(test)]
mod administration;
#[cfg(test)]
mod dial;
#[cfg(test)]
mod direct;
#[cfg(test)]
mod dispatcher;
#[cfg(test)]
mod player;
#[cfg(test)]
mod runtime;
#[cfg(test)]
mod stream;

use std::time::Duration;

use omgservers_client::Retry;

/// Pauses that a test can afford.
const QUICK: Retry = Retry {
    initial_backoff: Duration::from_millis(2),
    max_backoff: Duration::from_millis(10),
    give_up_after: Some(Duration::from_millis(200)),
};
