use super::*;

const DAY: i64 = 24 * 3600;
const NOW: i64 = 1_790_000_000;
const STRONG: &str = "hV9xQ2mT7rKw4Zp";

/// Names, values, and when they were set.
type Fields<'a> = &'a [(&'a str, &'a str, i64)];

/// Records by path, with fields that were set at these times.
fn vault(records: &[(&str, Fields<'_>)]) -> Vault {
    let mut vault = Vault::new();
    for (path, fields) in records {
        vault.create_record((*path).into(), *path, 1).unwrap();
        for (name, value, time) in *fields {
            vault.set(&(*path).into(), *name, *value, *time).unwrap();
        }
    }
    vault
}

fn found(vault: &Vault, rules: &AuditRules) -> Vec<(&'static str, String)> {
    let audit = audit(vault, rules, NOW).unwrap();
    let lines = audit.findings.into_iter().map(|finding| {
        let places = finding.places.iter();
        let places: Vec<_> = places
            .map(|place| format!("{} {}", place.path, place.field))
            .collect();
        (finding.kind.name(), places.join(", "))
    });
    lines.collect()
}

#[track_caller]
fn check(records: &[(&str, Fields<'_>)], expected: &[(&str, &str)]) {
    let rules = AuditRules::default();
    let found = found(&vault(records), &rules);
    let found: Vec<_> = found
        .iter()
        .map(|(kind, places)| (*kind, places.as_str()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_password_of_two_records_is_reused_and_that_of_one_is_not() {
    check(
        &[
            ("a", &[("password", STRONG, 1), ("password 2", STRONG, 1)]),
            ("b", &[("Pass", STRONG, 1)]),
        ],
        &[("reused", "a password, a password 2, b Pass")],
    );
    let one = [(
        "a",
        &[("password", STRONG, 1), ("password 2", STRONG, 1)][..],
    )];
    check(&one, &[]);
    // Other secrets are no passwords.
    check(
        &[("a", &[("pin", "1234", 1)]), ("b", &[("pin", "1234", 1)])],
        &[],
    );
}

#[test]
fn an_earlier_password_of_another_record_is_reused_and_ones_own_is_not() {
    let other = "Jk5nB8wY3cRf6Ls";
    check(
        &[
            ("a", &[("password", STRONG, 1), ("password", other, 2)]),
            ("b", &[("password", STRONG, 3)]),
            // An undo brings back an earlier value.
            (
                "c",
                &[("password", "Wq7eH2dN9uXm4Vz", 1), ("password", "x", 2)],
            ),
        ],
        &[("weak", "c password"), ("reused-earlier", "b password")],
    );
    let undone = [
        ("password", STRONG, 1),
        ("password", "x", 2),
        ("password", STRONG, 3),
    ];
    check(&[("a", &undone)], &[]);
}

#[test]
fn weak_passwords_are_found_and_the_weaker_is_first() {
    let long = "correct horse battery staple and much more than thirty-two characters";
    let begin = format!("{}{STRONG}", "a".repeat(40));
    check(
        &[
            ("shop", &[("password", "sommer1975", 1)]),
            ("a", &[("password", "password", 1)]),
            ("b", &[("password", STRONG, 1)]),
            ("c", &[("password", long, 1)]),
            ("d", &[("password", &begin, 1)]),
            // What stands in the record is guessed first.
            (
                "xyvolta.example",
                &[("user", "qwolfram", 1), ("password", "qwolframxyvolta", 1)],
            ),
        ],
        &[
            ("weak", "a password"),
            ("weak", "xyvolta.example password"),
            ("weak", "shop password"),
        ],
    );
}

#[test]
fn what_ended_is_found() {
    check(
        &[
            ("a", &[("expires", "2026-09-21", 1)]),
            ("b", &[("expiry", "2026-09-20", 1)]),
            ("c", &[("Expires", "2020-01-01T00:00:00Z", 1)]),
            ("card", &[("expiry date", "2026-08", 1)]),
            ("card 2", &[("expiry date", "2026-09", 1)]),
            ("d", &[("expires", "never", 1)]),
        ],
        &[
            ("expired", "c Expires"),
            ("expired", "card expiry date"),
            ("expired", "b expiry"),
        ],
    );
}

#[test]
fn an_address_without_encryption_is_found_unless_it_is_ones_own() {
    let record = |url: &'static str| [("password", STRONG, 1), ("url", url, 1)];
    for open in [
        "http://shop.example/login",
        "HTTP://user:hunter2@shop.example",
        "ftp://shop.example",
        "http://8.8.8.8:8080/",
    ] {
        check(&[("a", &record(open))], &[("no-tls", "a url")]);
    }
    for fine in [
        "https://shop.example",
        "shop.example",
        "http://localhost:8080",
        "http://192.168.1.1/",
        "http://[::1]:80/",
        "http://[fe80::1]/",
        "http://router/",
        "http://nas.local.",
        "http://x.onion/",
        "http:///",
        "androidapp://x",
    ] {
        check(&[("a", &record(fine))], &[]);
    }
    check(&[("a", &[("url", "http://shop.example", 1)])], &[]);
    check(
        &[(
            "a",
            &[("password", STRONG, 1), ("url 2", "http://shop.example", 1)],
        )],
        &[("no-tls", "a url 2")],
    );
    // The address may hold a password.
    let vault = vault(&[("a", &record("http://user:hunter2@shop.example/?hunter2"))]);
    let audit = audit(&vault, &AuditRules::default(), NOW).unwrap();
    assert!(!format!("{audit:?}").contains("hunter2"));
}

#[test]
fn an_old_password_is_found_if_asked_for() {
    let vault = vault(&[
        ("a", &[("password", STRONG, NOW - 9 * DAY)]),
        ("b", &[("password", "Jk5nB8wY3cRf6Ls", NOW - 7 * DAY)]),
    ]);
    let rules = AuditRules {
        old_before: Some(NOW - 8 * DAY),
        ..AuditRules::default()
    };
    assert_eq!(found(&vault, &rules), [("old", "a password".to_owned())]);
    assert_eq!(found(&vault, &AuditRules::default()), []);
}

#[test]
fn a_breached_password_comes_first_and_the_count_is_that_of_the_list() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("list");
    let line = |password: &str, count: u32| {
        let hash = hash_of(password);
        let hex: String = hash.iter().map(|byte| format!("{byte:02X}")).collect();
        format!("{hex}:{count}\n")
    };
    let mut lines = [
        line("password", 9_000_000),
        line(STRONG, 3),
        line("other", 1),
    ];
    lines.sort();
    std::fs::write(&path, lines.concat()).unwrap();
    let vault = vault(&[
        ("a", &[("password", STRONG, 1)]),
        ("b", &[("password", "password", 1)]),
    ]);
    let rules = AuditRules {
        breached: Some(path),
        ..AuditRules::default()
    };
    let audit = audit(&vault, &rules, NOW).unwrap();
    let kinds: Vec<_> = audit.findings.iter().map(|found| &found.kind).collect();
    assert_eq!(kinds[0], &FindingKind::Breached { count: 9_000_000 });
    assert_eq!(kinds[1], &FindingKind::Breached { count: 3 });
    assert_eq!(kinds[2].name(), "weak");
    assert_eq!((audit.records, audit.passwords), (2, 2));
    let missing = AuditRules {
        breached: Some(dir.path().join("none")),
        ..AuditRules::default()
    };
    assert!(super::audit(&vault, &missing, NOW).is_err());
}
