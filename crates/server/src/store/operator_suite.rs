//! The tests that every [`Operator`] must pass, beside the engine of the same store. They use the
//! traits alone; an implementation calls [`check`] with a function that makes an empty store.

use super::*;
use crate::clock::{DAY, day_of};

/// Runs the whole suite. `make` returns both sides of an empty store each time.
pub(crate) fn check<E: Engine, O: Operator>(make: impl Fn() -> (E, O)) {
    let run = |test: fn(&mut E, &mut O)| {
        let (mut engine, mut operator) = make();
        test(&mut engine, &mut operator);
    };
    run(an_invite_admits_one_account);
    run(an_invite_that_is_prolonged_keeps_its_note);
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
    run(each_change_is_recorded_with_its_actor);
    run(what_changes_nothing_is_not_recorded);
    run(an_import_has_one_record);
    run(an_account_has_a_note_and_a_limit);
    run(a_sync_is_noted_by_its_day);
    run(only_unused_accounts_are_pruned);
    run(times_in_the_future_are_corrected);
}

/// Who the operator of the suite must be opened for.
pub(crate) fn actor() -> Actor {
    Actor {
        at: 50,
        uid: 7,
        user: Some("ada".to_owned()),
        sudo_uid: Some(1000),
    }
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
        btoken: Btoken::of(btoken.to_vec()),
        accounts_max: 1000,
        admission: Admission::Invited,
        at,
    }
}

