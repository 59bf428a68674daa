use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use omgservers_api::{Code, Kind, problem::codes};
use proptest::prelude::*;
use tokio::sync::Notify;

use super::*;
use crate::{
    Ownership, RequestId, TraceParent,
    context::{Context, current},
    ownership::NOT_OWNER,
};

crate::remote_calls! {
    Echo = "echo" { text: String } -> String;
    Fail = "fail" {} -> ();
    Wait = "wait" {} -> ();
    Unknown = "unknown" {} -> ();
}

const FULL: Code = codes::RATE_LIMITED;

/// Notes what it does, in its order.
#[derive(Default)]
struct Recorder {
    events: Arc<Mutex<Vec<String>>>,
    contexts: Arc<Mutex<Vec<Option<Context>>>>,
    release: Arc<Notify>,
}

/// Notes when a call that waits is dropped.
struct DropNote(Arc<Mutex<Vec<String>>>);

impl Drop for DropNote {
    fn drop(&mut self) {
        self.0.lock().unwrap().push("dropped".to_owned());
    }
}

impl CallHandler for Recorder {
    fn handle(&self, call: IncomingCall) -> BoxFuture<'static, Vec<u8>> {
        let (events, contexts) = (Arc::clone(&self.events), Arc::clone(&self.contexts));
        match call.name() {
            Echo::NAME => call.answer(move |echo: Echo| {
                contexts.lock().unwrap().push(current());
                events.lock().unwrap().push(format!("begins {}", echo.text));
                async move {
                    contexts.lock().unwrap().push(current());
                    Ok(echo.text)
                }
            }),
            Fail::NAME => call.answer(async |_: Fail| {
                let problem = FULL.detail("10 of 10").retry_after(Duration::from_millis(1_500));
                Err(problem.because("a secret cause"))
            }),
            Wait::NAME => {
                let release = Arc::clone(&self.release);
                call.answer(async move |_: Wait| {
                    let _note = DropNote(events);
                    release.notified().await;
                    Ok(())
                })
            }
            _ => call.unknown(),
        }
    }
}

fn loopback(max_bytes: usize) -> (Loopback, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    (Loopback::new(recorder.clone(), Ownership::slots("test"), max_bytes), recorder)
}

fn echo(text: &str) -> Echo {
    Echo { text: text.to_owned() }
}

#[tokio::test]
async fn a_call_begins_before_its_answer_is_awaited_and_in_the_order_of_the_calls() {
    let (router, recorder) = loopback(MAX_CALL_BYTES);
    let answers: Vec<_> = ["a", "b", "c"].map(|text| start(&router, None, &echo(text))).into();
    assert_eq!(*recorder.events.lock().unwrap(), ["begins a", "begins b", "begins c"]);
    for (answer, text) in answers.into_iter().zip(["a", "b", "c"]) {
        assert_eq!(answer.await.unwrap(), text);
    }
}

#[tokio::test]
async fn a_problem_crosses_with_everything_but_its_cause() {
    let (router, _) = loopback(MAX_CALL_BYTES);
    let problem = start(&router, None, &Fail {}).await.unwrap_err();
    assert!(problem.is(FULL));
    assert_eq!((problem.code(), problem.qualifier()), (FULL.code, FULL.qualifier));
    assert_eq!((problem.kind(), problem.sentence()), (FULL.kind, "10 of 10"));
    assert_eq!(problem.pause(), Some(Duration::from_millis(1_500)));
    assert_eq!(problem.to_string(), format!("{}: 10 of 10", FULL.title));
    assert!(!format!("{problem:?}").contains("secret"), "{problem:?}");
}

#[tokio::test]
async fn a_dropped_answer_cancels_a_call_that_waits() {
    let (router, recorder) = loopback(MAX_CALL_BYTES);
    let mut waiting = Box::pin(start(&router, None, &Wait {}));
    tokio::select! {
        biased;
        answer = &mut waiting => panic!("{answer:?}"),
        () = std::future::ready(()) => {}
    }
    assert!(recorder.events.lock().unwrap().is_empty(), "it waits");
    drop(waiting);
    assert_eq!(*recorder.events.lock().unwrap(), ["dropped"]);
}

#[tokio::test]
async fn a_call_that_waits_answers_when_its_service_does() {
    let (router, recorder) = loopback(MAX_CALL_BYTES);
    let waiting = tokio::spawn(start(&router, None, &Wait {}));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    recorder.release.notify_one();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn calls_and_answers_beyond_the_bound_are_refused() {
    let (router, recorder) = loopback(100);
    let problem = start(&router, None, &echo(&"x".repeat(100))).await.unwrap_err();
    assert!(problem.is(codes::TOO_LARGE), "{problem:?}");
    assert!(recorder.events.lock().unwrap().is_empty(), "it was never sent");
    let answer: Result<String, _> = Ok("x".repeat(100));
    let bytes = wire::encode_answer(&answer, 100);
    let problem = wire::decode_answer::<String>(&bytes).unwrap().unwrap_err();
    assert_eq!(problem.kind(), Kind::Internal);
}

#[tokio::test]
async fn a_slot_of_another_process_and_an_unknown_call_are_refused() {
    let (router, _) = loopback(MAX_CALL_BYTES);
    let problem = start(&router, Slot::new(7), &echo("a")).await.unwrap_err();
    assert!(problem.is(NOT_OWNER), "{problem:?}");
    let problem = start(&router, None, &Unknown {}).await.unwrap_err();
    assert_eq!(problem.kind(), Kind::Internal);
    let garbage = router.send(None, b"{}".to_vec()).await.unwrap_err();
    assert_eq!(garbage.kind(), Kind::Internal);
}

#[tokio::test]
async fn a_worker_leaves_its_context_at_home() {
    let (router, recorder) = loopback(MAX_CALL_BYTES);
    let origin = crate::context::Origin::Worker { name: "test", run: 1 };
    let context = Context { origin, trace: None };
    let call = async { tokio::spawn(start(&router, None, &echo("a"))).await.unwrap() };
    context.scope(call).await.unwrap();
    let contexts = recorder.contexts.lock().unwrap();
    assert_eq!(contexts.last(), Some(&None), "{contexts:?}");
}

fn contexts() -> impl Strategy<Value = Context> {
    let id = prop_oneof![
        any::<u64>().prop_map(RequestId::Random),
        "[a-zA-Z0-9_.-]{1,64}".prop_map(|it| RequestId::given(&it).unwrap()),
    ];
    let trace = (1u128.., 1u64.., any::<u8>()).prop_map(|(trace_id, span_id, flags)| TraceParent {
        trace_id,
        span_id,
        flags,
    });
    (id, proptest::option::of(trace)).prop_map(|(id, trace)| Context::request(id, trace))
}

proptest! {
    #[test]
    fn a_call_runs_in_the_context_of_its_request(context in contexts(), text in ".*") {
        let (router, recorder) = loopback(MAX_CALL_BYTES);
        let started = context.clone().sync_scope(|| start(&router, None, &echo(&text)));
        // Polled outside of the context: only what crossed can be seen.
        let answer = futures_util::FutureExt::now_or_never(started).unwrap().unwrap();
        prop_assert_eq!(answer, text);
        let seen = recorder.contexts.lock().unwrap().clone();
        prop_assert_eq!(seen, vec![Some(context.clone()), Some(context)]);
    }
}
