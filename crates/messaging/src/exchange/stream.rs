//! The halves of a player's exchange, for who carries them over a connection of its own: what the player says, and
//! what comes for it.

use std::time::Duration;

use omgservers_api::{ClientId, EntryId, Problem, UserId};
use tokio::time::Instant;

use super::Said;
use crate::{
    Commit, Entry, FromClient, Mailboxes, client_box::ClientBox, inbox::Beyond, problems, wakes::Wakes,
};

impl Mailboxes {
    pub(crate) fn client_speaks(
        &self,
        user: UserId,
        client: ClientId,
        outgoing: &[FromClient<'_>],
        consumed: &[EntryId],
    ) -> Result<Option<Commit>, Problem> {
        self.must_own()?;
        let said = Said::all(client, outgoing);
        let mut wakes = Wakes::new(&self.journal);
        let mut shard = self.clients.lock(client);
        let it = owned(shard.get_mut(&client), user)?;
        it.last_seen = self.clock.ticks();
        self.consume(client, &mut it.inbox.queue, consumed, &mut wakes);
        if !consumed.is_empty() {
            it.publish();
        }
        if it.inbox.closed {
            return Ok(None);
        }
        if said.is_empty() {
            return Ok(Some(Commit::none()));
        }
        self.take(client, it, said, &mut wakes).map(Some)
    }

    pub(crate) async fn client_follows(
        &self,
        user: UserId,
        client: ClientId,
        after: Option<EntryId>,
        wait: Duration,
    ) -> Result<Option<Vec<Entry>>, Problem> {
        let until = Instant::now() + wait;
        let mut called = true;
        loop {
            self.must_own()?;
            let look = {
                let mut shard = self.clients.lock(client);
                let it = owned(shard.get_mut(&client), user)?;
                if std::mem::take(&mut called) {
                    it.last_seen = self.clock.ticks();
                }
                it.inbox.look_beyond(after, &self.bounds)
            };
            match look {
                Beyond::Entries(entries) => return Ok(Some(entries)),
                Beyond::Over => return Ok(None),
                Beyond::Nothing(arrival) => {
                    if tokio::time::timeout_at(until, arrival).await.is_err() {
                        return Ok(Some(Vec::new()));
                    }
                }
            }
        }
    }
}

/// The mailbox, if it is the user's.
fn owned(it: Option<&mut ClientBox>, user: UserId) -> Result<&mut ClientBox, Problem> {
    let it = it.ok_or(problems::CLIENT_NOT_FOUND)?;
    if it.user == user { Ok(it) } else { Err(problems::FOREIGN_CLIENT.into()) }
}
