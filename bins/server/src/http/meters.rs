//! What operators see of requests.

use actix_web::http::StatusCode;
use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

/// Handles that are looked up once in each worker.
pub(super) struct Meters {
    informed: Counter,
    succeeded: Counter,
    redirected: Counter,
    refused: Counter,
    failed: Counter,
    pub(super) limited: Counter,
    pub(super) seconds: Histogram,
}

impl Meters {
    /// The recorder must be installed before.
    pub(super) fn new() -> Self {
        describe_counter!(
            "omgservers_http_requests_total",
            "Requests that were answered, by the class of their status."
        );
        describe_counter!(
            "omgservers_http_limited_total",
            "Requests that were one too many of their address."
        );
        describe_histogram!(
            "omgservers_http_request_seconds",
            "How long requests took; interchanges, which wait as long as they are asked to, aside."
        );
        describe_counter!("omgservers_http_problems_total", "Refused requests, by the code of the problem.");
        let class = |class: &'static str| counter!("omgservers_http_requests_total", "class" => class);
        Self {
            informed: class("1xx"),
            succeeded: class("2xx"),
            redirected: class("3xx"),
            refused: class("4xx"),
            failed: class("5xx"),
            limited: counter!("omgservers_http_limited_total"),
            seconds: histogram!("omgservers_http_request_seconds"),
        }
    }

    pub(super) fn answered(&self, status: StatusCode) {
        let counter = match status.as_u16() {
            100..200 => &self.informed,
            200..300 => &self.succeeded,
            300..400 => &self.redirected,
            400..500 => &self.refused,
            _ => &self.failed,
        };
        counter.increment(1);
    }
}

/// Open connections.
pub(super) fn connections() -> Gauge {
    describe_gauge!(
        "omgservers_http_connections",
        "Open connections, of players, game servers, developers and Docker."
    );
    gauge!("omgservers_http_connections")
}
