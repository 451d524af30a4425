//! Connections whose request has not come whole. Each costs memory and a connection. Most are those
//! of strangers, who have not shown who they are. The rules are:
//!  - at most [`unfinished_max`] of them have not finished TLS and hello, because these cost most;
//!  - when there are so many, or when all connections are in use, a newcomer is let in, and a stranger
//!    is dropped: of some that are drawn at random, the one whose client has kept the server waiting
//!    longest. So an honest client, which answers at once, gets through while strangers hold all
//!    places;
//!  - whoever makes an account is a stranger until its btoken has come, because anyone may begin;
//!  - if no stranger has kept the server waiting, a client of an account gives way, but only after a
//!    longer time;
//!  - the client sends at most [`BYTES_MAX`] before TLS is finished.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Bytes from the client during the handshake, a PROXY header included. A client hello with all
/// extensions in use takes about 2 KiB; TLS would allow 64 KiB.
const BYTES_MAX: u64 = 16 << 10;
/// A stranger is dropped early, from half of the most on, if it has kept the server waiting for so
/// long; and only then if all connections are in use.
const WAITED_LONG: Duration = Duration::from_secs(1);
/// The same for a client that has shown its auth token: it may be a slow one with a long btoken.
const WAITED_LONG_AUTHENTICATED: Duration = Duration::from_secs(10);
/// How many strangers are drawn, to drop one of them.
const DRAWN: usize = 8;

/// The most unfinished handshakes, of the most connections: a quarter, but at least 16.
pub(crate) fn unfinished_max(connections_max: usize) -> usize {
    (connections_max / 4).max(16)
}

/// All connections whose request has not come whole. Clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handshakes(Arc<Strangers>);

#[derive(Debug, Default)]
struct Lists {
    /// TLS and hello are not finished.
    unfinished: Vec<Arc<HandshakeState>>,
    /// The server has greeted them, and does not know who they are.
    greeted: Vec<Arc<HandshakeState>>,
    /// They have shown the auth token of an account.
    authenticated: Vec<Arc<HandshakeState>>,
}

#[derive(Debug, Default)]
struct Strangers {
    lists: Mutex<Lists>,
    hasher: RandomState,
    draws: AtomicU64,
}

#[derive(Debug)]
struct HandshakeState {
    begun: Instant,
    /// Its place in its list.
    index: AtomicUsize,
    /// How long the server has waited for the client so far, in microseconds.
    waited: AtomicU64,
    /// Since when it waits now, in microseconds after `begun`, plus one; 0 if it does not.
    waits_since: AtomicU64,
    bytes: AtomicU64,
    is_tls_finished: AtomicBool,
    is_whole: AtomicBool,
    is_dropped: AtomicBool,
    /// Wakes the connection when it is dropped.
    dropped: Notify,
}

impl HandshakeState {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn waited(&self) -> Duration {
        let waited = self.waited.load(Ordering::Relaxed);
        let now = match self.waits_since.load(Ordering::Relaxed) {
            0 => 0,
            since => (self.now() + 1).saturating_sub(since),
        };
        Duration::from_micros(waited.saturating_add(now))
    }

    fn wait(&self) {
        if self.waits_since.load(Ordering::Relaxed) == 0 {
            self.waits_since.store(self.now() + 1, Ordering::Relaxed);
        }
    }

    fn drop_it(&self) {
        self.is_dropped.store(true, Ordering::Release);
        self.dropped.notify_one();
    }

    fn go_on(&self) {
        let waited = self.waited().as_micros();
        self.waits_since.store(0, Ordering::Relaxed);
        let waited = u64::try_from(waited).unwrap_or(u64::MAX);
        self.waited.store(waited, Ordering::Relaxed);
    }
}

/// Whether a newcomer made another one leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    Free,
    /// An unfinished handshake was dropped for it.
    InsteadOfAnother,
}

impl Handshakes {
    /// Admits one more. Of `max` unfinished ones, one is dropped.
    pub(crate) fn begin(&self, max: usize) -> (Handshake, Entry) {
        let state = Arc::new(HandshakeState {
            begun: Instant::now(),
            index: AtomicUsize::new(0),
            waited: AtomicU64::new(0),
            waits_since: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            is_tls_finished: AtomicBool::new(false),
            is_whole: AtomicBool::new(false),
            is_dropped: AtomicBool::new(false),
            dropped: Notify::new(),
        });
        let mut lists = self.0.lists.lock();
        let unfinished = &mut lists.unfinished;
        let victim = if unfinished.len() >= max {
            self.draw(unfinished)
        } else if unfinished.len() >= max / 2 {
            let drawn = self.draw(unfinished);
            drawn.filter(|drawn| drawn.waited() >= WAITED_LONG)
        } else {
            None
        };
        if let Some(victim) = &victim {
            remove(unfinished, victim);
        }
        add(unfinished, &state);
        drop(lists);
        let entry = match victim {
            Some(victim) => {
                victim.drop_it();
                Entry::InsteadOfAnother
            }
            None => Entry::Free,
        };
        let all = self.clone();
        (Handshake { all, state }, entry)
    }

