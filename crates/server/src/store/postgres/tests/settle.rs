//! Commits whose answer gets lost: nobody is told of a change that did not take place.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use passmate_testkit::postgres::Database;
use passmate_testkit::wait::until;

use super::{create, made, number, url};
use crate::store::postgres::Postgres;
use crate::store::{
    Admission, AuthHash, Btoken, Change, Deleted, Engine, Outcome, Reader, Replaced, Revision,
};

/// Nothing is lost.
const NEVER: i32 = -1;

/// A network in front of the database, which loses what a test wants.
struct Network {
    dir: tempfile::TempDir,
    /// How many messages of the server, and of the client, pass before the one that is lost with its
    /// connection.
    answers: Arc<AtomicI32>,
    questions: Arc<AtomicI32>,
}

impl Network {
    fn before(database: &Database) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let never = || Arc::new(AtomicI32::new(NEVER));
        let (answers, questions) = (never(), never());
        let listener = UnixListener::bind(dir.path().join(".s.PGSQL.5432")).unwrap();
        let to = database.socket_folder().join(".s.PGSQL.5432");
        let network = Self {
            dir,
            answers: Arc::clone(&answers),
            questions: Arc::clone(&questions),
        };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = UnixStream::connect(&to).unwrap();
                let ways = [(&client, &server, &questions), (&server, &client, &answers)];
                for (from, to, left) in ways {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let left = Arc::clone(left);
                    thread::spawn(move || carry(from, to, &left));
                }
            }
        });
        network
    }

    fn url(&self, database: &Database) -> String {
        let socket = self.dir.path().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{socket}/{}", database.name)
    }

    /// Loses an answer after so many others.
    fn lose_answer(&self, after: i32) {
        self.answers.store(after, Ordering::SeqCst);
    }

    /// Loses the next thing that is sent to the database.
    fn lose_question(&self) {
        self.questions.store(0, Ordering::SeqCst);
    }

    /// What was planned has happened.
    fn has_lost(&self) -> bool {
        [&self.answers, &self.questions].map(|left| left.load(Ordering::SeqCst)) == [NEVER; 2]
    }
}

