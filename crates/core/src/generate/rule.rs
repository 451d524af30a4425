//! Passwords that satisfy a rule, each with the same chance.
//!
//! The passwords that a rule allows are counted exactly: a table has, for each number of characters
//! that are still to come and for each combination of minima that are still to be met, the number
//! of ways to go on. The same table draws a password: each character gets the share of the ways
//! that begin with it. So every allowed password has the same chance, and no draw is thrown away.
//! The size of the table is known before it is made, and bounded.

use num_bigint::BigUint;
use rand_core::Rng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::characters::Characters;
use super::{Generated, LENGTH_MAX, bits_of, pick};
use crate::problem::Problem;

/// Characters of a password whose length nothing else decides.
pub const LENGTH_DEFAULT: usize = 20;

/// Steps that counting may take, weighed by the length of their numbers. The usual rules take less
/// than a hundredth.
const WORK_MAX: usize = 1 << 23;

/// How many characters of a set a password has at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// The set.
    pub of: Characters,
    /// The number.
    pub min: usize,
}

/// Which passwords are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The number of characters.
    pub length: usize,
    /// The characters that may occur.
    pub allowed: Characters,
    /// What has to occur.
    pub needs: Vec<Need>,
    /// How often a character may follow itself: 1 means that no two neighbours are equal.
    pub run_max: Option<usize>,
}

impl Rule {
    /// Passwords of the characters of some classes, with a minimum of each.
    #[must_use]
    pub fn of_classes(length: usize, classes: Vec<Need>) -> Self {
        let union = |all: Characters, class: &Need| all.union(class.of);
        Self {
            length,
            allowed: classes.iter().fold(Characters::default(), union),
            needs: classes,
            run_max: None,
        }
    }

    /// The same rule without some characters.
    #[must_use]
    pub fn without(self, characters: Characters) -> Self {
        let narrowed = |need: Need| Need {
            of: need.of.without(characters),
            ..need
        };
        Self {
            allowed: self.allowed.without(characters),
            needs: self.needs.into_iter().map(narrowed).collect(),
            ..self
        }
    }

    /// Counts the passwords that the rule allows.
    pub(super) fn count(&self) -> Result<Counted, Problem> {
        if !(1..=LENGTH_MAX).contains(&self.length) {
            return Err(Problem::usage(
                format!("the length of the password is not from 1 to {LENGTH_MAX}"),
                format!("{LENGTH_DEFAULT} characters are strong"),
            ));
        }
        let counted = Counted::new(self)?;
        if *counted.all() == BigUint::ZERO {
            return Err(impossible("its parts contradict each other"));
        }
        Ok(counted)
    }

    /// The minima that count, one of each set.
    fn minima(&self) -> Result<Vec<Need>, Problem> {
        let mut minima: Vec<Need> = Vec::new();
        for need in self.needs.iter().filter(|need| need.min > 0) {
            let of = need.of.intersection(self.allowed);
            if of.is_empty() {
                return Err(impossible(
                    "it requires characters of a set in which none is left",
                ));
            }
            if need.min > self.length {
                return Err(too_short(need.min, self.length));
            }
            match minima.iter_mut().find(|other| other.of == of) {
                Some(other) => other.min = other.min.max(need.min),
                None => minima.push(Need { of, min: need.min }),
            }
        }
        // Only of sets without a common character can the minima be added up.
        let is_apart = |(index, need): (usize, &Need)| {
            let mut others = minima.iter().take(index);
            others.all(|other| other.of.intersection(need.of).is_empty())
        };
        if minima.iter().enumerate().all(is_apart) {
            let sum = minima.iter().map(|need| need.min).sum();
            if sum > self.length {
                return Err(too_short(sum, self.length));
            }
        }
        Ok(minima)
    }
}

fn too_short(needed: usize, length: usize) -> Problem {
    impossible(&format!(
        "its minima need {needed} characters, and its length is {length}"
    ))
}

fn impossible(why: &str) -> Problem {
    Problem::usage(
        format!("no password satisfies the rule: {why}"),
        "make the password longer, lower a minimum, or allow more characters",
    )
}

