//! Group commit for single rows: items that arrive while a batch is under way make the next batch.

use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

use metrics::{Gauge, Histogram, describe_gauge, describe_histogram, gauge, histogram};
use omgservers_api::{Kind, Problem};
use tokio::sync::{mpsc, oneshot};

type Work<T, R> =
    Arc<dyn Fn(Vec<T>) -> Pin<Box<dyn Future<Output = Result<Vec<R>, Problem>> + Send>> + Send + Sync>;
type BatchItem<T, R> = (T, Waiter<R>);

/// The sender of an item, which waits for its result.
struct Waiter<R> {
    answer: oneshot::Sender<Result<R, Problem>>,
    since: Instant,
}

/// Collects items and passes them to one function in batches. Cheap to clone.
pub struct Batcher<T, R> {
    queue: mpsc::Sender<BatchItem<T, R>>,
}

impl<T, R> Clone for Batcher<T, R> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<T: Send + 'static, R: Send + 'static> Batcher<T, R> {
    /// Calls `work` with 1 to `most` items in the order of their arrival; it returns one result for
    /// each. Its task runs on the current runtime and ends with the last clone of the batcher.
    /// `name` labels the metrics.
    pub fn new<F, Fut>(name: &'static str, most: usize, work: F) -> Self
    where
        F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<R>, Problem>> + Send + 'static,
    {
        // `submit` waits while the queue is full, so the senders' own requests are the bound.
        let (queue, receiver) = mpsc::channel(most.max(1));
        let work: Work<T, R> = Arc::new(move |items| Box::pin(work(items)));
        tokio::spawn(serve(receiver, most.max(1), work, Meters::new(name)));
        Self { queue }
    }

    /// Waits until the batch with `item` is done and returns the item's result. An item of a
    /// cancelled call may still be written. Problems: those of `work`; unavailable when the
    /// writer has ended.
    pub async fn submit(&self, item: T) -> Result<R, Problem> {
        let (answer, answered) = oneshot::channel();
        self.queue
            .send((item, Waiter { answer, since: Instant::now() }))
            .await
            .map_err(|_closed| Problem::unavailable("the batch writer ended"))?;
        answered.await.map_err(Problem::unavailable)?
    }
}

async fn serve<T: Send, R: Send>(
    mut queue: mpsc::Receiver<BatchItem<T, R>>,
    most: usize,
    work: Work<T, R>,
    meters: Meters,
) {
    let mut batch = Vec::with_capacity(most);
    while queue.recv_many(&mut batch, most).await > 0 {
        let (items, waiters): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        let (begun, oldest) = (Instant::now(), waiters.first().map(|it| it.since));
        meters.begins(items.len(), queue.len());
        match work(items).await {
            Ok(results) => {
                // A waiter without a result is dropped, and its `submit` fails.
                for (waiter, result) in waiters.into_iter().zip(results) {
                    let _gone = waiter.answer.send(Ok(result));
                }
            }
            Err(problem) => {
                let problem = Arc::new(problem);
                for waiter in waiters {
                    let _gone = waiter.answer.send(Err(again(&problem)));
                }
            }
        }
        meters.ended(begun, oldest);
    }
}

/// The metrics of a batcher.
struct Meters {
    rows: Histogram,
    seconds: Histogram,
    waited: Histogram,
    queue: Gauge,
}

impl Meters {
    fn new(name: &'static str) -> Self {
        describe_histogram!("omgservers_batch_rows", "Items of one batch, by batcher.");
        describe_histogram!(
            "omgservers_batch_seconds",
            "How long the work on one batch took, its commit included."
        );
        describe_histogram!(
            "omgservers_batch_wait_seconds",
            "How long the oldest item of a batch was on its way."
        );
        describe_gauge!(
            "omgservers_batch_queued_items",
            "Items that waited for the next batch when one began."
        );
        Self {
            rows: histogram!("omgservers_batch_rows", "batch" => name),
            seconds: histogram!("omgservers_batch_seconds", "batch" => name),
            waited: histogram!("omgservers_batch_wait_seconds", "batch" => name),
            queue: gauge!("omgservers_batch_queued_items", "batch" => name),
        }
    }

    fn begins(&self, items: usize, left: usize) {
        let number = |it: usize| f64::from(u32::try_from(it).unwrap_or(u32::MAX));
        self.rows.record(number(items));
        self.queue.set(number(left));
    }

    fn ended(&self, begun: Instant, oldest: Option<Instant>) {
        self.seconds.record(begun.elapsed());
        if let Some(oldest) = oldest {
            self.waited.record(oldest.elapsed());
        }
    }
}

/// Copies a problem for one of its waiters.
fn again(problem: &Arc<Problem>) -> Problem {
    let cause = Arc::clone(problem);
    if problem.kind() == Kind::Unavailable { Problem::unavailable(cause) } else { Problem::internal(cause) }
}
