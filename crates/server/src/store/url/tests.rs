use super::*;

#[track_caller]
fn check(text: &str, expected: Result<&str, BadStoreUrl>) {
    assert_eq!(text.parse(), expected.map(StoreUrl::sqlite), "{text}");
}

#[test]
fn a_store_is_a_path_and_never_in_memory() {
    check("sqlite:/a/b.db", Ok("/a/b.db"));
    check("sqlite:///a/b.db", Ok("/a/b.db"));
    check("sqlite:b.db", Ok("b.db"));
    for postgres in ["postgres://u:p@h/d", "postgresql:///d"] {
        let store: StoreUrl = postgres.parse().unwrap();
        assert!(matches!(store, StoreUrl::Postgres(_)), "{postgres}");
    }
    check("postgres://h:port/d", Err(BadStoreUrl::NotPostgres));
    check("sqlite::memory:", Err(BadStoreUrl::InMemory));
    for bad in [
        "/a/b.db",
        "sqlite:",
        "sqlite:dir/",
        "sqlite://host/x",
        "mysql://x",
    ] {
        check(bad, Err(BadStoreUrl::NotAStore));
    }
}

#[test]
fn an_address_reads_back_as_it_is_shown() {
    let url: StoreUrl = "sqlite:/a/b.db".parse().unwrap();
    assert_eq!(url.to_string().parse(), Ok(url));
}
