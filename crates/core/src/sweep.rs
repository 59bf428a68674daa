//! Deleting what belonged to something that is gone.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    hash::Hash,
};

use omgservers_api::Problem;

/// Whether something exists, as far as its owner can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existence {
    /// It exists.
    Yes,
    /// It is gone for good.
    No,
    /// Its owner can't tell at the moment. Nothing may be deleted or stopped for this.
    Unknown,
}

/// What an owner answers about several keys. A key that it doesn't mention is
/// [`Existence::Unknown`].
pub type Existences<K> = BTreeMap<K, Existence>;

/// Turns a complete list of the keys that exist into an answer about all of `asked`.
pub fn existences<K: Copy + Ord + Hash>(asked: &[K], existing: &HashSet<K>) -> Existences<K> {
    let answer = |key: &K| if existing.contains(key) { Existence::Yes } else { Existence::No };
    asked.iter().map(|key| (*key, answer(key))).collect()
}

/// The same for keys of one database of several: all are unknown when it doesn't answer.
pub fn existences_or_unknown<K: Copy + Ord + Hash>(
    asked: &[K],
    existing: Result<HashSet<K>, Problem>,
) -> Existences<K> {
    match existing {
        Ok(existing) => existences(asked, &existing),
        Err(problem) => {
            tracing::warn!(
                ?problem,
                keys = asked.len(),
                "a database doesn't tell what exists; nothing is deleted for it"
            );
            asked.iter().map(|key| (*key, Existence::Unknown)).collect()
        }
    }
}

/// The keys that certainly exist.
pub fn existing<K: Copy + Ord>(existences: &Existences<K>) -> BTreeSet<K> {
    existences.iter().filter(|it| *it.1 == Existence::Yes).map(|it| *it.0).collect()
}

/// Deletes what belongs to keys that are gone, a page of keys at a time.
///
/// `page` returns the keys that follow one, in their order, and an empty page at the end. `exist`
/// tells which of them exist. `delete` deletes what belongs to the keys that are [`Existence::No`],
/// never none, and returns how much that was. Returns the sum.
///
/// A delete that fails doesn't stop the others; its problem is returned at the end. A page or an
/// answer that fails ends the sweep.
pub async fn sweep<K, P, E, D>(
    mut page: impl FnMut(Option<K>) -> P,
    mut exist: impl FnMut(Vec<K>) -> E,
    mut delete: impl FnMut(Vec<K>) -> D,
) -> Result<usize, Problem>
where
    K: Copy,
    P: Future<Output = Result<Vec<K>, Problem>>,
    E: Future<Output = Result<Existences<K>, Problem>>,
    D: Future<Output = Result<usize, Problem>>,
{
    let mut counts = SweepCounts::default();
    let mut after = None;
    loop {
        let keys = page(after).await?;
        let Some(last) = keys.last() else { return counts.finish() };
        after = Some(*last);
        let gone = gone(exist(keys).await?);
        if !gone.is_empty() {
            counts.add(delete(gone).await);
        }
    }
}

/// Does the same as [`sweep`] with a call of `delete` for each key that is gone: for keys that own
/// much. A key that fails doesn't stop the others.
pub async fn sweep_each<K, P, E, D>(
    mut page: impl FnMut(Option<K>) -> P,
    mut exist: impl FnMut(Vec<K>) -> E,
    mut delete: impl FnMut(K) -> D,
) -> Result<usize, Problem>
where
    K: Copy,
    P: Future<Output = Result<Vec<K>, Problem>>,
    E: Future<Output = Result<Existences<K>, Problem>>,
    D: Future<Output = Result<usize, Problem>>,
{
    let mut counts = SweepCounts::default();
    let mut after = None;
    loop {
        let keys = page(after).await?;
        let Some(last) = keys.last() else { return counts.finish() };
        after = Some(*last);
        for key in gone(exist(keys).await?) {
            counts.add(delete(key).await);
        }
    }
}

fn gone<K>(existences: Existences<K>) -> Vec<K> {
    existences.into_iter().filter(|(_, it)| *it == Existence::No).map(|(key, _)| key).collect()
}

/// What a sweep has deleted, and the first problem.
#[derive(Default)]
struct SweepCounts {
    deleted: usize,
    failed: Option<Problem>,
}

impl SweepCounts {
    fn add(&mut self, result: Result<usize, Problem>) {
        match result {
            Ok(count) => self.deleted = self.deleted.saturating_add(count),
            Err(problem) => {
                self.failed.get_or_insert(problem);
            }
        }
    }

    fn finish(self) -> Result<usize, Problem> {
        self.failed.map_or(Ok(self.deleted), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    /// Keys in pages of three; even ones exist, of those below ten nothing is known.
    async fn page(keys: &BTreeSet<u32>, after: Option<u32>) -> Result<Vec<u32>, Problem> {
        Ok(keys.iter().copied().filter(|key| after.is_none_or(|after| *key > after)).take(3).collect())
    }

    async fn exist(keys: Vec<u32>) -> Result<Existences<u32>, Problem> {
        let even: HashSet<u32> = keys.iter().copied().filter(|key| key % 2 == 0).collect();
        let mut answer = existences(&keys, &even);
        answer.retain(|key, _| *key != 1);
        answer
            .extend(keys.iter().filter(|key| **key < 10 && **key > 1).map(|key| (*key, Existence::Unknown)));
        Ok(answer)
    }

    #[tokio::test]
    async fn only_what_is_certainly_gone_is_deleted() {
        let (keys, mut deleted) = ((1..=20).collect(), Vec::new());
        let delete = |gone: Vec<u32>| {
            deleted.extend(&gone);
            ready(Ok(gone.len()))
        };
        let count = sweep(|after| page(&keys, after), exist, delete).await.unwrap();
        assert_eq!((count, deleted), (5, vec![11, 13, 15, 17, 19]));
    }

    #[tokio::test]
    async fn a_key_that_fails_does_not_stop_the_others_and_is_reported() {
        let (keys, mut deleted) = ((10..=20).collect(), Vec::new());
        let delete = |key: u32| {
            if key == 13 {
                return ready(Err(Problem::unavailable("no database")));
            }
            deleted.push(key);
            ready(Ok(1))
        };
        let failed = sweep_each(|after| page(&keys, after), exist, delete).await;
        assert!(failed.is_err());
        assert_eq!(deleted, [11, 15, 17, 19]);
    }

    #[tokio::test]
    async fn a_page_that_fails_does_not_stop_those_after_it() {
        let (keys, mut pages) = ((10..=20).collect(), 0);
        let delete = |gone: Vec<u32>| {
            pages += 1;
            ready(if pages == 1 { Err(Problem::unavailable("no database")) } else { Ok(gone.len()) })
        };
        assert!(sweep(|after| page(&keys, after), exist, delete).await.is_err());
        assert_eq!(pages, 4);
    }
}
