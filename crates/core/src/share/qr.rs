//! Text as a QR code, for another device's camera.

use std::fmt::Write;

use qrcode::types::{Color, QrError};
use qrcode::{EcLevel, QrCode};
use zeroize::Zeroizing;

/// Light modules around the code, without which cameras do not find it.
const QUIET: usize = 4;

/// A QR code: square modules, dark or light.
pub struct Qr {
    modules: Zeroizing<Vec<bool>>,
    width: usize,
}

/// The text is longer than what one code holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{len} bytes are too long for a QR code, which holds 2,953 at most")]
pub struct TooLong {
    /// The text's length in bytes.
    pub len: usize,
}

impl Qr {
    /// The code of a text, of the lowest level of error correction: screens and fresh prints are
    /// not damaged.
    ///
    /// # Errors
    /// It is too long.
    pub fn new(text: &str) -> Result<Self, TooLong> {
        let code = QrCode::with_error_correction_level(text, EcLevel::L);
        let code = code.map_err(|_: QrError| TooLong { len: text.len() })?;
        let modules = Zeroizing::new(
            code.to_colors()
                .into_iter()
                .map(|color| color == Color::Dark)
                .collect(),
        );
        Ok(Self {
            modules,
            width: code.width(),
        })
    }

    /// Modules from one side to the other, with the light ones around it.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width + 2 * QUIET
    }

    /// Whether a module is dark, counted from the upper left corner of the light ones around it.
    fn is_dark(&self, x: usize, y: usize) -> bool {
        let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < self.width);
        match (inside(x), inside(y)) {
            (Some(x), Some(y)) => self
                .modules
                .get(y * self.width + x)
                .copied()
                .unwrap_or(false),
            _ => false,
        }
    }

    /// Rows of `0` for light and `1` for dark, without the light ones around it.
    #[must_use]
    pub fn rows(&self) -> Vec<String> {
        self.modules
            .chunks(self.width)
            .map(|row| {
                row.iter()
                    .map(|dark| if *dark { '1' } else { '0' })
                    .collect()
            })
            .collect()
    }

    /// Lines of half blocks, two rows of modules each. With `colored` they are black on white
    /// whatever the terminal's colours are; else dark modules are the blocks, as ink on paper.
    #[must_use]
    pub fn to_blocks(&self, colored: bool) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for y in (0..self.width()).step_by(2) {
            if colored {
                text.push_str("\x1b[38;5;16m\x1b[48;5;231m");
            }
            for x in 0..self.width() {
                text.push(match (self.is_dark(x, y), self.is_dark(x, y + 1)) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                });
            }
            text.push_str(if colored { "\x1b[0m\n" } else { "\n" });
        }
        text
    }

    /// A picture in SVG, one unit for a module.
    #[must_use]
    pub fn to_svg(&self) -> Zeroizing<String> {
        let width = self.width();
        let mut path = Zeroizing::new(String::new());
        for y in 0..width {
            for x in (0..width).filter(|x| self.is_dark(*x, y)) {
                write!(path, "M{x} {y}h1v1h-1z").expect("a String takes everything");
            }
        }
        let view = format!("viewBox=\"0 0 {width} {width}\" shape-rendering=\"crispEdges\"");
        let ground = format!("<path fill=\"#fff\" d=\"M0 0h{width}v{width}H0z\"/>");
        Zeroizing::new(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" {view}>{ground}<path d=\"{}\"/></svg>",
            *path
        ))
    }
}

/// The text that phones read as the access to a wireless network.
#[must_use]
pub fn wireless_network(ssid: &str, password: Option<&str>) -> Zeroizing<String> {
    let escaped = |text: &str| {
        let marked = |c: char| {
            if matches!(c, '\\' | ';' | ',' | ':' | '"') {
                vec!['\\', c]
            } else {
                vec![c]
            }
        };
        Zeroizing::new(text.chars().flat_map(marked).collect::<String>())
    };
    Zeroizing::new(match password {
        Some(password) => format!("WIFI:T:WPA;S:{};P:{};;", *escaped(ssid), *escaped(password)),
        None => format!("WIFI:T:nopass;S:{};;", *escaped(ssid)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_corners_and_light_around_it_in_every_form() {
        let code = Qr::new("https://example.org").unwrap();
        let rows = code.rows();
        assert_eq!((rows.len(), code.width()), (25, 33));
        assert!(
            rows.iter().all(|row| row.len() == 25) && rows.first().unwrap().starts_with("11111110")
        );
        let blocks = code.to_blocks(false);
        let lines: Vec<&str> = blocks.lines().collect();
        assert_eq!(lines.len(), 17);
        assert!(
            lines
                .iter()
                .all(|line| line.chars().count() == 33 && line.starts_with("    "))
        );
        assert!(lines.first().unwrap().trim().is_empty());
        assert!(
            code.to_blocks(true)
                .lines()
                .all(|line| line.starts_with("\x1b[38") && line.ends_with("\x1b[0m"))
        );
        let dark = rows
            .iter()
            .map(|row| row.matches('1').count())
            .sum::<usize>();
        assert_eq!(code.to_svg().matches("h1v1h-1z").count(), dark);
    }

    #[test]
    fn a_text_that_is_too_long_is_named() {
        Qr::new(&"x".repeat(2953)).unwrap();
        assert_eq!(
            Qr::new(&"x".repeat(2954)).err(),
            Some(TooLong { len: 2954 })
        );
        Qr::new("").unwrap();
    }

    #[test]
    fn a_wireless_network_is_written_as_phones_read_it() {
        assert_eq!(
            *wireless_network("Café; \"5\"", Some("a:b\\c,d")),
            "WIFI:T:WPA;S:Café\\; \\\"5\\\";P:a\\:b\\\\c\\,d;;"
        );
        assert_eq!(*wireless_network("open", None), "WIFI:T:nopass;S:open;;");
    }
}
