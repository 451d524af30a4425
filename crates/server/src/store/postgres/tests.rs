mod settle;

use std::thread;

use passmate_proto::{AccountNumber, AuthToken};
use passmate_testkit::postgres::{Bouncer, Cluster, Database};

use super::*;
use crate::store::{
    Admission, AuthHash, Btoken, Change, Created, Engine, Inspector, Operator, Outcome, Reader,
    Replaced, Revision, StoreError, StoreUrl, operator_suite, suite,
};

fn url(text: &str) -> PostgresUrl {
    text.parse().unwrap()
}

fn number(byte: u8) -> AccountNumber {
    AccountNumber::from_bytes([byte; 8]).unwrap()
}

fn create(byte: u8, btoken: &[u8], admission: Admission) -> Change {
    Change::Create {
        account: number(byte),
        auth: AuthHash::of(&AuthToken::new([byte; 32])),
        btoken: Btoken::of(btoken.to_vec()),
        accounts_max: 100,
        admission,
        at: 1,
    }
}

fn made(byte: u8) -> Outcome {
    Outcome::Created(Created::Done(number(byte), ()))
}

/// Empties a database, which takes less time than to make one.
fn emptied(database: &Database) -> PostgresUrl {
    database.sql("DROP SCHEMA IF EXISTS passmate CASCADE");
    url(&database.url())
}

