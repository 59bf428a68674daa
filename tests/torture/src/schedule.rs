//! Which fault comes when: a pure function of the seed.

use std::{fmt, time::Duration};

use crate::rng::Rng;

/// Something that goes wrong, and how badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL of the server.
    KillServer,
    /// SIGTERM of the server: a planned restart.
    RestartServer,
    /// SIGSTOP of the server, and SIGCONT after a while.
    PauseServer(Duration),
    /// SIGKILL of PostgreSQL, which is away for a while; the embedded one is started again by the
    /// server.
    KillPostgres(Duration),
    /// A fast stop of PostgreSQL, which is away for a while.
    StopPostgres(Duration),
    /// SIGKILL of one process that serves the server: PostgreSQL ends all of them and recovers.
    KillSession,
    /// SIGSTOP of one process that serves the server, and SIGCONT after a while.
    PauseSession(Duration),
    /// All connections to PostgreSQL break.
    CutDatabase,
    /// So many statements are passed by half, and then their connection breaks.
    CutStatements(u32),
    /// All that goes to PostgreSQL takes so long, for a while.
    SlowDatabase {
        /// How long.
        delay: Duration,
        /// For how long.
        lasts: Duration,
    },
    /// So many transactions are committed without an answer: their connection breaks.
    LoseCommitAnswers(u32),
    /// So many commits are not passed on: their connection breaks.
    LoseCommits(u32),
    /// So many of a hundred requests, and of streams, are broken off by the client in their middle,
    /// for a while.
    DropRequests {
        /// Of a hundred.
        percent: u32,
        /// For how long.
        lasts: Duration,
    },
    /// A game server's container is paused, and its game server is silent, for a while.
    PauseContainer(Duration),
    /// The server's wall clock is so many seconds off from now on.
    StepClock(i32),
}

/// One round: play, then these faults one after the other, each before the last one is recovered
/// from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// How long players play before it.
    pub play: Duration,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// Where the database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// A PostgreSQL of the torture's own, behind its proxy.
    Proxied,
    /// The one that the server starts itself.
    Embedded,
}

/// The rounds of a seed. A longer schedule begins with the shorter one.
pub fn schedule(seed: u64, rounds: usize, database: Database) -> Vec<Round> {
    let mut rng = Rng::new(seed);
    (0..rounds).map(|_| round(&mut rng, database)).collect()
}

fn round(rng: &mut Rng, database: Database) -> Round {
    let play = rng.millis(500, 2000);
    let mut faults = Vec::new();
    // Trouble with the database or with connections makes a kill in its middle more interesting.
    if rng.percent(40) {
        faults.push(match database {
            Database::Proxied => trouble(rng),
            Database::Embedded => Fault::DropRequests { percent: 30, lasts: rng.millis(300, 1000) },
        });
    }
    let kind = rng.between(0, 100);
    faults.push(match (kind, database) {
        (0..30, _) => Fault::KillServer,
        (30..38, _) => Fault::RestartServer,
        (38..44, _) => Fault::PauseServer(rng.millis(200, 3000)),
        (44..56, _) => Fault::KillPostgres(rng.millis(0, 2500)),
        (56..60, Database::Proxied) => Fault::StopPostgres(rng.millis(0, 2500)),
        (60..68, _) => Fault::KillSession,
        (68..72, _) => Fault::PauseSession(rng.millis(300, 3000)),
        (72..88, Database::Proxied) => trouble(rng),
        (88..92, _) => Fault::DropRequests { percent: 50, lasts: rng.millis(500, 2000) },
        (92..95, _) => Fault::PauseContainer(rng.millis(500, 2500)),
        (95.., _) => Fault::StepClock(step(rng)),
        (_, Database::Embedded) => Fault::KillServer,
    });
    Round { play, faults }
}

fn trouble(rng: &mut Rng) -> Fault {
    let few = u32::try_from(rng.between(1, 6)).unwrap_or(1);
    match rng.between(0, 6) {
        0 => Fault::CutDatabase,
        1 => Fault::CutStatements(few),
        2 | 3 => Fault::LoseCommitAnswers(few),
        4 => Fault::LoseCommits(few),
        _ => Fault::SlowDatabase { delay: rng.millis(20, 600), lasts: rng.millis(500, 3000) },
    }
}

/// Off by up to two hours, both ways; tokens are good for a day.
fn step(rng: &mut Rng) -> i32 {
    *rng.pick(&[-7200, -3600, -61, -2, 0, 2, 61, 3600, 7200]).unwrap_or(&0)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillServer => f.write_str("server killed"),
            Self::RestartServer => f.write_str("server restarted"),
            Self::PauseServer(time) => write!(f, "server paused for {time:?}"),
            Self::KillPostgres(time) => write!(f, "PostgreSQL killed, away for {time:?}"),
            Self::StopPostgres(time) => write!(f, "PostgreSQL stopped, away for {time:?}"),
            Self::KillSession => f.write_str("session of PostgreSQL killed"),
            Self::PauseSession(time) => write!(f, "session of PostgreSQL paused for {time:?}"),
            Self::CutDatabase => f.write_str("connections to PostgreSQL cut"),
            Self::CutStatements(count) => write!(f, "{count} statements cut in their middle"),
            Self::SlowDatabase { delay, lasts } => write!(f, "PostgreSQL slower by {delay:?} for {lasts:?}"),
            Self::LoseCommitAnswers(count) => write!(f, "{count} answers to commits lost"),
            Self::LoseCommits(count) => write!(f, "{count} commits lost"),
            Self::DropRequests { percent, lasts } => {
                write!(f, "{percent} % of requests dropped for {lasts:?}")
            }
            Self::PauseContainer(time) => write!(f, "container paused for {time:?}"),
            Self::StepClock(seconds) => write!(f, "clock off by {seconds} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_schedule_and_a_longer_one_begins_with_it() {
        for database in [Database::Proxied, Database::Embedded] {
            let long = schedule(7, 60, database);
            assert_eq!(schedule(7, 60, database), long);
            assert_eq!(schedule(7, 20, database), long[..20]);
            assert_ne!(schedule(8, 60, database), long);
        }
    }

    #[test]
    fn a_few_seeds_have_every_kind_of_fault() {
        let names = |database| {
            let all = (0..8).flat_map(|seed| schedule(seed, 50, database)).flat_map(|it| it.faults);
            all.map(|it| std::mem::discriminant(&it)).collect::<std::collections::HashSet<_>>()
        };
        assert_eq!(names(Database::Proxied).len(), 15);
        // Nothing stands between the server and its own database, and nobody else may stop it.
        assert_eq!(names(Database::Embedded).len(), 9);
    }
}
