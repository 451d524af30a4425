use passmate_proto::AccountNumber;

use super::super::schema::schema_newest;
use crate::store::sqlite::{Sqlite, SqliteInspector};
use crate::store::{Admission, AuthHash, Btoken, Change, Engine, Inspector, Sum};

#[test]
fn a_copy_is_the_store_at_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passmate.db");
    let number = |byte: u8| AccountNumber::from_bytes([byte; 8]).unwrap();
    let create = |byte: u8| Change::Create {
        account: number(byte),
        auth: AuthHash([byte; 32]),
        btoken: Btoken::new(vec![byte; 5000]),
        accounts_max: 100,
        admission: Admission::Anyone,
        at: 5,
    };
    let mut engine = Sqlite::open(&path).unwrap();
    engine.commit(&[create(1), create(2), create(3)]).unwrap();
    let store = SqliteInspector::open(&path).unwrap();
    let copy = dir.path().join("copy.db");
    store.copy_to(&copy).unwrap();
    let delete = Change::Delete {
        account: number(1),
        auth: AuthHash([1; 32]),
    };
    engine.commit(&[delete]).unwrap();

    let copied = SqliteInspector::open(&copy).unwrap();
    let sum = Sum {
        accounts: 3,
        btoken_bytes: 15_000,
    };
    assert_eq!(copied.sum().unwrap(), sum);
    assert_eq!(copied.schema().unwrap(), schema_newest());
    copied.check(&mut |finding| panic!("{finding}")).unwrap();
    assert_eq!(store.sum().unwrap().accounts, 2);
    assert!(store.copy_to(&copy).is_err(), "the file exists already");
}
