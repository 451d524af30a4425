//! Bounded collectors for bytes that arrive in pieces. They allocate for bytes that have arrived,
//! not for bytes that were only announced.

use alloc::vec::Vec;

use zeroize::Zeroize;

/// The least growth of a body's buffer, in bytes.
const GROWTH_MIN: usize = 64 * 1024;

/// Takes up to `len` bytes from the front of `input`.
fn split_front<'a>(input: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (front, rest) = input.split_at(len.min(input.len()));
    *input = rest;
    front
}

/// Collects exactly `N` bytes. Wiped when dropped, because some of them are secret.
pub(crate) struct Fixed<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Fixed<N> {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes that have arrived.
    pub(crate) fn so_far(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// Takes the missing bytes from the front of `input`. Returns all `N` bytes once they have
    /// arrived.
    pub(crate) fn take(&mut self, input: &mut &[u8]) -> Option<[u8; N]> {
        let free = self.bytes.get_mut(self.len..)?;
        let front = split_front(input, free.len());
        for (place, byte) in free.iter_mut().zip(front) {
            *place = *byte;
        }
        self.len += front.len();
        (self.len == N).then_some(self.bytes)
    }
}

impl<const N: usize> Drop for Fixed<N> {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// Collects a body whose length was announced and checked against a limit.
pub(crate) struct Body {
    announced: usize,
    bytes: Vec<u8>,
}

impl Body {
    /// A collector that has not allocated anything.
    pub(crate) const fn new(announced: usize) -> Self {
        Self {
            announced,
            bytes: Vec::new(),
        }
    }

    /// The buffer's capacity after taking `input_len` more bytes. A buffer that grows doubles at
    /// least, grows by at least 64 KiB, and never exceeds the announced length.
    pub(crate) fn capacity_after(&self, input_len: usize) -> usize {
        let needed = self
            .bytes
            .len()
            .saturating_add(input_len)
            .min(self.announced);
        let have = self.bytes.capacity();
        if needed <= have {
            return have;
        }
        needed
            .max(have.saturating_mul(2))
            .max(GROWTH_MIN)
            .min(self.announced)
    }

    /// Takes the missing bytes from the front of `input`. Returns the body once it is complete.
    pub(crate) fn take(&mut self, input: &mut &[u8]) -> Option<Vec<u8>> {
        let missing = self.announced - self.bytes.len();
        let front = split_front(input, missing);
        let capacity = self.capacity_after(front.len());
        self.bytes.reserve_exact(capacity - self.bytes.len());
        self.bytes.extend_from_slice(front);
        (self.bytes.len() == self.announced).then(|| core::mem::take(&mut self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_fixed_collector_takes_n_bytes_from_any_pieces() {
        let mut fixed = Fixed::<4>::new();
        let mut input: &[u8] = &[1];
        assert_eq!(fixed.take(&mut input), None);
        assert_eq!(fixed.so_far(), [1]);
        let mut input: &[u8] = &[2, 3, 4, 5];
        assert_eq!(fixed.take(&mut input), Some([1, 2, 3, 4]));
        assert_eq!(input, [5]);
    }

    #[test]
    fn a_body_never_allocates_more_than_announced() {
        let mut body = Body::new(200_000);
        assert_eq!(body.bytes.capacity(), 0);
        let piece = vec![7; 1000];
        let mut came = 0;
        loop {
            let predicted = body.capacity_after(piece.len());
            let whole = body.take(&mut piece.as_slice());
            came += 1000;
            if let Some(whole) = whole {
                assert_eq!((whole.len(), whole.capacity()), (200_000, 200_000));
                break;
            }
            assert_eq!(body.bytes.capacity(), predicted);
            assert!(body.bytes.capacity() <= GROWTH_MIN.max(2 * came).min(200_000));
        }
        assert_eq!(came, 200_000);
    }

    #[test]
    fn an_empty_body_is_complete_at_once() {
        assert_eq!(Body::new(0).take(&mut &b"x"[..]), Some(vec![]));
    }
}
