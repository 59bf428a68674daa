//! What becomes of a runtime when a step has ended.

use omgservers_api::{HostId, RuntimeId, details::ContainerFailure};
use omgservers_core::Ticks;

use super::{
    ops::{Done, Job},
    reconcile::Reconcile,
};
use crate::{
    host::{Attempt, Exit, HostError, ImageName, PublishedPort, Sight, Status},
    rules::{Desired, Observed},
};

impl Reconcile {
    /// Takes note of how a step ended.
    pub(super) async fn settle(&mut self, job: Job, result: Result<Done, HostError>, now: Ticks) {
        if let Err(HostError::Unreachable(_)) | Ok(Done::NotStarted(HostError::Unreachable(_))) = &result {
            self.was_silent(&job, now);
        }
        match (job, result) {
            (Job::List(host), Ok(Done::Listed(list))) => {
                if let Some(seat) = self.seats.get_mut(&host) {
                    seat.pulse.answered(now);
                    seat.listed(list);
                }
            }
            (Job::List(host), Err(error)) => {
                if let Some(seat) = self.seats.get_mut(&host) {
                    // A daemon that can't list is as good as silent; counted once per moment.
                    seat.pulse.silent(now);
                }
                tracing::debug!(%host, %error, "a Docker host can't be listed");
            }
            (Job::Pull(host, image), Ok(_)) => {
                if let Some(seat) = self.seats.get_mut(&host) {
                    seat.images.insert(image);
                }
            }
            (Job::Pull(host, image), Err(error)) => self.pull_failed(host, &image, &error, now).await,
            (Job::Start(host, attempt), Ok(Done::NotStarted(error))) => {
                self.not_started(host, attempt, error, now).await;
            }
            (Job::Start(host, attempt), Ok(Done::Started(ports))) => {
                self.started(host, attempt, ports, now).await;
            }
            (Job::Start(host, attempt), Err(error)) => self.start_unclear(host, attempt, error, now).await,
            (Job::Look(host, attempt), Ok(Done::Looked(sight))) => {
                self.looked(host, attempt, sight, now).await;
            }
            (Job::Discard(host, attempt), Ok(Done::Discarded(never_ran))) => {
                self.discarded(host, attempt, never_ran, now).await;
            }
            (Job::Remove(host, attempt), Ok(_)) => self.removed(host, attempt, now).await,
            (
                Job::Look(host, attempt) | Job::Discard(host, attempt) | Job::Remove(host, attempt),
                Err(error),
            ) => {
                tracing::warn!(runtime.id = %attempt.runtime, %error, "a container can't be seen to; trying again");
                if let Some(seat) = self.seats.get_mut(&host) {
                    seat.step_failed(attempt, now);
                }
            }
            (job, Ok(done)) => tracing::error!(?job, ?done, "a step ended as another one"),
        }
    }

    fn was_silent(&mut self, job: &Job, now: Ticks) {
        let (Job::List(host)
        | Job::Pull(host, _)
        | Job::Start(host, _)
        | Job::Look(host, _)
        | Job::Discard(host, _)
        | Job::Remove(host, _)) = job;
        if let Some(seat) = self.seats.get_mut(host) {
            seat.pulse.silent(now);
        }
    }

    async fn pull_failed(&mut self, host: HostId, image: &ImageName, error: &HostError, now: Ticks) {
        let waiting: Vec<RuntimeId> = self
            .entries
            .values()
            .filter(|it| it.reserved == Some(host) && it.row.desired() == Desired::Run)
            .filter(|it| it.row.repository == image.repository && it.row.digest == image.digest)
            .map(|it| it.row.id)
            .collect();
        for id in waiting {
            let failure = self.failure(format!("the image can't be pulled: {error}"), None);
            self.fail_attempt(id, failure, false, now).await;
        }
    }

    async fn started(&mut self, host: HostId, attempt: Attempt, ports: Vec<PublishedPort>, now: Ticks) {
        if let Some(seat) = self.seats.get_mut(&host) {
            seat.note_started(attempt, ports);
        }
        if self.wants(host, attempt) {
            self.adopt(attempt.runtime, host, attempt, now).await;
            let ran =
                self.entries.get(&attempt.runtime).is_some_and(|it| it.row.observed() == Observed::Running);
            if let (false, Some(seat)) = (ran, self.seats.get_mut(&host)) {
                // The list tells where its ports are.
                seat.list_at = now;
            }
        }
    }

