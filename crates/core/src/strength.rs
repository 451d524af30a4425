//! How well a passphrase withstands guessing.

use passmate_vault::Passphrase;
use zeroize::Zeroizing;
use zxcvbn::zxcvbn;

/// Characters of a passphrase that are judged: judging takes longer the longer the text.
const JUDGED_CHARS: usize = 100;

/// Whether a thief who has the vault file would guess the passphrase in months.
#[must_use]
pub fn is_weak(passphrase: &Passphrase) -> bool {
    let text = Zeroizing::new(String::from_utf8_lossy(passphrase.as_bytes()).into_owned());
    let judged: Zeroizing<String> = Zeroizing::new(text.chars().take(JUDGED_CHARS).collect());
    // A guess costs a third of a second of a processor and 128 MiB; 10^10 of them are a hundred
    // processor years.
    zxcvbn(&judged, &[]).guesses_log10() < 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_weak_and_six_random_words_are_not() {
        let is_weak = |text: &str| is_weak(&Passphrase::from(text.to_owned()));
        assert!(is_weak("password") && is_weak("Tr0ub4dor") && is_weak(""));
        assert!(!is_weak("spoiler-crane-opulently-vastly-dill-uncouth"));
    }
}
