//! Passwords made of characters or of words, from the system's generator, each with the same
//! chance.

use std::fmt;

use diceware_wordlists::Wordlist;
use getrandom::SysRng;
use rand_core::{Rng, UnwrapErr};
use zeroize::Zeroizing;

use super::App;
use super::error::Failure;

/// Make a password
///
/// Without PATH it is printed and kept nowhere. With PATH it is stored there, in the field
/// `password` unless another one is named, and printed only with --reveal.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The record to store it in; made if it is not there
    path: Option<String>,
    /// The field
    #[arg(default_value = "password")]
    field: String,
    /// Its characters in any order: `A` is a capital letter, `a` a small one, `5` a digit, `!` a
    /// symbol
    #[arg(long, default_value = "Aaaaaaaaaaaaaa5", conflicts_with = "words")]
    template: String,
    /// So many words of the EFF's long list instead, 12.9 bits each
    #[arg(long, value_name = "N")]
    words: Option<usize>,
    /// Print it although it is stored
    #[arg(long, requires = "path")]
    reveal: bool,
}

const LENGTH_MAX: usize = 1024;
const CAPITALS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const SMALLS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
const DIGITS: &[u8] = b"0123456789";
const SYMBOLS: &[u8] = b"!#$%&*+-./:;<=>?@_~";

pub(super) fn run(app: &App, args: &Args) -> Result<(), Failure> {
    let mut rng = UnwrapErr(SysRng);
    let made = match args.words {
        Some(count) => words(count, &mut rng)?,
        None => characters(&args.template, &mut rng)?,
    };
    app.out.note(&made.to_string());
    if let Some(path) = &args.path {
        let mut session = app.open()?;
        super::record::store(&mut session, path, &args.field, &made.password)?;
        session.save()?;
        app.out.note(&format!("set {} of {path}", args.field));
        if !args.reveal {
            return if app.out.json {
                app.out.object(serde_json::json!({ "bits": made.bits }))
            } else {
                Ok(())
            };
        }
    }
    if app.out.json {
        return app
            .out
            .object(serde_json::json!({ "password": *made.password, "bits": made.bits }));
    }
    app.out.value(&made.password)
}

struct Made {
    password: Zeroizing<String>,
    /// The base-2 logarithm of how many it could have been.
    bits: f64,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of 2^{:.0}", self.bits)
    }
}

fn words(count: usize, rng: &mut impl Rng) -> Result<Made, Failure> {
    if !(1..=LENGTH_MAX / 8).contains(&count) {
        return Err(Failure::usage(
            "the number of words is not from 1 to 128",
            "6 words are strong",
        ));
    }
    let list = Wordlist::EffLong.get_list();
    let mut password = Zeroizing::new(String::with_capacity(count * 16));
    for index in 0..count {
        password.push_str(if index > 0 { "-" } else { "" });
        password.push_str(pick::<&str>(list, rng));
    }
    Ok(Made {
        password,
        bits: log2(list.len()) * log2_factor(count),
    })
}

fn characters(template: &str, rng: &mut impl Rng) -> Result<Made, Failure> {
    if template.is_empty() || template.len() > LENGTH_MAX {
        return Err(Failure::usage(
            "the template is empty or longer than 1024 characters",
            "an example is Aaaaaaaaaaaaaa5",
        ));
    }
    let mut bits = 0.0;
    let mut password = Zeroizing::new(Vec::with_capacity(template.len()));
    for letter in template.chars() {
        let class = match letter {
            'A'..='Z' => CAPITALS,
            'a'..='z' => SMALLS,
            '0'..='9' => DIGITS,
            '!'..='~' => SYMBOLS,
            _ => {
                return Err(Failure::usage(
                    format!("the template has a character that stands for nothing: {letter:?}"),
                    "A is a capital letter, a a small one, 5 a digit, ! a symbol",
                ));
            }
        };
        bits += log2(class.len());
        password.push(*pick(class, rng));
    }
    // In any order, or everybody would know where the digit is.
    for end in (1..password.len()).rev() {
        password.swap(end, below(end + 1, rng));
    }
    let password = Zeroizing::new(String::from_utf8_lossy(&password).into_owned());
    Ok(Made { password, bits })
}

fn pick<'a, T>(list: &'a [T], rng: &mut impl Rng) -> &'a T {
    list.get(below(list.len(), rng))
        .expect("`below` is below the length of a list that is not empty")
}

/// A number below `bound`, each with the same chance.
fn below(bound: usize, rng: &mut impl Rng) -> usize {
    let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
    // What is left over at the top would favour the small numbers.
    let fair = u64::MAX - u64::MAX % bound;
    loop {
        let number = rng.next_u64();
        if number < fair {
            return usize::try_from(number % bound).unwrap_or(0);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "lists are short")]
fn log2(count: usize) -> f64 {
    (count as f64).log2()
}

#[expect(clippy::cast_precision_loss, reason = "128 at most")]
fn log2_factor(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_password_has_the_classes_of_its_template_in_any_order() {
        let mut rng = UnwrapErr(SysRng);
        let mut first_is_digit = 0;
        for _ in 0..500 {
            let made = characters("Aa5!aaaa", &mut rng).unwrap();
            let count = |class: &[u8]| {
                made.password
                    .bytes()
                    .filter(|byte| class.contains(byte))
                    .count()
            };
            assert_eq!(
                (
                    count(CAPITALS),
                    count(SMALLS),
                    count(DIGITS),
                    count(SYMBOLS)
                ),
                (1, 5, 1, 1)
            );
            first_is_digit += usize::from(made.password.starts_with(|c: char| c.is_ascii_digit()));
        }
        // 62 are expected; fewer than 20 or more than 130 come once in 10^8 runs.
        assert!((20..130).contains(&first_is_digit), "{first_is_digit}");
        assert!(characters("", &mut rng).is_err() && characters("a b", &mut rng).is_err());
    }

    #[test]
    fn words_come_from_the_list_and_strength_is_told() {
        let made = words(6, &mut UnwrapErr(SysRng)).unwrap();
        assert!(made.password.split('-').count() >= 6);
        assert_eq!(made.to_string(), "one of 2^78");
        assert!(
            words(0, &mut UnwrapErr(SysRng)).is_err()
                && words(129, &mut UnwrapErr(SysRng)).is_err()
        );
    }

    #[test]
    fn every_number_below_a_bound_has_its_chance() {
        let mut rng = UnwrapErr(SysRng);
        let mut counts = BTreeMap::new();
        for _ in 0..7000 {
            *counts.entry(below(7, &mut rng)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 7);
        assert!(
            counts.values().all(|count| (800..1200).contains(count)),
            "{counts:?}"
        );
        assert_eq!(below(1, &mut rng), 0);
    }
}
