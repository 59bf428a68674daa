//! What a player of a day does: drawn beforehand.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rand_distr::Exp1;

/// The mean pause before a message, seconds.
const THINKS: f64 = 1.0;
/// The mean number of messages.
const TALKS: f64 = 8.0;
/// The most messages.
const MOST_TALKS: usize = 100;
/// The part of the players who go away from the keyboard once, and for how long: least and most,
/// seconds.
const IDLES: f64 = 0.2;
const IDLE: (f64, f64) = (5.0, 15.0);
/// The part of the players who ask for a match, where there is one to ask for.
const PLAYS: f64 = 0.2;
/// The part of the players who say goodbye; the others vanish.
const LEAVES: f64 = 0.8;

/// A player's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlayerLife {
    /// The pauses before each message.
    pub(crate) pauses: Vec<Duration>,
    /// Whether it asks for a match when it has talked.
    pub(crate) plays: bool,
    /// Whether it says goodbye.
    pub(crate) leaves: bool,
}

impl PlayerLife {
    /// The life of the player of this number. The same arguments give the same life.
    pub(crate) fn draw(seed: u64, number: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number));
        let mut pauses = Vec::new();
        // One more with the same chance each time: their number is geometric.
        while pauses.len() < MOST_TALKS && rng.random_bool(1.0 - 1.0 / (TALKS + 1.0)) {
            let pause: f64 = rng.sample(Exp1);
            pauses.push(Duration::from_secs_f64(pause * THINKS));
        }
        if rng.random_bool(IDLES) && !pauses.is_empty() {
            let at = rng.random_range(0..pauses.len());
            let idle = Duration::from_secs_f64(rng.random_range(IDLE.0..IDLE.1));
            if let Some(pause) = pauses.get_mut(at) {
                *pause += idle;
            }
        }
        Self { pauses, plays: rng.random_bool(PLAYS), leaves: rng.random_bool(LEAVES) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::number::{count, float};

    proptest! {
        #[test]
        fn a_life_is_bounded_and_drawn_from_its_seed(seed: u64, number: u64) {
            let life = PlayerLife::draw(seed, number);
            prop_assert_eq!(&life, &PlayerLife::draw(seed, number));
            prop_assert!(life.pauses.len() <= MOST_TALKS);
            prop_assert!(life.pauses.iter().all(|it| *it < Duration::from_secs(90)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn many_lives_are_spread_as_they_should_be(seed: u64) {
            let lives: Vec<PlayerLife> = (0..3_000).map(|it| PlayerLife::draw(seed, it)).collect();
            let all = float(count(lives.len()));
            let part = |wanted: &dyn Fn(&PlayerLife) -> bool| float(count(lives.iter().filter(|it| wanted(it)).count())) / all;
            prop_assert!((part(&|it| it.plays) - PLAYS).abs() < 0.04);
            prop_assert!((part(&|it| it.leaves) - LEAVES).abs() < 0.04);
            let talks = float(count(lives.iter().map(|it| it.pauses.len()).sum())) / all;
            prop_assert!((talks - TALKS).abs() < 1.0, "{} messages each", talks);
        }
    }
}
