//! Passwords that people choose, or that open an operator's account: slow hashes, few at once,
//! never on an async thread.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use omgservers_api::{Problem, entrypoint::admin::MOST_HASHED_BYTES as LONGEST, validate::invalid};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// How many callers may wait for a hash; the next one gets a time to retry.
const MOST_WAITING: usize = 256;

/// Hashes and checks passwords with bcrypt.
#[derive(Debug)]
pub struct Passwords {
    cost: u32,
    admitted: Semaphore,
    running: Arc<Semaphore>,
    made: AtomicU64,
}

impl Passwords {
    /// `cost` is bcrypt's, 4 to 31 (each step doubles the time); at most `most_at_once` hashes are
    /// under way.
    pub fn new(cost: u32, most_at_once: usize) -> Self {
        let most_at_once = most_at_once.clamp(1, Semaphore::MAX_PERMITS / 2);
        Self {
            cost: cost.clamp(4, 31),
            admitted: Semaphore::new(most_at_once + MOST_WAITING),
            running: Arc::new(Semaphore::new(most_at_once)),
            made: AtomicU64::new(0),
        }
    }

    /// The hash to keep. Problems: `request.invalid` about a field `password` when the password has
    /// more than 71 bytes; `unavailable` when too many are waiting. A caller that has the password
    /// in another field checks its length first.
    pub async fn hash(&self, password: &str) -> Result<String, Problem> {
        if password.len() > LONGEST {
            return Err(invalid("password", &format!("must have at most {LONGEST} bytes")));
        }
        let (password, cost) = (password.to_owned(), self.cost);
        self.run(move || bcrypt::non_truncating_hash(password, cost)).await?.map_err(Problem::internal)
    }

    /// Whether `hash` is of `password`. One of more than 71 bytes never is, and takes the same
    /// time. Problems: `unavailable` when too many are waiting.
    pub async fn verify(&self, password: &str, hash: &str) -> Result<bool, Problem> {
        if password.len() > LONGEST {
            self.waste().await?;
            return Ok(false);
        }
        let (password, hash) = (password.to_owned(), hash.to_owned());
        self.run(move || bcrypt::non_truncating_verify(password, &hash)).await?.map_err(Problem::internal)
    }

    /// Takes the time of one [`verify`](Self::verify), so that the time doesn't tell an unknown
    /// user from a wrong password. Problems: `unavailable` when too many are waiting.
    pub async fn waste(&self) -> Result<(), Problem> {
        let cost = self.cost;
        let wasted = self.run(move || bcrypt::non_truncating_hash("a password like any other", cost)).await?;
        wasted.map(drop).map_err(Problem::internal)
    }

    /// How many slow hashes were made so far, each of the same cost.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    async fn run<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> Result<R, Problem> {
        let _admitted = self
            .admitted
            .try_acquire()
            .map_err(|full| Problem::unavailable(full).retry_after(std::time::Duration::from_secs(1)))?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(Problem::internal)?;
        self.made.fetch_add(1, Ordering::Relaxed);
        // The permit goes along: a caller that leaves doesn't end the hash.
        let run = spawn_blocking(move || {
            let result = work();
            drop(running);
            result
        });
        run.await.map_err(Problem::internal)
    }
}

#[cfg(test)]
mod tests {

    use omgservers_api::{Kind, problem::codes};

    use super::*;

    #[tokio::test]
    async fn only_the_password_itself_fits() {
        let passwords = Passwords::new(4, 2);
        let hash = passwords.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$2b$04$"));
        assert!(passwords.verify("correct horse", &hash).await.unwrap());
        for wrong in ["", "correct hors", "correct horse ", "Correct horse", "correct\0horse"] {
            assert!(!passwords.verify(wrong, &hash).await.unwrap(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn nothing_is_cut_off() {
        let passwords = Passwords::new(4, 2);
        let longest = format!("{}x", "ä".repeat(35));
        let hash = passwords.hash(&longest).await.unwrap();
        assert!(passwords.verify(&longest, &hash).await.unwrap());
        assert!(!passwords.verify(&format!("{longest}x"), &hash).await.unwrap());
        assert!(passwords.hash(&format!("{longest}x")).await.unwrap_err().is(codes::VALIDATION));
    }

    #[tokio::test]
    async fn a_hash_that_is_none_is_a_fault() {
        let problem = Passwords::new(4, 2).verify("it", "no hash").await.unwrap_err();
        assert_eq!(problem.kind(), Kind::Internal);
    }

    #[tokio::test]
    async fn an_unknown_user_costs_as_many_hashes_as_a_wrong_password() {
        let passwords = Passwords::new(4, 1);
        let hash = passwords.hash("it").await.unwrap();
        for (made, long) in [(2, "other".to_owned()), (3, "x".repeat(100))] {
            passwords.verify(&long, &hash).await.unwrap();
            assert_eq!(passwords.made(), made);
        }
        passwords.waste().await.unwrap();
        assert_eq!(passwords.made(), 4);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn too_many_at_once_are_refused_with_a_time_to_retry() {
        let passwords = Arc::new(Passwords::new(4, 1));
        let all: Vec<_> = (0..MOST_WAITING * 3)
            .map(|_| {
                let passwords = Arc::clone(&passwords);
                tokio::spawn(async move { passwords.waste().await })
            })
            .collect();
        let (mut done, mut refused) = (0, 0);
        for task in all {
            match task.await.unwrap() {
                Ok(()) => done += 1,
                Err(problem) => {
                    assert_eq!(problem.kind(), Kind::Unavailable);
                    assert!(problem.pause().is_some());
                    refused += 1;
                }
            }
        }
        assert!(done > MOST_WAITING && refused > 0, "{done} done, {refused} refused");
        passwords.waste().await.unwrap();
    }
}
