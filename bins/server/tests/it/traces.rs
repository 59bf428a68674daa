//! Requests leave traces: in the log always, at a collector when one is configured.

use std::sync::{Arc, Mutex};

use actix_web::{App, HttpResponse, HttpServer, web};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::Span,
};
use prost::Message as _;

use crate::program::{Serve, folder};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// An OpenTelemetry collector that keeps what it gets.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    /// Starts it on a port of its own and returns its URL.
    fn start(&self) -> String {
        let spans = web::Data::new(self.clone());
        let server = HttpServer::new(move || {
            App::new().app_data(spans.clone()).route("/v1/traces", web::post().to(Self::receive))
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let url = format!("http://{}", server.addrs().first().unwrap());
        actix_web::rt::spawn(server.run());
        url
    }

    async fn receive(collector: web::Data<Self>, body: web::Bytes) -> HttpResponse {
        let sent = ExportTraceServiceRequest::decode(body).unwrap();
        let spans = sent.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        collector.0.lock().unwrap().extend(spans.flat_map(|scope| scope.spans));
        HttpResponse::Ok().finish()
    }

    fn of_trace(&self, trace: &str) -> Vec<Span> {
        let spans = self.0.lock().unwrap();
        spans.iter().filter(|span| hex(&span.trace_id) == trace).cloned().collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

/// A request that the server refuses, and so logs at the level `debug`.
async fn refused(url: &str, id: &str, traceparent: &str) -> reqwest::Response {
    reqwest::Client::new()
        .post(format!("{url}/service/v1/entrypoint/player/request/create-client"))
        .header("X-Request-Id", id)
        .header("traceparent", traceparent)
        .body("{}")
        .send()
        .await
        .unwrap()
}

#[actix_web::test]
async fn a_request_is_a_span_of_its_callers_trace_and_a_line_of_the_log_with_the_same_ids() {
    let collector = Collector::default();
    let folder = folder();
    let mut server = Serve::new(&folder.path().join("data"))
        .set("OMGSERVERS__TRACES__OTLP_ENDPOINT", collector.start())
        .set("OMGSERVERS__LOG__FORMAT", "json")
        .set("OMGSERVERS__LOG__FILTER", "info,omgservers_http=debug")
        .start()
        .await;
    let answer = refused(&server.url, "traced-1", &format!("00-{TRACE}-{CALLER}-01")).await;
    assert_eq!(answer.headers()["X-Request-Id"], "traced-1");
    let unsampled = "11111111111111111111111111111111";
    refused(&server.url, "untraced-1", &format!("00-{unsampled}-{CALLER}-00")).await;
    server.stop().await;

    let spans = collector.of_trace(TRACE);
    let [span] = &spans[..] else { panic!("one span in {spans:?}") };
    assert_eq!(hex(&span.parent_span_id), CALLER);
    assert_eq!(attribute(span, "request.id").unwrap(), "traced-1");
    assert_eq!(attribute(span, "http.response.status_code").unwrap(), "401");
    assert_eq!(span.name, "POST /service/v1/entrypoint/player/request/create-client");
    // The caller that doesn't record its trace is logged and not exported.
    assert_eq!(collector.of_trace(unsampled), []);

    let log = server.log();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let of = |id: &str| {
        lines.iter().find(|line| line["request.id"] == id).unwrap_or_else(|| panic!("{id}: {log}"))
    };
    assert_eq!(of("traced-1")["trace.id"], TRACE);
    assert_eq!(of("untraced-1")["trace.id"], unsampled);
}

#[actix_web::test]
async fn without_an_id_of_the_client_the_answer_and_the_log_have_the_same_random_one() {
    let folder = folder();
    let mut server = Serve::new(&folder.path().join("data"))
        .set("OMGSERVERS__LOG__FILTER", "info,omgservers_http=debug")
        .start()
        .await;
    let answer = refused(&server.url, "not sane", "no trace").await;
    let header = answer.headers()["X-Request-Id"].to_str().unwrap().to_owned();
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body["request_id"], header);
    server.stop().await;
    assert!(server.log().contains(&format!("request.id={header}")), "{}", server.log());
}
