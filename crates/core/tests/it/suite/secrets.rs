//! Passwords with their rules, and one-time codes that are used up.

use passmate_core::answer::{Consent, Halt};
use passmate_core::api::{OneTimeCode, VaultApi};
use passmate_core::audit::{AuditRules, FindingKind};
use passmate_core::edit::{Edit, RecordText};
use passmate_core::leak::scan::Origin;
use passmate_core::problem::ProblemKind;
use passmate_core::records::Which;
use passmate_core::reference::Reference;
use passmate_core::template::rule_of_site;

use super::{Implementation, change, kind_of, open, paths, set, value};

pub(crate) fn a_password_and_its_rule_are_one_change<I: Implementation>() {
    let implementation = I::new();
    let mut vault = open(&implementation);
    let fields = |rule: &str| Edit::SetFields {
        path: "web/shop".into(),
        fields: vec![
            ("password".into(), "one".to_owned().into()),
            ("password rule".into(), rule.to_owned().into()),
        ],
    };
    let refused = vault.change(&fields("long ones"), &Consent::none(), &mut |_| {});
    assert_eq!(kind_of(refused), ProblemKind::Usage);
    assert!(paths(&mut *vault).is_empty(), "no half of it is stored");
    assert_eq!(change(&mut *vault, &fields("minlength: 30;")), 2);
    let rule = vault.password_rule("web/shop").unwrap().unwrap();
    assert_eq!(rule.rule().length, 30);
    // Part of a path names no record here: a password is set at exactly the path.
    assert_eq!(vault.password_rule("shop").unwrap(), None);
    assert_eq!(vault.password_rule("none").unwrap(), None);
    change(&mut *vault, &Edit::Undo);
    assert!(paths(&mut *vault).is_empty());
}

pub(crate) fn a_record_is_added_in_one_change_by_the_rule_of_its_site<I: Implementation>() {
    let implementation = I::new();
    let mut vault = open(&implementation);
    let add = |path: &str, fields: &[(&str, &str)]| Edit::Add {
        record: RecordText::new(path, fields.iter().copied()),
    };
    let bank = [
        ("url", "https://bank.example/login"),
        ("password rule", "maxlength: 6; required: digit;"),
        ("password", "123456"),
    ];
    assert_eq!(change(&mut *vault, &add("bank", &bank)), 4);
    let broken = add("mail", &[("user", "bob"), ("otp", "no codes!")]);
    let refused = vault.change(&broken, &Consent::none(), &mut |_| {});
    assert_eq!(kind_of(refused), ProblemKind::Usage);
    assert_eq!(paths(&mut *vault), ["bank"], "no half of it is stored");
    let rule = rule_of_site(&mut *vault, "http://user@BANK.example").unwrap();
    let (path, rule) = rule.unwrap();
    assert_eq!((path.as_str(), rule.rule().length), ("bank", 6));
    for url in ["https://example", "https://other.bank.example", "bank", ""] {
        assert_eq!(rule_of_site(&mut *vault, url).unwrap(), None, "{url}");
    }
    change(&mut *vault, &Edit::Undo);
    assert!(paths(&mut *vault).is_empty());
}

/// The counter of a record's next code, which is used up.
fn use_counter(vault: &mut dyn VaultApi) -> u64 {
    let (path, field) = ("a".to_owned(), None);
    let edit = Edit::UseCounter { path, field };
    let mut told = None;
    let changed = vault.change(&edit, &Consent::none(), &mut |edited| {
        told.clone_from(&edited.code);
    });
    let code = changed.unwrap().edited.code.unwrap();
    assert_eq!(told.as_ref(), Some(&code));
    assert_eq!(code.digits.len(), 6);
    code.counter
}

