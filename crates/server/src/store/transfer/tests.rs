use passmate_proto::AuthToken;
use passmate_testkit::postgres::Database;

use super::*;
use crate::clock::DAY;
use crate::store::{
    Access, Admission, AuthHash, Btoken, Change, Created, Engine, Notes, Operator, Outcome,
    Replaced, Revision, Sqlite, StoreUrl, operator_suite,
};

fn number(byte: u8) -> AccountNumber {
    AccountNumber::from_bytes([byte; 8]).unwrap()
}

fn auth(byte: u8) -> AuthHash {
    AuthHash::of(&AuthToken::new([byte; 32]))
}

fn create(byte: u8, btoken: &[u8], admission: Admission) -> Change {
    Change::Create {
        account: number(byte),
        auth: auth(byte),
        btoken: Btoken::of(btoken.to_vec()),
        accounts_max: 1000,
        admission,
        at: 5,
    }
}

fn replace(byte: u8, expected: &[u8], btoken: &[u8]) -> Change {
    Change::ReplaceIf {
        account: number(byte),
        expected: Revision::of(expected),
        btoken: Btoken::of(btoken.to_vec()),
        at: 6,
    }
}

fn operator(store: &StoreUrl) -> Box<dyn Operator> {
    store.operator(operator_suite::actor()).unwrap()
}

/// A store with accounts of every kind, and everything beside them.
fn fill(store: &StoreUrl) {
    let StoreUrl::Sqlite(path) = store else {
        panic!("it is no file")
    };
    let mut engine = Sqlite::open(path).unwrap();
    let mut operator = operator(store);
    for byte in [1, 9] {
        let invite = Invite {
            auth: auth(byte),
            note: "Ada's phone \u{1f4f1}".to_owned(),
            made_at: 0,
            expires_at: 100,
        };
        operator.invite(&invite).unwrap();
    }
    let opening = Opening {
        seats: 3,
        made_at: 0,
        expires_at: 100,
    };
    operator.open_seats(opening).unwrap();
    let large = vec![0xA5; 1 << 20];
    let changes = [
        create(1, b"invited", Admission::Invited),
        create(2, b"", Admission::Anyone),
        create(3, &large, Admission::Anyone),
        create(4, b"disabled", Admission::Anyone),
        create(5, b"noted", Admission::Anyone),
        replace(5, b"noted", b"replaced"),
    ];
    engine.commit(&changes).unwrap();
    operator.set_access(number(4), Access::Disabled).unwrap();
    operator.set_note(number(5), "Bob").unwrap();
    operator.set_limit(number(5), Some(4096)).unwrap();
    let notes = Notes {
        synced: [(number(5), 3 * DAY)].into(),
        ..Notes::default()
    };
    engine.write_notes(&notes).unwrap();
}

fn pass(from: &StoreUrl, to: &StoreUrl) -> Result<Copied, StoreError> {
    let mut target = to.intake()?;
    target.begin()?;
    copy(&*from.inspector()?, &mut *target, &mut |_| {})
}

fn finish(to: &StoreUrl) {
    let actor = operator_suite::actor();
    let mut target = to.intake().unwrap();
    target.begin().unwrap();
    target.finish(&actor, Action::MigrateStore, "").unwrap();
}

/// Checks that two stores hold the same, but for the record of the migration.
#[track_caller]
fn check_same(one: &StoreUrl, other: &StoreUrl) {
    let (one, other) = (one.inspector().unwrap(), other.inspector().unwrap());
    assert_eq!(content(&*one).unwrap(), content(&*other).unwrap());
    assert_eq!(one.accounts().unwrap(), other.accounts().unwrap());
    assert_eq!(one.sum().unwrap(), other.sum().unwrap());
    let rest = |store: &dyn Inspector| {
        let mut rest = Rest::of(store).unwrap();
        rest.audit.retain(|record| record.action != "migrate-store");
        let invites = rest.invites.iter();
        let invites: Vec<_> = invites
            .map(|one| (one.auth.0, one.note.clone(), one.made_at, one.expires_at))
            .collect();
        (invites, rest.openings, rest.audit, rest.known_since)
    };
    assert_eq!(rest(&*one), rest(&*other));
    for store in [one, other] {
        store.check(&mut |finding| panic!("{finding}")).unwrap();
    }
}

#[test]
fn a_store_moves_to_the_other_engine_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| StoreUrl::sqlite(dir.path().join(name));
    let (source, back) = (file("source.db"), file("back.db"));
    let database = Database::new();
    let target: StoreUrl = database.url().parse().unwrap();
    fill(&source);
    let all = Copied { put: 5, removed: 0 };
    assert_eq!(pass(&source, &target).unwrap(), all);
    check_same(&source, &target);
    finish(&target);
    assert_eq!(pass(&target, &back).unwrap(), all);
    finish(&back);
    check_same(&source, &back);

    // It goes on where it was.
    let mut engine = match &back {
        StoreUrl::Sqlite(path) => Sqlite::open(path).unwrap(),
        StoreUrl::Postgres(_) => panic!("it is a file"),
    };
    // The invite of the device is used up, and it has not stored anything since.
    let again = create(77, b"once more", Admission::Invited);
    let again = match again {
        Change::Create {
            account,
            btoken,
            accounts_max,
            admission,
            at,
            ..
        } => Change::Create {
            auth: auth(1),
            account,
            btoken,
            accounts_max,
            admission,
            at,
        },
        other => other,
    };
    let outcomes = engine.commit(&[again, replace(2, b"", b"new")]).unwrap();
    let made = Outcome::Created(Created::Done(number(1), ()));
    assert_eq!(outcomes, [made, Outcome::Replaced(Replaced::Done(()))]);
    let invites = operator(&back).look().invites(5).unwrap();
    assert_eq!((invites.0.len(), invites.1.len()), (1, 1));
}

