//! Texts to the game server and back over the dispatcher.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message as Frame;

use super::{RunContext, RunningScenario, talk::InFlight};
use crate::{
    crowd::CrowdMember,
    net::{CallFailure, ClientSocket, HttpConnection, open},
    wire::first_number,
};

const PATH: &str = "/dispatcher/v1/entrypoint/websocket/endpoint";
const SUB_PROTOCOL: &str = "omgservers";
/// How often everybody shows that the session goes on: the backend ends silent ones after 30 s.
const SIGN_OF_LIFE: Duration = Duration::from_secs(8);

struct RoomSender {
    member: Rc<CrowdMember>,
    in_flight: Rc<InFlight>,
    outbox: mpsc::UnboundedSender<u64>,
}

/// The scenario.
pub(super) struct DispatcherScenario {
    context: RunContext,
    senders: Vec<RoomSender>,
    turn: Cell<usize>,
}

impl DispatcherScenario {
    pub(super) async fn open(context: &RunContext, members: Vec<Rc<CrowdMember>>) -> anyhow::Result<Self> {
        let mut senders = Vec::with_capacity(members.len());
        let mut http = HttpConnection::new(&context.target);
        for member in members {
            let token = member.upgraded(&mut http).await?;
            let socket = Box::pin(open(&context.target, PATH, SUB_PROTOCOL, &token)).await?;
            let in_flight = Rc::new(InFlight::new(&context.recorder));
            let (outbox, inbox) = mpsc::unbounded_channel();
            let padding = Rc::clone(&context.padding);
            tokio::task::spawn_local(live(socket, inbox, Rc::clone(&in_flight), padding));
            senders.push(RoomSender { member, in_flight, outbox });
        }
        let all = senders.iter().map(|it| Rc::clone(&it.member)).collect();
        tokio::task::spawn_local(stay(http, all));
        Ok(Self { context: context.clone(), senders, turn: Cell::new(0) })
    }
}

/// What goes past the mailboxes shows nobody that the session goes on.
async fn stay(mut http: HttpConnection, members: Vec<Rc<CrowdMember>>) {
    let mut consumed: Vec<Vec<String>> = vec![Vec::new(); members.len()];
    loop {
        tokio::time::sleep(SIGN_OF_LIFE).await;
        for (member, consumed) in members.iter().zip(&mut consumed) {
            // A session that is over ends its connection, too, and that is counted.
            let _over = member.exchange(&mut http, None, 0, consumed, |_| None::<()>).await;
        }
    }
}

async fn live(
    socket: ClientSocket,
    mut inbox: mpsc::UnboundedReceiver<u64>,
    in_flight: Rc<InFlight>,
    padding: Rc<str>,
) {
    let (sink, stream) = socket.split();
    let why = tokio::select! {
        why = read(stream, &in_flight) => why,
        why = write(sink, &mut inbox, &padding) => why,
    };
    in_flight.fail(&why);
    // Connections need a new token each, from the game: there is no second one.
    while inbox.recv().await.is_some() {
        in_flight.fail(&why);
    }
}

async fn read(mut stream: SplitStream<ClientSocket>, in_flight: &InFlight) -> CallFailure {
    loop {
        match stream.next().await {
            Some(Ok(Frame::Text(text))) => {
                if let Some(number) = first_number(text.as_str()) {
                    in_flight.back(number);
                }
            }
            Some(Ok(Frame::Close(frame))) => return CallFailure::closed(frame.map(|it| u16::from(it.code))),
            Some(Ok(_)) => {}
            Some(Err(error)) => return CallFailure::broken(error),
            None => return CallFailure::closed(None),
        }
    }
}

async fn write(
    mut sink: SplitSink<ClientSocket, Frame>,
    inbox: &mut mpsc::UnboundedReceiver<u64>,
    padding: &str,
) -> CallFailure {
    while let Some(number) = inbox.recv().await {
        if let Err(error) = sink.send(Frame::text(format!("{number} {padding}"))).await {
            return CallFailure::broken(error);
        }
    }
    CallFailure::closed(None)
}

impl RunningScenario for DispatcherScenario {
    fn begin(&self, at: Instant) {
        self.context.recorder.begun(0, at, 1);
        let turn = self.turn.replace(self.turn.get().wrapping_add(1));
        let Some(sender) = self.senders.get(turn % self.senders.len().max(1)) else { return };
        let number = sender.member.numbers(1);
        sender.in_flight.push(number, at);
        // The receiver lives as long as the scenario.
        let _never = sender.outbox.send(number);
    }

    fn clear(&self) {
        self.senders.iter().for_each(|it| it.in_flight.clear());
    }

    fn members(&self) -> Vec<Rc<CrowdMember>> {
        self.senders.iter().map(|it| Rc::clone(&it.member)).collect()
    }
}