pub(crate) fn a_counter_is_used_once<I: Implementation>() {
    let implementation = I::new();
    let (mut vault, mut second) = (open(&implementation), open(&implementation));
    let address = |counter: u64| format!("otpauth://hotp/a?secret=GEZDGNBV&counter={counter}");
    change(&mut *vault, &set("a", "otp", &address(5)));
    assert!(matches!(
        vault.one_time_code("a", None),
        Ok(OneTimeCode::Counted)
    ));
    assert_eq!(use_counter(&mut *vault), 5);
    assert_eq!(value(&mut *vault, "a", "otp"), Some(address(6)));
    // It was opened before, and has read none of that.
    assert_eq!(use_counter(&mut *second), 6);
    assert_eq!(
        value(&mut *open(&implementation), "a", "otp"),
        Some(address(7))
    );
    // Neither an undo nor an older address leads back.
    change(&mut *second, &Edit::Undo);
    assert_eq!(use_counter(&mut *second), 7);
    let lower = vault.change(&set("a", "otp", &address(2)), &Consent::none(), &mut |_| {});
    assert_eq!(kind_of(lower), ProblemKind::Usage);
    assert_eq!(use_counter(&mut *vault), 8);
    // Another secret has counters of its own.
    let other = "otpauth://hotp/a?secret=GEZDGNBW&counter=1";
    change(&mut *vault, &set("a", "otp", other));
    assert_eq!(use_counter(&mut *vault), 1);
    // The last counter cannot be used up, because there is no next one.
    let last = "otpauth://hotp/a?secret=GEZDGNBX&counter=4611686018427387903";
    change(&mut *vault, &set("a", "otp", last));
    let (path, field) = ("a".to_owned(), None);
    let edit = Edit::UseCounter { path, field };
    let reply = vault.change(&edit, &Consent::none(), &mut |_| {});
    assert_eq!(kind_of(reply), ProblemKind::Other);
    assert_eq!(value(&mut *vault, "a", "otp").as_deref(), Some(last));
    // It holds nothing that others wait for.
    change(&mut *second, &set("b", "user", "bob"));
    change(&mut *vault, &set("a", "otp", "GEZDGNBVGY3TQOJQ"));
    let reply = vault.change(&edit, &Consent::none(), &mut |_| {});
    assert_eq!(kind_of(reply), ProblemKind::Usage);

    change(&mut *vault, &set("a", "otp", &address(100)));
    let mut counters = std::thread::scope(|scope| {
        let codes = (0..4).map(|_| {
            let mut vault = open(&implementation);
            scope.spawn(move || [(); 3].map(|()| use_counter(&mut *vault)))
        });
        let codes: Vec<_> = codes.collect();
        let counters = codes.into_iter().flat_map(|code| code.join().unwrap());
        counters.collect::<Vec<_>>()
    });
    counters.sort_unstable();
    assert_eq!(counters, (100..112).collect::<Vec<_>>());
}

pub(crate) fn a_reference_reads_a_value_or_a_code<I: Implementation>() {
    let implementation = I::new();
    let mut vault = open(&implementation);
    for (path, field, value) in [
        ("web/shop", "pass", "one"),
        ("web/shop", "otp", "GEZDGNBVGY3TQOJQ"),
        ("web/shop", "x/y", "1908"),
        ("a\\nb", "user", "bob"),
        (
            "counted",
            "otp",
            "otpauth://hotp/a?secret=GEZDGNBV&counter=5",
        ),
    ] {
        change(&mut *vault, &set(path, field, value));
    }
    let mut read = |text: &str| text.parse::<Reference>().unwrap().resolve(&mut *vault);
    for (text, value, is_secret) in [
        ("passmate://web/shop/pass", "one", true),
        ("passmate://web/shop/password", "one", true),
        ("passmate://web/shop/x%2Fy", "1908", true),
        ("passmate://a%5Cnb/email", "bob", false),
    ] {
        let resolved = read(text).unwrap();
        assert_eq!(*resolved.value, value, "{text}");
        assert_eq!(resolved.is_secret, is_secret, "{text}");
    }
    let code = read("passmate://web/shop/totp?code").unwrap();
    assert_eq!(code.value.len(), 6);
    for (text, kind) in [
        ("passmate://web/none/password", ProblemKind::NotFound),
        ("passmate://web/shop/none", ProblemKind::NotFound),
        ("passmate://web/shop/x%2Fy?code", ProblemKind::Other),
        ("passmate://counted/otp?code", ProblemKind::Usage),
    ] {
        let halt = read(text).unwrap_err();
        assert_eq!(halt.into_problem().kind, kind, "{text}");
    }
    let Err(Halt::Failed(problem)) = read("passmate://web/shop") else {
        panic!("a reference has a field");
    };
    assert!(problem.hint.contains("passmate://web/shop/password?"));
}

