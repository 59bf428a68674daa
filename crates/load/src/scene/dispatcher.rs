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

use super::{Scene, Stage, talk::InFlight};
use crate::{
    crowd::Member,
    net::{Failure, Http, Socket, open},
    wire::first_number,
};

const PATH: &str = "/dispatcher/v1/entrypoint/websocket/endpoint";
const SUB_PROTOCOL: &str = "omgservers";
/// How often everybody shows that the session goes on: the backend ends silent ones after 30 s.
const SIGN_OF_LIFE: Duration = Duration::from_secs(8);

struct Speaker {
    member: Rc<Member>,
    in_flight: Rc<InFlight>,
    outbox: mpsc::UnboundedSender<u64>,
}

/// The scene.
pub(super) struct Dispatcher {
    stage: Stage,
    speakers: Vec<Speaker>,
    turn: Cell<usize>,
}

impl Dispatcher {
    pub(super) async fn open(stage: &Stage, members: Vec<Rc<Member>>) -> anyhow::Result<Self> {
        let mut speakers = Vec::with_capacity(members.len());
        let mut http = Http::new(&stage.target);
        for member in members {
            let token = member.upgraded(&mut http).await?;
            let socket = Box::pin(open(&stage.target, PATH, SUB_PROTOCOL, &token)).await?;
            let in_flight = Rc::new(InFlight::new(&stage.recorder));
            let (outbox, inbox) = mpsc::unbounded_channel();
            let padding = Rc::clone(&stage.padding);
            tokio::task::spawn_local(live(socket, inbox, Rc::clone(&in_flight), padding));
            speakers.push(Speaker { member, in_flight, outbox });
        }
        let all = speakers.iter().map(|it| Rc::clone(&it.member)).collect();
        tokio::task::spawn_local(stay(http, all));
        Ok(Self { stage: stage.clone(), speakers, turn: Cell::new(0) })
    }
}

/// What goes past the mailboxes shows nobody that the session goes on.
async fn stay(mut http: Http, members: Vec<Rc<Member>>) {
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
    socket: Socket,
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

async fn read(mut stream: SplitStream<Socket>, in_flight: &InFlight) -> Failure {
    loop {
        match stream.next().await {
            Some(Ok(Frame::Text(text))) => {
                if let Some(number) = first_number(text.as_str()) {
                    in_flight.back(number);
                }
            }
            Some(Ok(Frame::Close(frame))) => return Failure::closed(frame.map(|it| u16::from(it.code))),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Failure::broken(error),
            None => return Failure::closed(None),
        }
    }
}

async fn write(
    mut sink: SplitSink<Socket, Frame>,
    inbox: &mut mpsc::UnboundedReceiver<u64>,
    padding: &str,
) -> Failure {
    while let Some(number) = inbox.recv().await {
        if let Err(error) = sink.send(Frame::text(format!("{number} {padding}"))).await {
            return Failure::broken(error);
        }
    }
    Failure::closed(None)
}

impl Scene for Dispatcher {
    fn begin(&self, at: Instant) {
        self.stage.recorder.begun(0, at, 1);
        let turn = self.turn.replace(self.turn.get().wrapping_add(1));
        let Some(speaker) = self.speakers.get(turn % self.speakers.len().max(1)) else { return };
        let number = speaker.member.numbers(1);
        speaker.in_flight.push(number, at);
        // The receiver lives as long as the scene.
        let _never = speaker.outbox.send(number);
    }

    fn clear(&self) {
        self.speakers.iter().for_each(|it| it.in_flight.clear());
    }

    fn members(&self) -> Vec<Rc<Member>> {
        self.speakers.iter().map(|it| Rc::clone(&it.member)).collect()
    }
}