fn replace(account: u8, expected: &[u8], btoken: &[u8]) -> Change {
    Change::ReplaceIf {
        account: number(account),
        expected: Revision::of(expected),
        btoken: Btoken::of(btoken.to_vec()),
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
    assert!(operator.look().invites(5).unwrap().0.is_empty());
}

fn an_invite_that_is_prolonged_keeps_its_note(_: &mut impl Engine, operator: &mut impl Operator) {
    operator.invite(&invite(1)).unwrap();
    let again = |note: &str| Invite {
        note: note.to_owned(),
        expires_at: 200,
        ..invite(1)
    };
    for (given, kept) in [("", "Ada's phone"), ("Bob", "Bob")] {
        operator.invite(&again(given)).unwrap();
        let found = operator.look().invites(5).unwrap().0;
        let found: Vec<_> = found
            .iter()
            .map(|one| (&*one.note, one.expires_at))
            .collect();
        assert_eq!(found, [(kept, 200)]);
    }
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
    assert_eq!(operator.look().sum().unwrap(), sum);
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
    // At 0 nothing has expired, so the list shows what an expiry removed.
    let left = || {
        let (invites, openings) = operator.look().invites(0).unwrap();
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
    assert!(operator.look().invites(5).unwrap().1.is_empty());
}

fn a_refused_create_leaves_the_invite(engine: &mut impl Engine, operator: &mut impl Operator) {
    operator.invite(&invite(1)).unwrap();
    operator.invite(&invite(2)).unwrap();
    commit(engine, &[create(1, 1, b"a", 5)], &[made(1)]);
    let taken = Outcome::Created(Created::NumberTaken);
    commit(engine, &[create(1, 2, b"a", 5)], &[taken]);
    assert_eq!(operator.look().invites(5).unwrap().0.len(), 1);
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
    assert!(
        operator
            .look()
            .account(number(1))
            .unwrap()
            .unwrap()
            .is_disabled
    );

    assert!(operator.set_access(number(1), Access::Enabled).unwrap());
    let done = [
        Outcome::Replaced(Replaced::Done(())),
        Outcome::Deleted(Deleted::Done(())),
    ];
    commit(engine, &[replace(1, b"a", b"b"), delete(1)], &done);
    assert!(!operator.set_access(number(1), Access::Disabled).unwrap());
    assert!(operator.look().accounts().unwrap().is_empty());
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
    assert_eq!(operator.look().account(number(1)).unwrap(), None);
    assert_eq!(operator.look().accounts().unwrap().len(), 1);
    let sum = Sum {
        accounts: 1,
        btoken_bytes: 1,
    };
    assert_eq!(operator.look().sum().unwrap(), sum);
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
        synced_at: Some(0),
        is_disabled: false,
        limit: None,
        note: String::new(),
    };
    let listed = operator.look().accounts().unwrap();
    assert_eq!((listed.len(), &listed[0]), (2, &first));
    assert_eq!(operator.look().account(number(1)).unwrap(), Some(first));
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
    operator
        .look()
        .check(&mut |finding| panic!("{finding}"))
        .unwrap();
}

fn a_sound_store_has_no_findings(engine: &mut impl Engine, operator: &mut impl Operator) {
    operator.open_seats(opening(2)).unwrap();
    let changes = [create(1, 1, &[7; 5000], 5), create(2, 2, b"", 6)];
    commit(engine, &changes, &[made(1), made(2)]);
    let checked = operator
        .look()
        .check(&mut |finding| panic!("{finding}"))
        .unwrap();
    let sum = Sum {
        accounts: 2,
        btoken_bytes: 5000,
    };
    assert_eq!((checked, operator.look().sum().unwrap()), (sum, sum));
}

/// The commands, accounts and details of all records.
fn records(operator: &impl Operator) -> Vec<(String, Option<AccountNumber>, String)> {
    let records = operator.look().audit(0).unwrap();
    let is_of_actor = |record: &Audited| record.actor == actor();
    assert!(records.iter().all(is_of_actor) && operator.unrecorded().is_none());
    records
        .into_iter()
        .map(|record| (record.action, record.account, record.detail))
        .collect()
}

fn each_change_is_recorded_with_its_actor(engine: &mut impl Engine, operator: &mut impl Operator) {
    operator.invite(&invite(1)).unwrap();
    operator.invite(&invite(2)).unwrap();
    operator.revoke_invite(&auth(2)).unwrap();
    operator.open_seats(opening(3)).unwrap();
    operator.revoke_openings().unwrap();
    commit(engine, &[create(1, 1, b"a", 5)], &[made(1)]);
    operator.set_access(number(1), Access::Disabled).unwrap();
    operator.set_access(number(1), Access::Enabled).unwrap();
    operator.delete_account(number(1)).unwrap();
    operator.record(Action::Backup, "/a/file").unwrap();
    let code = |byte| auth(byte).code().to_string()[..7].to_owned();
    let of = |action: &str, detail: &str| (action.to_owned(), None, detail.to_owned());
    let on = |action: &str| (action.to_owned(), Some(number(1)), String::new());
    let expected = [
        of("invite add", &code(1)),
        of("invite add", &code(2)),
        of("invite revoke", &code(2)),
        of("invite open", "3 seats until 1970-01-01 00:01 UTC"),
        of("invite revoke", "3 open seats"),
        on("account disable"),
        on("account enable"),
        on("account delete"),
        of("backup", "/a/file"),
    ];
    assert_eq!(records(operator), expected);
    assert!(operator.look().audit(51).unwrap().is_empty());
    // A server reads them for its log, once.
    let mut reader = engine.reader().unwrap();
    let unlogged = reader.read_audit(None).unwrap();
    assert_eq!(unlogged.len(), 9);
    assert_eq!(reader.read_audit(Some(unlogged[6].id)).unwrap().len(), 2);
    let audit_logged = Some(unlogged[8].id);
    let notes = Notes {
        audit_logged,
        ..Notes::default()
    };
    engine.write_notes(&notes).unwrap();
    assert!(reader.read_audit(None).unwrap().is_empty());
}

fn what_changes_nothing_is_not_recorded(_: &mut impl Engine, operator: &mut impl Operator) {
    assert!(!operator.set_access(number(1), Access::Disabled).unwrap());
    assert!(!operator.delete_account(number(1)).unwrap());
    assert!(!operator.revoke_invite(&auth(1)).unwrap());
    assert_eq!(operator.revoke_openings().unwrap(), 0);
    assert!(operator.import(&[]).unwrap().is_empty());
    assert!(records(operator).is_empty());
}

fn an_import_has_one_record(_: &mut impl Engine, operator: &mut impl Operator) {
    for byte in 1..=3 {
        let account = ForeignAccount {
            number: number(byte),
            auth_token: AuthToken::new([byte; 32]),
            btoken: vec![0; 10],
            at: 7,
        };
        operator.import(&[account]).unwrap();
    }
    let expected = (
        "import-spr".to_owned(),
        None,
        "3 accounts, 30 bytes".to_owned(),
    );
    assert_eq!(records(operator), [expected]);
}

fn an_account_has_a_note_and_a_limit(engine: &mut impl Engine, operator: &mut impl Operator) {
    operator.open_seats(opening(1)).unwrap();
    commit(engine, &[create(1, 1, b"a", 5)], &[made(1)]);
    assert!(operator.set_note(number(1), "Ada").unwrap());
    assert!(operator.set_limit(number(1), Some(512)).unwrap());
    assert!(!operator.set_note(number(2), "Ada").unwrap());
    assert!(!operator.set_limit(number(2), None).unwrap());
    let account = operator.look().account(number(1)).unwrap().unwrap();
    assert_eq!((account.note.as_str(), account.limit), ("Ada", Some(512)));
    let head = engine.reader().unwrap().read_head(&[1; 8]).unwrap();
    assert_eq!(head.unwrap().limit, Some(512));
    assert!(operator.set_note(number(1), "").unwrap());
    assert!(operator.set_limit(number(1), None).unwrap());
    let details: Vec<String> = records(operator).into_iter().map(|one| one.2).collect();
    assert_eq!(details[1..], ["set", "512 bytes", "removed", "none"]);
}

fn a_sync_is_noted_by_its_day(engine: &mut impl Engine, operator: &mut impl Operator) {
    operator.open_seats(opening(2)).unwrap();
    let changes = [create(1, 1, b"a", 5), create(2, 2, b"b", 6)];
    commit(engine, &changes, &[made(1), made(2)]);
    let mut note = |at| {
        let synced = [(number(1), at), (number(9), at)].into();
        let notes = Notes {
            synced,
            ..Notes::default()
        };
        engine.write_notes(&notes).unwrap();
    };
    note(3 * DAY + 7);
    note(DAY);
    let head = engine.reader().unwrap().read_head(&[1; 8]).unwrap();
    assert_eq!(head.unwrap().synced_at, Some(3 * DAY));
    let synced: Vec<_> = operator.look().accounts().unwrap();
    assert_eq!(synced[0].synced_at, Some(3 * DAY), "it never goes back");
    assert_eq!(synced[1].synced_at, Some(0), "a create is an exchange");
}

fn only_unused_accounts_are_pruned(engine: &mut impl Engine, operator: &mut impl Operator) {
    // The accounts are from after the time since when the syncs of a new store are known.
    let known_since = operator.look().unused(0).unwrap().known_since;
    let begin = day_of(known_since) + DAY;
    let open = Opening {
        seats: 300,
        made_at: 0,
        expires_at: begin + DAY,
    };
    operator.open_seats(open).unwrap();
    let unused = 10..=250;
    for byte in [1, 2, 3, 4, 5].into_iter().chain(unused) {
        commit(engine, &[create(byte, byte, b"abc", begin)], &[made(byte)]);
    }
    let update = |account, at| Change::ReplaceIf {
        account: number(account),
        expected: Revision::of(b"abc"),
        btoken: Btoken::of(b"abcd".to_vec()),
        at,
    };
    let replaced = Outcome::Replaced(Replaced::Done(()));
    commit(engine, &[update(1, begin + DAY)], &[replaced]);
    commit(engine, &[update(10, begin + DAY - 1)], &[replaced]);
    operator.set_access(number(2), Access::Disabled).unwrap();
    operator.set_note(number(3), "mine").unwrap();
    let notes = Notes {
        synced: [(number(4), begin + 9 * DAY)].into(),
        ..Notes::default()
    };
    engine.write_notes(&notes).unwrap();
    let late = begin + 9 * DAY;
    operator
        .open_seats(Opening {
            expires_at: late + 9,
            ..open
        })
        .unwrap();
    commit(engine, &[create(9, 9, b"abc", late)], &[made(9)]);

    let sum = |accounts| Sum {
        accounts,
        btoken_bytes: accounts * 3,
    };
    assert_eq!(operator.look().unused(begin).unwrap().sum, sum(0));
    let expected = Sum {
        accounts: 242,
        btoken_bytes: 242 * 3 + 1,
    };
    let before = begin + 9 * DAY;
    assert_eq!(operator.look().unused(before).unwrap().sum, expected);
    assert_eq!(operator.prune(before).unwrap(), expected);
    assert_eq!(operator.prune(before).unwrap(), sum(0));
    let left = operator.look().accounts().unwrap();
    let left: Vec<_> = left.iter().map(|account| account.number).collect();
    assert_eq!(left, [1, 2, 3, 4, 9].map(number));
    operator
        .look()
        .check(&mut |finding| panic!("{finding}"))
        .unwrap();
    let last = records(operator).pop().unwrap();
    assert_eq!(
        last,
        (
            "account prune".to_owned(),
            None,
            "242 accounts, 727 bytes".to_owned()
        )
    );
    // After a restore nobody knows who has synced since the backup.
    operator.record_restore("a file").unwrap();
    assert_eq!(
        operator.look().unused(before).unwrap().known_since,
        actor().at
    );
}

fn times_in_the_future_are_corrected(engine: &mut impl Engine, operator: &mut impl Operator) {
    operator.open_seats(opening(2)).unwrap();
    let changes = [create(1, 1, b"a", 5), create(2, 2, b"b", 6)];
    commit(engine, &changes, &[made(1), made(2)]);
    let late = Change::ReplaceIf {
        account: number(1),
        expected: Revision::of(b"a"),
        btoken: Btoken::of(b"b".to_vec()),
        at: actor().at + 7 * DAY,
    };
    commit(engine, &[late], &[Outcome::Replaced(Replaced::Done(()))]);
    assert_eq!(operator.correct_times().unwrap(), 1);
    assert_eq!(operator.correct_times().unwrap(), 0);
    let account = operator.look().account(number(1)).unwrap().unwrap();
    assert_eq!((account.created_at, account.changed_at), (5, actor().at));
    assert_eq!(account.synced_at, Some(0));
}
