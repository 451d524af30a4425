//! One connection, and what is asked of it.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::error::Severity;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Row};

use super::error::{Fault, describe, is_crowded, is_denied};
use super::tls::MakeTls;
use super::url::{Durability, PostgresUrl};
use crate::store::EngineError;

/// The time for a statement that may take long.
const SLOW_TIME_MAX: Duration = Duration::from_secs(3600);

/// The time for a statement of an operator, who can interrupt it.
const PATIENCE: Duration = Duration::from_secs(600);

/// The slot of the totals that a session changes.
pub(super) const SLOT: &str = "slot = pg_backend_pid() % 64";

/// A parameter of a statement.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// An open connection. One statement at a time is sent over it.
pub(super) struct Connection {
    client: Client,
    /// Moves the bytes.
    pump: JoinHandle<()>,
    /// The database has sent a warning since the last commit began.
    is_warned: Arc<AtomicBool>,
    /// A transaction was begun and has not ended.
    is_within: AtomicBool,
    /// Whether it is looked whether the database keeps what it confirms.
    durability: Durability,
    /// How long a statement may take.
    deadline: Duration,
    /// How long the database waits in a transaction for what comes next.
    idle_time_max: Duration,
}

impl Connection {
    /// Opens a connection to a database that keeps what it confirms: on the first host that accepts
    /// writes, beginning with the one at `place`. Returns the place of that host.
    pub(super) async fn open(
        url: &PostgresUrl,
        tls: Option<&MakeTls>,
        place: usize,
    ) -> Result<(Self, usize), Fault> {
        let mut fault = Fault::Lost("there is no host".to_owned());
        for step in 0..url.hosts.len() {
            let place = (place + step) % url.hosts.len();
            let Some(host) = url.hosts.get(place) else {
                break;
            };
            match Self::open_one(url, host, tls.cloned()).await {
                Ok(connection) => return Ok((connection, place)),
                Err(failed) => fault = failed,
            }
        }
        Err(fault)
    }

    async fn open_one(
        url: &PostgresUrl,
        host: &Config,
        tls: Option<MakeTls>,
    ) -> Result<Self, Fault> {
        let is_warned = Arc::new(AtomicBool::new(false));
        let warned = Arc::clone(&is_warned);
        let opened = async {
            match tls {
                Some(tls) => {
                    let (client, connection) = host.connect(tls).await.map_err(not_opened)?;
                    Ok((client, tokio::spawn(pump(connection, warned))))
                }
                None => {
                    let (client, connection) = host.connect(NoTls).await.map_err(not_opened)?;
                    Ok((client, tokio::spawn(pump(connection, warned))))
                }
            }
        };
        let opened = tokio::time::timeout(url.deadline, opened).await;
        let (client, pump) =
            opened.unwrap_or_else(|_| Err(Fault::Lost(no_answer(url.deadline))))?;
        let connection = Self {
            client,
            pump,
            is_warned,
            is_within: AtomicBool::new(false),
            durability: url.durability,
            deadline: url.deadline,
            idle_time_max: 2 * url.deadline,
        };
        match connection.check_durability().await {
            Ok(()) => Ok(connection),
            Err(fault) => {
                connection.cut();
                Err(fault.before_commit())
            }
        }
    }

    /// Refuses a setting with which the database could lose what it confirms, unless it may. A
    /// database that does not know a setting does not have the danger.
    async fn check_durability(&self) -> Result<(), Fault> {
        if self.durability == Durability::Unchecked {
            return Ok(());
        }
        let sql = "SELECT name, current_setting(name, true) FROM (VALUES ('fsync'), \
            ('full_page_writes'), ('synchronous_commit'), ('client_min_messages')) \
            AS needed (name)";
        for row in self.query(sql, &[]).await? {
            let (name, value): (String, Option<String>) = (get(&row, 0)?, get(&row, 1)?);
            let is_unsafe = match (name.as_str(), value.as_deref()) {
                // With `local`, a commit waits for no standby, also where one is named.
                ("synchronous_commit", Some(value)) => ["off", "local"].contains(&value),
                // A commit that no standby has is told from others by its warning.
                ("client_min_messages", Some(value)) => {
                    ["error", "fatal", "panic"].contains(&value)
                }
                (_, value) => value == Some("off"),
            };
            if is_unsafe {
                let value = value.unwrap_or_default();
                return Err(Fault::NotDurable(format!("{name} is {value}")));
            }
        }
        Ok(())
    }

    /// Gives statements the time that those of an operator may take.
    pub(super) fn be_patient(&mut self) {
        self.deadline = PATIENCE;
    }

    /// Whether the database has closed it.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Whether the next statement would be in no transaction, and may arrive.
    pub(super) fn is_usable(&self) -> bool {
        !self.is_closed() && !self.is_within.load(Ordering::SeqCst)
    }

    /// Closes the socket at once, and tells the database nothing.
    pub(super) fn cut(self) {
        self.pump.abort();
    }

    /// Runs a statement, and returns all rows after the database is ready for the next one: outside
    /// of a transaction, the statement is committed then. The statement is unnamed, so that each may
    /// run on another connection of a pooler.
    pub(super) async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Fault> {
        self.bounded(self.client.query_typed(sql, params)).await
    }

    /// Runs a statement without rows, and returns the number of rows that it changed.
    pub(super) async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, Fault> {
        let params = params.iter().map(|(value, kind)| (*value, kind.clone()));
        let params: Vec<_> = params.collect();
        self.bounded(self.client.execute_typed(sql, &params)).await
    }

