//! The tests that every [`Operator`] must pass, beside the engine of the same store. They use the
//! traits alone; an implementation calls [`check`] with a function that makes an empty store.

use super::*;

/// Runs the whole suite. `make` returns both sides of an empty store each time.
pub(crate) fn check<E: Engine, O: Operator>(make: impl Fn() -> (E, O)) {
    let run = |test: fn(&mut E, &mut O)| {
        let (mut engine, mut operator) = make();
        test(&mut engine, &mut operator);
    };
    run(an_invite_admits_one_account);
    run(an_invited_create_may_be_repeated_until_the_first_update);
    run(an_expired_invite_admits_nobody);
    run(invites_and_seats_are_removed_when_they_expire);
    run(an_invite_takes_no_open_seat);
    run(a_refused_create_leaves_the_invite);
    run(a_revoked_invite_admits_nobody);
    run(a_disabled_account_cannot_be_changed);
    run(a_deleted_account_is_in_no_list_and_no_total);
    run(accounts_are_listed_by_number);
    run(an_import_leaves_existing_accounts_as_they_are);
    run(a_sound_store_has_no_findings);
}

fn number(byte: u8) -> AccountNumber {
    AccountNumber::from_bytes([byte; 8]).unwrap()
}

fn auth(byte: u8) -> AuthHash {
    AuthHash::of(&AuthToken::new([byte; 32]))
}

/// An invite for the token of this byte, which expires at 100.
fn invite(byte: u8) -> Invite {
    Invite {
        auth: auth(byte),
        note: "Ada's phone".to_owned(),
        made_at: 0,
        expires_at: 100,
    }
}

/// Open seats that expire at 100.
fn opening(seats: u32) -> Opening {
    Opening {
        seats,
        made_at: 0,
        expires_at: 100,
    }
}

fn create(account: u8, token: u8, btoken: &[u8], at: i64) -> Change {
    Change::Create {
        account: number(account),
        auth: auth(token),
        btoken: Btoken::new(btoken.to_vec()),
        accounts_max: 100,
        admission: Admission::Invited,
        at,
    }
}

fn replace(account: u8, expected: &[u8], btoken: &[u8]) -> Change {
    Change::ReplaceIf {
        account: number(account),
        expected: BtokenHash::of(expected),
        btoken: Btoken::new(btoken.to_vec()),
        at: 6,
    }
}

fn delete(account: u8) -> Change {
    Change::Delete {
        account: number(account),
        auth: auth(account),
    }
}

fn made(account: u8) -> Outcome {
    Outcome::Created(Created::Done(number(account), ()))
}

const NOT_INVITED: Outcome = Outcome::Created(Created::NotInvited);

#[track_caller]
fn commit(engine: &mut impl Engine, changes: &[Change], outcomes: &[Outcome]) {
    assert_eq!(engine.commit(changes).unwrap(), outcomes);
}

fn an_invite_admits_one_account(engine: &mut impl Engine, operator: &mut impl Operator) {
    commit(engine, &[create(1, 1, b"a", 5)], &[NOT_INVITED]);
    operator.invite(&invite(1)).unwrap();
    commit(engine, &[create(2, 2, b"a", 5)], &[NOT_INVITED]);
    commit(engine, &[create(1, 1, b"a", 5)], &[made(1)]);
    assert!(operator.invites(5).unwrap().0.is_empty());
}

fn an_invited_create_may_be_repeated_until_the_first_update(
    engine: &mut impl Engine,
    operator: &mut impl Operator,
) {
    operator.invite(&invite(1)).unwrap();
    commit(engine, &[create(1, 1, b"a", 5)], &[made(1)]);
    commit(engine, &[create(2, 1, b"bb", 500)], &[made(1)]);
    let stored = engine.reader().unwrap().read(number(1)).unwrap().unwrap();
    assert_eq!(&*stored.btoken, b"bb");
    let replaced = Outcome::Replaced(Replaced::Done(()));
    commit(engine, &[replace(1, b"bb", b"c")], &[replaced]);
    commit(engine, &[create(2, 1, b"d", 7)], &[NOT_INVITED]);
    let sum = Sum {
        accounts: 1,
        btoken_bytes: 1,
    };
    assert_eq!(operator.sum().unwrap(), sum);
}

