//! Which host takes a runtime, and which runtime comes first. Pure.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use omgservers_api::{HostId, RuntimeId, RuntimeQualifier};

/// Which host takes the next runtime, of those that have the capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The fullest: whole hosts stay free.
    #[default]
    Pack,
    /// The emptiest.
    Spread,
}

/// What a runtime needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Need {
    /// CPU, 100 = one core.
    pub cpu: u32,
    /// Memory, MiB.
    pub memory: u32,
}

/// A host as the scheduler sees it. CPU: 100 = one core; memory: MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Which host.
    pub host: HostId,
    /// Whether it takes new containers: it answers, and the operator lets it.
    pub open: bool,
    /// All of its CPU.
    pub cpu: u32,
    /// All of its memory.
    pub memory: u32,
    /// The most containers.
    pub max_containers: u32,
    /// CPU that is reserved.
    pub used_cpu: u64,
    /// Memory that is reserved.
    pub used_memory: u64,
    /// Containers that it has.
    pub containers: u32,
}

impl Capacity {
    /// Whether `need` fits; a host can be filled exactly.
    pub fn fits(&self, need: Need) -> bool {
        self.open
            && self.containers < self.max_containers
            && self.used_cpu.saturating_add(need.cpu.into()) <= self.cpu.into()
            && self.used_memory.saturating_add(need.memory.into()) <= self.memory.into()
    }

    /// Reserves `need`.
    pub fn reserve(&mut self, need: Need) {
        self.used_cpu = self.used_cpu.saturating_add(need.cpu.into());
        self.used_memory = self.used_memory.saturating_add(need.memory.into());
        self.containers = self.containers.saturating_add(1);
    }

    /// How full it would be with `need`: the scarcer of CPU and memory, in thousandths.
    fn fullness(&self, need: Need) -> u64 {
        let of = |used: u64, more: u32, all: u32| {
            used.saturating_add(more.into()).saturating_mul(1000).checked_div(all.into()).unwrap_or(u64::MAX)
        };
        of(self.used_cpu, need.cpu, self.cpu).max(of(self.used_memory, need.memory, self.memory))
    }
}

/// Chooses the host for `need`, if one has the capacity.
pub fn choose_host(capacities: &[Capacity], need: Need, strategy: Strategy) -> Option<HostId> {
    let fitting = capacities.iter().filter(|it| it.fits(need));
    let chosen = match strategy {
        Strategy::Pack => fitting.min_by_key(|it| (Reverse(it.fullness(need)), it.host)),
        Strategy::Spread => fitting.min_by_key(|it| (it.fullness(need), it.host)),
    };
    chosen.map(|it| it.host)
}

/// The sort key of a runtime that waits, smallest first: matches, because players wait for their
/// start, before lobbies; then the older.
pub fn turn(
    qualifier: RuntimeQualifier,
    created: DateTime<Utc>,
    id: RuntimeId,
) -> (bool, DateTime<Utc>, RuntimeId) {
    (qualifier == RuntimeQualifier::Lobby, created, id)
}