/// Why a store cannot be opened.
#[track_caller]
fn refused(url: &PostgresUrl) -> StoreError {
    match Postgres::open(url) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

#[test]
fn it_passes_the_suite_of_engines() {
    let database = Database::new();
    suite::check(|| Postgres::open(&emptied(&database)).unwrap());
}

#[test]
fn it_passes_the_suite_one_change_at_a_time() {
    let database = Database::new();
    suite::check(|| {
        emptied(&database);
        Postgres::open(&url(&format!("{}?batch=1", database.url()))).unwrap()
    });
}

#[test]
fn it_passes_both_suites_behind_a_pooler_of_transactions() {
    let database = Database::new();
    // Fewer connections than a store has, so that each transaction gets any of them.
    let bouncer = Bouncer::new(&database, 3);
    suite::check(|| {
        emptied(&database);
        Postgres::open(&url(&bouncer.url())).unwrap()
    });
    operator_suite::check(|| {
        emptied(&database);
        let url = url(&bouncer.url());
        let engine = Postgres::open(&url).unwrap();
        let operator = PostgresOperator::open(&url, operator_suite::actor()).unwrap();
        (engine, operator)
    });
}

#[test]
fn it_passes_the_suite_of_operators() {
    let database = Database::new();
    operator_suite::check(|| {
        let url = emptied(&database);
        let engine = Postgres::open(&url).unwrap();
        let operator = PostgresOperator::open(&url, operator_suite::actor()).unwrap();
        (engine, operator)
    });
}

#[test]
fn servers_that_start_together_make_one_schema() {
    let database = Database::new();
    let url = url(&database.url());
    thread::scope(|scope| {
        let starts: Vec<_> = (0..8)
            .map(|byte| {
                let url = &url;
                scope.spawn(move || {
                    let mut engine = Postgres::open(url).unwrap();
                    let change = create(byte + 1, b"a", Admission::Anyone);
                    assert_eq!(engine.commit(&[change]).unwrap(), [made(byte + 1)]);
                })
            })
            .collect();
        for start in starts {
            start.join().unwrap();
        }
    });
    let inspector = PostgresInspector::open(&url).unwrap();
    assert_eq!(inspector.schema().unwrap(), schema::schema_newest());
    assert_eq!(inspector.sum().unwrap().accounts, 8);
}

#[test]
fn a_database_of_others_and_a_newer_schema_are_left_alone() {
    let database = Database::new();
    let place = url(&database.url());
    assert!(matches!(
        PostgresInspector::open(&place),
        Err(StoreError::NoDatabase { .. })
    ));
    database.sql("CREATE SCHEMA passmate; CREATE TABLE passmate.account (id integer)");
    assert!(matches!(refused(&place), StoreError::NotOurs { .. }));
    emptied(&database);
    drop(Postgres::open(&place).unwrap());
    database.sql("UPDATE passmate.property SET value = 99 WHERE name = 'schema'");
    let StoreError::NewerSchema { found, .. } = refused(&place) else {
        panic!("it was not refused for its schema");
    };
    assert_eq!(found, 99);
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'passmate'";
    assert_eq!(database.sql(tables), "6");
}

#[test]
fn a_database_that_loses_what_it_confirms_is_refused() {
    let database = Database::new();
    let role = format!("{}_fast", database.name);
    database.sql(&format!("CREATE ROLE {role} SUPERUSER LOGIN"));
    let careless = database.url().replace("postgres@", &format!("{role}@"));
    for (name, value) in [
        ("synchronous_commit", "off"),
        // The commit of a database with standbys would wait for none.
        ("synchronous_commit", "local"),
        // A commit that no standby has would look as any other.
        ("client_min_messages", "error"),
    ] {
        database.sql(&format!("ALTER ROLE {role} RESET ALL"));
        database.sql(&format!("ALTER ROLE {role} SET {name} = {value}"));
        let error = refused(&url(&careless));
        assert!(matches!(error, StoreError::NotDurable { .. }), "{error}");
        assert!(error.to_string().contains(&format!("{name} is {value}")));
    }
    let careless = format!("{careless}?durability=unchecked");
    drop(Postgres::open(&url(&careless)).unwrap());

    let cluster = Cluster::with(&["--fsync=off"]);
    let error = refused(&url(&cluster.url())).to_string();
    assert!(error.contains("fsync is off"), "{error}");
}

/// Before PostgreSQL 15, everybody may define operators and functions in the schema `public`, and the
/// best match of types decides between them and those of the system.
#[test]
fn nothing_that_others_define_is_called() {
    let database = Database::new();
    let place = url(&database.url());
    let mut engine = Postgres::open(&place).unwrap();
    for (name, left, right) in [("<>", "numeric", "integer"), ("=", "bigint", "numeric")] {
        database.sql(&format!(
            "CREATE FUNCTION public.trap({left}, {right}) RETURNS boolean LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'a trap'; END $$; \
             CREATE OPERATOR public.{name} \
             (leftarg = {left}, rightarg = {right}, function = public.trap)"
        ));
    }
    database.sql(
        "CREATE FUNCTION public.pg_total_relation_size(oid) RETURNS bigint LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'a trap'; END $$",
    );
    assert_eq!(
        engine.commit(&[create(1, b"a", Admission::Anyone)]),
        Ok(vec![made(1)])
    );
    let replace = Change::ReplaceIf {
        account: number(1),
        expected: Revision::of(b"a"),
        btoken: Btoken::of(b"longer".to_vec()),
        at: 2,
    };
    assert_eq!(
        engine.commit(&[replace]),
        Ok(vec![Outcome::Replaced(Replaced::Done(()))])
    );
    let inspector = PostgresInspector::open(&place).unwrap();
    assert!(inspector.size().unwrap().is_some());
    let mut findings = Vec::new();
    let sum = inspector
        .check(&mut |finding| findings.push(finding))
        .unwrap();
    assert_eq!(sum.accounts, 1);
    assert_eq!(findings, Vec::<String>::new());
}

#[test]
fn an_error_names_no_password() {
    let store = "postgres://ada:hunter2@127.0.0.1:1/pm?deadline=1";
    let error = refused(&url(store));
    let text = format!("{error} {error:?} {}", error.hint());
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("refused"), "{text}");
    let store: StoreUrl = store.parse().unwrap();
    assert_eq!(store.to_string(), "postgres://ada@127.0.0.1:1/pm");
    assert!(!format!("{store:?}").contains("hunter2"));
}

