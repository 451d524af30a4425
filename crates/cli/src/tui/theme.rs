//! Colours and weights. Only the sixteen colours of the terminal are used, so that they fit its
//! background, and nothing is told by a colour alone.

use ratatui::style::{Color, Modifier, Style};

/// How things look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theme {
    is_colored: bool,
    background: Background,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Background {
    Dark,
    /// Light, or the terminal does not say: only colours that can be read on both are used.
    Any,
}

impl Background {
    /// What the terminal says about itself.
    pub(super) fn of_terminal() -> Self {
        let colors = std::env::var("COLORFGBG").unwrap_or_default();
        Self::of_colors(&colors)
    }

    /// Reads `COLORFGBG`: the numbers of the colours of text and background.
    fn of_colors(colors: &str) -> Self {
        match colors.rsplit(';').next().map(str::parse::<u8>) {
            Some(Ok(0..=6 | 8)) => Self::Dark,
            _ => Self::Any,
        }
    }
}

impl Theme {
    pub(super) const fn new(is_colored: bool, background: Background) -> Self {
        Self {
            is_colored,
            background,
        }
    }

    /// A colour that can be read on both, or a brighter one on a dark background.
    fn color(self, on_both: Color, on_dark: Color) -> Style {
        match (self.is_colored, self.background) {
            (false, _) => Style::new(),
            (true, Background::Dark) => Style::new().fg(on_dark),
            (true, Background::Any) => Style::new().fg(on_both),
        }
    }

    /// Names of fields and folders.
    pub(super) fn name(self) -> Style {
        self.color(Color::Blue, Color::LightBlue)
            .add_modifier(Modifier::BOLD)
    }

    /// What matters less.
    pub(super) fn dim(self) -> Style {
        self.color(Color::DarkGray, Color::DarkGray)
            .add_modifier(if self.is_colored {
                Modifier::empty()
            } else {
                Modifier::DIM
            })
    }

    /// The row that keys act on.
    pub(super) fn selected(self) -> Style {
        Style::new()
            .fg(Color::Reset)
            .add_modifier(Modifier::REVERSED)
    }

    /// The selected row of a part of the screen that keys do not act on.
    pub(super) fn selected_elsewhere(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    }

    /// Keys, and the frame of the part that they act on.
    pub(super) fn key(self) -> Style {
        self.color(Color::Cyan, Color::LightCyan)
            .add_modifier(Modifier::BOLD)
    }

    /// A value that is shown because a person asked for it.
    pub(super) fn revealed(self) -> Style {
        self.color(Color::Magenta, Color::LightYellow)
    }

    pub(super) fn good(self) -> Style {
        self.color(Color::Green, Color::LightGreen)
    }

    /// What should be noticed.
    pub(super) fn warning(self) -> Style {
        self.color(Color::Red, Color::LightYellow)
            .add_modifier(Modifier::BOLD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_tells_its_background() {
        for (colors, background) in [
            ("0;15", Background::Any),
            ("0;default;7", Background::Any),
            ("15;0", Background::Dark),
            ("15;8", Background::Dark),
            ("", Background::Any),
            ("x;99999", Background::Any),
        ] {
            assert_eq!(Background::of_colors(colors), background, "{colors}");
        }
    }
}
