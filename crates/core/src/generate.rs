//! Passwords made of characters or of words, from the system's generator, each with the same
//! chance.

use std::fmt;

use diceware_wordlists::Wordlist;
use getrandom::SysRng;
use rand_core::{Rng, UnwrapErr};
use zeroize::Zeroizing;

use crate::problem::Problem;

const LENGTH_MAX: usize = 1024;
const CAPITALS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const SMALLS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
const DIGITS: &[u8] = b"0123456789";
const SYMBOLS: &[u8] = b"!#$%&*+-./:;<=>?@_~";

/// A password that was just made.
#[derive(Clone)]
pub struct Generated {
    /// The password.
    pub password: Zeroizing<String>,
    /// Its entropy.
    pub bits: f64,
}

/// Without the password.
impl fmt::Debug for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generated")
            .field("bits", &self.bits)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "about {:.0} bits of entropy", self.bits)
    }
}

/// A password of so many words from the EFF's long list, 12.9 bits each.
///
/// # Errors
/// The number is not from 1 to 128.
pub fn words(count: usize) -> Result<Generated, Problem> {
    words_from(count, &mut UnwrapErr(SysRng))
}

fn words_from(count: usize, rng: &mut impl Rng) -> Result<Generated, Problem> {
    if !(1..=LENGTH_MAX / 8).contains(&count) {
        return Err(Problem::usage(
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
    Ok(Generated {
        password,
        bits: log2(list.len()) * log2_factor(count),
    })
}

/// A password with the characters of a template in any order: `A` stands for a capital letter, `a`
/// for a small one, `5` for a digit, `!` for a symbol.
///
/// # Errors
/// The template is empty, longer than 1024 characters, or has another character.
pub fn characters(template: &str) -> Result<Generated, Problem> {
    characters_from(template, &mut UnwrapErr(SysRng))
}

fn characters_from(template: &str, rng: &mut impl Rng) -> Result<Generated, Problem> {
    if template.is_empty() || template.len() > LENGTH_MAX {
        return Err(Problem::usage(
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
                return Err(Problem::usage(
                    format!("the template has a character that stands for nothing: {letter:?}"),
                    "A is a capital letter, a a small one, 5 a digit, ! a symbol",
                ));
            }
        };
        bits += log2(class.len());
        password.push(*pick(class, rng));
    }
    // Shuffle, or everybody would know where the digit is.
    for end in (1..password.len()).rev() {
        password.swap(end, below(end + 1, rng));
    }
    let password = Zeroizing::new(String::from_utf8_lossy(&password).into_owned());
    Ok(Generated { password, bits })
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
            let made = characters_from("Aa5!aaaa", &mut rng).unwrap();
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
        assert!(
            characters_from("", &mut rng).is_err() && characters_from("a b", &mut rng).is_err()
        );
    }

    #[test]
    fn words_come_from_the_list_and_strength_is_told() {
        let made = words_from(6, &mut UnwrapErr(SysRng)).unwrap();
        assert!(made.password.split('-').count() >= 6);
        assert_eq!(made.to_string(), "about 78 bits of entropy");
        assert!(
            words_from(0, &mut UnwrapErr(SysRng)).is_err()
                && words_from(129, &mut UnwrapErr(SysRng)).is_err()
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