/// How many starts a host does at once. Starting is CPU-bound: more adds only latency.
pub fn starts_at_once(cpu: u32) -> usize {
    usize::try_from(cpu.div_ceil(100).max(1).saturating_mul(2)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use omgservers_api::ids::Id as _;
    use proptest::prelude::*;

    use super::{Strategy, *};

    fn capacity(id: i64, cpu: u32, memory: u32, max_containers: u32) -> Capacity {
        let host = HostId::from_i64(id).unwrap();
        Capacity { host, open: true, cpu, memory, max_containers, used_cpu: 0, used_memory: 0, containers: 0 }
    }

    fn fill(capacities: &mut [Capacity], need: Need, strategy: Strategy) -> Vec<i64> {
        std::iter::from_fn(|| {
            let host = choose_host(capacities, need, strategy)?;
            capacities.iter_mut().find(|it| it.host == host)?.reserve(need);
            Some(host.get())
        })
        .collect()
    }

    #[test]
    fn eight_cores_are_filled_exactly_and_no_more() {
        let mut capacities = [capacity(1, 800, 8192, 1000)];
        assert_eq!(fill(&mut capacities, Need { cpu: 100, memory: 512 }, Strategy::Pack).len(), 8);
        assert_eq!((capacities[0].used_cpu, capacities[0].used_memory), (800, 4096));
    }

    #[test]
    fn packing_fills_one_host_first_and_spreading_takes_turns() {
        let need = Need { cpu: 100, memory: 1 };
        let capacities = [capacity(1, 200, 1000, 10), capacity(2, 200, 1000, 10)];
        assert_eq!(fill(&mut capacities.clone(), need, Strategy::Pack), [1, 1, 2, 2]);
        assert_eq!(fill(&mut capacities.clone(), need, Strategy::Spread), [1, 2, 1, 2]);
    }

    #[test]
    fn containers_are_counted_too() {
        let mut capacities = [capacity(1, 800, 8192, 3)];
        assert_eq!(fill(&mut capacities, Need { cpu: 1, memory: 1 }, Strategy::Spread).len(), 3);
    }

    #[test]
    fn matches_come_before_lobbies_and_the_older_before_the_younger() {
        let id = |it| RuntimeId::from_i64(it).unwrap();
        let at = |it| DateTime::UNIX_EPOCH + chrono::Duration::seconds(it);
        let mut queue = [
            turn(RuntimeQualifier::Lobby, at(1), id(1)),
            turn(RuntimeQualifier::Match, at(9), id(2)),
            turn(RuntimeQualifier::Match, at(5), id(3)),
        ];
        queue.sort();
        assert_eq!(queue.map(|it| it.2.get()), [3, 2, 1]);
    }

    #[test]
    fn a_part_of_a_core_counts_as_one() {
        assert_eq!([0, 50, 100, 200, 250].map(starts_at_once), [2, 2, 2, 4, 6]);
    }

    prop_compose! {
        fn any_capacity()(id in 1i64..50, open in any::<bool>(), cpu in 0u32..2000, memory in 0u32..20_000,
                      max in 0u32..20, used_cpu in 0u64..2500, used_memory in 0u64..25_000, containers in 0u32..25) -> Capacity {
            Capacity { open, used_cpu, used_memory, containers, ..capacity(id, cpu, memory, max) }
        }
    }

    proptest! {
        #[test]
        fn a_chosen_host_has_room_and_without_a_choice_none_has(
            capacities in proptest::collection::vec(any_capacity(), 0..8), cpu in 0u32..2000, memory in 0u32..20_000, pack in any::<bool>(),
        ) {
            let need = Need { cpu, memory };
            match choose_host(&capacities, need, if pack { Strategy::Pack } else { Strategy::Spread }) {
                Some(host) => {
                    // Ids may repeat here: one of that id must fit.
                    prop_assert!(capacities.iter().any(|it| it.host == host && it.fits(need)));
                }
                None => prop_assert!(!capacities.iter().any(|it| it.fits(need))),
            }
        }

        #[test]
        fn no_sequence_of_placements_overfills_a_host(
            needs in proptest::collection::vec((1u32..400, 1u32..4000), 0..60), pack in any::<bool>(),
        ) {
            let mut capacities = [capacity(1, 800, 8000, 12), capacity(2, 400, 16_000, 7), capacity(3, 1600, 2000, 30)];
            for (cpu, memory) in needs {
                let need = Need { cpu, memory };
                let strategy = if pack { Strategy::Pack } else { Strategy::Spread };
                if let Some(host) = choose_host(&capacities, need, strategy) {
                    capacities.iter_mut().find(|it| it.host == host).unwrap().reserve(need);
                }
                for host in &capacities {
                    prop_assert!(host.used_cpu <= host.cpu.into() && host.used_memory <= host.memory.into());
                    prop_assert!(host.containers <= host.max_containers);
                }
            }
        }

        #[test]
        fn closed_hosts_get_nothing(capacities in proptest::collection::vec(any_capacity(), 0..8)) {
            let closed: Vec<Capacity> = capacities.into_iter().map(|it| Capacity { open: false, ..it }).collect();
            prop_assert_eq!(choose_host(&closed, Need::default(), Strategy::Spread), None);
        }
    }
}
