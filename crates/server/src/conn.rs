//! Pumps one protocol machine over one stream. The rules are:
//!  - a `close_notify` says that the change is durable: one function sends it, and it takes the
//!    storage's proof;
//!  - every other end is a plain FIN, without a further byte and without a deliberate reset;
//!  - either way what the client still sends is read for a moment first, because closing a socket
//!    with unread bytes would reset it and could take the last answer with it;
//!  - memory is leased before it is used, and everything that others wait for (lease, turn) is
//!    given back before that moment begins;
//!  - whatever a client does, it costs at most one line in the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use passmate_proto::{
    AccountNumber, ActionKind, AuthToken, Ending, Input, Layout, Reason, Request,
    ServerConfig as MachineConfig, ServerMachine, ServerPhase,
};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::config::{Limits, Registration};
use crate::limits::memory::{Kind, Lease};
use crate::limits::rate::SourcePermit;
use crate::observe::access_log::AccessLog;
use crate::observe::metrics::Metrics;
use crate::service::{Authenticated, Fetched, Refusal, Service};
use crate::store::Committed;
use crate::tls::Identity;

/// What a client still sends after the end is read up to here, and for this long.
const DRAIN_LEN_MAX: usize = 64 << 10;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(1);
/// How long a confirmation may take when the session's time is over: what was committed in time
/// should be heard of.
const CONFIRM_REST: Duration = Duration::from_secs(5);
/// One TLS record; outputs of one step are joined up to this size, longer ones follow uncopied.
const RECORD_LEN: usize = 16 << 10;

/// What every connection of a listener is served with; SIGHUP makes new ones for new connections.
#[derive(Debug)]
pub(crate) struct ListenerSettings {
    pub(crate) tls: Arc<rustls::ServerConfig>,
    pub(crate) banner: Arc<[u8]>,
    pub(crate) limits: Limits,
    /// Connections from here say first whom they are for.
    pub(crate) proxy_from: Vec<IpNet>,
    /// When the certificate expires, in seconds since 1970.
    pub(crate) certificate_not_after: Option<i64>,
    /// Who counts.
    pub(crate) metrics: Metrics,
}

impl ListenerSettings {
    /// The same with another certificate.
    pub(crate) fn with_identity(&self, identity: &Identity) -> Self {
        Self {
            tls: Arc::clone(&identity.config),
            certificate_not_after: Some(identity.not_after),
            banner: Arc::clone(&self.banner),
            limits: self.limits.clone(),
            proxy_from: self.proxy_from.clone(),
            metrics: self.metrics.clone(),
        }
    }
}

/// Serves one connection to its end, whatever that is.
///
/// `stop` cuts clients that have not begun an exchange; it lets the others finish. `logged` is the
/// address, if it may be.
pub(crate) async fn serve<S>(
    mut io: S,
    layout: Layout,
    settings: &ListenerSettings,
    service: &Service,
    stop: &CancellationToken,
    permit: SourcePermit,
    logged: Option<SocketAddr>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut access_log = AccessLog::new(settings.metrics.clone(), layout, logged);
    // Boxed: the task of a client that is only closing is small again.
    Box::pin(converse(
        &mut io,
        layout,
        settings,
        service,
        stop,
        &permit,
        &mut access_log,
    ))
    .await;
    drop(access_log);
    // Before the last moment, which is short: whoever is closing makes room for the next.
    drop(permit);
    close(&mut io).await;
}

