//! Pumps one protocol machine over one stream. The pump knows no policy. Its rules are:
//!  - a `close_notify` confirms that the change is durable: one function sends it, and it requires
//!    the proof of the store;
//!  - every other end is a plain FIN, without a further byte and without a deliberate reset;
//!  - in both cases the pump reads for a moment what the client still sends, because closing a
//!    socket with unread bytes would reset it, and could destroy the last answer;
//!  - the memory and the turn that others wait for are given back before that moment begins; the
//!    permit of the source is held until the socket is closed;
//!  - a client that has not finished TLS gets no such moment: only what has come is read;
//!  - a connection costs at most one line in the log, whatever its client does.

mod read_ahead;

use std::io::{self, IoSlice};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use passmate_proto::{
    Ending, Input, Layout, Output, Request, ServerConfig as MachineConfig, ServerMachine,
    ServerPhase,
};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::config::Limits;
use crate::ended::Ended;
use crate::limits::handshakes::Handshake;
use crate::limits::rate::SourcePermit;
use crate::limits::read_buffers::READ_BUFFER_LEN;
use crate::observe::access_log::AccessLog;
use crate::service::{Fetched, Refusal, Upload, Visitor};
use crate::state::ListenerSettings;
use crate::store::Committed;
use read_ahead::ReadAhead;

/// After the end, the pump reads at most this many bytes from the client, for at most this long.
const DRAIN_LEN_MAX: usize = 64 << 10;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(1);
/// How long a confirmation may take when the session has timed out: the client should learn of a
/// change that was committed in time.
const CONFIRM_TIME_MAX: Duration = Duration::from_secs(5);
/// How much TLS encrypts before it writes: a btoken of 64 KiB and its length as one write.
const ENCRYPTED_LEN_MAX: usize = 72 << 10;

/// A client of which nothing is known yet. Boxed where it is passed on, because a future keeps space
/// for its arguments to its end.
pub(crate) struct Stranger<'a> {
    pub(crate) visitor: Visitor<'a>,
    pub(crate) handshake: Handshake,
    pub(crate) access_log: AccessLog,
}

/// Serves one connection to its end.
///
/// `stop` cuts clients that have not begun an exchange, and lets the others finish.
pub(crate) async fn serve<S>(
    mut io: S,
    layout: Layout,
    settings: &ListenerSettings,
    stranger: Box<Stranger<'_>>,
    stop: &CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // Boxed, so that the task of a client that is only closing is small again.
    let (permit, drain_time) = Box::pin(converse(&mut io, layout, settings, stranger, stop)).await;
    close(&mut io, drain_time).await;
    // The source may open another connection when this one is closed, not before.
    drop(io);
    drop(permit);
}