    /// Of some that are drawn at random, the one that kept the server waiting longest.
    fn draw(&self, states: &[Arc<HandshakeState>]) -> Option<Arc<HandshakeState>> {
        let len = u64::try_from(states.len()).ok().filter(|len| *len > 0)?;
        let draw = |_| {
            // A hash with a secret key: nobody outside can foresee it.
            let number = self.0.draws.fetch_add(1, Ordering::Relaxed);
            let index = usize::try_from(self.0.hasher.hash_one(number) % len).ok()?;
            states.get(index)
        };
        let drawn = (0..DRAWN).filter_map(draw);
        drawn.max_by_key(|state| state.waited()).cloned()
    }

    /// Drops a connection whose client has kept the server waiting for long, because all
    /// connections are in use: a stranger, or else a client of an account. False if there is none.
    pub(crate) fn drop_one(&self) -> bool {
        let mut lists = self.0.lists.lock();
        let drawn = [self.draw(&lists.unfinished), self.draw(&lists.greeted)];
        let drawn = drawn.into_iter().flatten();
        let slowest = drawn.max_by_key(|state| state.waited());
        let slowest = slowest.filter(|state| state.waited() >= WAITED_LONG);
        let Some(victim) = slowest.or_else(|| {
            let drawn = self.draw(&lists.authenticated);
            drawn.filter(|state| state.waited() >= WAITED_LONG_AUTHENTICATED)
        }) else {
            return false;
        };
        lists.remove(&victim);
        drop(lists);
        victim.drop_it();
        true
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        let lists = self.0.lists.lock();
        lists.unfinished.len() + lists.greeted.len() + lists.authenticated.len()
    }
}

impl Lists {
    fn remove(&mut self, state: &Arc<HandshakeState>) -> bool {
        remove(&mut self.unfinished, state)
            || remove(&mut self.greeted, state)
            || remove(&mut self.authenticated, state)
    }
}

fn add(states: &mut Vec<Arc<HandshakeState>>, state: &Arc<HandshakeState>) {
    state.index.store(states.len(), Ordering::Relaxed);
    states.push(Arc::clone(state));
}

/// Removes a state, if it is in the list.
fn remove(states: &mut Vec<Arc<HandshakeState>>, state: &Arc<HandshakeState>) -> bool {
    let index = state.index.load(Ordering::Relaxed);
    let is_there = states.get(index).is_some_and(|at| Arc::ptr_eq(at, state));
    if is_there {
        states.swap_remove(index);
        if let Some(moved) = states.get(index) {
            moved.index.store(index, Ordering::Relaxed);
        }
    }
    is_there
}

/// One of these connections. Dropping it says that the whole request has come, or that the
/// connection ends.
#[derive(Debug)]
pub(crate) struct Handshake {
    all: Handshakes,
    state: Arc<HandshakeState>,
}

impl Handshake {
    /// The stream of the connection, watched for how long its client keeps the server waiting.
    pub(crate) fn watch<S>(&self, io: S) -> Watched<S> {
        let state = Some(Arc::clone(&self.state));
        Watched { io, state }
    }

    /// Notes that TLS is finished: from then on, bytes are the protocol's.
    pub(crate) fn finish_tls(&self) {
        self.state.is_tls_finished.store(true, Ordering::Relaxed);
    }

    /// Notes that the hello has come, and the server has greeted the client.
    pub(crate) fn finish_hello(&self) {
        let mut lists = self.all.0.lists.lock();
        if remove(&mut lists.unfinished, &self.state) {
            add(&mut lists.greeted, &self.state);
        }
    }

    /// Notes that the client has shown the auth token of an account.
    pub(crate) fn finish_credentials(&self) {
        let mut lists = self.all.0.lists.lock();
        if lists.remove(&self.state) {
            add(&mut lists.authenticated, &self.state);
        }
    }

    /// Resolves when the connection must end, because a newcomer got its place.
    pub(crate) async fn dropped(&self) {
        while !self.state.is_dropped.load(Ordering::Acquire) {
            self.state.dropped.notified().await;
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.finish_tls();
        self.state.is_whole.store(true, Ordering::Relaxed);
        self.all.0.lists.lock().remove(&self.state);
    }
}

/// A stream whose client is measured until its request has come.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    io: S,
    /// None once the request has come.
    state: Option<Arc<HandshakeState>>,
}

impl<S> Watched<S> {
    pub(crate) fn get_ref(&self) -> &S {
        &self.io
    }

