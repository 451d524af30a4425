//! The tests that every engine must pass. They use the traits alone; an engine calls [`check`] with
//! a function that makes an empty store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Runs the whole suite. `make` returns an empty store each time.
pub(crate) fn check<E: Engine>(make: impl Fn() -> E) {
    a_created_account_can_be_read(&mut make());
    a_number_is_given_once(&mut make());
    a_replacement_needs_the_stored_revision(&mut make());
    the_same_bytes_of_another_commit_are_another_revision(&mut make());
    nothing_revives_a_deleted_account(&mut make());
    the_number_of_accounts_is_limited(&mut make());
    a_batch_is_applied_in_order(&mut make());
    unusual_contents_are_stored_unchanged(&mut make());
    long_contents_replace_each_other(&mut make());
    a_btoken_is_read_with_its_head_if_it_is_wanted(&mut make());
    readers_see_committed_changes_only(&mut make());
    concurrent_writers_lose_no_confirmed_change(make());
    random_histories_agree_with_a_map(&make);
}

fn number(byte: u8) -> AccountNumber {
    AccountNumber::from_bytes([byte; 8]).unwrap()
}

fn auth(byte: u8) -> AuthHash {
    AuthHash::of(&AuthToken::new([byte; 32]))
}

fn create(account: u8, btoken: &[u8]) -> Change {
    Change::Create {
        account: number(account),
        auth: auth(account),
        btoken: Btoken::of(btoken.to_vec()),
        accounts_max: 100,
        admission: Admission::Anyone,
        at: 1,
    }
}

fn replace(account: u8, expected: &[u8], btoken: &[u8]) -> Change {
    let expected = Revision::of(expected);
    Change::ReplaceIf {
        account: number(account),
        expected,
        btoken: Btoken::of(btoken.to_vec()),
        at: 2,
    }
}

fn made(account: u8) -> Outcome {
    Outcome::Created(Created::Done(number(account), ()))
}

const NUMBER_TAKEN: Outcome = Outcome::Created(Created::NumberTaken);
const ACCOUNTS_MAX: Outcome = Outcome::Created(Created::AccountsMax);
const REPLACED: Outcome = Outcome::Replaced(Replaced::Done(()));
const STALE: Outcome = Outcome::Replaced(Replaced::Stale);
const DELETED: Outcome = Outcome::Deleted(Deleted::Done(()));
const GONE: Outcome = Outcome::Deleted(Deleted::Gone);

fn delete(account: u8) -> Change {
    Change::Delete {
        account: number(account),
        auth: auth(account),
    }
}

#[track_caller]
fn commit(engine: &mut impl Engine, changes: &[Change], outcomes: &[Outcome]) {
    assert_eq!(engine.commit(changes).unwrap(), outcomes);
}

#[track_caller]
fn check_btoken(engine: &impl Engine, account: u8, expected: Option<&[u8]>) {
    let mut reader = engine.reader().unwrap();
    let head = reader.read_head(&[account; 8]).unwrap();
    let stored = reader.read(number(account)).unwrap();
    assert_eq!(stored.as_ref().map(|stored| &*stored.btoken), expected);
    assert_eq!(head.is_some(), expected.is_some());
    if let (Some(head), Some(stored), Some(expected)) = (head, stored, expected) {
        assert!(head.auth.ct_eq(&auth(account)) && !head.auth.ct_eq(&auth(account + 1)));
        assert_eq!(
            (head.revision, head.btoken_len),
            (Revision::of(expected), expected.len() as u64)
        );
        assert_eq!(stored.revision, head.revision);
    }
}

fn a_created_account_can_be_read(engine: &mut impl Engine) {
    check_btoken(engine, 5, None);
    commit(engine, &[create(5, b"sealed")], &[made(5)]);
    check_btoken(engine, 5, Some(b"sealed"));
    for other in [1, 4, 6, 255] {
        check_btoken(engine, other, None);
    }
    assert!(
        engine
            .reader()
            .unwrap()
            .read_head(&[0; 8])
            .unwrap()
            .is_none()
    );
}

fn a_number_is_given_once(engine: &mut impl Engine) {
    commit(engine, &[create(1, b"first")], &[made(1)]);
    commit(engine, &[create(1, b"second")], &[NUMBER_TAKEN]);
    check_btoken(engine, 1, Some(b"first"));
}

fn a_replacement_needs_the_stored_revision(engine: &mut impl Engine) {
    commit(engine, &[create(1, b"a")], &[made(1)]);
    commit(engine, &[replace(1, b"a", b"b")], &[REPLACED]);
    commit(engine, &[replace(1, b"a", b"c")], &[STALE]);
    check_btoken(engine, 1, Some(b"b"));
    commit(engine, &[replace(1, b"b", b"b")], &[REPLACED]);
    commit(engine, &[replace(2, b"b", b"c")], &[STALE]);
    check_btoken(engine, 2, None);
}