/// Runs TLS and the exchange, and notes how they ended. Sends a `close_notify` or nothing. Returns
/// how long the connection may take to close.
async fn converse<S>(
    io: &mut S,
    layout: Layout,
    settings: &ListenerSettings,
    stranger: Box<Stranger<'_>>,
    stop: &CancellationToken,
) -> (SourcePermit, Duration)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Stranger {
        visitor,
        handshake,
        mut access_log,
    } = *stranger;
    let limits = &settings.limits;
    let begun = Instant::now();
    let hello_until = begun + limits.handshake_timeout;
    let session_until = begun + limits.session_timeout;

    // Boxed, so that ten thousand established connections do not carry the state of a handshake.
    let handshake_until = hello_until.min(session_until);
    let shaken = Box::pin(shake_hands(io, settings, handshake_until, &handshake, stop)).await;
    let mut tls = match shaken {
        Ok(tls) => tls,
        Err(ended) => {
            access_log.end(ended);
            return (visitor.into_permit(), Duration::ZERO);
        }
    };
    access_log.is_tls = true;
    handshake.finish_tls();

    let machine = ServerMachine::new(MachineConfig {
        layout,
        banner: Arc::clone(&settings.banner),
        btoken_len_max: limits.btoken_len_max_of(None, 0),
    });
    let mut exchange = Exchange {
        tls: &mut *tls,
        machine,
        visitor,
        limits,
        stop,
        handshake: Some(handshake),
        hello_until,
        grace_until: None,
        is_at_end: false,
        fetched: None,
        refusal: None,
        access_log: &mut access_log,
    };
    let outcome = timeout_at(session_until, exchange.run()).await;
    // Give back the memory and the turn, which others may be waiting for.
    let Exchange {
        visitor, fetched, ..
    } = exchange;
    drop(fetched);
    let mut permit = visitor.into_permit();
    let is_suspect = matches!(
        outcome,
        // Whoever speaks another protocol here is trying something.
        Ok(Err(Cut::Ended(Ended::WrongHello)))
        // Whoever holds memory and stalls again and again keeps others out.
        | Ok(Err(Cut::Refused(Refusal::TooSlow)))
    );
    if is_suspect {
        permit.note_refusal(&limits.source, Instant::now().into_std());
    }
    for event in permit.take_events() {
        access_log.note_limit(event);
    }
    match outcome {
        Ok(Ok(proof)) => {
            let until =
                (Instant::now() + limits.idle_timeout).min(session_until + CONFIRM_TIME_MAX);
            let is_heard = confirm(&mut tls, proof, until).await;
            access_log.end(if is_heard {
                Ended::Confirmed
            } else {
                Ended::CommittedUnheard
            });
        }
        Ok(Err(Cut::Refused(refusal))) => {
            if let Some(error) = refusal.error() {
                access_log.note_error(error);
            }
            access_log.end(refusal.ended());
        }
        Ok(Err(Cut::Ended(ended))) => access_log.end(ended),
        Err(_) => access_log.end(Ended::SessionTimeout),
    }
    (permit, DRAIN_TIME_MAX)
}

async fn shake_hands<S>(
    io: S,
    settings: &ListenerSettings,
    until: Instant,
    handshake: &Handshake,
    stop: &CancellationToken,
) -> Result<Box<TlsStream<ReadAhead<S>>>, Ended>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let accept = TlsAcceptor::from(Arc::clone(&settings.certificate.tls)).accept_with(
        ReadAhead::new(io),
        |tls| {
            tls.set_buffer_limit(Some(ENCRYPTED_LEN_MAX));
        },
    );
    let accepted = tokio::select! {
        accepted = timeout_at(until, accept) => accepted,
        () = handshake.dropped() => return Err(Ended::HandshakeDropped),
        () = stop.cancelled() => return Err(Ended::Stopping),
    };
    match accepted {
        // Boxed, because a future holds what it moves in more than one place.
        Ok(Ok(tls)) => Ok(Box::new(tls)),
        // Port scanners, health checks, clients that do not trust this server: none is an error.
        Ok(Err(error)) => {
            tracing::debug!(%error, "no TLS");
            Err(Ended::NoTls)
        }
        Err(_) => Err(Ended::HandshakeTimeout),
    }
}

/// Ends the TLS stream cleanly, which tells the client that its change is durable.
///
/// This is the only place that sends a `close_notify`, and the proof permits it.
async fn confirm<S>(tls: &mut TlsStream<S>, _proof: Committed, until: Instant) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    matches!(timeout_at(until, tls.shutdown()).await, Ok(Ok(())))
}

/// Closes the server's direction below TLS, and reads for a moment what the client still sends.
/// Without any time it reads what has come already.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(io: &mut S, time: Duration) {
    let drain = async {
        // An error here and below means that the client is gone, which this waits for.
        if io.shutdown().await.is_err() {
            return;
        }
        let mut unread = vec![0; 4096];
        let mut left = DRAIN_LEN_MAX;
        while left > 0 {
            match io.read(&mut unread).await {
                Ok(0) | Err(_) => return,
                Ok(len) => left = left.saturating_sub(len),
            }
        }
    };
    let _ = timeout(time, drain).await;
}