    /// The container never ran: another attempt follows.
    async fn not_started(&mut self, host: HostId, attempt: Attempt, error: HostError, now: Ticks) {
        let image = self
            .entries
            .get(&attempt.runtime)
            .map(|it| ImageName { repository: it.row.repository.clone(), digest: it.row.digest.clone() });
        if let Some(seat) = self.seats.get_mut(&host) {
            if let (HostError::NoImage(_), Some(image)) = (&error, &image) {
                seat.images.remove(image);
            }
            // What may be left of the attempt is to be seen.
            seat.list_at = now;
        }
        // When it should stop meanwhile, removing is the next step anyway.
        if self.wants(host, attempt) {
            let failure = self.failure(format!("the container can't be started: {error}"), None);
            self.fail_attempt(attempt.runtime, failure, false, now).await;
        }
    }

    /// Whether the container ran isn't known. If it did, its game server may have got what another attempt's would
    /// wait for in vain: so there is none.
    async fn start_unclear(&mut self, host: HostId, attempt: Attempt, error: HostError, now: Ticks) {
        if let Some(seat) = self.seats.get_mut(&host) {
            // What is left of the attempt is to be removed.
            seat.list_at = now;
        }
        if self.wants(host, attempt) {
            let failure =
                self.failure(format!("it isn't known whether the container was started: {error}"), None);
            self.fail(attempt.runtime, failure, now).await;
        }
    }

    async fn discarded(&mut self, host: HostId, attempt: Attempt, never_ran: bool, now: Ticks) {
        if let Some(seat) = self.seats.get_mut(&host) {
            seat.step_done(attempt);
            if never_ran {
                seat.note(attempt, Status::Gone);
            } else {
                // It isn't what it was taken for.
                seat.list_at = now;
            }
        }
        if never_ran && self.wants(host, attempt) {
            self.release(attempt.runtime, now).await;
        }
    }

    async fn looked(&mut self, host: HostId, attempt: Attempt, sight: Sight, now: Ticks) {
        if let Some(seat) = self.seats.get_mut(&host) {
            seat.step_done(attempt);
            let status = match &sight {
                Sight::Created => Status::Created,
                Sight::Running => Status::Running,
                Sight::Ended(_) => Status::Ended,
                Sight::Gone => Status::Gone,
            };
            seat.note(attempt, status);
        }
        if !self.wants(host, attempt) {
            return;
        }
        let ran = self.entries.get(&attempt.runtime).map(|it| it.row.observed()) == Some(Observed::Running);
        let failure = match sight {
            Sight::Ended(exit) => self.failure(reason_of(&exit), Some(exit)),
            Sight::Gone if ran => {
                self.failure("the container is gone: somebody else removed it".into(), None)
            }
            Sight::Created if ran => self.failure("the container doesn't run any more".into(), None),
            Sight::Created | Sight::Running | Sight::Gone => return,
        };
        self.fail(attempt.runtime, failure, now).await;
    }

    async fn removed(&mut self, host: HostId, attempt: Attempt, now: Ticks) {
        if let Some(seat) = self.seats.get_mut(&host) {
            seat.step_done(attempt);
            seat.note(attempt, Status::Gone);
        }
        let stopped = self.entries.get(&attempt.runtime).is_some_and(|it| {
            it.row.desired() == Desired::Stop && it.attempt() == attempt && it.row.host_id == Some(host)
        });
        if stopped {
            self.delete(attempt.runtime, now).await;
        }
    }

    /// Whether this is the present attempt of a runtime that should run.
    fn wants(&self, host: HostId, attempt: Attempt) -> bool {
        self.entries.get(&attempt.runtime).is_some_and(|it| {
            it.attempt() == attempt && it.row.host_id == Some(host) && it.row.desired() == Desired::Run
        })
    }

    /// A failure that is seen now.
    pub(super) fn failure(&self, reason: String, exit: Option<Exit>) -> ContainerFailure {
        let code = exit.as_ref().map(|it| it.code);
        let exit = exit.unwrap_or_default();
        ContainerFailure {
            at: self.inner.clock.now(),
            // Daemons quote what they were given: no NUL may reach the database, and nothing endless.
            reason: reason.chars().filter(|it| !it.is_control()).take(1000).collect(),
            exit_code: code,
            out_of_memory: exit.out_of_memory,
            log_tail: exit.log_tail,
        }
    }
}

fn reason_of(exit: &Exit) -> String {
    if exit.out_of_memory {
        format!("out of memory: the container reached its limit and was ended with exit code {}", exit.code)
    } else {
        format!("the container came to an end with exit code {}", exit.code)
    }
}
