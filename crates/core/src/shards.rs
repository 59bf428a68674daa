//! Which database a slot is in.

use std::{collections::BTreeMap, fmt, sync::Arc};

use omgservers_api::{
    Slot,
    ids::{Id, SLOTS},
};

use crate::Db;

/// One of the databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(u16);

/// The databases of a cluster, by slot. Cheap to clone. One server has one database, and finds it
/// without a look-up.
#[derive(Clone)]
pub struct Shards {
    first: Db,
    several: Option<Arc<Several>>,
}

struct Several {
    dbs: Vec<Db>,
    /// The number of the database, by the number of the slot.
    of: Vec<u16>,
}

impl Several {
    fn shard(&self, slot: Slot) -> u16 {
        self.of.get(usize::from(slot.number())).copied().unwrap_or_default()
    }
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").field("count", &self.all().count()).finish_non_exhaustive()
    }
}

impl From<Db> for Shards {
    fn from(db: Db) -> Self {
        Self::single(db)
    }
}

impl Shards {
    /// One database with all slots.
    pub fn single(db: Db) -> Self {
        Self { first: db, several: None }
    }

    /// Several databases: `first` is number 0, the others follow. `of` tells the number of the
    /// database that a slot is in; a number without a database stands for the first.
    pub fn several(first: Db, others: Vec<Db>, of: impl Fn(Slot) -> usize) -> Self {
        let dbs: Vec<Db> = std::iter::once(first.clone()).chain(others).collect();
        let known = |it: usize| u16::try_from(it).ok().filter(|it| usize::from(*it) < dbs.len());
        let of = (0..SLOTS).filter_map(Slot::new).map(|slot| known(of(slot)).unwrap_or_default()).collect();
        Self { first, several: Some(Arc::new(Several { dbs, of })) }
    }

    /// The database that a slot is in.
    pub fn of(&self, slot: Slot) -> &Db {
        match &self.several {
            None => &self.first,
            Some(several) => several.dbs.get(usize::from(several.shard(slot))).unwrap_or(&self.first),
        }
    }

    /// The database that the row of an id is in.
    pub fn of_id(&self, id: impl Id) -> &Db {
        self.of(id.slot())
    }

    /// Every database.
    pub fn all(&self) -> impl Iterator<Item = (ShardId, &Db)> {
        let dbs = match &self.several {
            None => std::slice::from_ref(&self.first),
            Some(several) => several.dbs.as_slice(),
        };
        (0..).map(ShardId).zip(dbs)
    }

    /// The ids of each database, in the order of `ids`. Databases without one are left out.
    pub fn group<I: Id>(&self, ids: &[I]) -> Vec<(ShardId, &Db, Vec<I>)> {
        let Some(several) = &self.several else {
            return if ids.is_empty() { Vec::new() } else { vec![(ShardId(0), &self.first, ids.to_vec())] };
        };
        let mut groups: BTreeMap<ShardId, (&Db, Vec<I>)> = BTreeMap::new();
        for id in ids {
            let shard = ShardId(several.shard(id.slot()));
            groups.entry(shard).or_insert_with(|| (self.of_id(*id), Vec::new())).1.push(*id);
        }
        groups.into_iter().map(|(shard, (db, ids))| (shard, db, ids)).collect()
    }
}
