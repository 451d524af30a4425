//! The screen without a terminal: keys go in, and what it shows comes out.

mod audit;
mod browse;
mod change;
mod copy;
mod guarded;
mod history;
mod sync;

use std::time::Duration;

use passmate_core::answer::{Consent, Halt, Need};
use passmate_core::api::VaultApi;
use passmate_core::edit::{Edit, RecordText};
use passmate_core::session::{Session, VaultLocation};
use passmate_vault::Passphrase;
use passmate_vault::format::container::Params;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};
use tempfile::TempDir;

use super::state::{Effect, Event, State};
use super::theme::{Background, Theme};
use super::view;
use super::worker::{Call, Done};

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (200, 60);

/// A person at a screen, with a vault.
struct Pilot {
    _dir: TempDir,
    vault: Box<dyn VaultApi>,
    state: State,
    now: Duration,
    /// Effects that are no calls.
    effects: Vec<Effect>,
    is_agent_locked: bool,
    /// How long the clipboard keeps a value.
    keeps: Duration,
}

impl Pilot {
    fn new(size: (u16, u16)) -> Self {
        Self::with(
            size,
            &[
                (
                    "bank/giro",
                    &[
                        ("user", "carol"),
                        ("password", "tr0ub4dor"),
                        ("pin", "4711"),
                    ],
                ),
                (
                    "mail",
                    &[("user", "bob@example.org"), ("password", "hunter2")],
                ),
                (
                    "web/forum",
                    &[
                        ("user", "bob"),
                        ("password", "correct horse"),
                        (
                            "notes",
                            "Moderator since May.\nAsk Carol about the second account.",
                        ),
                    ],
                ),
                (
                    "web/shop",
                    &[
                        ("user", "bob"),
                        ("password", "battery staple"),
                        ("url", "https://shop.example/login"),
                        ("otp", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
                    ],
                ),
            ],
        )
    }

    fn with(size: (u16, u16), records: &[(&str, &[(&str, &str)])]) -> Self {
        let (dir, mut vault) = vault();
        for (path, fields) in records {
            let record = RecordText::new(*path, fields.iter().copied());
            let edit = Edit::Add { record };
            vault.change(&edit, &Consent::none(), &mut |_| {}).unwrap();
        }
        Self::of(size, dir, vault)
    }

    fn of(size: (u16, u16), dir: TempDir, vault: Session) -> Self {
        let now = Duration::from_secs(1000);
        let screen = Rect::new(0, 0, size.0, size.1);
        let mut pilot = Self {
            _dir: dir,
            vault: Box::new(vault),
            state: State::new(Some("work".to_owned()), screen, now),
            now,
            effects: Vec::new(),
            is_agent_locked: false,
            keeps: Duration::from_secs(45),
        };
        pilot.feed(Event::Tick);
        pilot
    }

    /// Gives an event to the screen, and makes all calls that it wants.
    fn feed(&mut self, event: Event) {
        let calls = self.begin(event);
        self.answer(calls);
    }

    /// Gives an event to the screen, and returns the calls that it wants.
    fn begin(&mut self, event: Event) -> Vec<Call> {
        let mut events = vec![event];
        let mut calls = Vec::new();
        while let Some(event) = events.pop() {
            for effect in self.state.handle(event, self.now) {
                match effect {
                    Effect::Call(call) => calls.push(call),
                    Effect::Copy(secret) => {
                        events.push(Event::Copied(Ok((secret.what.clone(), self.keeps))));
                        self.effects.push(Effect::Copy(secret));
                    }
                    Effect::Generate(how) => events.push(Event::Generated(how.make())),
                    effect => self.effects.push(effect),
                }
            }
        }
        calls
    }

    /// Makes calls, and those that follow.
    fn answer(&mut self, mut calls: Vec<Call>) {
        while let Some(call) = calls.pop() {
            let answer = if self.is_agent_locked {
                Err(Halt::Needs(Need::Locked))
            } else {
                call.make(&mut *self.vault)
            };
            let done = Box::new(Done { call, answer });
            calls.extend(self.begin(Event::Done(done)));
        }
    }

    /// Presses keys while the vault does not answer.
    fn without_answers(&mut self, text: &str) -> Vec<Call> {
        let mut calls = Vec::new();
        for character in text.chars() {
            let code = match character {
                '\n' => KeyCode::Enter,
                other => KeyCode::Char(other),
            };
            calls.extend(self.begin(Event::Key(KeyEvent::from(code))));
        }
        calls
    }

    /// The value of a field.
    fn value(&mut self, path: &str, field: &str) -> Option<String> {
        let record = self.vault.record(path).ok()?;
        let field = record.field(field).ok()?;
        Some(field.value.to_string())
    }

    /// What is in the clipboard, and was there before.
    fn copied(&self) -> Vec<&str> {
        let copied = self.effects.iter().filter_map(|effect| match effect {
            Effect::Copy(secret) => Some(secret.text.as_str()),
            _ => None,
        });
        copied.collect()
    }

    fn has_cleared(&self) -> bool {
        let mut effects = self.effects.iter();
        effects.any(|effect| matches!(effect, Effect::ClearClipboard))
    }

    fn press(&mut self, code: KeyCode) {
        self.feed(Event::Key(KeyEvent::from(code)));
    }

    fn control(&mut self, letter: char) {
        let key = KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
        self.feed(Event::Key(key));
    }

    /// Presses a key for each character.
    fn typed(&mut self, text: &str) {
        for character in text.chars() {
            self.press(match character {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                other => KeyCode::Char(other),
            });
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.feed(Event::Tick);
    }

    fn go_to(&mut self, path: &str) {
        self.state.tree.reveal(path);
        self.feed(Event::Tick);
        assert_eq!(self.state.tree.record(), Some(path));
    }

    fn draw(&self, theme: Theme) -> Terminal<TestBackend> {
        let Rect { width, height, .. } = self.state.screen;
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal
            .draw(|frame| view::draw(&self.state, theme, frame))
            .unwrap();
        terminal
    }

    /// What the screen shows, as text.
    fn screen(&self) -> String {
        let terminal = self.draw(Theme::new(true, Background::Dark));
        let buffer = terminal.backend().buffer();
        let width = usize::from(buffer.area.width);
        let lines = buffer.content().chunks(width.max(1)).map(|cells| {
            let line: String = cells.iter().map(|cell| cell.symbol()).collect();
            line.trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[track_caller]
    fn shows(&self, text: &str) {
        assert!(self.screen().contains(text), "{}", self.screen());
    }

    #[track_caller]
    fn hides(&self, text: &str) {
        assert!(!self.screen().contains(text), "{}", self.screen());
    }

    fn has_ended(&self) -> bool {
        self.effects
            .iter()
            .any(|effect| matches!(effect, Effect::Quit))
    }
}

/// An empty vault.
fn vault() -> (TempDir, Session) {
    let dir = tempfile::tempdir().unwrap();
    let location = VaultLocation::new(dir.path().join("vault.pmdb"));
    let location = location.with_params(Params::new(4, 1, 1).unwrap());
    let passphrase = Passphrase::from("battery".to_owned());
    let vault = Session::create(location, passphrase).unwrap();
    (dir, vault)
}

/// Whether a cell has a colour of its own.
fn is_colored(terminal: &Terminal<TestBackend>) -> bool {
    let mut cells = terminal.backend().buffer().content().iter();
    cells.any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
}

fn is_reversed(terminal: &Terminal<TestBackend>) -> bool {
    let mut cells = terminal.backend().buffer().content().iter();
    cells.any(|cell| cell.modifier.contains(Modifier::REVERSED))
}