fn an_expired_invite_admits_nobody(engine: &mut impl Engine, operator: &mut impl Operator) {
    operator.invite(&invite(1)).unwrap();
    commit(engine, &[create(1, 1, b"a", 100)], &[NOT_INVITED]);
}

fn invites_and_seats_are_removed_when_they_expire(
    engine: &mut impl Engine,
    operator: &mut impl Operator,
) {
    operator.invite(&invite(1)).unwrap();
    operator.open_seats(opening(3)).unwrap();
    // Listing at 0 removes nothing, so the list shows what an expiry removed.
    let mut left = || {
        let (invites, openings) = operator.invites(0).unwrap();
        (invites.len(), openings.len())
    };
    assert_eq!(left(), (1, 1));
    commit(engine, &[Change::Expire { at: 99 }], &[Outcome::Done]);
    assert_eq!(left(), (1, 1));
    commit(engine, &[Change::Expire { at: 100 }], &[Outcome::Done]);
    assert_eq!(left(), (0, 0));
}

fn an_invite_takes_no_open_seat(engine: &mut impl Engine, operator: &mut impl Operator) {
    operator.open_seats(opening(2)).unwrap();
    operator.invite(&invite(9)).unwrap();
    // In one transaction, as many clients at once are served.
    let crowd = [9, 1, 2, 3].map(|one| create(one, one, b"a", 5));
    let outcomes = [made(9), made(1), made(2), NOT_INVITED];
    commit(engine, &crowd, &outcomes);
    assert!(operator.invites(5).unwrap().1.is_empty());
}

fn a_refused_create_leaves_the_invite(engine: &mut impl Engine, operator: &mut impl Operator) {
    operator.invite(&invite(1)).unwrap();
    operator.invite(&invite(2)).unwrap();
    commit(engine, &[create(1, 1, b"a", 5)], &[made(1)]);
    let taken = Outcome::Created(Created::NumberTaken);
    commit(engine, &[create(1, 2, b"a", 5)], &[taken]);
    assert_eq!(operator.invites(5).unwrap().0.len(), 1);
    commit(engine, &[create(2, 2, b"a", 5)], &[made(2)]);
}

fn a_revoked_invite_admits_nobody(engine: &mut impl Engine, operator: &mut impl Operator) {
    operator.invite(&invite(1)).unwrap();
    operator.open_seats(opening(2)).unwrap();
    assert!(operator.revoke_invite(&auth(1)).unwrap());
    assert!(!operator.revoke_invite(&auth(1)).unwrap());
    assert_eq!(operator.revoke_openings().unwrap(), 2);
    commit(engine, &[create(1, 1, b"a", 5)], &[NOT_INVITED]);
}

fn a_disabled_account_cannot_be_changed(engine: &mut impl Engine, operator: &mut impl Operator) {
    operator.invite(&invite(1)).unwrap();
    commit(engine, &[create(1, 1, b"a", 5)], &[made(1)]);
    assert!(operator.set_access(number(1), Access::Disabled).unwrap());
    let head = engine.reader().unwrap().read_head(&[1; 8]).unwrap();
    assert!(head.unwrap().is_disabled);
    operator.invite(&invite(1)).unwrap();
    let changes = || {
        [
            create(2, 1, b"b", 5),
            replace(1, b"a", b"b"),
            Change::Delete {
                account: number(1),
                auth: auth(1),
            },
        ]
    };
    let refused = [
        NOT_INVITED,
        Outcome::Replaced(Replaced::Stale),
        Outcome::Deleted(Deleted::Gone),
    ];
    commit(engine, &changes(), &refused);
    assert!(operator.account(number(1)).unwrap().unwrap().is_disabled);

    assert!(operator.set_access(number(1), Access::Enabled).unwrap());
    let done = [
        Outcome::Replaced(Replaced::Done(())),
        Outcome::Deleted(Deleted::Done(())),
    ];
    commit(engine, &[replace(1, b"a", b"b"), delete(1)], &done);
    assert!(!operator.set_access(number(1), Access::Disabled).unwrap());
    assert!(operator.accounts().unwrap().is_empty());
}

