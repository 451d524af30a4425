//! Text that takes room.

/// A text that no compression makes shorter than `len` bytes: it is longer by what its alphabet
/// leaves to save. The same seed gives the same text.
#[must_use]
pub fn noise(seed: u64, len: usize) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut draw = || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b' ' + 16 + u8::try_from(state >> 58).unwrap_or_default())
    };
    (0..len * 8 / 6 + 64).map(|_| draw()).collect()
}
