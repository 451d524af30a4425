//! The pool of readers. A read runs on the blocking pool of the runtime, or
//! [in place](super::in_place) where it is quick. A reader that panics is replaced.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::in_place::InPlace;
use super::{Engine, EngineError, Reader, StoreError};

/// The longest btoken, in bytes, that is read in place.
pub(super) const READ_IN_PLACE_MAX: usize = 64 << 10;

pub(super) struct Readers {
    /// None once the store is closed.
    pool: Mutex<Option<Vec<Box<dyn Reader>>>>,
    free: Arc<Semaphore>,
    /// None if reads wait for a network.
    in_place: Option<InPlace>,
    damaged: AtomicU64,
}

impl Readers {
    /// # Errors
    /// The engine cannot open a reader, or the system cannot start a thread.
    pub(super) fn open<E: Engine>(engine: &E) -> Result<Self, EngineError> {
        let mut pool: Vec<Box<dyn Reader>> = Vec::new();
        for _ in 0..E::READERS {
            pool.push(Box::new(engine.reader()?));
        }
        Ok(Self {
            pool: Mutex::new(Some(pool)),
            free: Arc::new(Semaphore::new(E::READERS)),
            in_place: E::READS_FROM_MEMORY.then(InPlace::new).transpose()?,
            damaged: AtomicU64::new(0),
        })
    }

    pub(super) fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Closes all readers that are not in use; the others close when their read has ended.
    pub(super) fn close(&self) {
        self.pool.lock().take();
    }

    /// Runs `read`, which reads about `len` bytes.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        len: usize,
        read: impl FnOnce(&mut dyn Reader) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if len <= READ_IN_PLACE_MAX
            && let Some(in_place) = &self.in_place
            && let Some(_in_place) = in_place.begin_soon().await
            && let Ok(_permit) = self.free.try_acquire()
        {
            return self.read_now(read);
        }
        let free = Arc::clone(&self.free).acquire_owned();
        let permit = free.await.map_err(|_| StoreError::Closed)?;
        let readers = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || {
            let result = readers.read_now(read);
            // The caller may have gone away. The permit stays taken until the reader is back.
            drop(permit);
            result
        });
        read.await.unwrap_or(Err(StoreError::ReadAborted))
    }

    fn read_now<T>(
        &self,
        read: impl FnOnce(&mut dyn Reader) -> Result<T, EngineError>,
    ) -> Result<T, StoreError> {
        let mut reader = match self.pool.lock().as_mut() {
            None => return Err(StoreError::Closed),
            Some(pool) => pool.pop().ok_or(StoreError::ReadAborted)?,
        };
        let result = catch_unwind(AssertUnwindSafe(|| read(reader.as_mut())));
        if result.is_err() {
            // Nobody knows in which state the panic left it. Without another one it must do.
            reader = reader.reopen().unwrap_or(reader);
        }
        if let Some(pool) = self.pool.lock().as_mut() {
            pool.push(reader);
        }
        let result = result.map_err(|_| StoreError::ReadAborted)?;
        if matches!(result, Err(EngineError::Damaged(_))) {
            self.damaged.fetch_add(1, Ordering::Relaxed);
        }
        Ok(result?)
    }
}