#[test]
fn the_last_seat_is_taken_once_by_servers_together() {
    let database = Database::new();
    let url = url(&database.url());
    drop(Postgres::open(&url).unwrap());
    let mut operator = PostgresOperator::open(&url, operator_suite::actor()).unwrap();
    for seats in [1, 2] {
        let opening = crate::store::Opening {
            seats,
            made_at: 0,
            expires_at: 100 + i64::from(seats),
        };
        operator.open_seats(opening).unwrap();
    }
    let admitted: usize = thread::scope(|scope| {
        let clients: Vec<_> = (1..=8)
            .map(|byte| {
                let url = &url;
                scope.spawn(move || {
                    let mut engine = Postgres::open(url).unwrap();
                    let change = create(byte, b"a", Admission::Invited);
                    usize::from(engine.commit(&[change]).unwrap() == [made(byte)])
                })
            })
            .collect();
        clients.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(admitted, 3);
    let sum = operator.look().sum().unwrap();
    assert_eq!(sum.accounts, 3);
    let checked = operator.look().check(&mut |finding| panic!("{finding}"));
    assert_eq!(checked.unwrap(), sum);
}

#[test]
fn damage_is_found_and_refuses_itself() {
    let database = Database::new();
    let url = url(&database.url());
    let mut engine = Postgres::open(&url).unwrap();
    let both = [1, 2].map(|byte| create(byte, b"whole", Admission::Anyone));
    engine.commit(&both).unwrap();
    database
        .sql("UPDATE passmate.account SET btoken = 'wholf' WHERE number = '\\x0202020202020202'");
    let mut reader = engine.reader().unwrap();
    assert!(reader.read(number(1)).unwrap().is_some());
    let damaged = reader.read(number(2));
    assert!(damaged.unwrap_err().to_string().contains("checksum"));
    let mut findings = Vec::new();
    let inspector = PostgresInspector::open(&url).unwrap();
    inspector
        .check(&mut |finding| findings.push(finding))
        .unwrap();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].contains("0202020202020202"));
}

/// A certificate for `localhost` and its key, in PEM.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn over_tls_the_database_shows_who_it_is() {
    let (pem, key) = certificate();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let place = tempfile::Builder::new()
        .prefix("pg-tls-")
        .tempdir()
        .unwrap();
    let trusted = place.path().join("trusted.pem");
    let other = place.path().join("other.pem");
    std::fs::write(&trusted, &pem).unwrap();
    std::fs::write(&other, certificate().0).unwrap();
    let arguments = [
        "--listen_addresses=127.0.0.1",
        &format!("--port={port}"),
        "--ssl=on",
        "--ssl_cert_file=../cert.pem",
        "--ssl_key_file=../key.pem",
    ];
    let cluster = Cluster::prepared(&arguments, |made| {
        std::fs::write(made.join("cert.pem"), &pem).unwrap();
        std::fs::write(made.join("key.pem"), &key).unwrap();
    });
    cluster.sql("ALTER ROLE postgres PASSWORD 'hunter2'");
    let open = |host: &str, options: &str| {
        let text = format!("postgres://postgres:hunter2@{host}:{port}/passmate?{options}");
        Postgres::open(&url(&text)).map(drop)
    };
    let root = |path: &std::path::Path| format!("&sslrootcert={}", path.display());
    let (good, bad) = (root(&trusted), root(&other));
    let wrong = format!("postgres://postgres:hunter3@localhost:{port}/passmate?sslmode=require");
    let error = refused(&url(&wrong)).to_string();
    assert!(
        error.contains("28P01") && !error.contains("hunter3"),
        "{error}"
    );
    // The password is tied to the certificate, so that nobody in between can pass it on.
    open(
        "localhost",
        &format!("channel_binding=require&sslmode=verify-full{good}"),
    )
    .unwrap();
    open("127.0.0.1", &format!("sslmode=verify-ca{good}")).unwrap();
    open("127.0.0.1", "sslmode=require").unwrap();
    open("127.0.0.1", "").unwrap();
    for (host, options) in [
        ("localhost", format!("sslmode=verify-full{bad}")),
        ("localhost", "sslmode=verify-full".to_owned()),
        ("127.0.0.1", format!("sslmode=verify-full{good}")),
        ("127.0.0.1", format!("sslmode=verify-ca{bad}")),
    ] {
        let error = open(host, &options).unwrap_err().to_string();
        assert!(
            error.contains("TLS") && error.contains("certificate"),
            "{error}"
        );
    }
}
