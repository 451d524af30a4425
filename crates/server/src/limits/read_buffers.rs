//! Buffers for what connections read ahead of TLS. They are used again, and there are few, so that they
//! need no lease: a connection that gets none reads as TLS asks.

use std::sync::Arc;

use parking_lot::Mutex;

/// The length of a buffer in bytes: two TLS records.
pub(crate) const READ_BUFFER_LEN: usize = 32 << 10;
/// The most buffers; together 2 MiB.
const BUFFERS_MAX: usize = 64;

/// All buffers of a server. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadBuffers(Arc<Mutex<Pool>>);

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Box<[u8]>>,
    lent: usize,
}

/// A buffer, until it is dropped.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    pub(crate) bytes: Box<[u8]>,
    home: ReadBuffers,
}

impl ReadBuffers {
    /// A buffer, unless all are lent. It may contain anything.
    pub(crate) fn take(&self) -> Option<ReadBuffer> {
        let mut pool = self.0.lock();
        if pool.lent >= BUFFERS_MAX {
            return None;
        }
        pool.lent += 1;
        let bytes = pool.idle.pop();
        drop(pool);
        Some(ReadBuffer {
            bytes: bytes.unwrap_or_else(|| vec![0; READ_BUFFER_LEN].into_boxed_slice()),
            home: self.clone(),
        })
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        let mut pool = self.home.0.lock();
        pool.lent -= 1;
        pool.idle.push(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_is_given_back_can_be_taken_again() {
        let buffers = ReadBuffers::default();
        let mut lent: Vec<_> = (0..BUFFERS_MAX).map(|_| buffers.take().unwrap()).collect();
        assert!(buffers.take().is_none(), "all are lent");
        lent.pop();
        assert_eq!(buffers.take().unwrap().bytes.len(), READ_BUFFER_LEN);
        drop(lent);
        assert_eq!(buffers.0.lock().idle.len(), BUFFERS_MAX);
    }
}