#[test]
fn a_pass_copies_what_differs_and_no_server_opens_the_target_before_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let source = StoreUrl::sqlite(dir.path().join("source.db"));
    let database = Database::new();
    let target: StoreUrl = database.url().parse().unwrap();
    fill(&source);
    pass(&source, &target).unwrap();
    let refused = target.open(|error| panic!("{error}")).unwrap_err();
    assert!(
        matches!(refused, StoreError::Unfinished { .. }),
        "{refused}"
    );
    assert_eq!(pass(&source, &target).unwrap(), Copied::default());
    let path = source.file().unwrap();
    let delete = Change::Delete {
        account: number(3),
        auth: auth(3),
    };
    let changes = [
        replace(2, b"", b"changed"),
        delete,
        create(250, b"last", Admission::Anyone),
    ];
    Sqlite::open(path).unwrap().commit(&changes).unwrap();
    operator(&source).set_note(number(1), "Eve").unwrap();
    let changed = Copied { put: 3, removed: 1 };
    assert_eq!(pass(&source, &target).unwrap(), changed);
    check_same(&source, &target);
    finish(&target);
    let refused = pass(&source, &target).unwrap_err();
    assert!(matches!(refused, StoreError::NotEmpty { .. }), "{refused}");
    drop(target.open(|error| panic!("{error}")).unwrap());
}

#[test]
fn a_transfer_that_was_forgotten_writes_nothing_after_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let source = StoreUrl::sqlite(dir.path().join("source.db"));
    let database = Database::new();
    let target: StoreUrl = database.url().parse().unwrap();
    fill(&source);
    let source = source.inspector().unwrap();
    let mut forgotten = target.intake().unwrap();
    forgotten.begin().unwrap();
    let mut later = target.intake().unwrap();
    later.begin().unwrap();
    copy(&*source, &mut *forgotten, &mut |_| {}).unwrap_err();
    copy(&*source, &mut *later, &mut |_| {}).unwrap();
    let actor = operator_suite::actor();
    later.finish(&actor, Action::MigrateStore, "").unwrap();
    // A device stores something new there, and the first run would take it back.
    database.sql("UPDATE passmate.account SET btoken = 'new', btoken_len = 3 WHERE btoken_len = 0");
    forgotten.remove(&[number(2)]).unwrap_err();
    copy(&*source, &mut *forgotten, &mut |_| {}).unwrap_err();
    forgotten
        .finish(&actor, Action::MigrateStore, "")
        .unwrap_err();
    let stored = "SELECT convert_from(btoken, 'UTF8') FROM passmate.account WHERE btoken_len = 3";
    assert_eq!(database.sql(stored), "new");
}

#[test]
fn many_accounts_are_compared_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let source = StoreUrl::sqlite(dir.path().join("source.db"));
    let target = StoreUrl::sqlite(dir.path().join("target.db"));
    let numbered = |number: u64| AccountNumber::from_bytes(number.to_be_bytes()).unwrap();
    let creates: Vec<_> = (1..=2 * PAGE as u64)
        .map(|number| Change::Create {
            account: numbered(number),
            auth: auth(1),
            btoken: Btoken::of(number.to_be_bytes().to_vec()),
            accounts_max: u64::MAX,
            admission: Admission::Anyone,
            at: 5,
        })
        .collect();
    let mut engine = Sqlite::open(source.file().unwrap()).unwrap();
    engine.commit(&creates).unwrap();
    drop(engine);
    let all = Copied {
        put: 2 * PAGE as u64,
        removed: 0,
    };
    assert_eq!(pass(&source, &target).unwrap(), all);
    let mut engine = Sqlite::open(source.file().unwrap()).unwrap();
    let last = Change::Delete {
        account: numbered(2 * PAGE as u64),
        auth: auth(1),
    };
    engine.commit(&[last]).unwrap();
    drop(engine);
    let changed = Copied { put: 0, removed: 1 };
    assert_eq!(pass(&source, &target).unwrap(), changed);
    check_same(&source, &target);
}

#[test]
fn a_damaged_account_stops_it() {
    let dir = tempfile::tempdir().unwrap();
    let source = StoreUrl::sqlite(dir.path().join("source.db"));
    let database = Database::new();
    let damaged: StoreUrl = database.url().parse().unwrap();
    fill(&source);
    pass(&source, &damaged).unwrap();
    finish(&damaged);
    database.sql("UPDATE passmate.account SET btoken = 'x' WHERE number = '\\x0404040404040404'");
    let target = StoreUrl::sqlite(dir.path().join("target.db"));
    let error = pass(&damaged, &target).unwrap_err().to_string();
    assert!(error.contains("account 0404040404040404"), "{error}");
}
