use super::super::lock::{lock_file, lock_path};
use super::*;
use crate::store::{Admission, Btoken, BtokenHash, Change, Engine, Outcome, Reader};

fn auth(byte: u8) -> AuthHash {
    AuthHash([byte; 32])
}

fn invite(byte: u8, expires_at: i64) -> Invite {
    Invite {
        auth: auth(byte),
        note: "Ada's phone".to_owned(),
        made_at: 0,
        expires_at,
    }
}

fn create(number: u8, token: u8, btoken: &[u8], at: i64) -> Change {
    Change::Create {
        account: AccountNumber::from_bytes([number; 8]).unwrap(),
        auth: auth(token),
        btoken: Btoken::new(btoken.to_vec()),
        accounts_max: 100,
        admission: Admission::Invited,
        at,
    }
}

/// A server's engine and an operator beside it.
fn both(dir: &tempfile::TempDir) -> (Sqlite, AdminStore) {
    let path = dir.path().join("passmate.db");
    (
        Sqlite::open(&path).unwrap(),
        AdminStore::open(&path).unwrap(),
    )
}

fn once(engine: &mut Sqlite, change: Change) -> Outcome {
    engine.commit(&[change]).unwrap().remove(0)
}

#[test]
fn an_invite_makes_one_account_and_is_gone_with_its_note() {
    let dir = tempfile::tempdir().unwrap();
    let (mut engine, mut admin) = both(&dir);
    assert_eq!(
        once(&mut engine, create(1, 1, b"a", 5)),
        Outcome::NotInvited
    );
    admin.invite(&invite(1, 100)).unwrap();
    assert_eq!(
        once(&mut engine, create(2, 2, b"a", 5)),
        Outcome::NotInvited
    );
    assert_eq!(once(&mut engine, create(1, 1, b"a", 5)), Outcome::Done);
    assert!(admin.invites(5).unwrap().0.is_empty());
    engine.tidy().unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(
            !bytes.windows(11).any(|part| part == b"Ada's phone"),
            "the note is in a file"
        );
    }
}

#[test]
fn an_account_whose_number_was_not_heard_is_given_once_more_until_it_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let (mut engine, mut admin) = both(&dir);
    admin.invite(&invite(1, 100)).unwrap();
    assert_eq!(once(&mut engine, create(1, 1, b"a", 5)), Outcome::Done);
    let first = AccountNumber::from_bytes([1; 8]).unwrap();
    assert_eq!(
        once(&mut engine, create(2, 1, b"bb", 500)),
        Outcome::Again(first)
    );
    let mut reader = engine.reader().unwrap();
    let stored = reader.read(first).unwrap().unwrap();
    assert_eq!(&*stored.btoken, b"bb");
    let update = Change::ReplaceIf {
        account: first,
        expected: stored.hash,
        btoken: Btoken::new(b"c".to_vec()),
        at: 6,
    };
    assert_eq!(once(&mut engine, update), Outcome::Done);
    assert_eq!(
        once(&mut engine, create(2, 1, b"d", 7)),
        Outcome::NotInvited
    );
    let totals: (i64, i64) = admin
        .connection
        .query_row("SELECT accounts, btoken_bytes FROM totals", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(totals, (1, 1));
}

#[test]
fn an_invite_lets_nobody_in_when_its_time_is_over_and_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (mut engine, mut admin) = both(&dir);
    admin.invite(&invite(1, 100)).unwrap();
    assert_eq!(
        once(&mut engine, create(1, 1, b"a", 100)),
        Outcome::NotInvited
    );
    let left = |admin: &AdminStore| -> i64 {
        sqlite::one(
            &admin.connection,
            "SELECT (SELECT count(*) FROM invite) + (SELECT count(*) FROM opening)",
            [],
        )
        .unwrap()
    };
    admin
        .open_seats(Opening {
            seats: 3,
            made_at: 0,
            expires_at: 100,
        })
        .unwrap();
    assert_eq!(left(&admin), 2);
    assert_eq!(once(&mut engine, Change::Expire { at: 99 }), Outcome::Done);
    assert_eq!(left(&admin), 2);
    assert_eq!(once(&mut engine, Change::Expire { at: 100 }), Outcome::Done);
    assert_eq!(left(&admin), 0);
}

#[test]
fn open_seats_are_taken_one_by_one_and_an_invite_takes_none() {
    let dir = tempfile::tempdir().unwrap();
    let (mut engine, mut admin) = both(&dir);
    admin
        .open_seats(Opening {
            seats: 2,
            made_at: 0,
            expires_at: 100,
        })
        .unwrap();
    admin.invite(&invite(9, 100)).unwrap();
    // All in one transaction, as a crowd comes.
    let crowd: Vec<_> = [9, 1, 2, 3]
        .into_iter()
        .map(|one| create(one, one, b"a", 5))
        .collect();
    let outcomes = engine.commit(&crowd).unwrap();
    assert_eq!(
        outcomes,
        [
            Outcome::Done,
            Outcome::Done,
            Outcome::Done,
            Outcome::NotInvited
        ]
    );
    assert!(admin.invites(5).unwrap().1.is_empty());
}