/// The output of a future that has one already.
async fn if_ready<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

/// Resolves when the token is cancelled; never without a token.
async fn cancelled(token: Option<&CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
    }
}

/// Resolves when the client must give way to a newcomer; never once its request has come.
async fn dropped(handshake: Option<&Handshake>) {
    match handshake {
        Some(handshake) => handshake.dropped().await,
        None => std::future::pending().await,
    }
}

/// Sends something, unless the client takes nothing for too long, or must give way to others.
async fn unless_in_the_way<T>(
    send: impl Future<Output = io::Result<T>>,
    idle: Duration,
    revoked: Option<CancellationToken>,
    handshake: Option<&Handshake>,
) -> Result<T, Cut> {
    let sent = tokio::select! {
        biased;
        sent = timeout(idle, send) => sent,
        () = cancelled(revoked.as_ref()) => return Err(Refusal::TooSlow.into()),
        () = dropped(handshake) => return Err(Ended::HandshakeDropped.into()),
    };
    match sent {
        Ok(Ok(sent)) => Ok(sent),
        Ok(Err(_)) => Err(Ended::ClientGone.into()),
        Err(_) => Err(Ended::IdleTimeout.into()),
    }
}

/// Gives the machine bytes of the client, and leases the memory that it needs for them. Returns how
/// many were used.
fn take(
    machine: &mut ServerMachine<Committed>,
    visitor: &mut Visitor<'_>,
    upload: Option<Upload<'_>>,
    bytes: &[u8],
) -> Result<usize, Cut> {
    let needed = machine.buffer_needed(bytes.len());
    if needed > 0 {
        visitor.may_upload(upload.ok_or(Ended::Stuck)?, needed)?;
    }
    Ok(machine.handle_input(Input::Bytes(bytes)))
}

/// Why a connection ends without a `close_notify`.
enum Cut {
    Refused(Refusal),
    Ended(Ended),
}

impl From<Refusal> for Cut {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Ended> for Cut {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

/// One exchange in progress.
struct Exchange<'a, S> {
    tls: &'a mut TlsStream<ReadAhead<S>>,
    machine: ServerMachine<Committed>,
    visitor: Visitor<'a>,
    limits: &'a Limits,
    stop: &'a CancellationToken,
    /// None once the whole request has come.
    handshake: Option<Handshake>,
    hello_until: Instant,
    /// When an update of layout 1 has waited long enough for its last row.
    grace_until: Option<Instant>,
    /// The machine was told that no more input comes.
    is_at_end: bool,
    /// What an update has fetched, until it is replaced.
    fetched: Option<Fetched>,
    refusal: Option<Refusal>,
    access_log: &'a mut AccessLog,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Runs to the end. Returns the proof only for a change that is durable and fully answered.
    async fn run(&mut self) -> Result<Committed, Cut> {
        let mut is_stuck = false;
        loop {
            is_stuck &= !self.write().await?;
            // The btoken was sent. While the client thinks, only its hash is held.
            if let Some(fetched) = &mut self.fetched {
                fetched.forget_btoken();
            }
            self.access_log.action = self.machine.action();
            if let Some(ending) = self.machine.poll_ending() {
                return match (ending, self.refusal.take()) {
                    (Ending::Confirmed(proof), _) => Ok(proof),
                    (Ending::Cut(_), Some(refusal)) => Err(refusal.into()),
                    (Ending::Cut(reason), None) => Err(Ended::from(reason).into()),
                };
            }
            if let Some(request) = self.machine.poll_request() {
                Box::pin(self.answer(request)).await?;
                is_stuck = false;
                continue;
            }
            if is_stuck {
                return Err(Ended::Stuck.into());
            }
            is_stuck = !self.read().await?;
        }
    }

