//! A pin in words, for people who type it from another screen or hear it by telephone.

use alloc::string::String;

/// Words of a pin. They hold 90 bits: an attacker would have to make 2^90 keys to meet them.
pub const PIN_WORDS: usize = 7;

/// The pin of a server's public key in [`PIN_WORDS`] words of a list, with blanks between.
///
/// `hash` is the SHA-256 of the `SubjectPublicKeyInfo`. Its first 16 bytes are a number in big
/// endian. A word is the remainder of this number by the length of the list, and the number is
/// divided by that length before the next word. Both programs use the EFF's long list of 7,776
/// words.
#[must_use]
pub fn pin_words(hash: &[u8; 32], list: &[&str]) -> String {
    let (head, _) = hash
        .split_first_chunk::<16>()
        .expect("32 bytes have a first 16");
    let mut rest = u128::from_be_bytes(*head);
    let mut words = String::new();
    for number in 0..PIN_WORDS {
        let len = u128::try_from(list.len().max(1)).unwrap_or(u128::MAX);
        let index = usize::try_from(rest % len).unwrap_or(usize::MAX);
        rest /= len;
        if number > 0 {
            words.push(' ');
        }
        words.push_str(list.get(index).copied().unwrap_or_default());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_digits_of_a_number_the_lowest_first() {
        let list = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let mut hash = [0; 32];
        // 1,234,567 in the first 16 bytes; the rest does not count.
        hash[13..16].copy_from_slice(&[0x12, 0xD6, 0x87]);
        hash[16] = 0xFF;
        assert_eq!(pin_words(&hash, &list), "h g f e d c b");
        assert_eq!(pin_words(&[0; 32], &list), "a a a a a a a");
        assert_eq!(pin_words(&[0; 32], &[]), "      ");
    }
}