    /// The only row of a statement.
    pub(super) async fn one(&self, sql: &str, params: &[Param<'_>]) -> Result<Row, Fault> {
        let rows = self.query(sql, params).await?;
        rows.into_iter().next().ok_or_else(no_row)
    }

    /// Begins a transaction. The database ends it if this process says nothing for a while.
    pub(super) async fn begin(&self) -> Result<(), Fault> {
        let begin = self.begun(self.idle_time_max);
        self.batch(&begin).await.map_err(Fault::before_commit)
    }

    /// Begins a transaction with a statement that may take long.
    pub(super) async fn begin_slow(&self, sql: &str) -> Result<(), Fault> {
        let begin = self.begun(Duration::from_secs(60));
        let begun = self.batch_slow(&format!("{begin}; {sql}")).await;
        begun.map_err(Fault::before_commit)
    }

    /// The statements that begin a transaction. If one of them fails, it may have begun.
    fn begun(&self, idle_time_max: Duration) -> String {
        self.is_within.store(true, Ordering::SeqCst);
        let idle = idle_time_max.as_millis();
        format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; \
             SET LOCAL idle_in_transaction_session_timeout = {idle}"
        )
    }

    /// Commits a transaction.
    pub(super) async fn commit(&self) -> Result<(), Fault> {
        self.is_warned.store(false, Ordering::SeqCst);
        self.batch("COMMIT").await?;
        self.is_within.store(false, Ordering::SeqCst);
        self.check_unwarned()
    }

    /// Which database answers: another value after a restart, and on another host.
    pub(super) async fn identity(&self) -> Result<String, Fault> {
        let sql = "SELECT pg_catalog.pg_postmaster_start_time()::text";
        get(&self.one(sql, &[]).await?, 0)
    }

    /// Commits a change that changes nothing, within the time of a statement.
    pub(super) async fn probe_soon(&self) -> Result<(), Fault> {
        self.probe(self.deadline).await
    }

    /// Commits a change that changes nothing, within a time. It waits for all that a commit waits
    /// for.
    pub(super) async fn probe(&self, within: Duration) -> Result<(), Fault> {
        self.check_durability().await?;
        // It changes no account, and needs what a change of one needs.
        let sql = format!(
            "WITH none AS (UPDATE passmate.account SET note = note WHERE number = '')
             UPDATE passmate.totals SET accounts = accounts WHERE {SLOT}"
        );
        self.is_warned.store(false, Ordering::SeqCst);
        match tokio::time::timeout(within, self.client.execute_typed(&sql, &[])).await {
            Err(_) => return Err(Fault::Unknown(no_answer(within))),
            Ok(done) => done.map_err(|error| Fault::of(&error))?,
        };
        self.check_unwarned()
    }

    /// Runs a statement that is a transaction of its own.
    pub(super) async fn commit_alone(
        &self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, Fault> {
        self.is_warned.store(false, Ordering::SeqCst);
        let rows = self.query(sql, params).await?;
        self.check_unwarned()?;
        Ok(rows)
    }

    /// The pump meets a warning before the end of the statement that it belongs to.
    fn check_unwarned(&self) -> Result<(), Fault> {
        if self.is_warned.load(Ordering::SeqCst) {
            let cause = "the database has committed with a warning, so maybe no standby has it";
            return Err(Fault::Unknown(cause.to_owned()));
        }
        Ok(())
    }

    /// Rolls a transaction back.
    pub(super) async fn roll_back(&self) -> Result<(), Fault> {
        self.batch("ROLLBACK").await.map_err(Fault::before_commit)?;
        self.is_within.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Runs statements without parameters in one go.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Fault> {
        self.bounded(self.client.batch_execute(sql)).await
    }

    /// As [`batch`](Self::batch), for statements that may take long.
    pub(super) async fn batch_slow(&self, sql: &str) -> Result<(), Fault> {
        match tokio::time::timeout(SLOW_TIME_MAX, self.client.batch_execute(sql)).await {
            Err(_) => Err(Fault::Unknown(no_answer(SLOW_TIME_MAX))),
            Ok(done) => done.map_err(|error| Fault::of(&error)),
        }
    }

    async fn bounded<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Fault> {
        match tokio::time::timeout(self.deadline, answer).await {
            Err(_) => Err(Fault::Unknown(no_answer(self.deadline))),
            Ok(Err(error)) => Err(Fault::of(&error)),
            Ok(Ok(value)) => Ok(value),
        }
    }
}

/// A value of a row.
pub(super) fn get<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    place: usize,
) -> Result<T, Fault> {
    row.try_get(place).map_err(|_| {
        let cause = format!("column {} is not what this program stores", place + 1);
        Fault::Refused(EngineError::Damaged(cause))
    })
}

/// Why a connection was not opened. What will not be otherwise a moment later is not tried again.
fn not_opened(error: tokio_postgres::Error) -> Fault {
    let cause = describe(&error);
    if is_crowded(&error) {
        return Fault::Crowded(cause);
    }
    match is_denied(&error) {
        true => Fault::Refused(EngineError::Unavailable(cause)),
        false => Fault::Lost(cause),
    }
}

fn no_row() -> Fault {
    Fault::Refused(EngineError::Damaged("a row is missing".to_owned()))
}

fn no_answer(within: Duration) -> String {
    format!("no answer within {} s", within.as_secs())
}

async fn pump<S, T>(mut connection: tokio_postgres::Connection<S, T>, is_warned: Arc<AtomicBool>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notice(notice) = message {
            let is_warning = matches!(notice.parsed_severity(), Some(Severity::Warning) | None);
            if is_warning {
                is_warned.store(true, Ordering::SeqCst);
            }
        }
    }
}