/// TLS, the exchange, and its result into `access_log`. Sends a `close_notify` or nothing.
async fn converse<S>(
    io: &mut S,
    layout: Layout,
    settings: &ListenerSettings,
    service: &Service,
    stop: &CancellationToken,
    permit: &SourcePermit,
    access_log: &mut AccessLog,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = &settings.limits;
    let begun = Instant::now();
    let hello_until = begun + limits.handshake_timeout;
    let session_until = begun + limits.session_timeout;

    // Boxed: what a handshake needs is not carried on by ten thousand who have made theirs.
    let mut tls = match Box::pin(shake_hands(
        io,
        settings,
        hello_until.min(session_until),
        stop,
    ))
    .await
    {
        Ok(tls) => tls,
        Err(result) => return access_log.end(result),
    };
    access_log.is_tls = true;

    let machine = ServerMachine::new(MachineConfig {
        layout,
        banner: Arc::clone(&settings.banner),
        btoken_len_max: limits.btoken_len_max,
    });
    let mut exchange = Exchange {
        tls: &mut tls,
        machine,
        service,
        permit,
        limits,
        stop,
        hello_until,
        grace_until: None,
        is_at_end: false,
        lease: None,
        fetched: None,
        refusal: None,
        access_log,
    };
    let outcome = timeout_at(session_until, exchange.run()).await;
    // Others may be waiting for the turn and the memory.
    drop(exchange);
    match outcome {
        Ok(Ok(proof)) => {
            let until = (Instant::now() + limits.idle_timeout).min(session_until + CONFIRM_REST);
            let heard = confirm(&mut tls, proof, until).await;
            access_log.end(if heard {
                "confirmed"
            } else {
                "committed_unheard"
            });
        }
        Ok(Err(cut)) => access_log.end(cut.name()),
        Err(_) => access_log.end("session_timeout"),
    }
}

/// TLS, or the word for the log.
async fn shake_hands<S>(
    io: S,
    settings: &ListenerSettings,
    until: Instant,
    stop: &CancellationToken,
) -> Result<TlsStream<S>, &'static str>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let accept = TlsAcceptor::from(Arc::clone(&settings.tls)).accept(io);
    let accepted = tokio::select! {
        accepted = timeout_at(until, accept) => accepted,
        () = stop.cancelled() => return Err("stopping"),
    };
    match accepted {
        Ok(Ok(tls)) => Ok(tls),
        // Port scanners, health checks, clients that do not trust us: nothing of it is an error.
        Ok(Err(error)) => {
            tracing::debug!(%error, "no TLS");
            Err("no_tls")
        }
        Err(_) => Err("handshake_timeout"),
    }
}

/// Ends the TLS stream cleanly, which tells the client that its change is durable.
///
/// This is the only place that sends a `close_notify`, and the proof is why it may.
async fn confirm<S>(tls: &mut TlsStream<S>, _proof: Committed, until: Instant) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    matches!(timeout_at(until, tls.shutdown()).await, Ok(Ok(())))
}

/// Closes our direction below TLS and reads for a moment what still comes.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(io: &mut S) {
    let drain = async {
        // An error here and below means that the client is gone, which is what we wait for.
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
    let _ = timeout(DRAIN_TIME_MAX, drain).await;
}

/// Why a connection ends without a `close_notify`.
enum Cut {
    /// The machine says so.
    Protocol(Reason),
    /// The service says so.
    Refused(Refusal),
    /// No memory is left for this client's btoken.
    MemoryFull,
    /// No hello in time.
    HandshakeTimeout,
    /// Neither sent nor took a byte in time.
    IdleTimeout,
    /// The client went away while we wrote.
    Gone,
    /// The server is stopping and nothing had begun.
    Stopping,
    /// Machine and pump disagree, which is our fault and must not become a loop.
    Stuck,
}

impl Cut {
    /// The word for the log.
    fn name(&self) -> &'static str {
        match self {
            Self::Protocol(reason) => reason.name(),
            Self::Refused(refusal) => refusal.name(),
            Self::MemoryFull => "memory_full",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::Gone => "client_gone",
            Self::Stopping => "stopping",
            Self::Stuck => "stuck",
        }
    }
}