fn the_same_bytes_of_another_commit_are_another_revision(engine: &mut impl Engine) {
    let [first, second, third] = [1, 2, 3].map(|byte| Revision([byte; 16]));
    let replace = |expected, revision| Change::ReplaceIf {
        account: number(1),
        expected,
        btoken: Btoken::new(b"a".to_vec(), revision),
        at: 2,
    };
    commit(engine, &[create(1, b"a")], &[made(1)]);
    commit(engine, &[replace(Revision::of(b"a"), first)], &[REPLACED]);
    commit(engine, &[replace(Revision::of(b"a"), third)], &[STALE]);
    commit(
        engine,
        &[replace(first, second), replace(first, third)],
        &[REPLACED, STALE],
    );
    let head = engine
        .reader()
        .unwrap()
        .read_head(&[1; 8])
        .unwrap()
        .unwrap();
    assert_eq!(head.revision, second);
}

fn nothing_revives_a_deleted_account(engine: &mut impl Engine) {
    commit(
        engine,
        &[create(1, b"a"), create(2, b"a")],
        &[made(1), made(2)],
    );
    let wrong = Change::Delete {
        account: number(1),
        auth: auth(2),
    };
    commit(engine, &[wrong, delete(1)], &[GONE, DELETED]);
    commit(engine, &[replace(1, b"a", b"b"), delete(1)], &[STALE, GONE]);
    check_btoken(engine, 1, None);
    check_btoken(engine, 2, Some(b"a"));
}

fn the_number_of_accounts_is_limited(engine: &mut impl Engine) {
    let limited = |account: u8| match create(account, b"x") {
        Change::Create {
            account,
            auth,
            btoken,
            admission,
            at,
            ..
        } => Change::Create {
            account,
            auth,
            btoken,
            accounts_max: 2,
            admission,
            at,
        },
        other => other,
    };
    commit(
        engine,
        &[limited(1), limited(2), limited(3)],
        &[made(1), made(2), ACCOUNTS_MAX],
    );
    commit(engine, &[delete(1), limited(3)], &[DELETED, made(3)]);
    commit(engine, &[limited(4)], &[ACCOUNTS_MAX]);
    check_btoken(engine, 3, Some(b"x"));
    check_btoken(engine, 4, None);
}

fn a_batch_is_applied_in_order(engine: &mut impl Engine) {
    let changes = [
        create(1, b"a"),
        replace(1, b"a", b"b"),
        replace(1, b"a", b"c"),
        replace(1, b"b", b"d"),
        delete(1),
        replace(1, b"d", b"e"),
        create(1, b"f"),
    ];
    commit(
        engine,
        &changes,
        &[made(1), REPLACED, STALE, REPLACED, DELETED, STALE, made(1)],
    );
    check_btoken(engine, 1, Some(b"f"));
    commit(engine, &[], &[]);
}

fn unusual_contents_are_stored_unchanged(engine: &mut impl Engine) {
    let large = vec![0xA5; 2 << 20];
    for (account, btoken) in [
        (1, b"".as_slice()),
        (2, &[0; 100]),
        (3, &large),
        (4, b"SQL'; --\0\xFF"),
    ] {
        commit(engine, &[create(account, btoken)], &[made(account)]);
        check_btoken(engine, account, Some(btoken));
    }
    commit(engine, &[replace(3, &large, b"")], &[REPLACED]);
    check_btoken(engine, 3, Some(b""));
}

/// Engines may store them in another way than short ones, and over each other.
fn long_contents_replace_each_other(engine: &mut impl Engine) {
    let contents: Vec<Vec<u8>> = [100_000, 100_000, 65_536, 1, 300_000, 300_000, 40_000]
        .iter()
        .zip(1..)
        .map(|(len, byte)| vec![byte; *len])
        .collect();
    commit(engine, &[create(1, &contents[0])], &[made(1)]);
    commit(engine, &[create(2, b"another")], &[made(2)]);
    for pair in contents.windows(2) {
        commit(engine, &[replace(1, &pair[0], &pair[1])], &[REPLACED]);
        check_btoken(engine, 1, Some(&pair[1]));
    }
    check_btoken(engine, 2, Some(b"another"));
    let last = contents.last().unwrap();
    let twice = [
        replace(1, last, &contents[0]),
        replace(1, &contents[0], &contents[1]),
    ];
    commit(engine, &twice, &[REPLACED, REPLACED]);
    check_btoken(engine, 1, Some(&contents[1]));
}

fn a_btoken_is_read_with_its_head_if_it_is_wanted(engine: &mut impl Engine) {
    let long = vec![7; 100_000];
    commit(
        engine,
        &[create(1, b"short"), create(2, &long)],
        &[made(1), made(2)],
    );
    let mut reader = engine.reader().unwrap();
    for (account, btoken) in [(1, b"short".as_slice()), (2, &long)] {
        let mut asked = 0;
        let mut wants = |head: &Head| {
            asked += 1;
            head.btoken_len == btoken.len() as u64
        };
        let (head, stored) = reader.read_if(&[account; 8], &mut wants).unwrap().unwrap();
        let stored = stored.unwrap();
        assert_eq!((&*stored.btoken, stored.revision), (btoken, head.revision));
        assert_eq!(asked, 1);
        let (_, stored) = reader
            .read_if(&[account; 8], &mut |_| false)
            .unwrap()
            .unwrap();
        assert!(stored.is_none());
    }
    let mut never = |_: &Head| panic!("there is no such account");
    for none in [0, 3, 255] {
        assert!(reader.read_if(&[none; 8], &mut never).unwrap().is_none());
    }
}