fn carry(mut from: UnixStream, mut to: UnixStream, left: &AtomicI32) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(len @ 1..) = from.read(&mut bytes) {
        let is_lost = match left.load(Ordering::SeqCst) {
            NEVER => false,
            _ => left.fetch_sub(1, Ordering::SeqCst) == 0,
        };
        if is_lost || to.write_all(&bytes[..len]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn replace(byte: u8, expected: &[u8], btoken: &[u8]) -> Change {
    Change::ReplaceIf {
        account: number(byte),
        expected: Revision::of(expected),
        btoken: Btoken::of(btoken.to_vec()),
        at: 2,
    }
}

fn delete(byte: u8) -> Change {
    Change::Delete {
        account: number(byte),
        auth: AuthHash::of(&passmate_proto::AuthToken::new([byte; 32])),
    }
}

const REPLACED: Outcome = Outcome::Replaced(Replaced::Done(()));
const STALE: Outcome = Outcome::Replaced(Replaced::Stale);

/// A store with accounts 1 to 3 that hold `a`, behind a network.
fn store(database: &Database) -> (Network, Postgres) {
    let network = Network::before(database);
    let mut engine = Postgres::open(&url(&network.url(database))).unwrap();
    for byte in 1..=3 {
        let change = create(byte, b"a", Admission::Anyone);
        assert_eq!(engine.commit(&[change]).unwrap(), [made(byte)]);
    }
    (network, engine)
}

#[test]
fn a_commit_whose_answer_is_lost_is_confirmed_when_it_is_found() {
    let database = Database::new();
    let (network, mut engine) = store(&database);
    for (is_answer, from, to) in [(true, b"a", b"b"), (false, b"b", b"c")] {
        match is_answer {
            true => network.lose_answer(0),
            false => network.lose_question(),
        }
        let both = [replace(1, from, to), replace(2, from, to)];
        assert_eq!(engine.commit(&both).unwrap(), [REPLACED, REPLACED]);
        assert!(network.has_lost());
        let stored = engine.reader().unwrap().read(number(1)).unwrap().unwrap();
        assert_eq!(&*stored.btoken, to);
    }
    network.lose_answer(0);
    assert_eq!(engine.commit(&[Change::Probe]).unwrap(), [Outcome::Done]);
    let sum = "SELECT sum(accounts), sum(btoken_bytes) FROM passmate.totals";
    assert_eq!(database.sql(sum), "3|3");
}

#[test]
fn what_somebody_else_has_replaced_meanwhile_stays_unknown() {
    let database = Database::new();
    let (network, mut engine) = store(&database);
    // A lost race is known if the answer is.
    let lost = [replace(1, b"x", b"b")];
    assert_eq!(engine.commit(&lost).unwrap(), [STALE]);
    network.lose_answer(0);
    let changes = [replace(1, b"x", b"b"), replace(2, b"a", b"b")];
    assert_eq!(
        engine.commit(&changes).unwrap(),
        [Outcome::Unknown, REPLACED]
    );
}

#[test]
fn a_transaction_that_is_lost_before_its_commit_is_made_once() {
    let database = Database::new();
    let (network, mut engine) = store(&database);
    network.lose_question();
    let changes = [create(4, b"new", Admission::Anyone), delete(3), delete(9)];
    let gone = Outcome::Deleted(Deleted::Gone);
    let deleted = Outcome::Deleted(Deleted::Done(()));
    assert_eq!(engine.commit(&changes).unwrap(), [made(4), deleted, gone]);
    let sum = "SELECT sum(accounts), sum(btoken_bytes) FROM passmate.totals";
    assert_eq!(database.sql(sum), "3|5");
}

#[test]
fn a_commit_with_a_warning_is_no_confirmation() {
    let database = Database::new();
    let (_network, mut engine) = store(&database);
    database.sql(
        "CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE WARNING 'canceling wait for synchronous replication'; RETURN NEW; END $$; \
         CREATE TRIGGER warn AFTER UPDATE ON passmate.account FOR EACH ROW EXECUTE FUNCTION warn()",
    );
    let changes = [replace(1, b"a", b"b")];
    assert_eq!(engine.commit(&changes).unwrap(), [Outcome::Unknown]);
    database.sql("DROP TRIGGER warn ON passmate.account");
    // Several commits have failed, so nobody is let in until one has shown that commits work.
    let engine = RefCell::new(engine);
    let works = || engine.borrow_mut().commit(&[Change::Probe]).is_ok();
    until("the database works again", works);
    let mut engine = engine.into_inner();
    // It has taken place, as the next look finds.
    let changes = [replace(1, b"b", b"c")];
    assert_eq!(engine.commit(&changes).unwrap(), [REPLACED]);
}

#[test]
fn a_create_whose_commit_is_lost_is_found() {
    let database = Database::new();
    let (network, mut engine) = store(&database);
    // The answers are those to the begin, the count, the insert, the totals and the commit. Whichever
    // is lost, one account is made, and it is confirmed.
    for (byte, after) in (4..).zip(0..5) {
        network.lose_answer(after);
        let change = create(byte, b"new", Admission::Anyone);
        assert_eq!(
            engine.commit(&[change]).unwrap(),
            [made(byte)],
            "after {after}"
        );
        assert!(network.has_lost(), "after {after}");
    }
    let sum = "SELECT sum(accounts), sum(btoken_bytes) FROM passmate.totals";
    assert_eq!(database.sql(sum), "8|18");
    assert_eq!(database.sql("SELECT count(*) FROM passmate.account"), "8");
}

#[test]
fn a_deletion_whose_commit_is_lost_is_not_repeated() {
    let database = Database::new();
    let (network, mut engine) = store(&database);
    // The answers are those to the begin, the deletion, the totals and the commit.
    network.lose_answer(3);
    assert_eq!(engine.commit(&[delete(3)]).unwrap(), [Outcome::Unknown]);
    assert!(network.has_lost());
    assert_eq!(database.sql("SELECT count(*) FROM passmate.account"), "2");
}
