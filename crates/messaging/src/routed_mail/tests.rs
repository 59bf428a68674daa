use std::{fmt::Debug, sync::Mutex};

use omgservers_api::{Slot, ids::Id};
use omgservers_core::{Ownership, remote::Loopback};
use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::{problems, qualifier::Qualifier};

/// Notes the arguments of its calls, and answers as it was made to.
struct Recorder {
    calls: Mutex<Vec<String>>,
    entries: Vec<Entry>,
    position: StreamPosition,
    refuses: bool,
}

impl Recorder {
    fn note<T>(&self, call: String, answer: T) -> Result<T, Problem> {
        self.calls.lock().unwrap().push(call);
        if self.refuses {
            Err(problems::MAILBOX_FULL.detail("full").retry_after(Duration::from_secs(1)))
        } else {
            Ok(answer)
        }
    }
}

#[async_trait::async_trait]
impl Mail for Recorder {
    async fn client_attach(&self, user: UserId, client: ClientId) -> Result<StreamPosition, Problem> {
        self.note(format!("attach {user} {client}"), self.position)
    }

    fn client_send(
        &self,
        user: UserId,
        client: ClientId,
        messages: &[ClientMessage<'_>],
        consumed: &[EntryId],
        position: StreamPosition,
    ) -> Sending {
        let ack = self.note(format!("send {user} {client} {messages:?} {consumed:?} {position:?}"), None);
        Sending::Here(ack)
    }

    async fn client_receive(
        &self,
        user: UserId,
        client: ClientId,
        after: Option<EntryId>,
        consumed: &[EntryId],
        wait: Duration,
    ) -> Result<Option<Vec<Entry>>, Problem> {
        let call = format!("receive {user} {client} {after:?} {consumed:?} {wait:?}");
        self.note(call, (!self.entries.is_empty()).then(|| self.entries.clone()))
    }

    async fn client_exchange(
        &self,
        user: UserId,
        client: ClientId,
        messages: &[ClientMessage<'_>],
        consumed: &[EntryId],
    ) -> Result<Vec<Entry>, Problem> {
        self.note(format!("exchange {user} {client} {messages:?} {consumed:?}"), self.entries.clone())
    }

    async fn runtime_opened(&self, runtime: RuntimeId) -> Result<u64, Problem> {
        self.note(format!("opened {runtime}"), u64::MAX)
    }
}

/// The arguments of all calls, and what a mailbox answers.
#[derive(Debug, Clone)]
struct Case {
    user: UserId,
    client: ClientId,
    runtime: RuntimeId,
    after: Option<EntryId>,
    consumed: Vec<EntryId>,
    position: StreamPosition,
    wait: Duration,
    messages: Vec<(Option<SenderSeq>, Box<RawValue>)>,
    entries: Vec<Entry>,
    refuses: bool,
}

fn id<I: Id + Debug>() -> impl Strategy<Value = I> {
    (1i64..).prop_map(|it| I::from_i64(it).unwrap())
}

/// JSON with blanks, escapes and characters of any length: it must arrive byte for byte.
fn json() -> impl Strategy<Value = String> {
    let text = ".{0,20}".prop_map(|it| serde_json::to_string(&it).unwrap());
    prop_oneof![
        Just("{ \"a\" : [1.0, 1e3, null ,\"\\u00e4\\/\"] }".to_owned()),
        any::<f64>().prop_filter("JSON has none", |it| it.is_finite()).prop_map(|it| it.to_string()),
        text.prop_map(|it| format!("{{\"text\":\n{it}}}")),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let words = [Qualifier::HANDLE_MESSAGE, Qualifier::SERVER_OUTGOING, Qualifier::RUNTIME_ASSIGNMENT];
    (id(), prop::sample::select(words.to_vec()), json()).prop_map(|(id, qualifier, body)| Entry {
        id,
        qualifier: qualifier.word(),
        body: body.into(),
    })
}

fn case() -> impl Strategy<Value = Case> {
    let message = (
        option::of((0i64..).prop_map(|it| SenderSeq(it.unsigned_abs()))),
        json().prop_map(|it| RawValue::from_string(it).unwrap()),
    );
    let ids = (id(), id(), id(), option::of(id()), vec(id(), 0..5));
    let wait = any::<u32>().prop_map(|it| Duration::from_millis(it.into()));
    let position = any::<(u32, u32)>().prop_map(|(stream, number)| StreamPosition { stream, number });
    (ids, (position, wait), vec(message, 0..5), vec(entry(), 0..5), any::<bool>()).prop_map(
        |((user, client, runtime, after, consumed), (position, wait), messages, entries, refuses)| Case {
            position,
            user,
            client,
            runtime,
            after,
            consumed,
            wait,
            messages,
            entries,
            refuses,
        },
    )
}

/// Makes every call, and shows arguments and answers.
async fn call_all(mail: &dyn Mail, case: &Case) -> Vec<String> {
    let Case { user, client, runtime, after, consumed, position, wait, messages, .. } = case;
    let messages: Vec<ClientMessage<'_>> =
        messages.iter().map(|it| ClientMessage { seq: it.0, data: &it.1 }).collect();
    vec![
        format!("{:?}", mail.client_attach(*user, *client).await),
        format!("{:?}", mail.client_send(*user, *client, &messages, consumed, *position).safe().await),
        format!("{:?}", mail.client_receive(*user, *client, *after, consumed, *wait).await),
        format!("{:?}", mail.client_exchange(*user, *client, &messages, consumed).await),
        format!("{:?}", mail.runtime_opened(*runtime).await),
    ]
}

fn recorder(case: &Case) -> Arc<Recorder> {
    let (calls, entries) = (Mutex::default(), case.entries.clone());
    Arc::new(Recorder { calls, entries, position: case.position, refuses: case.refuses })
}

/// A router for tests that don't depend on the slot's owner.
struct AnySlot(Loopback);

impl Router for AnySlot {
    fn send(&self, to: Option<Slot>, call: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, Problem>> {
        assert!(to.is_some(), "each call names a mailbox");
        self.0.send(None, call)
    }

    fn max_bytes(&self) -> usize {
        self.0.max_bytes()
    }
}

fn routed(mail: Arc<dyn Mail>) -> RoutedMail {
    let handler = Arc::new(MailHandler::new(mail));
    RoutedMail::new(Arc::new(AnySlot(Loopback::new(
        handler,
        Ownership::slots("test"),
        remote::MAX_CALL_BYTES,
    ))))
}

proptest! {
    #[test]
    fn every_call_and_every_answer_of_the_mail_survives_the_router(case in case()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (direct, behind) = (recorder(&case), recorder(&case));
        let mail = routed(behind.clone());
        let (expected, found) = runtime.block_on(async {
            (call_all(&*direct, &case).await, call_all(&mail, &case).await)
        });
        prop_assert_eq!(found, expected);
        prop_assert_eq!(&*behind.calls.lock().unwrap(), &*direct.calls.lock().unwrap());
    }
}

#[test]
fn an_entry_of_an_unknown_qualifier_is_refused() {
    let text = r#"{"id":"1","qualifier":"SOMETHING","body":"{}"}"#;
    assert!(serde_json::from_str::<Entry>(text).is_err());
}