    /// Sends the pending output of the machine as one write; false if there is none.
    async fn write(&mut self) -> Result<bool, Cut> {
        let outputs: Vec<Output> = std::iter::from_fn(|| self.machine.poll_output()).collect();
        if outputs.is_empty() {
            return Ok(false);
        }
        let mut slices: Vec<IoSlice<'_>> = outputs
            .iter()
            .map(|output| IoSlice::new(output.as_ref()))
            .collect();
        self.write_all(&mut slices).await?;
        self.flush().await?;
        Ok(true)
    }

    async fn write_all(&mut self, mut slices: &mut [IoSlice<'_>]) -> Result<(), Cut> {
        // Removes empty ones at the front.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let revoked = self.fetched.as_ref().and_then(Fetched::revoked);
            let write = self.tls.write_vectored(slices);
            // Each write that takes some bytes restarts the idle timeout.
            let idle = self.limits.idle_timeout;
            let len = unless_in_the_way(write, idle, revoked, self.handshake.as_ref()).await?;
            if len == 0 {
                return Err(Ended::ClientGone.into());
            }
            self.access_log.bytes_out += len as u64;
            if let Some(fetched) = &self.fetched {
                fetched.note_sent(len);
            }
            IoSlice::advance_slices(&mut slices, len);
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Cut> {
        let revoked = self.fetched.as_ref().and_then(Fetched::revoked);
        let flush = self.tls.flush();
        let idle = self.limits.idle_timeout;
        unless_in_the_way(flush, idle, revoked, self.handshake.as_ref()).await
    }

    /// Gives the machine as much input as it can use now; false if it used none.
    async fn read(&mut self) -> Result<bool, Cut> {
        if self.is_at_end {
            return Ok(false);
        }
        let idle_until = Instant::now() + self.limits.idle_timeout;
        let phase = self.machine.phase();
        let has_begun = !matches!(phase, ServerPhase::Hello | ServerPhase::Action);
        // Until it has shown who it is, a client has little time in all, however it spends it.
        let stranger_until = match phase {
            ServerPhase::Hello => Some(self.hello_until),
            ServerPhase::Action | ServerPhase::Credentials => {
                Some(self.hello_until + self.limits.handshake_timeout)
            }
            _ => None,
        };
        let (until, late) = match stranger_until {
            Some(until) if until < idle_until => (until, Ended::HandshakeTimeout),
            _ => (idle_until, Ended::IdleTimeout),
        };
        self.grace_until = match self.grace_until {
            _ if !self.machine.wants_grace() => None,
            None => Some(Instant::now() + self.limits.confirm_grace),
            begun => begun,
        };
        let grace_until = self.grace_until;
        let grace = async {
            match grace_until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let revoked = self.visitor.upload_revoked();
        let bytes = tokio::select! {
            biased;
            () = cancelled(revoked.as_ref()) => return Err(Refusal::TooSlow.into()),
            bytes = self.tls.fill_buf() => bytes,
            () = dropped(self.handshake.as_ref()) => return Err(Ended::HandshakeDropped.into()),
            () = grace => {
                self.machine.handle_grace_elapsed();
                return Ok(true);
            }
            () = self.stop.cancelled(), if !has_begun => return Err(Ended::Stopping.into()),
            () = tokio::time::sleep_until(until) => return Err(late.into()),
        };
        let used = match bytes {
            Ok([]) => {
                self.note_end(Input::CloseNotify);
                return Ok(true);
            }
            Ok(bytes) => {
                let upload = Upload::of(self.fetched.as_ref(), self.machine.action());
                take(&mut self.machine, &mut self.visitor, upload, bytes)?
            }
            Err(_) => {
                self.note_end(Input::Cut);
                return Ok(true);
            }
        };
        self.consume(used);
        self.note_hello();
        if used > 0 && self.machine.phase() == ServerPhase::Upload {
            self.read_upload().await?;
        }
        Ok(used > 0)
    }

    /// Tells the machine how the client ended the stream: with a `close_notify`, or with a FIN without
    /// one, a reset, or bytes that are not TLS.
    fn note_end(&mut self, end: Input<'_>) {
        self.is_at_end = true;
        self.machine.handle_input(end);
    }

    fn consume(&mut self, used: usize) {
        self.tls.consume(used);
        self.access_log.bytes_in += used as u64;
        self.visitor.note_received(used);
    }

    /// Takes what has come of a btoken, without waiting for more.
    async fn read_upload(&mut self) -> Result<(), Cut> {
        let socket = self.tls.get_mut().0;
        let announced = self.machine.buffer_needed(usize::MAX);
        if announced > READ_BUFFER_LEN
            && !socket.has_begun()
            && let Some(buffer) = self.visitor.read_buffer()
        {
            socket.begin(buffer);
        }
        while self.machine.phase() == ServerPhase::Upload {
            let revoked = self.visitor.upload_revoked();
            if revoked.is_some_and(|revoked| revoked.is_cancelled()) {
                return Err(Refusal::TooSlow.into());
            }
            let used = match if_ready(self.tls.fill_buf()).await {
                Some(Ok([])) => {
                    self.note_end(Input::CloseNotify);
                    return Ok(());
                }
                Some(Ok(bytes)) => {
                    let upload = Upload::of(self.fetched.as_ref(), self.machine.action());
                    take(&mut self.machine, &mut self.visitor, upload, bytes)?
                }
                Some(Err(_)) => {
                    self.note_end(Input::Cut);
                    return Ok(());
                }
                None => return Ok(()),
            };
            self.consume(used);
        }
        self.tls.get_mut().0.end();
        Ok(())
    }

    /// Notes that the client is past its hello.
    fn note_hello(&mut self) {
        if let Some(handshake) = &self.handshake
            && self.machine.phase() != ServerPhase::Hello
        {
            handshake.finish_hello();
        }
    }

    /// Passes a request of the machine to the service, and the answer to the machine.
    async fn answer(&mut self, request: Request) -> Result<(), Cut> {
        if !matches!(request, Request::Fetch { .. }) {
            self.handshake = None;
        }
        let answered = match request {
            Request::Create { auth_token, btoken } => {
                match self.visitor.create(auth_token, btoken).await {
                    Ok((account, proof)) => self.machine.created(account, proof),
                    Err(refusal) => return self.refuse(refusal),
                }
            }
            Request::Fetch {
                account,
                auth_token,
            } => match self.visitor.fetch(account, &auth_token).await {
                Ok(fetched) => {
                    let btoken = fetched.btoken().ok_or(Ended::Stuck)?;
                    self.machine
                        .set_btoken_len_max(fetched.len_max(self.limits));
                    self.fetched = Some(fetched);
                    if let Some(handshake) = &self.handshake {
                        handshake.finish_credentials();
                    }
                    self.machine.fetched(btoken)
                }
                Err(refusal) => return self.refuse(refusal),
            },
            Request::Replace { btoken } => {
                let fetched = self.fetched.take().ok_or(Ended::Stuck)?;
                match self.visitor.replace(fetched, btoken).await {
                    Ok(proof) => self.machine.replaced(proof),
                    Err(refusal) => return self.refuse(refusal),
                }
            }
            Request::Delete {
                account,
                auth_token,
            } => match self.visitor.delete(account, &auth_token).await {
                Ok(proof) => self.machine.deleted(proof),
                Err(refusal) => return self.refuse(refusal),
            },
        };
        self.access_log.is_known = true;
        answered.map_err(|_| Ended::Stuck.into())
    }

    fn refuse(&mut self, refusal: Refusal) -> Result<(), Cut> {
        self.refusal = Some(refusal);
        self.machine.refused().map_err(|_| Ended::Stuck.into())
    }
}

#[cfg(test)]
mod tests;
