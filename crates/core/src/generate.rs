//! Passwords made of characters or of words, from the system's generator, each with the same
//! chance.

mod characters;
mod rule;
pub mod site;

use std::collections::BTreeMap;
use std::fmt;

use diceware_wordlists::Wordlist;
use getrandom::SysRng;
use num_bigint::BigUint;
use rand_core::{Rng, UnwrapErr};
use zeroize::Zeroizing;

use crate::problem::Problem;

pub use characters::Characters;
pub use rule::{LENGTH_DEFAULT, Need, Rule};

const LENGTH_MAX: usize = 1024;

/// A password that was just made.
#[derive(Clone)]
pub struct Generated {
    /// The password.
    pub password: Zeroizing<String>,
    /// Its entropy: the binary logarithm of the number of passwords that could have been made, each
    /// with the same chance; rounded down to a tenth.
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
        write!(f, "{:.1} bits of entropy", self.bits)
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
    let count = u32::try_from(count).unwrap_or(0);
    Ok(Generated {
        password,
        bits: bits_of(&BigUint::from(list.len()).pow(count)),
    })
}

/// A password that a rule allows.
///
/// # Errors
/// No password satisfies the rule, or it has too many minima to count its passwords.
pub fn by_rule(rule: &Rule) -> Result<Generated, Problem> {
    Ok(rule.count()?.draw(&mut UnwrapErr(SysRng)))
}

/// A password with the characters of a template in any order: `A` stands for a capital letter, `a`
/// for a small one, `5` for a digit, `!` for a symbol. Characters of `without` do not occur.
///
/// # Errors
/// The template is empty, longer than 1024 characters, or has another character.
pub fn characters(template: &str, without: Characters) -> Result<Generated, Problem> {
    characters_from(template, without, &mut UnwrapErr(SysRng))
}

fn characters_from(
    template: &str,
    without: Characters,
    rng: &mut impl Rng,
) -> Result<Generated, Problem> {
    if template.is_empty() || template.len() > LENGTH_MAX {
        return Err(Problem::usage(
            "the template is empty or longer than 1024 characters",
            "an example is Aaaaaaaaaaaaaa5",
        ));
    }
    // The choices of each character, times the orders of the classes.
    let mut all = BigUint::from(1_u8);
    let mut of_class = BTreeMap::new();
    let mut password = Zeroizing::new(Vec::with_capacity(template.len()));
    for (before, letter) in template.chars().enumerate() {
        let class = match letter {
            'A'..='Z' => Characters::UPPER,
            'a'..='z' => Characters::LOWER,
            '0'..='9' => Characters::DIGITS,
            '!'..='~' => Characters::SYMBOLS,
            _ => {
                return Err(Problem::usage(
                    format!("the template has a character that stands for nothing: {letter:?}"),
                    "A is a capital letter, a a small one, 5 a digit, ! a symbol",
                ));
            }
        };
        let class: Vec<u8> = class.without(without).iter().collect();
        let of_class: &mut usize = of_class.entry(class.clone()).or_default();
        *of_class += 1;
        all = all * class.len() * (before + 1) / *of_class;
        password.push(*pick(&class, rng));
    }
    // Shuffle, or everybody would know where the digit is.
    for end in (1..password.len()).rev() {
        password.swap(end, below(end + 1, rng));
    }
    let password = Zeroizing::new(String::from_utf8_lossy(&password).into_owned());
    let bits = bits_of(&all);
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

/// The entropy of one of so many passwords with the same chance, rounded down to a tenth of a bit;
/// `count` is not 0.
fn bits_of(count: &BigUint) -> f64 {
    // Of 40 bits the logarithm of no number below 2^40 is rounded up to 40.
    let cut = count.bits().saturating_sub(40);
    let leading = u64::try_from(count >> cut).unwrap_or(1);
    #[expect(clippy::cast_precision_loss, reason = "both are below 2^40")]
    let bits = (leading as f64).log2() + cut as f64;
    (bits * 10.0).floor() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_the_classes_of_its_template_in_any_order() {
        let mut rng = UnwrapErr(SysRng);
        let mut first_is_digit = 0;
        for _ in 0..500 {
            let made = characters_from("Aa5!aaaa", Characters::default(), &mut rng).unwrap();
            let classes = [
                Characters::UPPER,
                Characters::LOWER,
                Characters::DIGITS,
                Characters::SYMBOLS,
            ];
            let counts = classes.map(|class| {
                let is_of = |byte: &u8| class.iter().any(|other| other == *byte);
                made.password.bytes().filter(is_of).count()
            });
            assert_eq!(counts, [1, 5, 1, 1]);
            // 8 · 7 · 6 orders of the classes.
            let all = 336.0 * 26_f64.powi(6) * 10.0 * 19.0;
            assert_eq!(made.bits, (all.log2() * 10.0).floor() / 10.0);
            first_is_digit += usize::from(made.password.starts_with(|c: char| c.is_ascii_digit()));
        }
        // 62 are expected; fewer than 20 or more than 130 come once in 10^8 runs.
        assert!((20..130).contains(&first_is_digit), "{first_is_digit}");
        for wrong in ["", "a b", "aü"] {
            assert!(characters_from(wrong, Characters::default(), &mut rng).is_err());
        }
        let plain = characters("Aa5!".repeat(256).as_str(), Characters::LOOKALIKES).unwrap();
        assert!(!plain.password.contains(['0', 'O', 'o', '1', 'l', 'I', '|']));
    }

    #[test]
    fn words_come_from_the_list_and_strength_is_told() {
        let made = words_from(6, &mut UnwrapErr(SysRng)).unwrap();
        assert!(made.password.split('-').count() >= 6);
        assert_eq!(made.to_string(), "77.5 bits of entropy");
        assert!(
            words_from(0, &mut UnwrapErr(SysRng)).is_err()
                && words_from(129, &mut UnwrapErr(SysRng)).is_err()
        );
    }

    #[test]
    fn entropy_is_never_rounded_up() {
        for (count, bits) in [
            (1_u64, 0.0),
            (2, 1.0),
            (3, 1.5),
            (1 << 40, 40.0),
            ((1 << 40) - 1, 39.9),
            (u64::MAX, 63.9),
        ] {
            assert_eq!(bits_of(&BigUint::from(count)), bits, "{count}");
        }
        let large = BigUint::from(7776_u32).pow(128);
        assert_eq!(bits_of(&large), 1654.3);
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