/// Characters that meet the same minima.
struct Atom {
    characters: Vec<u8>,
    /// For each minimum, whether they count for it.
    meets: Vec<bool>,
}

/// Where a password that is being made stands.
#[derive(Clone)]
struct At {
    /// Characters still to come.
    left: usize,
    /// For each minimum, what is missing.
    missing: Vec<usize>,
    /// The atom of the last character, if the next one must be another character.
    last: Option<usize>,
}

/// A rule with the number of ways to go on from everywhere.
pub(super) struct Counted {
    atoms: Vec<Atom>,
    minima: Vec<usize>,
    length: usize,
    /// The longest run of one character; `None` if runs do not matter.
    run_max: Option<usize>,
    ways: Vec<BigUint>,
}

impl Counted {
    fn new(rule: &Rule) -> Result<Self, Problem> {
        if rule.allowed.is_empty() {
            return Err(impossible("it allows no character"));
        }
        let needs = rule.minima()?;
        let mut atoms: Vec<Atom> = Vec::new();
        for byte in rule.allowed.iter() {
            let one = Characters::of(&[byte]);
            let meets: Vec<_> = needs
                .iter()
                .map(|need| !need.of.intersection(one).is_empty())
                .collect();
            match atoms.iter_mut().find(|atom| atom.meets == meets) {
                Some(atom) => atom.characters.push(byte),
                None => atoms.push(Atom {
                    characters: vec![byte],
                    meets,
                }),
            }
        }
        let mut counted = Self {
            atoms,
            minima: needs.iter().map(|need| need.min).collect(),
            length: rule.length,
            run_max: rule.run_max.filter(|max| *max < rule.length),
            ways: Vec::new(),
        };
        if rule.run_max == Some(0) {
            return Err(impossible("no character may occur even once in a row"));
        }
        counted.check_work()?;
        counted.fill();
        Ok(counted)
    }

    /// The number of allowed passwords.
    fn all(&self) -> &BigUint {
        self.ways(&self.begin())
    }

    fn begin(&self) -> At {
        At {
            left: self.length,
            missing: self.minima.clone(),
            last: None,
        }
    }

    /// The number of combinations of missing minima.
    fn combinations(&self) -> Option<usize> {
        let mut minima = self.minima.iter();
        minima.try_fold(1_usize, |all, min| all.checked_mul(min + 1))
    }

    /// The number of last characters that make a difference.
    fn lasts(&self) -> usize {
        self.run_max.map_or(1, |_| self.atoms.len() + 1)
    }

    fn check_work(&self) -> Result<(), Problem> {
        let weight = self.length / 16 + 4;
        let steps = self.lasts() + self.atoms.len() * self.run_max.unwrap_or(1);
        let work = self.combinations().and_then(|combinations| {
            let states = combinations.checked_mul(self.length + 1)?;
            states.checked_mul(steps)?.checked_mul(weight)
        });
        match work {
            Some(work) if work <= WORK_MAX => Ok(()),
            _ => Err(Problem::usage(
                "the rule has too many minima, or too large ones, to count its passwords",
                "lower the minima or the length",
            )),
        }
    }

    fn fill(&mut self) {
        let combinations = self.combinations().unwrap_or(0);
        self.ways = Vec::with_capacity(combinations * (self.length + 1) * self.lasts());
        for left in 0..=self.length {
            for combination in 0..combinations {
                let at = At {
                    left,
                    missing: self.missing(combination),
                    last: None,
                };
                self.push_ways(&at);
            }
        }
    }

    /// Adds the numbers of ways from here, for each last character; those of fewer characters are
    /// there.
    fn push_ways(&mut self, at: &At) {
        if at.left == 0 {
            let is_met = at.missing.iter().all(|missing| *missing == 0);
            for _ in 0..self.lasts() {
                self.ways.push(BigUint::from(u8::from(is_met)));
            }
            return;
        }
        // For each atom, the ways that begin with one certain character of it.
        let begin_with = |atom| -> BigUint {
            let nexts = self.runs(at.left).map(|run| self.next(at, atom, run));
            nexts.map(|next| self.ways(&next)).sum()
        };
        let each: Vec<BigUint> = (0..self.atoms.len()).map(begin_with).collect();
        let sizes = self.atoms.iter().map(|atom| atom.characters.len());
        let all: BigUint = each.iter().zip(sizes).map(|(ways, size)| ways * size).sum();
        if self.run_max.is_some() {
            self.ways.extend(each.iter().map(|ways| &all - ways));
        }
        self.ways.push(all);
    }