#[test]
fn a_refused_create_leaves_the_invite() {
    let dir = tempfile::tempdir().unwrap();
    let (mut engine, mut admin) = both(&dir);
    admin.invite(&invite(1, 100)).unwrap();
    admin.invite(&invite(2, 100)).unwrap();
    assert_eq!(once(&mut engine, create(1, 1, b"a", 5)), Outcome::Done);
    assert_eq!(
        once(&mut engine, create(1, 2, b"a", 5)),
        Outcome::NumberTaken
    );
    assert_eq!(admin.invites(5).unwrap().0.len(), 1);
    assert_eq!(once(&mut engine, create(2, 2, b"a", 5)), Outcome::Done);
}

#[test]
fn what_is_revoked_lets_nobody_in() {
    let dir = tempfile::tempdir().unwrap();
    let (mut engine, mut admin) = both(&dir);
    admin.invite(&invite(1, 100)).unwrap();
    admin
        .open_seats(Opening {
            seats: 2,
            made_at: 0,
            expires_at: 100,
        })
        .unwrap();
    assert!(admin.revoke_invite(&auth(1)).unwrap());
    assert!(!admin.revoke_invite(&auth(1)).unwrap());
    assert_eq!(admin.revoke_openings().unwrap(), 2);
    assert_eq!(
        once(&mut engine, create(1, 1, b"a", 5)),
        Outcome::NotInvited
    );
}

#[test]
fn a_disabled_account_cannot_be_changed_or_made_again_and_an_enabled_one_can() {
    let dir = tempfile::tempdir().unwrap();
    let (mut engine, mut admin) = both(&dir);
    admin.invite(&invite(1, 100)).unwrap();
    assert_eq!(once(&mut engine, create(1, 1, b"a", 5)), Outcome::Done);
    let number = AccountNumber::from_bytes([1; 8]).unwrap();
    let replace = || {
        let btoken = Btoken::new(b"b".to_vec());
        Change::ReplaceIf {
            account: number,
            expected: BtokenHash::of(b"a"),
            btoken,
            at: 6,
        }
    };
    let delete = || Change::Delete {
        account: number,
        auth: auth(1),
    };
    assert!(admin.set_disabled(number, true).unwrap());
    assert!(
        engine
            .reader()
            .unwrap()
            .read_head(&[1; 8])
            .unwrap()
            .unwrap()
            .is_disabled
    );
    admin.invite(&invite(1, 100)).unwrap();
    let outcomes = engine
        .commit(&[create(2, 1, b"b", 5), replace(), delete()])
        .unwrap();
    assert_eq!(
        outcomes,
        [Outcome::NotInvited, Outcome::Stale, Outcome::Gone]
    );
    assert!(admin.account(number).unwrap().unwrap().is_disabled);
    assert!(admin.set_disabled(number, false).unwrap());
    assert_eq!(
        engine.commit(&[replace(), delete()]).unwrap(),
        [Outcome::Done; 2]
    );
    assert!(!admin.set_disabled(number, true).unwrap() && admin.accounts().unwrap().is_empty());
}

#[test]
fn an_account_that_its_operator_deletes_is_in_no_file_and_in_no_sum() {
    let dir = tempfile::tempdir().unwrap();
    let (mut engine, mut admin) = both(&dir);
    admin
        .open_seats(Opening {
            seats: 2,
            made_at: 0,
            expires_at: 100,
        })
        .unwrap();
    let sealed = b"sealed in this way and no other".repeat(200);
    engine
        .commit(&[create(1, 1, &sealed, 5), create(2, 2, b"b", 6)])
        .unwrap();
    let number = AccountNumber::from_bytes([1; 8]).unwrap();
    let listed = admin.accounts().unwrap();
    let of = |account: &Account| {
        (
            account.number,
            account.btoken_len,
            account.created_at,
            account.is_disabled,
        )
    };
    assert_eq!(of(&listed[0]), (number, sealed.len() as u64, 5, false));
    assert!(admin.delete_account(number).unwrap() && !admin.delete_account(number).unwrap());
    assert_eq!(admin.accounts().unwrap().len(), 1);
    let totals: (i64, i64) = admin
        .connection
        .query_row("SELECT accounts, btoken_bytes FROM totals", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(totals, (1, 1));
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(
            !bytes.windows(16).any(|part| part == b"sealed in this w"),
            "the btoken is in a file"
        );
    }
}

#[test]
fn a_store_of_the_first_schema_is_brought_up_to_date_unless_a_server_uses_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passmate.db");
    assert!(matches!(
        AdminStore::open(&path),
        Err(StoreError::Missing { .. })
    ));
    crate::store::make_first_schema(&path);
    let server = lock_file(lock_path(&path)).unwrap();
    assert!(matches!(
        AdminStore::open(&path),
        Err(StoreError::OlderServer { .. })
    ));
    drop(server);
    let mut admin = AdminStore::open(&path).unwrap();
    admin.invite(&invite(1, 100)).unwrap();
    assert_eq!(admin.invites(5).unwrap().0.len(), 1);
}