fn readers_see_committed_changes_only(engine: &mut impl Engine) {
    let mut reader = engine.reader().unwrap();
    assert!(reader.read(number(1)).unwrap().is_none());
    commit(engine, &[create(1, b"a")], &[made(1)]);
    assert_eq!(&*reader.read(number(1)).unwrap().unwrap().btoken, b"a");
    commit(engine, &[replace(1, b"a", b"b")], &[REPLACED]);
    assert_eq!(&*reader.read(number(1)).unwrap().unwrap().btoken, b"b");
    commit(engine, &[delete(1)], &[DELETED]);
    assert!(reader.read_head(&[1; 8]).unwrap().is_none());
}

/// Uses [`Store`] as connections do: each of 16 writers appends to the btoken that it read, and
/// repeats until it succeeds.
fn concurrent_writers_lose_no_confirmed_change(engine: impl Engine) {
    const WRITERS: u8 = 16;
    const EACH: usize = 8;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Store::start(engine, |error| panic!("{error}")).unwrap();
        let account = number(1);
        let empty = Btoken::of(Vec::new());
        let created = store.create(account, auth(1), empty, 1, Admission::Anyone, 0);
        assert!(matches!(created.await, Ok(Created::Done(..))));
        let lost = Arc::new(AtomicUsize::new(0));
        let writers = (0..WRITERS).map(|writer| {
            let (store, lost) = (store.clone(), Arc::clone(&lost));
            tokio::spawn(async move {
                for _ in 0..EACH {
                    loop {
                        let seen = store.read(account, 0).await.unwrap().unwrap();
                        let mut btoken = seen.btoken.to_vec();
                        btoken.push(writer);
                        match store
                            .replace_if(account, seen.revision, Btoken::of(btoken), 0)
                            .await
                            .unwrap()
                        {
                            Replaced::Done(_committed) => break,
                            Replaced::Stale => {}
                        }
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        let stored = store.read(account, 0).await.unwrap().unwrap();
        for writer in 0..WRITERS {
            let appended = stored.btoken.iter().filter(|byte| **byte == writer).count();
            assert_eq!(
                appended, EACH,
                "confirmed changes of writer {writer} are missing"
            );
        }
        assert!(
            lost.load(Ordering::Relaxed) > 0,
            "no two writers met, so the test shows nothing"
        );
        store.close().await;
        assert!(matches!(
            store.delete(account, auth(1)).await,
            Err(StoreError::Closed)
        ));
    });
}

/// Compares batches of any size with the simplest correct model.
fn random_histories_agree_with_a_map<E: Engine>(make: &impl Fn() -> E) {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    #[derive(Debug, Clone)]
    enum Step {
        Create(u8, u8),
        Replace(u8, u8, u8),
        Delete(u8),
    }
    let step = prop_oneof![
        (1..4u8, 0..4u8).prop_map(|(account, content)| Step::Create(account, content)),
        (1..4u8, 0..4u8, 0..4u8)
            .prop_map(|(account, seen, content)| Step::Replace(account, seen, content)),
        (1..4u8).prop_map(Step::Delete),
    ];
    let histories = prop::collection::vec(prop::collection::vec(step, 0..6), 0..8);
    let mut runner = TestRunner::new(Config {
        cases: 24,
        failure_persistence: None,
        ..Config::default()
    });
    let checked = runner.run(&histories, |batches| {
        let mut engine = make();
        let mut map = std::collections::BTreeMap::<u8, u8>::new();
        for batch in batches {
            let changes: Vec<_> = batch
                .iter()
                .map(|step| match step {
                    Step::Create(account, content) => create(*account, &[*content]),
                    Step::Replace(account, seen, content) => {
                        replace(*account, &[*seen], &[*content])
                    }
                    Step::Delete(account) => delete(*account),
                })
                .collect();
            let expected: Vec<_> = batch
                .iter()
                .map(|step| match step {
                    Step::Create(account, _) if map.contains_key(account) => NUMBER_TAKEN,
                    Step::Replace(account, seen, _) if map.get(account) != Some(seen) => STALE,
                    Step::Delete(account) if !map.contains_key(account) => GONE,
                    Step::Create(account, content) => {
                        map.insert(*account, *content);
                        made(*account)
                    }
                    Step::Replace(account, _, content) => {
                        map.insert(*account, *content);
                        REPLACED
                    }
                    Step::Delete(account) => {
                        map.remove(account);
                        DELETED
                    }
                })
                .collect();
            prop_assert_eq!(engine.commit(&changes).unwrap(), expected);
        }
        for account in 1..4 {
            let content = map.get(&account).copied().map(|content| [content]);
            check_btoken(&engine, account, content.as_ref().map(<[u8; 1]>::as_slice));
        }
        Ok(())
    });
    checked.unwrap();
}
