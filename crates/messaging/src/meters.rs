//! The metrics of this crate.

use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

/// Handles of the metrics: the recorder finds each only once.
#[derive(Clone)]
pub(crate) struct Meters {
    commits: Counter,
    failed: Counter,
    rows: Histogram,
    seconds: Histogram,
    waited: Histogram,
    consumed_first: Counter,
    depth: Gauge,
    to_runtimes: Counter,
    to_clients: Counter,
    duplicates: Counter,
    refused: Counter,
}

impl Meters {
    /// The recorder must be installed before.
    pub(crate) fn new() -> Self {
        describe_counter!("omgservers_messaging_commits_total", "Transactions that wrote mailboxes.");
        describe_counter!(
            "omgservers_messaging_commit_failures_total",
            "Attempts to write mailboxes that failed."
        );
        describe_histogram!("omgservers_messaging_commit_rows", "Rows in one transaction.");
        describe_histogram!(
            "omgservers_messaging_commit_seconds",
            "From the start of a transaction to its commit."
        );
        describe_histogram!(
            "omgservers_messaging_commit_wait_seconds",
            "How long the first one that waited for a transaction waited for it, the time before its start included."
        );
        describe_counter!(
            "omgservers_messaging_consumed_first_total",
            "Times that somebody's messages were all consumed before they were durable, and so were acknowledged."
        );
        describe_gauge!(
            "omgservers_messaging_unwritten_records",
            "Changes that wait for the next transaction."
        );
        describe_counter!(
            "omgservers_messaging_messages_total",
            "Messages that were put into mailboxes, by receiver."
        );
        describe_counter!(
            "omgservers_messaging_duplicates_total",
            "Messages that a sender repeated and the backend did not deliver again."
        );
        describe_counter!(
            "omgservers_messaging_refused_total",
            "Messages that were refused because a bound was reached."
        );
        Self {
            commits: counter!("omgservers_messaging_commits_total"),
            failed: counter!("omgservers_messaging_commit_failures_total"),
            rows: histogram!("omgservers_messaging_commit_rows"),
            seconds: histogram!("omgservers_messaging_commit_seconds"),
            waited: histogram!("omgservers_messaging_commit_wait_seconds"),
            consumed_first: counter!("omgservers_messaging_consumed_first_total"),
            depth: gauge!("omgservers_messaging_unwritten_records"),
            to_runtimes: counter!("omgservers_messaging_messages_total", "to" => "runtime"),
            to_clients: counter!("omgservers_messaging_messages_total", "to" => "client"),
            duplicates: counter!("omgservers_messaging_duplicates_total"),
            refused: counter!("omgservers_messaging_refused_total"),
        }
    }

    pub(crate) fn committed(&self, rows: usize, took: Duration) {
        self.commits.increment(1);
        self.rows.record(f64::from(u32::try_from(rows).unwrap_or(u32::MAX)));
        self.seconds.record(took);
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.waited.record(time);
    }

    pub(crate) fn consumed_first(&self) {
        self.consumed_first.increment(1);
    }

    pub(crate) fn failed(&self) {
        self.failed.increment(1);
    }

    pub(crate) fn depth(&self, records: usize) {
        self.depth.set(f64::from(u32::try_from(records).unwrap_or(u32::MAX)));
    }

    pub(crate) fn to_runtimes(&self, count: usize) {
        add(&self.to_runtimes, count);
    }

    pub(crate) fn to_clients(&self, count: usize) {
        add(&self.to_clients, count);
    }

    pub(crate) fn duplicates(&self, count: usize) {
        add(&self.duplicates, count);
    }

    pub(crate) fn refused(&self, count: usize) {
        add(&self.refused, count);
    }
}

fn add(counter: &Counter, count: usize) {
    if count > 0 {
        counter.increment(u64::try_from(count).unwrap_or(u64::MAX));
    }
}
