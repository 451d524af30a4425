//! A bucket of an object store. Memory and time are bounded: a few parts of a backup are in memory
//! at once, every request ends, and what the store sends is not believed.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use hyper::body::Bytes;
use object_store::aws::AmazonS3;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::super::Failure;
use super::super::place::ObjectUrl;
use super::environment;
use super::fault::{Fault, StoreName};
use super::request::{Connector, OfObject, ask};
use crate::backup::{BEGIN_LEN, BackupError, Begin, Content, CopyCheck};
use crate::exit::{Code, note};
use crate::files;

/// The length of all parts of an upload but the last, in bytes.
const PART_LEN: u64 = 8 << 20;
/// The most parts that S3 allows.
const PARTS_MAX: u64 = 10_000;
/// The number of parts that are sent at the same time.
const PARTS_AT_ONCE: usize = 2;
/// The most objects with one beginning that are looked at.
const LISTED_MAX: usize = 100_000;
/// The longest time for a request, with its repetitions.
const REQUEST_MAX: Duration = Duration::from_secs(10 * 60);
/// The longest time for a part of an upload, or for the end of one, with repetitions.
const PART_MAX: Duration = Duration::from_secs(30 * 60);
/// The slowest download that is not given up, in bytes a second.
const SLOWEST: u64 = 16 << 10;

/// A bucket.
pub(super) struct Bucket {
    runtime: Option<Runtime>,
    client: Arc<Client>,
    /// From the first upload on, signals do not end the process.
    stop: RefCell<Option<Stop>>,
}

/// What a download found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Download {
    Done,
    NoObject,
}

impl Bucket {
    /// Gets credentials for a bucket. It is not asked for anything yet.
    pub(super) fn open(bucket: &str) -> Result<Self, Failure> {
        let (builder, name) = environment::builder(bucket, |name| std::env::var_os(name))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(PARTS_AT_ONCE)
            .enable_all()
            .build()
            .map_err(no_threads)?;
        // These errors show no credentials: what a request cannot carry was refused before.
        let store = builder.with_http_connector(Connector).build();
        let store = store.map_err(|error| {
            Failure::new(
                Code::Usage,
                format_args!("the object store cannot be set up: {error}"),
                "docs/operating.md lists the variables for s3:// and what they hold",
            )
        })?;
        let bucket = Self {
            runtime: Some(runtime),
            client: Arc::new(Client {
                store: Arc::new(store),
                name,
            }),
            stop: RefCell::new(None),
        };
        let credentials = Arc::clone(bucket.client.store.credentials());
        let got = bucket.wait(ask(REQUEST_MAX, async move {
            credentials.get_credential().await.map(drop)
        }));
        got.map_err(|fault| {
            let why = match fault {
                Fault::Answer { status, .. } => format!("their provider answered {status}"),
                Fault::Broken(cause) | Fault::Untrusted(cause) => {
                    format!("their provider cannot be reached: {cause}")
                }
                Fault::Slow => "their provider did not answer in time".to_owned(),
                Fault::Nonsense => {
                    "their provider gave none, or the file with the token for it cannot be read"
                        .to_owned()
                }
            };
            environment::no_credentials(&why)
        })?;
        Ok(bucket)
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime
            .as_ref()
            .expect("it is there until the bucket is dropped")
            .block_on(work)
    }

