//! Takes more from the socket at once than TLS asks for: rustls reads 4 KiB at a time, which is four
//! system calls for each record of a long btoken.
//!
//! A connection has a buffer only while it uploads one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::limits::read_buffers::ReadBuffer;

/// A stream that can read ahead.
#[derive(Debug)]
pub(super) struct ReadAhead<S> {
    io: S,
    ahead: Option<Ahead>,
}

#[derive(Debug)]
struct Ahead {
    buffer: ReadBuffer,
    /// What has come and was not read yet: from here to there.
    unread: (usize, usize),
    is_ending: bool,
}

impl<S> ReadAhead<S> {
    pub(super) const fn new(io: S) -> Self {
        Self { io, ahead: None }
    }

    pub(super) const fn has_begun(&self) -> bool {
        self.ahead.is_some()
    }

    /// Reads ahead from now on, into this buffer.
    pub(super) fn begin(&mut self, buffer: ReadBuffer) {
        if self.ahead.is_none() {
            self.ahead = Some(Ahead {
                buffer,
                unread: (0, 0),
                is_ending: false,
            });
        }
    }

    /// Gives the buffer back when everything in it was read.
    pub(super) fn end(&mut self) {
        match &mut self.ahead {
            Some(ahead) if ahead.unread.0 < ahead.unread.1 => ahead.is_ending = true,
            _ => self.ahead = None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        wanted: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { io, ahead } = &mut *self;
        let Some(Ahead {
            buffer,
            unread: (from, to),
            is_ending,
        }) = ahead
        else {
            return Pin::new(io).poll_read(context, wanted);
        };
        if from == to {
            let mut space = ReadBuf::new(&mut buffer.bytes);
            ready!(Pin::new(io).poll_read(context, &mut space))?;
            (*from, *to) = (0, space.filled().len());
        }
        let came = buffer.bytes.get(*from..*to).unwrap_or_default();
        let taken = came.len().min(wanted.remaining());
        wanted.put_slice(came.get(..taken).unwrap_or_default());
        *from += taken;
        if *is_ending && from == to {
            *ahead = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::limits::read_buffers::ReadBuffers;

    #[tokio::test]
    async fn bytes_keep_their_order_while_reading_ahead_begins_and_ends() {
        let (mut far, near) = tokio::io::duplex(1 << 20);
        let sent: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        far.write_all(&sent).await.unwrap();
        drop(far);
        let mut near = ReadAhead::new(near);
        let buffers = ReadBuffers::default();
        let (mut came, mut turn) = (Vec::new(), 0);
        loop {
            match turn % 7 {
                2 => near.begin(buffers.take().unwrap()),
                5 => near.end(),
                _ => {}
            }
            turn += 1;
            let mut piece = [0; 4096];
            let len = near.read(&mut piece[..1000 + turn % 3000]).await.unwrap();
            if len == 0 {
                break;
            }
            came.extend_from_slice(&piece[..len]);
        }
        assert_eq!(came, sent);
    }

    #[tokio::test]
    async fn the_buffer_is_given_back_when_it_was_read() {
        let (mut far, near) = tokio::io::duplex(64);
        far.write_all(b"twelve bytes").await.unwrap();
        let mut near = ReadAhead::new(near);
        near.begin(ReadBuffers::default().take().unwrap());
        let mut piece = [0; 6];
        near.read_exact(&mut piece).await.unwrap();
        near.end();
        assert!(near.has_begun(), "six bytes are left");
        near.read_exact(&mut piece).await.unwrap();
        assert!(!near.has_begun());
    }
}
