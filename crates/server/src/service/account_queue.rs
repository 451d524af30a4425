//! The courtesy queue: devices of one account take queue, so that clients which know no retry
//! nearly always succeed. It is no lock: who has waited long enough, or finds too many waiting,
//! goes on without a turn, and the comparison at commit decides.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use passmate_proto::AccountNumber;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a device waits for those before it.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How many wait for one account.
const WAITING_MAX: usize = 32;

/// The queues of all accounts that have one at the moment.
#[derive(Debug, Default)]
pub(super) struct AccountQueue(Arc<Queues>);

type Queues = Mutex<HashMap<AccountNumber, Queue>>;

#[derive(Debug)]
struct Queue {
    turn: Arc<Semaphore>,
    /// Who has the turn and who waits for it. A queue without any is taken away.
    present: usize,
}

/// The right to be the only device of its account. Dropping it lets the next one on.
#[derive(Debug)]
pub(super) struct Turn {
    // Before the ticket: whoever comes between the two finds the turn free.
    _permit: OwnedSemaphorePermit,
    _ticket: QueueTicket,
}

impl AccountQueue {
    /// The turn, if nobody has it.
    pub(super) fn take(&self, account: AccountNumber) -> Option<Turn> {
        let (ticket, turn) = QueueTicket::take(&self.0, account)?;
        let permit = turn.try_acquire_owned().ok()?;
        Some(Turn {
            _permit: permit,
            _ticket: ticket,
        })
    }

    /// Waits for those who came before, for 5 s at most. `None`: go on without a turn.
    pub(super) async fn wait(&self, account: AccountNumber) -> Option<Turn> {
        let (ticket, turn) = QueueTicket::take(&self.0, account)?;
        let permit = tokio::time::timeout(WAIT_MAX, turn.acquire_owned())
            .await
            .ok()?
            .ok()?;
        Some(Turn {
            _permit: permit,
            _ticket: ticket,
        })
    }
}

/// A ticket in the queue of an account.
#[derive(Debug)]
struct QueueTicket {
    queues: Arc<Queues>,
    account: AccountNumber,
}

impl QueueTicket {
    fn take(queues: &Arc<Queues>, account: AccountNumber) -> Option<(Self, Arc<Semaphore>)> {
        let mut locked = queues.lock();
        let queue = locked.entry(account).or_insert_with(|| Queue {
            turn: Arc::new(Semaphore::new(1)),
            present: 0,
        });
        // One has the turn, the others wait for it.
        if queue.present > WAITING_MAX {
            return None;
        }
        queue.present += 1;
        Some((
            Self {
                queues: Arc::clone(queues),
                account,
            },
            Arc::clone(&queue.turn),
        ))
    }
}

impl Drop for QueueTicket {
    fn drop(&mut self) {
        let mut locked = self.queues.lock();
        if let Some(queue) = locked.get_mut(&self.account) {
            queue.present = queue.present.saturating_sub(1);
            if queue.present == 0 {
                locked.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: u8) -> AccountNumber {
        AccountNumber::from_bytes([number; 8]).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_waits_for_the_one_before_it_and_no_longer_than_five_seconds() {
        let queue = AccountQueue::default();
        let first = queue.wait(account(1)).await.unwrap();
        assert!(
            queue.wait(account(2)).await.is_some(),
            "accounts do not wait for each other"
        );
        let begun = tokio::time::Instant::now();
        assert!(queue.wait(account(1)).await.is_none());
        assert_eq!(begun.elapsed(), WAIT_MAX);
        let (second, ()) = tokio::join!(queue.wait(account(1)), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(first);
        });
        assert!(second.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn thirty_two_wait_and_the_next_one_does_not() {
        let queue = AccountQueue::default();
        let first = queue.wait(account(1)).await.unwrap();
        let mut waiting: Vec<_> = (0..32).map(|_| Box::pin(queue.wait(account(1)))).collect();
        for one in &mut waiting {
            assert!(futures_poll(one.as_mut()).is_none());
        }
        let begun = tokio::time::Instant::now();
        assert!(queue.wait(account(1)).await.is_none());
        assert_eq!(begun.elapsed(), Duration::ZERO);
        drop(first);
        for one in waiting {
            drop(one.await.unwrap());
        }
        assert!(
            queue.0.lock().is_empty(),
            "a queue that nobody is in takes no memory"
        );
    }

    /// Polls once.
    fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }
}
