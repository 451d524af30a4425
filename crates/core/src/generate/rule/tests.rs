use std::collections::BTreeMap;

use getrandom::SysRng;
use proptest::prelude::*;
use rand_core::UnwrapErr;

use super::*;

/// Whether a rule allows a password, by its words alone.
fn allows(rule: &Rule, password: &[u8]) -> bool {
    let is_of = |set: Characters, byte: u8| set.iter().any(|other| other == byte);
    let count = |set| password.iter().filter(|byte| is_of(set, **byte)).count();
    let longest = password.chunk_by(|a, b| a == b).map(<[u8]>::len).max();
    password.len() == rule.length
        && password.iter().all(|byte| is_of(rule.allowed, *byte))
        && rule.needs.iter().all(|need| count(need.of) >= need.min)
        && rule.run_max.is_none_or(|max| longest <= Some(max))
}

/// All passwords of a length.
fn all(alphabet: Characters, length: usize) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    for _ in 0..length {
        let longer = |begin: &Vec<u8>| {
            let begin = begin.clone();
            alphabet
                .iter()
                .map(move |byte| [&begin[..], &[byte]].concat())
        };
        all = all.iter().flat_map(longer).collect();
    }
    all
}

/// A set of a few characters, of which some are in other sets too.
fn set() -> impl Strategy<Value = Characters> {
    prop::sample::subsequence(b"abAB1".to_vec(), 0..=5).prop_map(|bytes| Characters::of(&bytes))
}

prop_compose! {
    fn small_rule()(
        length in 1_usize..=4,
        allowed in set(),
        needs in prop::collection::vec((set(), 0_usize..=3), 0..=3),
        run_max in prop::option::of(0_usize..=3),
    ) -> Rule {
        let needs = needs.into_iter().map(|(of, min)| Need { of, min }).collect();
        Rule { length, allowed, needs, run_max }
    }
}

prop_compose! {
    fn rule()(
        length in 0_usize..=70,
        minima in prop::array::uniform4(prop::option::of(0_usize..=4)),
        without in prop::bool::ANY,
        run_max in prop::option::of(1_usize..=4),
    ) -> Rule {
        let sets = [
            Characters::UPPER,
            Characters::LOWER,
            Characters::DIGITS,
            Characters::SYMBOLS,
        ];
        let classes = sets.into_iter().zip(minima);
        let classes = classes.filter_map(|(of, min)| Some(Need { of, min: min? })).collect();
        let removed = if without { Characters::LOOKALIKES } else { Characters::default() };
        Rule { run_max, ..Rule::of_classes(length, classes).without(removed) }
    }
}

proptest! {
    #[test]
    fn the_count_is_that_of_trying_all_passwords(rule in small_rule()) {
        let allowed = all(rule.allowed, rule.length);
        let allowed = allowed.iter().filter(|password| allows(&rule, password)).count();
        match rule.count() {
            Ok(counted) => prop_assert_eq!(counted.all(), &BigUint::from(allowed)),
            Err(_) => prop_assert_eq!(allowed, 0),
        }
    }

    #[test]
    fn every_password_satisfies_its_rule(rule in rule()) {
        if let Ok(counted) = rule.count() {
            let made = counted.draw(&mut UnwrapErr(SysRng));
            prop_assert!(allows(&rule, made.password.as_bytes()), "{rule:?} {}", *made.password);
        }
    }
}

#[test]
fn every_allowed_password_has_the_same_chance() {
    let need = |of: &[u8], min| Need {
        of: Characters::of(of),
        min,
    };
    // The sets overlap, and the run is limited: nothing here is uniform by accident.
    let rule = Rule {
        length: 4,
        allowed: Characters::of(b"abC1"),
        needs: vec![need(b"ab", 2), need(b"bC", 1)],
        run_max: Some(2),
    };
    let allowed = all(rule.allowed, rule.length);
    let allowed = allowed
        .iter()
        .filter(|password| allows(&rule, password))
        .count();
    let counted = rule.count().unwrap();
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let rounds = u32::try_from(allowed).unwrap() * 100;
    for _ in 0..rounds {
        let made = counted.draw(&mut UnwrapErr(SysRng));
        *counts.entry(made.password.to_string()).or_default() += 1;
    }
    assert_eq!(counts.len(), allowed);
    let squares = counts
        .values()
        .map(|count| (f64::from(*count) - 100.0).powi(2));
    let chi_squared = squares.sum::<f64>() / 100.0;
    // The mean is the number of passwords, the deviation its root times 1.4. Eight deviations come
    // once in 10^12 runs.
    let freedom = f64::from(rounds) / 100.0 - 1.0;
    assert!(
        chi_squared < freedom + 8.0 * (2.0 * freedom).sqrt(),
        "{chi_squared} of {freedom}"
    );
}

#[test]
fn what_no_password_satisfies_is_a_wrong_usage() {
    let class = |of, min| Need { of, min };
    let (upper, digits) = (Characters::UPPER, Characters::DIGITS);
    for (rule, why) in [
        (Rule::of_classes(0, vec![class(upper, 0)]), "from 1 to 1024"),
        (
            Rule::of_classes(1025, vec![class(upper, 0)]),
            "from 1 to 1024",
        ),
        (Rule::of_classes(8, vec![]), "allows no character"),
        (
            Rule::of_classes(8, vec![class(upper, 5), class(digits, 4)]),
            "need 9 characters, and its length is 8",
        ),
        (
            Rule::of_classes(8, vec![class(upper, usize::MAX), class(digits, usize::MAX)]),
            "its length is 8",
        ),
        (
            Rule::of_classes(8, vec![class(upper, 0), class(Characters::of(b"|"), 1)])
                .without(Characters::LOOKALIKES),
            "none is left",
        ),
        (
            Rule {
                run_max: Some(2),
                ..Rule::of_classes(3, vec![class(Characters::of(b"a"), 0)])
            },
            "contradict",
        ),
    ] {
        let problem = rule.count().err().unwrap();
        assert!(problem.message.contains(why), "{}", problem.message);
        assert_eq!(problem.kind, crate::problem::ProblemKind::Usage);
    }
}

#[test]
fn work_is_bounded_and_long_passwords_are_made() {
    let classes = |min| {
        let sets = [
            Characters::UPPER,
            Characters::LOWER,
            Characters::DIGITS,
            Characters::SYMBOLS,
        ];
        sets.map(|of| Need { of, min }).to_vec()
    };
    let long = Rule::of_classes(LENGTH_MAX, classes(1)).count().unwrap();
    let made = long.draw(&mut UnwrapErr(SysRng));
    assert_eq!(made.password.len(), LENGTH_MAX);
    assert!((6490.0..6500.0).contains(&made.bits), "{}", made.bits);
    let heavy = Rule::of_classes(LENGTH_MAX, classes(200));
    let problem = heavy.count().err().unwrap();
    assert!(
        problem.message.contains("too many minima"),
        "{}",
        problem.message
    );
    let runs = Rule {
        run_max: Some(500),
        ..Rule::of_classes(LENGTH_MAX, classes(1))
    };
    assert!(runs.count().is_err());
}