    /// The lengths of the run that may come next.
    fn runs(&self, left: usize) -> std::ops::RangeInclusive<usize> {
        1..=self.run_max.unwrap_or(1).min(left)
    }

    /// After a run of one character of an atom.
    fn next(&self, at: &At, atom: usize, run: usize) -> At {
        let meets = self.atoms.get(atom).map_or(&[][..], |atom| &atom.meets);
        let missing = at.missing.iter().zip(meets);
        let missing =
            missing.map(|(missing, meets)| missing.saturating_sub(run * usize::from(*meets)));
        At {
            left: at.left - run,
            missing: missing.collect(),
            last: self.run_max.map(|_| atom),
        }
    }

    fn ways(&self, at: &At) -> &BigUint {
        let digits = at.missing.iter().zip(&self.minima);
        let combination = digits.fold(0, |sum, (missing, min)| sum * (min + 1) + missing);
        let states = self.combinations().unwrap_or(0) * at.left + combination;
        let last = at.last.unwrap_or(self.lasts() - 1);
        let index = states * self.lasts() + last;
        self.ways
            .get(index)
            .expect("each state is counted before those with more characters left")
    }

    /// The missing minima of a combination: its digits.
    fn missing(&self, mut combination: usize) -> Vec<usize> {
        let mut missing = self.minima.clone();
        for digit in missing.iter_mut().rev() {
            let base = *digit + 1;
            *digit = combination % base;
            combination /= base;
        }
        missing
    }

    /// Makes one of the allowed passwords.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> Generated {
        let mut password = Zeroizing::new(String::with_capacity(self.length));
        let mut at = self.begin();
        let mut previous = None;
        while at.left > 0 {
            let drawn = below_big(self.ways(&at), rng);
            let (atom, run) = self.choose(&at, drawn);
            let is_free = |byte: &u8| at.last != Some(atom) || previous != Some(*byte);
            let characters = self
                .atoms
                .get(atom)
                .map_or(&[][..], |atom| &atom.characters);
            let free: Zeroizing<Vec<u8>> =
                Zeroizing::new(characters.iter().copied().filter(is_free).collect());
            let byte = *pick(&free, rng);
            for _ in 0..run {
                password.push(char::from(byte));
            }
            at = self.next(&at, atom, run);
            previous = Some(byte);
        }
        Generated {
            password,
            bits: bits_of(self.all()),
        }
    }

    /// The atom and the run to which the drawn one of all ways from here belongs.
    fn choose(&self, at: &At, mut drawn: BigUint) -> (usize, usize) {
        for (index, atom) in self.atoms.iter().enumerate() {
            let free = atom.characters.len() - usize::from(at.last == Some(index));
            for run in self.runs(at.left) {
                let ways = self.ways(&self.next(at, index, run)) * free;
                if drawn < ways {
                    return (index, run);
                }
                drawn -= ways;
            }
        }
        unreachable!("the ways of all atoms add up to the ways from here")
    }
}

/// A number below `bound`, each with the same chance; `bound` is not 0.
fn below_big(bound: &BigUint, rng: &mut impl Rng) -> BigUint {
    let bits = (bound - 1_u8).bits();
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(bits.div_ceil(8)).unwrap_or(0)]);
    loop {
        rng.fill_bytes(&mut bytes);
        if let Some(first) = bytes.first_mut() {
            *first &= u8::MAX >> ((8 - bits % 8) % 8);
        }
        let number = BigUint::from_bytes_be(&bytes);
        // At least every second one is.
        if number < *bound {
            return number;
        }
    }
}

#[cfg(test)]
mod tests;