    /// Waits for something that a signal interrupts. After an upload, that is the removal of old
    /// backups.
    fn wait_or_stop<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut stop = self.stop.borrow_mut();
        let Some(stop) = &mut *stop else {
            return self.wait(work);
        };
        self.wait(async {
            tokio::select! {
                biased;
                () = stop.asked() => Err(Failure::new(
                    Code::Cancelled,
                    "interrupted: the backup is made, and surplus ones may be left",
                    "the next backup with --keep removes them",
                )),
                done = work => done,
            }
        })
    }

    /// What the first bytes of an object say. `None`: there is no such object.
    pub(super) fn begin(&self, key: &str) -> Result<Option<Begin>, Failure> {
        self.wait_or_stop(self.client.begin(key))
    }

    /// The keys that begin so, and of which `is_wanted` says so.
    pub(super) fn list(
        &self,
        begin: &str,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, Failure> {
        self.wait_or_stop(self.client.list(begin, is_wanted))
    }

    /// Removes an object.
    pub(super) fn remove(&self, key: &str) -> Result<(), Failure> {
        let doing = format!("remove {}", self.client.url(key));
        self.wait_or_stop(async {
            let store = Arc::clone(&self.client.store);
            let key = self.client.key(key)?;
            ask(REQUEST_MAX, async move { store.delete(&key).await })
                .await
                .map_err(|fault| self.client.failure(&doing, &fault))
        })
    }

    /// Uploads a backup, reads it again, and compares it with what was sent.
    ///
    /// # Errors
    /// Nothing is left of an upload that failed or was interrupted, as far as the store can be
    /// reached.
    pub(super) fn upload(&self, object: &ObjectUrl, content: Content<'_>) -> Result<(), Failure> {
        let mut stop = self.wait(async { Stop::new() }).map_err(no_threads)?;
        let uploaded = self.wait(self.client.upload(object, content, &mut stop));
        self.stop.replace(Some(stop));
        uploaded
    }

    /// Downloads an object into a new file in a folder, if the folder has room for it and for the
    /// database in it.
    pub(super) fn download(
        &self,
        object: &ObjectUrl,
        file: &Path,
        folder: &Path,
    ) -> Result<Download, Failure> {
        self.wait(self.client.download(object, file, folder))
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // A name lookup that hangs must not keep the process.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn no_threads(error: io::Error) -> Failure {
    Failure::new(
        Code::Other,
        error,
        "the system gives no threads, descriptors or signals: check its limits",
    )
}

struct Client {
    store: Arc<AmazonS3>,
    name: StoreName,
}

/// What is left to do after the parts of an upload were sent.
enum Sent {
    All(Vec<PartId>),
    Interrupted,
}

impl Client {
    fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name.bucket)
    }

    fn key(&self, key: &str) -> Result<Key, Failure> {
        Key::parse(key).map_err(|_| {
            Failure::new(
                Code::Usage,
                format_args!("no object has the name {}", self.url(key)),
                "give a name without control characters",
            )
        })
    }

    fn failure(&self, doing: &str, fault: &Fault) -> Failure {
        fault.failure(doing, &self.name)
    }

    async fn begin(&self, key: &str) -> Result<Option<Begin>, Failure> {
        let doing = format!("read {}", self.url(key));
        let options = GetOptions {
            range: Some(GetRange::Bounded(0..BEGIN_LEN)),
            ..GetOptions::default()
        };
        let mut object = match self.open(key, options).await {
            Ok(object) => object,
            Err(fault) if fault.is_no_object() => return Ok(None),
            Err(fault) if fault.is_empty_object() => return Ok(Some(Begin::NoBackup)),
            Err(fault) => return Err(self.failure(&doing, &fault)),
        };
        let mut begin = Vec::new();
        let most = usize::try_from(BEGIN_LEN).unwrap_or(usize::MAX);
        loop {
            let next = object.next().await;
            match next.map_err(|fault| self.failure(&doing, &fault))? {
                Some(bytes) if begin.len() < most => begin.extend_from_slice(&bytes),
                _ => break,
            }
        }
        begin.truncate(most);
        Ok(Some(Begin::of(&begin)))
    }

    async fn list(
        &self,
        begin: &str,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, Failure> {
        let doing = format!("list {}*", self.url(begin));
        let (mut found, mut seen, mut page_token) = (Vec::new(), 0, None);
        loop {
            let (store, prefix) = (Arc::clone(&self.store), begin.to_owned());
            let options = PaginatedListOptions {
                delimiter: Some("/".into()),
                page_token,
                ..PaginatedListOptions::default()
            };
            let listed = ask(REQUEST_MAX, async move {
                store.list_paginated(Some(&prefix), options).await
            });
            let page = listed.await.map_err(|fault| self.failure(&doing, &fault))?;
            // A page without objects counts too, because there may be pages without end.
            seen += page.result.objects.len() + 1;
            let keys = page.result.objects.into_iter();
            let keys = keys.map(|object| object.location.to_string());
            found.extend(keys.filter(|key| is_wanted(key)));
            if seen > LISTED_MAX {
                return Err(Failure::new(
                    Code::Other,
                    format_args!("cannot {doing}: there are more than {LISTED_MAX} objects"),
                    "give backups a folder of their own in the bucket: s3://BUCKET/FOLDER/NAME",
                ));
            }
            page_token = page.page_token;
            if page_token.is_none() {
                return Ok(found);
            }
        }
    }

    async fn open(&self, key: &str, mut options: GetOptions) -> Result<Object, Fault> {
        let store = Arc::clone(&self.store);
        let key = Key::parse(key).map_err(|_| Fault::Nonsense)?;
        options.extensions.insert(OfObject);
        let got = ask(
            REQUEST_MAX,
            async move { store.get_opts(&key, options).await },
        )
        .await?;
        let len = got.meta.size;
        let slowest = Duration::from_secs(len / SLOWEST);
        Ok(Object {
            len,
            stream: Some(got.into_stream()),
            until: Instant::now() + REQUEST_MAX + slowest,
        })
    }

    async fn upload(
        &self,
        object: &ObjectUrl,
        mut content: Content<'_>,
        stop: &mut Stop,
    ) -> Result<(), Failure> {
        let doing = format!("upload {object}");
        let key = self.key(&object.key)?;
        let started = {
            let (store, key) = (Arc::clone(&self.store), key.clone());
            ask(
                REQUEST_MAX,
                async move { store.create_multipart(&key).await },
            )
        };
        // Nothing interrupts this: an upload that has begun must be known, to be aborted.
        let id = started
            .await
            .map_err(|fault| self.failure(&doing, &fault))?;
        let sent = tokio::select! {
            biased;
            () = stop.asked() => Ok(Sent::Interrupted),
            parts = self.send(&key, &id, &mut content, &doing) => parts.map(Sent::All),
        };
        let failure = match sent {
            Ok(Sent::All(parts)) => {
                let (store, key, id) = (Arc::clone(&self.store), key.clone(), id.clone());
                let completed = ask(PART_MAX, async move {
                    store.complete_multipart(&key, &id, parts).await
                });
                match completed.await {
                    Ok(put) => return self.check(object, &content, put.e_tag, stop).await,
                    // The answer may be lost, and the object complete.
                    Err(fault) => match self.compare(&object.key, None, &content).await {
                        Ok(true) => return Ok(()),
                        _ => self.failure(&doing, &fault),
                    },
                }
            }
            Ok(Sent::Interrupted) => {
                note("interrupted: the upload is taken back; a second signal ends this at once");
                Failure::new(
                    Code::Cancelled,
                    format_args!("interrupted: there is no backup {object}"),
                    "start it again when there is time for it",
                )
            }
            Err(failure) => failure,
        };
        let aborted = {
            let store = Arc::clone(&self.store);
            ask(REQUEST_MAX, async move {
                store.abort_multipart(&key, &id).await
            })
        };
        let aborted = tokio::select! {
            biased;
            aborted = aborted => aborted,
            () = stop.asked() => Err(Fault::Slow),
        };
        match aborted {
            Ok(()) => Err(failure),
            // The store has no such upload any more.
            Err(fault) if fault.is_no_object() => Err(failure),
            Err(_) => Err(Failure {
                hint: format!(
                    "{}; parts of the upload may be left, which have no name but cost money: a \
                     lifecycle rule for incomplete uploads removes them",
                    failure.hint
                ),
                ..failure
            }),
        }
    }

    /// Sends all parts of an upload. Dropping it ends what is under way.
    async fn send(
        &self,
        key: &Key,
        id: &str,
        content: &mut Content<'_>,
        doing: &str,
    ) -> Result<Vec<PartId>, Failure> {
        let len = part_len(content.len());
        let mut tasks = JoinSet::new();
        let mut parts = Vec::new();
        let mut arrived = Vec::new();
        let mut collect = |joined: Option<Result<Result<_, Fault>, _>>| match joined {
            None => Ok(false),
            Some(Ok(Ok(part))) => {
                arrived.push(part);
                Ok(true)
            }
            Some(Ok(Err(fault))) => Err(self.failure(doing, &fault)),
            Some(Err(_)) => Err(self.failure(doing, &Fault::Nonsense)),
        };
        for index in 0.. {
            let capacity = usize::try_from(len.min(content.len())).unwrap_or_default();
            let mut part = Vec::with_capacity(capacity);
            let read = content.take(len).read_to_end(&mut part);
            read.map_err(|error| BackupError::Io {
                doing: "read the copy of",
                path: "the store".into(),
                error,
            })?;
            if part.is_empty() {
                break;
            }
            if tasks.len() >= PARTS_AT_ONCE {
                collect(tasks.join_next().await)?;
            }
            let (store, key, id) = (Arc::clone(&self.store), key.clone(), id.to_owned());
            tasks.spawn(ask(PART_MAX, async move {
                let payload = PutPayload::from(part);
                let part = store.put_part(&key, &id, index, payload).await?;
                Ok((index, part))
            }));
            // So that a signal is seen while parts are sent without a wait.
            tokio::task::yield_now().await;
        }
        while collect(tasks.join_next().await)? {}
        arrived.sort_by_key(|(index, _): &(usize, PartId)| *index);
        parts.extend(arrived.into_iter().map(|(_, part)| part));
        Ok(parts)
    }

    /// Reads what was uploaded, and removes it if it is not what was sent.
    async fn check(
        &self,
        object: &ObjectUrl,
        content: &Content<'_>,
        e_tag: Option<String>,
        stop: &mut Stop,
    ) -> Result<(), Failure> {
        let verify = "the upload is complete; `passmate-server verify` with its name says whether \
                      it is intact";
        let compared = tokio::select! {
            biased;
            () = stop.asked() => {
                let message = format_args!("interrupted: {object} was not read again");
                return Err(Failure::new(Code::Cancelled, message, verify));
            }
            compared = self.compare(&object.key, e_tag, content) => compared,
        };
        let doing = format!("read {object} again");
        match compared {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(fault) => {
                let failure = self.failure(&doing, &fault);
                let hint = format!("{verify}; {}", failure.hint);
                return Err(Failure { hint, ..failure });
            }
        }
        let removed = {
            let (store, key) = (Arc::clone(&self.store), self.key(&object.key)?);
            ask(REQUEST_MAX, async move { store.delete(&key).await })
        };
        let removed = match removed.await {
            Ok(()) => "it was removed",
            Err(_) => "it could not be removed",
        };
        Err(Failure::new(
            Code::Damaged,
            format_args!("{object} is not what was sent there, and {removed}"),
            "use another store until its operator knows why; earlier backups may be damaged too: \
             `passmate-server verify` says so",
        ))
    }

    /// Whether an object is a content that was sent.
    async fn compare(
        &self,
        key: &str,
        e_tag: Option<String>,
        content: &Content<'_>,
    ) -> Result<bool, Fault> {
        let options = GetOptions {
            if_match: e_tag,
            ..GetOptions::default()
        };
        let mut object = self.open(key, options).await?;
        let mut check: CopyCheck = content.check_copy();
        if object.len != content.len() {
            return Ok(false);
        }
        while let Some(bytes) = object.next().await? {
            if !check.take(&bytes) {
                return Ok(false);
            }
        }
        Ok(check.matches())
    }

    async fn download(
        &self,
        object: &ObjectUrl,
        file: &Path,
        folder: &Path,
    ) -> Result<Download, Failure> {
        let doing = format!("read {object}");
        let mut source = match self.open(&object.key, GetOptions::default()).await {
            Ok(source) => source,
            Err(fault) if fault.is_no_object() => return Ok(Download::NoObject),
            Err(fault) => return Err(self.failure(&doing, &fault)),
        };
        check_room(object, source.len, folder)?;
        let failed = |error| {
            Failure::from(BackupError::Io {
                doing: "keep what the object store sent in",
                path: file.to_owned(),
                error,
            })
        };
        let mut target = files::create_new(file).map_err(failed)?;
        let mut left = source.len;
        let damaged = |what| BackupError::Damaged {
            path: object.to_string().into(),
            what,
        };
        while let Some(bytes) = source
            .next()
            .await
            .map_err(|fault| self.failure(&doing, &fault))?
        {
            left = left
                .checked_sub(bytes.len() as u64)
                .ok_or_else(|| damaged("the store sent more than it announced"))?;
            target.write_all(&bytes).map_err(failed)?;
        }
        if left > 0 {
            return Err(damaged("the store sent less than it announced").into());
        }
        Ok(Download::Done)
    }
}

