//! The queue of an account: its devices take turns, so that a client that never retries nearly
//! always succeeds. The queue is not a lock. A device that has waited too long, or finds too many
//! others waiting, goes on without a turn, and the comparison at commit decides.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use passmate_proto::AccountNumber;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a device waits for its turn.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// The most devices that wait for one account.
const WAITING_MAX: usize = 32;

/// The queues of all accounts. An account without devices has none.
#[derive(Debug, Default)]
pub(super) struct AccountQueue(Arc<Queues>);

type Queues = Mutex<HashMap<AccountNumber, Queue>>;

#[derive(Debug)]
struct Queue {
    turn: Arc<Semaphore>,
    /// Devices that have the turn or wait for it. A queue without any is removed.
    present: usize,
}

/// The right to be the only active device of its account. Dropping it gives the next device its
/// turn.
#[derive(Debug)]
pub(super) struct Turn {
    // Dropped before the ticket, so that a device which comes between the two finds the turn free.
    _permit: OwnedSemaphorePermit,
    _ticket: QueueTicket,
}

impl AccountQueue {
    /// The turn, if no device has it.
    pub(super) fn take(&self, account: AccountNumber) -> Option<Turn> {
        let (ticket, turn) = QueueTicket::take(&self.0, account)?;
        let permit = turn.try_acquire_owned().ok()?;
        Some(Turn {
            _permit: permit,
            _ticket: ticket,
        })
    }

    /// Waits for the turn, for 5 s at most. `None`: go on without it.
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
        // One device has the turn, the others wait for it.
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
    async fn a_device_waits_for_its_turn_for_five_seconds() {
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
    async fn at_most_thirty_two_devices_wait() {
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
        assert!(queue.0.lock().is_empty(), "an empty queue takes no memory");
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
