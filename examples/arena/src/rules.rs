//! The rules of a duel: a pure function of what both fencers chose.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The last field of the strip; the first one is 0.
pub const LAST_FIELD: u8 = 8;
/// How far a lunge reaches, fields.
pub const REACH: u8 = 2;
/// Touches that win.
pub const TOUCHES: u8 = 2;
/// After so many rounds the duel ends at any score.
pub const MOST_ROUNDS: u32 = 40;

/// Where red and blue stand at first, and after each touch.
const STARTS: [u8; 2] = [2, 6];

/// A fencer's choice for a round. Who chooses nothing stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Move {
    /// One field towards the other.
    Advance,
    /// One field away.
    Retreat,
    /// A touch, if the other is within [`REACH`] and doesn't parry.
    Lunge,
    /// A touch for the one who parries, if the other lunges within [`REACH`].
    Parry,
}

/// The left or the right end of the strip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// From field 0.
    Red,
    /// From the last field.
    Blue,
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fencer {
    /// The field, 0 to [`LAST_FIELD`].
    pub at: u8,
    /// Touches so far.
    pub touches: u8,
}

/// How a duel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// One has more touches.
    Won(Side),
    /// Nobody has.
    Drawn,
}

/// Why a move isn't allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Illegal {
    /// The other stands on the next field.
    Blocked,
    /// The strip ends here.
    EndOfStrip,
}

/// A duel between two rounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bout {
    round: u32,
    red: Fencer,
    blue: Fencer,
}

impl Side {
    /// The opponent's side.
    pub const fn other(self) -> Self {
        match self {
            Self::Red => Self::Blue,
            Self::Blue => Self::Red,
        }
    }
}

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocked => "the other stands in the way",
            Self::EndOfStrip => "the strip ends here",
        })
    }
}

impl Default for Bout {
    fn default() -> Self {
        let [red, blue] = STARTS.map(|at| Fencer { at, touches: 0 });
        Self { round: 1, red, blue }
    }
}

impl Bout {
    /// The round that is to be played, from 1.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// Who stands on a side.
    pub fn fencer(&self, side: Side) -> Fencer {
        match side {
            Side::Red => self.red,
            Side::Blue => self.blue,
        }
    }

    /// Fields between the two, from 1.
    pub fn distance(&self) -> u8 {
        self.blue.at.saturating_sub(self.red.at)
    }

    /// Whether a side may choose this now.
    pub fn check(&self, side: Side, choice: Move) -> Result<(), Illegal> {
        let end = match side {
            Side::Red => 0,
            Side::Blue => LAST_FIELD,
        };
        match choice {
            Move::Advance if self.distance() <= 1 => Err(Illegal::Blocked),
            Move::Retreat if self.fencer(side).at == end => Err(Illegal::EndOfStrip),
            _ => Ok(()),
        }
    }

    /// Plays the round and answers who made a touch. What isn't allowed counts as standing still,
    /// and after the end nothing happens.
    pub fn play(&mut self, red: Option<Move>, blue: Option<Move>) -> Option<Side> {
        if self.outcome().is_some() {
            return None;
        }
        self.round = self.round.saturating_add(1);
        let red = red.filter(|it| self.check(Side::Red, *it).is_ok());
        let blue = blue.filter(|it| self.check(Side::Blue, *it).is_ok());
        self.walk(red, blue);
        let reaches = |it: Option<Move>| it == Some(Move::Lunge) && self.distance() <= REACH;
        let touch = match (reaches(red), reaches(blue)) {
            (false, false) => return None,
            // Both at once: nobody counts, and they begin anew.
            (true, true) => None,
            (true, false) => Some(if blue == Some(Move::Parry) { Side::Blue } else { Side::Red }),
            (false, true) => Some(if red == Some(Move::Parry) { Side::Red } else { Side::Blue }),
        };
        match touch {
            Some(Side::Red) => self.red.touches = self.red.touches.saturating_add(1),
            Some(Side::Blue) => self.blue.touches = self.blue.touches.saturating_add(1),
            None => {}
        }
        [self.red.at, self.blue.at] = STARTS;
        touch
    }