fn a_deleted_account_is_in_no_list_and_no_total(
    engine: &mut impl Engine,
    operator: &mut impl Operator,
) {
    operator.open_seats(opening(2)).unwrap();
    let changes = [create(1, 1, &[7; 5000], 5), create(2, 2, b"b", 6)];
    commit(engine, &changes, &[made(1), made(2)]);
    assert!(operator.delete_account(number(1)).unwrap());
    assert!(!operator.delete_account(number(1)).unwrap());
    assert_eq!(operator.account(number(1)).unwrap(), None);
    assert_eq!(operator.accounts().unwrap().len(), 1);
    let sum = Sum {
        accounts: 1,
        btoken_bytes: 1,
    };
    assert_eq!(operator.sum().unwrap(), sum);
}

fn accounts_are_listed_by_number(engine: &mut impl Engine, operator: &mut impl Operator) {
    operator.open_seats(opening(2)).unwrap();
    commit(engine, &[create(2, 2, b"bb", 6)], &[made(2)]);
    commit(engine, &[create(1, 1, b"a", 5)], &[made(1)]);
    let replaced = Outcome::Replaced(Replaced::Done(()));
    commit(engine, &[replace(1, b"a", b"new")], &[replaced]);
    let first = Account {
        number: number(1),
        btoken_len: 3,
        created_at: 5,
        changed_at: 6,
        is_disabled: false,
    };
    let listed = operator.accounts().unwrap();
    assert_eq!((listed.len(), listed[0]), (2, first));
    assert_eq!(operator.account(number(1)).unwrap(), Some(first));
}

fn an_import_leaves_existing_accounts_as_they_are(
    engine: &mut impl Engine,
    operator: &mut impl Operator,
) {
    let foreign = |byte: u8, btoken: &[u8]| ForeignAccount {
        number: number(byte),
        auth_token: AuthToken::new([byte; 32]),
        btoken: btoken.to_vec(),
        at: 7,
    };
    operator.open_seats(opening(1)).unwrap();
    commit(engine, &[create(1, 1, b"own", 5)], &[made(1)]);
    let all = [foreign(1, b"other"), foreign(4, b"new"), foreign(5, b"")];
    assert_eq!(operator.import(&all).unwrap(), [false, true, true]);
    assert_eq!(operator.import(&all).unwrap(), [false; 3]);
    let mut reader = engine.reader().unwrap();
    assert_eq!(&*reader.read(number(1)).unwrap().unwrap().btoken, b"own");
    assert_eq!(&*reader.read(number(4)).unwrap().unwrap().btoken, b"new");
    let head = reader.read_head(&[4; 8]).unwrap().unwrap();
    assert!(head.auth.ct_eq(&auth(4)));
    operator.check(&mut |finding| panic!("{finding}")).unwrap();
}

fn a_sound_store_has_no_findings(engine: &mut impl Engine, operator: &mut impl Operator) {
    operator.open_seats(opening(2)).unwrap();
    let changes = [create(1, 1, &[7; 5000], 5), create(2, 2, b"", 6)];
    commit(engine, &changes, &[made(1), made(2)]);
    let checked = operator.check(&mut |finding| panic!("{finding}")).unwrap();
    let sum = Sum {
        accounts: 2,
        btoken_bytes: 5000,
    };
    assert_eq!((checked, operator.sum().unwrap()), (sum, sum));
}
