//! What one connection may ask of the service: the limits of its source, and then the accounts.

use passmate_proto::{AccountNumber, ActionKind, AuthToken};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Authenticated, Fetched, Refusal, Service};
use crate::config::Registration;
use crate::limits::memory::{Lease, LeaseKind};
use crate::limits::rate::{SourceLimits, SourcePermit};
use crate::limits::read_buffers::ReadBuffer;
use crate::store::Committed;

/// One connection, as the service sees it.
#[derive(Debug)]
pub(crate) struct Visitor<'a> {
    service: &'a Service,
    permit: SourcePermit,
    limits: &'a SourceLimits,
    /// The memory of the client's upload.
    upload: Option<Lease>,
}

/// What a client uploads a btoken for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Upload<'a> {
    Create,
    Replace(&'a Fetched),
}

impl<'a> Upload<'a> {
    /// The upload of a client that has fetched this, or wants that.
    pub(crate) fn of(fetched: Option<&'a Fetched>, action: Option<ActionKind>) -> Option<Self> {
        match (fetched, action) {
            (Some(fetched), _) => Some(Self::Replace(fetched)),
            (None, Some(ActionKind::Create)) => Some(Self::Create),
            (None, _) => None,
        }
    }
}

impl<'a> Visitor<'a> {
    pub(super) fn new(
        service: &'a Service,
        permit: SourcePermit,
        limits: &'a SourceLimits,
    ) -> Self {
        Self {
            service,
            permit,
            limits,
            upload: None,
        }
    }

    /// Whether the client may upload `bytes` in all so far. Leases the memory for them.
    ///
    /// A client that will be refused in any case need not send its whole btoken.
    pub(crate) fn may_upload(&mut self, upload: Upload<'_>, bytes: usize) -> Result<(), Refusal> {
        let kind = match upload {
            Upload::Replace(fetched) => LeaseKind::Account(fetched.account),
            Upload::Create => {
                if self.service.registration() == Registration::Closed {
                    return Err(Refusal::Closed);
                }
                if self.upload.is_none() && !self.permit.may_create(self.limits, now()) {
                    return Err(Refusal::ManyCreates);
                }
                LeaseKind::Create
            }
        };
        let source = self.permit.limited();
        let lease = self
            .upload
            .get_or_insert_with(|| self.service.memory().lease(kind, source, now()));
        lease.grow_to(bytes, now())?;
        Ok(())
    }

    /// Notes that the client has sent so many bytes.
    pub(crate) fn note_received(&self, bytes: usize) {
        if let Some(lease) = &self.upload {
            lease.note_moved(bytes, now());
        }
    }

    /// A buffer to read an upload ahead of TLS, if one is free.
    pub(crate) fn read_buffer(&self) -> Option<ReadBuffer> {
        self.service.read_buffers().take()
    }

    /// Is cancelled when the upload must give way to others. None while there is no upload.
    pub(crate) fn upload_revoked(&self) -> Option<CancellationToken> {
        self.upload.as_ref().map(|lease| lease.revoked().clone())
    }

    pub(crate) async fn create(
        &mut self,
        auth_token: AuthToken,
        btoken: Vec<u8>,
    ) -> Result<(AccountNumber, Committed), Refusal> {
        if !self.permit.take_create(self.limits, now()) {
            return Err(Refusal::ManyCreates);
        }
        let lease = self.take_complete();
        self.service.create(auth_token, btoken, lease).await
    }

    pub(crate) async fn fetch(
        &mut self,
        account: Option<AccountNumber>,
        auth_token: &AuthToken,
    ) -> Result<Fetched, Refusal> {
        self.check_paused()?;
        let source = self.permit.limited();
        let known = self
            .service
            .authenticate_to_fetch(account, auth_token, source)
            .await;
        let (known, read) = self.note_refused(known)?;
        self.service.fetch(&known, read, source).await
    }

    pub(crate) async fn replace(
        &mut self,
        fetched: Fetched,
        btoken: Vec<u8>,
    ) -> Result<Committed, Refusal> {
        let lease = self.take_complete();
        self.service.replace(fetched, btoken, lease).await
    }

    pub(crate) async fn delete(
        &mut self,
        account: Option<AccountNumber>,
        auth_token: &AuthToken,
    ) -> Result<Committed, Refusal> {
        let known = self.authenticate(account, auth_token).await?;
        self.service.delete(known).await
    }

    /// The memory of the upload, of which all bytes have come.
    fn take_complete(&mut self) -> Option<Lease> {
        let lease = self.upload.take();
        if let Some(lease) = &lease {
            lease.complete();
        }
        lease
    }

    /// Gives the memory back and keeps the permit.
    pub(crate) fn into_permit(self) -> SourcePermit {
        self.permit
    }

    /// Authenticates the client, and counts a refusal against its source.
    async fn authenticate(
        &mut self,
        account: Option<AccountNumber>,
        auth_token: &AuthToken,
    ) -> Result<Authenticated, Refusal> {
        self.check_paused()?;
        let known = self.service.authenticate(account, auth_token).await;
        self.note_refused(known)
    }

    /// The source may have been paused since this connection was admitted.
    fn check_paused(&self) -> Result<(), Refusal> {
        if self.permit.is_paused(self.limits, now()) {
            return Err(Refusal::Paused);
        }
        Ok(())
    }

    /// Counts a client that is unknown against its source.
    fn note_refused<T>(&mut self, known: Result<T, Refusal>) -> Result<T, Refusal> {
        if matches!(known, Err(Refusal::Unknown)) {
            self.permit.note_refusal(self.limits, now());
        }
        known
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