/// # Errors
/// A folder has no room for a backup and for the database in it.
fn check_room(object: &ObjectUrl, len: u64, folder: &Path) -> Result<(), Failure> {
    let free = files::disk_of(folder).map_err(|error| BackupError::Io {
        doing: "examine",
        path: folder.to_owned(),
        error,
    })?;
    let needed = len.saturating_mul(2);
    if free.free >= needed {
        return Ok(());
    }
    Err(Failure::new(
        Code::File,
        format_args!(
            "{object} has {len} bytes, and {} has {} bytes free, but needs {needed}",
            folder.display(),
            free.free
        ),
        "free some space, or let TMPDIR name a folder with more for `verify`; nothing was changed",
    ))
}

/// The length of the parts of a backup: all have the same, but the last.
fn part_len(len: u64) -> u64 {
    len.div_ceil(PARTS_MAX)
        .next_multiple_of(1 << 20)
        .max(PART_LEN)
}

/// The signals that end a command.
struct Stop([Signal; 3]);

impl Stop {
    /// From here on, the signals do not end the process.
    fn new() -> io::Result<Self> {
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        let [interrupt, terminate, hang_up] = kinds.map(signal);
        Ok(Self([interrupt?, terminate?, hang_up?]))
    }

    async fn asked(&mut self) {
        let [interrupt, terminate, hang_up] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    }
}

/// The bytes of an object as they arrive.
struct Object {
    len: u64,
    /// `None`: all of it has arrived, or a fault.
    stream: Option<futures_util::stream::BoxStream<'static, object_store::Result<Bytes>>>,
    until: Instant,
}

impl Object {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let Some(mut stream) = self.stream.take() else {
            return Ok(None);
        };
        let left = self.until.saturating_duration_since(Instant::now());
        let next = ask(left.min(REQUEST_MAX), async move {
            let next = stream.try_next().await?;
            Ok(next.map(|bytes| (bytes, stream)))
        });
        Ok(next.await?.map(|(bytes, stream)| {
            self.stream = Some(stream);
            bytes
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_of_any_length_has_few_enough_parts() {
        for len in [0, 1, PART_LEN, 80 << 30, 1 << 40, 5 << 40] {
            let part = part_len(len);
            assert!(part >= PART_LEN && len.div_ceil(part) <= PARTS_MAX, "{len}");
        }
        assert_eq!(part_len(70 << 30), PART_LEN);
    }
}
