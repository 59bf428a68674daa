//! Peers that play together, each over a connection of its own, and rounds of it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use mio::{Events, Interest, Poll, Token};

use super::wire::Wire;
use crate::load::{Outcome, WARM_UP, outcome};

/// A server that is silent for so long is broken. Longer than what a request may wait.
const MAX_IDLE: Duration = Duration::from_secs(40);

/// One of those who play.
pub(crate) trait Peer {
    /// A round begins: writes what is sent first.
    fn begin(&mut self, _: &mut Vec<u8>, _: &mut Counts) -> anyhow::Result<()> {
        Ok(())
    }

    /// For the one who sits last: something may have happened to the others. Writes what is to be
    /// sent.
    fn after(&mut self, _: &mut Vec<u8>, _: &mut Counts) -> anyhow::Result<()> {
        Ok(())
    }

    /// Takes what is complete at the begin of `input`, and answers how many bytes that was. Writes
    /// to `output` what is to be sent.
    fn receive(&mut self, input: &[u8], output: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<usize>;
}

impl<P: Peer + ?Sized> Peer for Box<P> {
    fn begin(&mut self, output: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<()> {
        (**self).begin(output, counts)
    }

    fn after(&mut self, output: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<()> {
        (**self).after(output, counts)
    }

    fn receive(&mut self, input: &[u8], output: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<usize> {
        (**self).receive(input, output, counts)
    }
}

/// What is counted in a round.
pub(crate) struct Counts {
    /// The time that counts.
    from: Instant,
    until: Instant,
    times: Vec<u32>,
    /// All units that are complete.
    pub(crate) all: u32,
    /// Units that are under way.
    pub(crate) busy: usize,
}

impl Counts {
    fn new(warm_up: Duration, time: Duration) -> Self {
        let from = Instant::now() + warm_up;
        Self { from, until: from + time, times: Vec::with_capacity(1 << 16), all: 0, busy: 0 }
    }

    /// A unit that was begun then is complete. Whether another one may begin.
    pub(crate) fn complete(&mut self, begun: Instant) -> bool {
        let now = Instant::now();
        self.all += 1;
        if now >= self.from && now < self.until {
            self.times.push(u32::try_from((now - begun).as_nanos()).unwrap_or(u32::MAX));
        }
        self.goes_on(now)
    }

    /// Many units are complete at once; how long each took isn't asked.
    pub(crate) fn complete_many(&mut self, count: usize) {
        let now = Instant::now();
        self.all = self.all.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        if now >= self.from && now < self.until {
            self.times.extend(std::iter::repeat_n(0, count));
        }
    }

    /// Whether another unit may begin.
    pub(crate) fn goes_on(&self, now: Instant) -> bool {
        now < self.until
    }
}

/// All who play, in one thread.
pub(crate) struct Table<P> {
    poll: Poll,
    peers: Vec<(Wire, P)>,
    room: Vec<u8>,
}

impl<P: Peer> Table<P> {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { poll: Poll::new()?, peers: Vec::new(), room: vec![0; 256 * 1024] })
    }

    pub(crate) fn seat(&mut self, mut wire: Wire, peer: P) -> anyhow::Result<()> {
        let token = Token(self.peers.len());
        self.poll.registry().register(wire.stream(), token, Interest::READABLE | Interest::WRITABLE)?;
        self.peers.push((wire, peer));
        Ok(())
    }

    /// Plays until `time` has passed and nothing is under way any more; the first `begin` of those
    /// who sit here begin. Blocks. The connections stay.
    pub(crate) fn round(&mut self, begin: usize, time: Duration) -> anyhow::Result<Outcome> {
        let mut counts = Counts::new(WARM_UP, time);
        self.play(0..begin, &mut counts, |counts| counts.busy == 0 && Instant::now() >= counts.until)?;
        outcome(counts.times, time, counts.all)
    }

    /// Lets these begin, and plays until nothing is under way any more. The longest time of a unit.
    /// Blocks.
    pub(crate) fn turn(&mut self, begin: impl IntoIterator<Item = usize>) -> anyhow::Result<Duration> {
        let mut counts = Counts::new(Duration::ZERO, MAX_IDLE * 10);
        self.play(begin, &mut counts, |counts| counts.busy == 0)?;
        Ok(Duration::from_nanos(counts.times.iter().max().copied().unwrap_or(0).into()))
    }

    fn play(
        &mut self,
        begin: impl IntoIterator<Item = usize>,
        counts: &mut Counts,
        over: impl Fn(&Counts) -> bool,
    ) -> anyhow::Result<()> {
        for index in begin {
            let Some((wire, peer)) = self.peers.get_mut(index) else { continue };
            let (_, output) = wire.both();
            peer.begin(output, counts)?;
            wire.flush()?;
        }
        let mut events = Events::with_capacity(1024);
        while !over(counts) {
            self.poll.poll(&mut events, Some(MAX_IDLE))?;
            ensure!(!events.is_empty(), "no answer for {MAX_IDLE:?}, {} units under way", counts.busy);
            for event in &events {
                self.receive(event.token().0, counts)?;
            }
            let Some((wire, last)) = self.peers.last_mut() else { continue };
            last.after(wire.both().1, counts)?;
            wire.flush()?;
        }
        Ok(())
    }

    /// Takes what has come, without waiting for more. Pings are answered by it.
    pub(crate) fn receive_waiting(&mut self) -> anyhow::Result<()> {
        let mut counts = Counts::new(Duration::ZERO, Duration::ZERO);
        let mut events = Events::with_capacity(1024);
        loop {
            self.poll.poll(&mut events, Some(Duration::ZERO))?;
            if events.is_empty() {
                return Ok(());
            }
            for event in &events {
                self.receive(event.token().0, &mut counts)?;
            }
        }
    }

    fn receive(&mut self, index: usize, counts: &mut Counts) -> anyhow::Result<()> {
        let Some((wire, peer)) = self.peers.get_mut(index) else { return Ok(()) };
        wire.fill(&mut self.room).with_context(|| format!("peer {index}"))?;
        let (input, output) = wire.both();
        if !input.is_empty() {
            let taken = peer.receive(input, output, counts).with_context(|| format!("peer {index}"))?;
            wire.done(taken);
        }
        wire.flush()
    }
}
