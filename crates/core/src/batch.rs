//! Group commit for single rows: what arrives while a batch is under way makes the next batch.

use std::{future::Future, pin::Pin, sync::Arc};

use omgservers_api::{Kind, Problem, problem};
use tokio::sync::{mpsc, oneshot};

type Work<T, R> =
    Arc<dyn Fn(Vec<T>) -> Pin<Box<dyn Future<Output = Result<Vec<R>, Problem>> + Send>> + Send + Sync>;
type Item<T, R> = (T, oneshot::Sender<Result<R, Problem>>);

/// Collects items and gives them to one function in batches. Cheap to clone.
pub struct Batcher<T, R> {
    queue: mpsc::Sender<Item<T, R>>,
}

impl<T, R> Clone for Batcher<T, R> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<T: Send + 'static, R: Send + 'static> Batcher<T, R> {
    /// `work` gets 1 to `most` items in the order of their arrival and answers one result for each. Its task
    /// runs on the current runtime and ends with the last clone of the batcher.
    pub fn new<F, Fut>(most: usize, work: F) -> Self
    where
        F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<R>, Problem>> + Send + 'static,
    {
        // Full means that `submit` waits: the sender's own request is the bound.
        let (queue, receiver) = mpsc::channel(most.max(1));
        let work: Work<T, R> = Arc::new(move |items| Box::pin(work(items)));
        tokio::spawn(serve(receiver, most.max(1), work));
        Self { queue }
    }

    /// Waits until the batch with `item` is done.
    pub async fn submit(&self, item: T) -> Result<R, Problem> {
        let (answer, answered) = oneshot::channel();
        self.queue
            .send((item, answer))
            .await
            .map_err(|_closed| Problem::unavailable("the batch writer ended"))?;
        answered.await.map_err(Problem::unavailable)?
    }
}

async fn serve<T: Send, R: Send>(mut queue: mpsc::Receiver<Item<T, R>>, most: usize, work: Work<T, R>) {
    let mut batch = Vec::with_capacity(most);
    while queue.recv_many(&mut batch, most).await > 0 {
        let (items, answers): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        match work(items).await {
            Ok(results) => {
                // An answer without a result is dropped, which its waiter takes for a failure.
                for (answer, result) in answers.into_iter().zip(results) {
                    let _gone = answer.send(Ok(result));
                }
            }
            Err(problem) => {
                let problem = Arc::new(problem);
                for answer in answers {
                    let _gone = answer.send(Err(again(&problem)));
                }
            }
        }
    }
}

/// The same problem for each waiter.
fn again(problem: &Arc<Problem>) -> Problem {
    let code = if problem.kind() == Kind::Unavailable { problem::UNAVAILABLE } else { problem::INTERNAL };
    Problem::from(code).because(Arc::clone(problem))
}