pub(crate) fn an_audit_names_what_should_be_changed<I: Implementation>() {
    let implementation = I::new();
    let mut vault = open(&implementation);
    for (path, password) in [("a", "hunter2"), ("b", "hunter2"), ("c", "hV9xQ2mT7rKw4Zp")] {
        change(&mut *vault, &set(path, "password", password));
    }
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list");
    std::fs::write(&list, "F3BBBD66A63D4BF1747940578EC3D0103530E21D:9\n").unwrap();
    let rules = AuditRules {
        breached: Some(list),
        old_before: Some(0),
        online: None,
    };
    let audit = vault.audit(&rules).unwrap();
    let kinds: Vec<_> = audit
        .findings
        .iter()
        .map(|found| found.kind.clone())
        .collect();
    let weak = FindingKind::Weak { guesses: 3 };
    assert_eq!(
        kinds,
        [
            FindingKind::Breached { count: 9 },
            FindingKind::Reused,
            weak
        ]
    );
    assert!(audit.findings.iter().all(|found| found.places.len() == 2));
    assert_eq!((audit.records, audit.passwords), (3, 3));
    let missing = AuditRules {
        breached: Some(dir.path().join("none")),
        ..rules.clone()
    };
    assert_eq!(kind_of(vault.audit(&missing)), ProblemKind::File);
    // Nobody answers there, and nothing would be sent in the clear to another machine.
    for (address, kind) in [
        ("http://127.0.0.1:1/", ProblemKind::Network),
        ("http://192.0.2.1/", ProblemKind::Usage),
    ] {
        let online = AuditRules {
            online: Some(address.to_owned()),
            ..rules.clone()
        };
        assert_eq!(kind_of(vault.audit(&online)), kind, "{address}");
    }
}

pub(crate) fn records_of_a_kind_and_secret_values_come_in_one_call<I: Implementation>() {
    let implementation = I::new();
    let mut vault = open(&implementation);
    for (path, field, value) in [
        ("git/forge/bob", "url 2", "https://Forge.Example/x"),
        ("git/forge/bob", "password", "one"),
        ("git/forge/bob", "password", "two"),
        ("git/forge/bob", "pin", "three"),
        ("github", "private_key", "key"),
        ("github", "notes", "forge.example"),
        ("github", "pin", "old"),
    ] {
        change(&mut *vault, &set(path, field, value));
    }
    let (path, field) = ("github".to_owned(), "pin".to_owned());
    change(&mut *vault, &Edit::Unset { path, field });
    let mut paths = |which: Which| {
        let records = vault.records(&which).unwrap().into_iter();
        records.map(|record| record.path).collect::<Vec<_>>()
    };
    assert_eq!(paths(Which::Below("git".into())), ["git/forge/bob"]);
    assert_eq!(
        paths(Which::OfHost("forge.example".into())),
        ["git/forge/bob"]
    );
    assert_eq!(paths(Which::WithPrivateKey), ["github"]);
    assert!(paths(Which::OfHost("github".into())).is_empty());
    let mut values = |with_former| {
        let values = vault.secret_values(with_former).unwrap().into_iter();
        let mut values: Vec<_> = values
            .map(|one| {
                let Origin {
                    record,
                    field,
                    is_former,
                } = one.origin;
                format!("{record} {field} {} {is_former}", *one.value)
            })
            .collect();
        values.sort();
        values
    };
    let present = [
        "git/forge/bob password two false",
        "git/forge/bob pin three false",
        "github private_key key false",
    ];
    assert_eq!(values(false), present);
    let mut all = [
        &present[..],
        &["git/forge/bob password one true", "github pin old true"],
    ]
    .concat();
    all.sort_unstable();
    assert_eq!(values(true), all);
}
