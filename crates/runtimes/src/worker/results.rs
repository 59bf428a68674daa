//! What becomes of a runtime when an operation on its host has ended.

use omgservers_api::{HostId, RuntimeId, details::ContainerFailure};
use omgservers_core::Ticks;

use super::{host_tasks::HostOpResult, reconcile::Reconcile};
use crate::{
    host::{Attempt, ContainerStatus, Exit, HostError, ImageName, Inspection, PublishedPort, StartError},
    rules::{Desired, Observed},
};

impl Reconcile {
    /// Records how an operation ended.
    pub(super) async fn record_result(&mut self, host: HostId, result: HostOpResult, now: Ticks) {
        if result.is_unreachable()
            && let Some(view) = self.views.get_mut(&host)
        {
            view.pulse.silent(now);
        }
        match result {
            HostOpResult::List(Ok(list)) => {
                if let Some(view) = self.views.get_mut(&host) {
                    view.pulse.answered(now);
                    view.listed(list);
                }
            }
            HostOpResult::List(Err(error)) => {
                if let Some(view) = self.views.get_mut(&host) {
                    // A daemon that can't list is as good as silent; counted once per moment.
                    view.pulse.silent(now);
                }
                tracing::debug!(%host, %error, "a Docker host can't be listed");
            }
            HostOpResult::Pull(image, Ok(())) => {
                if let Some(view) = self.views.get_mut(&host) {
                    view.images.insert(image);
                }
            }
            HostOpResult::Pull(image, Err(error)) => self.pull_failed(host, &image, &error, now).await,
            HostOpResult::Start(attempt, Ok(ports)) => self.started(host, attempt, ports, now).await,
            HostOpResult::Start(attempt, Err(StartError { error, may_have_run: false })) => {
                self.not_started(host, attempt, error, now).await;
            }
            HostOpResult::Start(attempt, Err(StartError { error, may_have_run: true })) => {
                self.start_unclear(host, attempt, error, now).await;
            }
            HostOpResult::Inspect(attempt, Ok(inspection)) => {
                self.inspected(host, attempt, inspection, now).await;
            }
            HostOpResult::RemoveUnstarted(attempt, Ok(never_ran)) => {
                self.removed_unstarted(host, attempt, never_ran, now).await;
            }
            HostOpResult::Remove(attempt, Ok(())) => self.removed(host, attempt, now).await,
            HostOpResult::Inspect(attempt, Err(error))
            | HostOpResult::RemoveUnstarted(attempt, Err(error))
            | HostOpResult::Remove(attempt, Err(error)) => {
                tracing::warn!(runtime.id = %attempt.runtime, %error, "an operation with a container failed; it is retried");
                if let Some(view) = self.views.get_mut(&host) {
                    view.step_failed(attempt, now);
                }
            }
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
        if let Some(view) = self.views.get_mut(&host) {
            view.note_started(attempt, ports);
        }
        if self.wants(host, attempt) {
            self.adopt(attempt.runtime, host, attempt, now).await;
            let ran =
                self.entries.get(&attempt.runtime).is_some_and(|it| it.row.observed() == Observed::Running);
            if let (false, Some(view)) = (ran, self.views.get_mut(&host)) {
                // The list tells where its ports are.
                view.list_at = now;
            }
        }
    }

    /// The container never ran: another attempt follows.
    async fn not_started(&mut self, host: HostId, attempt: Attempt, error: HostError, now: Ticks) {
        let image = self
            .entries
            .get(&attempt.runtime)
            .map(|it| ImageName { repository: it.row.repository.clone(), digest: it.row.digest.clone() });
        if let Some(view) = self.views.get_mut(&host) {
            if let (HostError::NoImage(_), Some(image)) = (&error, &image) {
                view.images.remove(image);
            }
            // What may be left of the attempt is to be seen.
            view.list_at = now;
        }
        // When it should stop meanwhile, removing is the next step anyway.
        if self.wants(host, attempt) {
            let failure = self.failure(format!("the container can't be started: {error}"), None);
            self.fail_attempt(attempt.runtime, failure, false, now).await;
        }
    }

    /// Whether the container ran isn't known. If it did, it may have consumed INIT_RUNTIME, which a
    /// second container would never receive. So no attempt follows.
    async fn start_unclear(&mut self, host: HostId, attempt: Attempt, error: HostError, now: Ticks) {
        if let Some(view) = self.views.get_mut(&host) {
            // What is left of the attempt is to be removed.
            view.list_at = now;
        }
        if self.wants(host, attempt) {
            let failure =
                self.failure(format!("it isn't known whether the container was started: {error}"), None);
            self.fail(attempt.runtime, failure, now).await;
        }
    }

    async fn removed_unstarted(&mut self, host: HostId, attempt: Attempt, never_ran: bool, now: Ticks) {
        if let Some(view) = self.views.get_mut(&host) {
            view.step_done(attempt);
            if never_ran {
                view.note(attempt, ContainerStatus::Gone);
            } else {
                // It isn't what it was taken for.
                view.list_at = now;
            }
        }
        if never_ran && self.wants(host, attempt) {
            self.release(attempt.runtime, now).await;
        }
    }

    async fn inspected(&mut self, host: HostId, attempt: Attempt, inspection: Inspection, now: Ticks) {
        let Inspection { status, exit } = inspection;
        if let Some(view) = self.views.get_mut(&host) {
            view.step_done(attempt);
            view.note(attempt, status);
        }
        if !self.wants(host, attempt) {
            return;
        }
        let ran = self.entries.get(&attempt.runtime).map(|it| it.row.observed()) == Some(Observed::Running);
        let failure = match status {
            ContainerStatus::Ended => self.failure(reason_of(&exit), Some(exit)),
            ContainerStatus::Gone if ran => {
                self.failure("the container is gone: somebody else removed it".into(), None)
            }
            ContainerStatus::Created if ran => {
                self.failure("the container doesn't run any more".into(), None)
            }
            ContainerStatus::Created | ContainerStatus::Running | ContainerStatus::Gone => return,
        };
        self.fail(attempt.runtime, failure, now).await;
    }

    async fn removed(&mut self, host: HostId, attempt: Attempt, now: Ticks) {
        if let Some(view) = self.views.get_mut(&host) {
            view.step_done(attempt);
            view.note(attempt, ContainerStatus::Gone);
        }
        let stopped = self.entries.get(&attempt.runtime).is_some_and(|entry| {
            let stops = entry.row.desired() == Desired::Stop;
            stops && entry.attempt() == attempt && entry.row.host_id == Some(host)
        });
        if stopped {
            self.delete(attempt.runtime, now).await;
        }
    }

    /// Whether this is the present attempt of a runtime that should run.
    fn wants(&self, host: HostId, attempt: Attempt) -> bool {
        self.entries.get(&attempt.runtime).is_some_and(|entry| {
            let runs = entry.row.desired() == Desired::Run;
            runs && entry.attempt() == attempt && entry.row.host_id == Some(host)
        })
    }

    /// A failure that is seen now.
    pub(super) fn failure(&self, reason: String, exit: Option<Exit>) -> ContainerFailure {
        let code = exit.as_ref().map(|it| it.code);
        let exit = exit.unwrap_or_default();
        ContainerFailure {
            at: self.shared.clock.now(),
            // Daemons quote what they were given: no NUL may reach the database, and nothing
            // endless.
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