    /// Both walk at the same time; when they would meet, neither does.
    fn walk(&mut self, red: Option<Move>, blue: Option<Move>) {
        let red = match red {
            Some(Move::Advance) => self.red.at.saturating_add(1),
            Some(Move::Retreat) => self.red.at.saturating_sub(1),
            _ => self.red.at,
        };
        let blue = match blue {
            Some(Move::Advance) => self.blue.at.saturating_sub(1),
            Some(Move::Retreat) => self.blue.at.saturating_add(1),
            _ => self.blue.at,
        };
        if red < blue {
            (self.red.at, self.blue.at) = (red, blue);
        }
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<Outcome> {
        let (red, blue) = (self.red.touches, self.blue.touches);
        if red.max(blue) < TOUCHES && self.round <= MOST_ROUNDS {
            return None;
        }
        Some(match red.cmp(&blue) {
            std::cmp::Ordering::Greater => Outcome::Won(Side::Red),
            std::cmp::Ordering::Less => Outcome::Won(Side::Blue),
            std::cmp::Ordering::Equal => Outcome::Drawn,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::{option, prelude::*, sample::select};

    use super::{Move::*, *};

    /// Plays rounds from the start and answers who made the last touch.
    fn after(rounds: &[(Move, Move)]) -> (Bout, Option<Side>) {
        let mut bout = Bout::default();
        let last = rounds.iter().map(|(red, blue)| bout.play(Some(*red), Some(*blue))).last().flatten();
        (bout, last)
    }

    #[test]
    fn a_lunge_reaches_two_fields() {
        assert_eq!(after(&[(Lunge, Retreat)]).1, None);
        assert_eq!(after(&[(Advance, Advance), (Lunge, Advance)]).1, Some(Side::Red));
        assert_eq!(
            after(&[(Advance, Advance), (Lunge, Retreat)]).1,
            None,
            "who retreats in time is out of reach"
        );
    }

    #[test]
    fn who_parries_a_lunge_makes_the_touch() {
        assert_eq!(after(&[(Advance, Advance), (Lunge, Parry)]).1, Some(Side::Blue));
        assert_eq!(after(&[(Advance, Advance), (Parry, Parry)]).1, None);
        assert_eq!(after(&[(Lunge, Parry)]).1, None, "it was too far away");
    }

    #[test]
    fn after_a_touch_they_begin_where_they_began_and_a_double_touch_counts_for_nobody() {
        let (bout, touch) = after(&[(Advance, Advance), (Lunge, Lunge)]);
        assert_eq!((touch, bout.distance(), bout.fencer(Side::Red).touches), (None, 4, 0));
        let (bout, _) = after(&[(Advance, Advance), (Lunge, Advance)]);
        assert_eq!((bout.distance(), bout.fencer(Side::Red).touches), (4, 1));
    }

    #[test]
    fn two_touches_win_and_then_nothing_happens_any_more() {
        let touch = [(Advance, Advance), (Lunge, Advance)];
        let (mut bout, _) = after(&[touch, touch].concat());
        assert_eq!(bout.outcome(), Some(Outcome::Won(Side::Red)));
        let before = bout.clone();
        assert_eq!(bout.play(Some(Advance), Some(Lunge)), None);
        assert_eq!(bout, before);
    }

    #[test]
    fn who_would_meet_stays_and_who_is_blocked_may_not_advance() {
        let (bout, _) = after(&[(Advance, Advance), (Advance, Advance)]);
        assert_eq!(bout.distance(), 2, "both wanted the field between them");
        let (bout, _) = after(&[(Advance, Advance), (Advance, Parry)]);
        assert_eq!(bout.check(Side::Red, Advance), Err(Illegal::Blocked));
        let (bout, _) = after(&[(Retreat, Retreat), (Retreat, Retreat)]);
        for side in [Side::Red, Side::Blue] {
            assert_eq!(bout.check(side, Retreat), Err(Illegal::EndOfStrip));
            assert_eq!(bout.check(side, Advance), Ok(()));
        }
    }

    fn choices() -> impl Strategy<Value = Vec<(Option<Move>, Option<Move>)>> {
        let choice = || option::of(select(&[Advance, Retreat, Lunge, Parry][..]));
        prop::collection::vec((choice(), choice()), 0..120)
    }

    fn mirrored(side: Option<Side>) -> Option<Side> {
        side.map(Side::other)
    }

    proptest! {
        #[test]
        fn whatever_they_choose_it_stays_a_duel_and_ends(choices in choices()) {
            let mut bout = Bout::default();
            for (red, blue) in choices {
                let before = bout.clone();
                let touch = bout.play(red, blue);
                let (left, right) = (bout.fencer(Side::Red), bout.fencer(Side::Blue));
                prop_assert!(left.at < right.at && right.at <= LAST_FIELD);
                let sum = |it: &Bout| it.fencer(Side::Red).touches + it.fencer(Side::Blue).touches;
                prop_assert_eq!(sum(&bout), sum(&before) + u8::from(touch.is_some()));
                prop_assert!(left.touches.max(right.touches) <= TOUCHES);
                prop_assert!(bout.round() <= MOST_ROUNDS + 1);
                prop_assert!(before.outcome().is_none() || before == bout);
            }
            while bout.outcome().is_none() {
                bout.play(None, None);
            }
        }

        #[test]
        fn no_side_is_better_than_the_other(choices in choices()) {
            let (mut bout, mut mirror) = (Bout::default(), Bout::default());
            for (red, blue) in choices {
                prop_assert_eq!(bout.play(red, blue), mirrored(mirror.play(blue, red)));
                for side in [Side::Red, Side::Blue] {
                    let (here, there) = (bout.fencer(side), mirror.fencer(side.other()));
                    prop_assert_eq!((here.at, here.touches), (LAST_FIELD - there.at, there.touches));
                }
            }
        }

        #[test]
        fn what_is_not_allowed_is_standing_still(choices in choices()) {
            let (mut bout, mut polite) = (Bout::default(), Bout::default());
            for (red, blue) in choices {
                let red_allowed = red.filter(|it| polite.check(Side::Red, *it).is_ok());
                let blue_allowed = blue.filter(|it| polite.check(Side::Blue, *it).is_ok());
                prop_assert_eq!(bout.play(red, blue), polite.play(red_allowed, blue_allowed));
                prop_assert_eq!(&bout, &polite);
            }
        }
    }
}