/// One exchange on its way.
struct Exchange<'a, S> {
    tls: &'a mut TlsStream<S>,
    machine: ServerMachine<Committed>,
    service: &'a Service,
    permit: &'a SourcePermit,
    limits: &'a Limits,
    stop: &'a CancellationToken,
    hello_until: Instant,
    /// When an update of layout 1 has waited long enough for its last row.
    grace_until: Option<Instant>,
    /// Whether the machine has been told that nothing more will come.
    is_at_end: bool,
    /// The memory that the client's upload takes; held until the exchange ends.
    lease: Option<Lease>,
    /// What an update read, with the turn that it has.
    fetched: Option<Fetched>,
    refusal: Option<Refusal>,
    access_log: &'a mut AccessLog,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Runs to the end. The proof comes back only for what is durable and fully answered.
    async fn run(&mut self) -> Result<Committed, Cut> {
        let mut is_stuck = false;
        loop {
            is_stuck &= !self.write().await?;
            // All of it was sent. While the client thinks, nothing is held for it but the hash.
            if let Some(fetched) = &mut self.fetched {
                fetched.forget_btoken();
            }
            self.access_log.action = self.machine.action();
            if let Some(ending) = self.machine.poll_ending() {
                return match (ending, self.refusal.take()) {
                    (Ending::Confirmed(proof), _) => Ok(proof),
                    (Ending::Cut(_), Some(refusal)) => Err(Cut::Refused(refusal)),
                    (Ending::Cut(reason), None) => Err(Cut::Protocol(reason)),
                };
            }
            if let Some(request) = self.machine.poll_request() {
                Box::pin(self.answer(request)).await?;
                is_stuck = false;
                continue;
            }
            if is_stuck {
                return Err(Cut::Stuck);
            }
            is_stuck = !self.read().await?;
        }
    }

    /// Sends what the machine has to say, as one write; true if there was anything.
    async fn write(&mut self) -> Result<bool, Cut> {
        let mut joined = Vec::new();
        let mut is_any = false;
        while let Some(output) = self.machine.poll_output() {
            is_any = true;
            let bytes = output.as_ref();
            let room = RECORD_LEN.saturating_sub(joined.len());
            let (head, rest) = bytes.split_at(room.min(bytes.len()));
            joined.extend_from_slice(head);
            if !rest.is_empty() {
                self.write_all(&joined).await?;
                self.write_all(rest).await?;
                joined.clear();
            }
        }
        if is_any {
            self.write_all(&joined).await?;
            self.flush().await?;
        }
        Ok(is_any)
    }

    async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Cut> {
        while !bytes.is_empty() {
            // Each write that takes something is a sign of life.
            let written = timeout(self.limits.idle_timeout, self.tls.write(bytes)).await;
            let len = match written {
                Ok(Ok(len)) if len > 0 => len,
                Ok(_) => return Err(Cut::Gone),
                Err(_) => return Err(Cut::IdleTimeout),
            };
            self.access_log.bytes_out += len as u64;
            bytes = bytes.get(len..).unwrap_or_default();
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Cut> {
        match timeout(self.limits.idle_timeout, self.tls.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Cut::Gone),
            Err(_) => Err(Cut::IdleTimeout),
        }
    }

    /// Takes from the client what the machine can use now; true if it moved the machine.
    async fn read(&mut self) -> Result<bool, Cut> {
        if self.is_at_end {
            return Ok(false);
        }
        let idle_until = Instant::now() + self.limits.idle_timeout;
        let is_hello = self.machine.phase() == ServerPhase::Hello;
        let (until, late) = if is_hello && self.hello_until < idle_until {
            (self.hello_until, Cut::HandshakeTimeout)
        } else {
            (idle_until, Cut::IdleTimeout)
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
        let bytes = tokio::select! {
            biased;
            bytes = self.tls.fill_buf() => bytes,
            () = grace => {
                self.machine.handle_grace_elapsed();
                return Ok(true);
            }
            () = self.stop.cancelled(), if is_hello => return Err(Cut::Stopping),
            () = tokio::time::sleep_until(until) => return Err(late),
        };
        match bytes {
            Ok([]) => {
                self.is_at_end = true;
                self.machine.handle_input(Input::CloseNotify);
                Ok(true)
            }
            Ok(bytes) => {
                let needed = self.machine.buffer_needed(bytes.len());
                if needed > 0 {
                    let kind = match (&self.fetched, self.machine.action()) {
                        (Some(fetched), _) => Kind::Known(fetched.account()),
                        // Who is refused in any case need not send it all.
                        (None, Some(ActionKind::Create))
                            if self.service.registration() == Registration::Closed =>
                        {
                            return Err(Cut::Refused(Refusal::Closed));
                        }
                        (None, Some(ActionKind::Create))
                            if self.lease.is_none()
                                && !self
                                    .permit
                                    .may_create(&self.limits.source, Instant::now().into_std()) =>
                        {
                            return Err(Cut::Refused(Refusal::ManyCreates));
                        }
                        (None, Some(ActionKind::Create)) => Kind::Create,
                        (None, _) => return Err(Cut::Stuck),
                    };
                    let lease = self
                        .lease
                        .get_or_insert_with(|| self.service.memory().lease(kind));
                    lease.grow_to(needed).map_err(|_| Cut::MemoryFull)?;
                }
                let used = self.machine.handle_input(Input::Bytes(bytes));
                self.tls.consume(used);
                self.access_log.bytes_in += used as u64;
                Ok(used > 0)
            }
            // A FIN without close_notify, a reset, bytes that are no TLS: the client is gone.
            Err(_) => {
                self.is_at_end = true;
                self.machine.handle_input(Input::Cut);
                Ok(true)
            }
        }
    }

    /// Lets the service decide what the machine asks.
    async fn answer(&mut self, request: Request) -> Result<(), Cut> {
        let answered = match request {
            Request::Create { .. }
                if !self
                    .permit
                    .take_create(&self.limits.source, Instant::now().into_std()) =>
            {
                return self.refuse(Refusal::ManyCreates);
            }
            Request::Create { auth_token, btoken } => {
                match self.service.create(auth_token, btoken).await {
                    Ok((account, proof)) => self.machine.created(account, proof),
                    Err(refusal) => return self.refuse(refusal),
                }
            }
            Request::Fetch {
                account,
                auth_token,
            } => {
                let fetched = async {
                    let known = self.authenticate(account, &auth_token).await?;
                    self.service.fetch(&known).await
                };
                match fetched.await {
                    Ok(fetched) => {
                        let btoken = fetched.btoken().ok_or(Cut::Stuck)?;
                        self.fetched = Some(fetched);
                        self.machine.fetched(btoken)
                    }
                    Err(refusal) => return self.refuse(refusal),
                }
            }
            Request::Replace { btoken } => {
                let fetched = self.fetched.take().ok_or(Cut::Stuck)?;
                match self.service.replace(fetched, btoken).await {
                    Ok(proof) => self.machine.replaced(proof),
                    Err(refusal) => return self.refuse(refusal),
                }
            }
            Request::Delete {
                account,
                auth_token,
            } => {
                let deleted = async {
                    let known = self.authenticate(account, &auth_token).await?;
                    self.service.delete(known).await
                };
                match deleted.await {
                    Ok(proof) => self.machine.deleted(proof),
                    Err(refusal) => return self.refuse(refusal),
                }
            }
        };
        answered.map_err(|_| Cut::Stuck)
    }

    /// Lets the client in for its account, or counts that it was refused.
    async fn authenticate(
        &self,
        account: Option<AccountNumber>,
        auth_token: &AuthToken,
    ) -> Result<Authenticated, Refusal> {
        let limits = &self.limits.source;
        // It may have come before its source was paused.
        if self.permit.is_paused(limits, Instant::now().into_std()) {
            return Err(Refusal::Paused);
        }
        let known = self.service.authenticate(account, auth_token).await;
        if matches!(known, Err(Refusal::Unknown)) {
            self.permit.note_refusal(limits, Instant::now().into_std());
        }
        known
    }

    fn refuse(&mut self, refusal: Refusal) -> Result<(), Cut> {
        self.refusal = Some(refusal);
        self.machine.refused().map_err(|_| Cut::Stuck)
    }
}

#[cfg(test)]
mod tests;
