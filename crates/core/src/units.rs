//! Numbers as people read them.

/// A length as people read it.
#[must_use]
pub fn readable(len: usize) -> String {
    const UNITS: [(&str, usize); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = UNITS.iter().find(|(_, size)| len >= *size);
    match unit {
        Some((name, size)) => format!("{}.{} {name}", len / size, len % size * 10 / size),
        None => format!("{len} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_readable() {
        for (len, shown) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1_500_000, "1.4 MiB"),
            (46_764 << 20, "45.6 GiB"),
            (usize::MAX, "17179869183.9 GiB"),
        ] {
            assert_eq!(readable(len), shown);
        }
    }
}
