//! Which slots this process owns, and the check that it still does.
//!
//! Owned data lives in the memory of one process. A process takes its slots at an epoch that grows with each
//! take; a transaction that writes owned tables reads the epoch `for share`, so a process that lost its slots
//! can't write, and stays silent.

use std::{collections::HashMap, sync::Arc};

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use omgservers_api::{Code, Kind, Problem, Slot};
use tokio_util::sync::CancellationToken;

use crate::{Conn, Db, schema::slot};

/// Another process took the slots.
pub const NOT_OWNER: Code =
    Code::new("core.not_owner", "WRONG_SHARD", Kind::Gone, "another server owns this part of the data now");

/// The slots of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ownership {
    epochs: Arc<HashMap<i16, i64>>,
    lost: CancellationToken,
}

impl Ownership {
    /// Takes all slots of the database for `node`: who had them before can't write them any more.
    pub async fn take(db: &Db, node: &str) -> Result<Self, Problem> {
        let taken: Vec<(i16, i64)> = db
            .write(async |conn| {
                Ok(diesel::update(slot::table)
                    .set((slot::node.eq(node), slot::epoch.eq(slot::epoch + 1)))
                    .returning((slot::number, slot::epoch))
                    .load(conn)
                    .await?)
            })
            .await?;
        Ok(Self { epochs: Arc::new(taken.into_iter().collect()), lost: CancellationToken::new() })
    }

    /// Ends when another process has taken slots of this one. The server must stop then.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// The epoch of each of `slots`, sorted by slot, without repeats: what a fence must find.
    pub fn expected(&self, slots: impl IntoIterator<Item = Slot>) -> Result<Vec<(i16, i64)>, Problem> {
        let mut numbers: Vec<i16> =
            slots.into_iter().map(|it| i16::try_from(it.number()).unwrap_or(i16::MAX)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
            .into_iter()
            .map(|it| self.epochs.get(&it).map(|epoch| (it, *epoch)).ok_or_else(|| NOT_OWNER.into()))
            .collect()
    }

    /// Compares what a fence read with what it must find; from the first difference on the process is silent.
    pub fn compare(&self, expected: &[(i16, i64)], mut found: Vec<(i16, i64)>) -> Result<(), Problem> {
        found.sort_unstable();
        if found == expected {
            return Ok(());
        }
        self.lost.cancel();
        Err(NOT_OWNER.into())
    }

    /// The fence: locks the rows of `slots` against a take-over until the transaction ends.
    pub(crate) async fn check(&self, conn: &mut Conn, slots: &[Slot]) -> Result<(), Problem> {
        let expected = self.expected(slots.iter().copied())?;
        let numbers: Vec<i16> = expected.iter().map(|it| it.0).collect();
        let found: Vec<(i16, i64)> = slot::table
            .filter(slot::number.eq_any(numbers))
            .select((slot::number, slot::epoch))
            .for_share()
            .load(conn)
            .await?;
        self.compare(&expected, found)
    }
}