    /// A client that does not read keeps the server waiting too.
    fn note_write(&self, written: &Poll<io::Result<usize>>) {
        match (&self.state, written) {
            (Some(state), Poll::Pending) => state.wait(),
            (Some(state), Poll::Ready(_)) => state.go_on(),
            (None, _) => {}
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        let Some(state) = &self.state else {
            return read;
        };
        if state.is_whole.load(Ordering::Relaxed) {
            self.state = None;
            return read;
        }
        match &read {
            Poll::Pending => state.wait(),
            Poll::Ready(_) => {
                state.go_on();
                let len = (buffer.filled().len() - before) as u64;
                let bytes = state.bytes.fetch_add(len, Ordering::Relaxed) + len;
                if bytes > BYTES_MAX && !state.is_tls_finished.load(Ordering::Relaxed) {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.note_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, bytes);
        self.note_write(&written);
        written
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

    fn is_dropped(handshake: &Handshake) -> bool {
        handshake.state.is_dropped.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_unfinished_handshakes_is_bounded() {
        let all = Handshakes::default();
        let mut begun = Vec::new();
        for _ in 0..1000 {
            let (handshake, _) = all.begin(64);
            handshake.state.wait();
            begun.push(handshake);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(all.count(), 64);
        assert_eq!(begun.iter().filter(|one| !is_dropped(one)).count(), 64);
        drop(begun);
        assert_eq!(all.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn honest_handshakes_get_through_a_crowd_of_silent_ones() {
        let all = Handshakes::default();
        let mut silent = Vec::new();
        let mut lost = 0;
        for _ in 0..500 {
            let (honest, _) = all.begin(64);
            // The client needs 50 ms to answer, in which 50 others come.
            honest.state.wait();
            for _ in 0..50 {
                let (handshake, _) = all.begin(64);
                handshake.state.wait();
                silent.push(handshake);
                tokio::time::advance(Duration::from_millis(1)).await;
            }
            lost += usize::from(is_dropped(&honest));
            silent.retain(|one| !is_dropped(one));
        }
        assert!(lost < 150, "{lost} of 500");
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_of_quick_clients_is_not_dropped() {
        let all = Handshakes::default();
        let begun: Vec<_> = (0..63).map(|_| all.begin(64)).collect();
        for (handshake, _) in &begun {
            handshake.state.wait();
        }
        tokio::time::advance(WAITED_LONG / 2).await;
        begun
            .iter()
            .for_each(|(handshake, _)| handshake.state.go_on());
        tokio::time::advance(10 * WAITED_LONG).await;
        let (_last, entry) = all.begin(64);
        assert_eq!(entry, Entry::Free);
        assert!(begun.iter().all(|(handshake, _)| !is_dropped(handshake)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_slowest_stranger_makes_room_when_there_is_none() {
        let all = Handshakes::default();
        let [(silent, _), (greeted, _), (quick, _)] = [0; 3].map(|_| all.begin(64));
        greeted.finish_hello();
        assert!(!all.drop_one(), "none has kept the server waiting");
        silent.state.wait();
        tokio::time::advance(WAITED_LONG).await;
        greeted.state.wait();
        tokio::time::advance(WAITED_LONG).await;
        assert!(all.drop_one() && is_dropped(&silent) && !is_dropped(&greeted));
        assert!(all.drop_one() && is_dropped(&greeted) && !is_dropped(&quick));
        assert!(!all.drop_one());
        drop((silent, greeted));
        assert_eq!(all.count(), 1);
        // A request that has come is worked on, however long that takes.
        quick.state.wait();
        tokio::time::advance(10 * WAITED_LONG).await;
        drop(quick);
        assert!(!all.drop_one());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_of_an_account_gives_way_last() {
        let all = Handshakes::default();
        let [(known, _), (stranger, _)] = [0; 2].map(|_| all.begin(64));
        known.finish_hello();
        known.finish_credentials();
        known.state.wait();
        tokio::time::advance(WAITED_LONG_AUTHENTICATED - WAITED_LONG).await;
        stranger.state.wait();
        tokio::time::advance(WAITED_LONG).await;
        assert!(all.drop_one() && is_dropped(&stranger) && !is_dropped(&known));
        assert!(all.drop_one() && is_dropped(&known));
        assert!(!all.drop_one());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_keeps_the_server_waiting() {
        let all = Handshakes::default();
        let (handshake, _) = all.begin(1);
        let (ours, _theirs) = tokio::io::duplex(16);
        let mut watched = handshake.watch(ours);
        let write = tokio::time::timeout(WAITED_LONG, watched.write_all(&[0; 17]));
        assert!(write.await.is_err());
        assert!(handshake.state.waited() >= WAITED_LONG);
    }

    #[tokio::test(start_paused = true)]
    async fn single_bytes_do_not_hide_that_a_client_is_slow() {
        let all = Handshakes::default();
        let (slow, _) = all.begin(1);
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut watched = slow.watch(ours);
        for _ in 0..10 {
            let wait = tokio::time::timeout(Duration::from_millis(500), watched.read_u8());
            assert!(wait.await.is_err());
            theirs.write_u8(1).await.unwrap();
            watched.read_u8().await.unwrap();
        }
        assert!(slow.state.waited() >= Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_handshake_takes_at_most_sixteen_kibibytes() {
        let all = Handshakes::default();
        let (handshake, _) = all.begin(1);
        let (ours, mut theirs) = tokio::io::duplex(64 << 10);
        theirs.write_all(&[0; 40 << 10]).await.unwrap();
        let mut watched = handshake.watch(ours);
        let mut bytes = vec![0; 16 << 10];
        watched.read_exact(&mut bytes).await.unwrap();
        assert!(watched.read_u8().await.is_err());
        handshake.finish_tls();
        watched.read_u8().await.unwrap();
    }
}
