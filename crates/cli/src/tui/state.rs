//! What the screen shows, and what each event makes of it. This is a machine without a terminal, a
//! vault or a clock: it returns what is to be done.
//!
//! At most one call is with the vault. What else the screen needs follows from what it shows: see
//! [`super::calls`].

use std::collections::VecDeque;
use std::time::Duration;

use passmate_core::answer::Question;
use passmate_core::generate::Generated;
use passmate_core::problem::Problem;
use passmate_core::settings::LockRule;
use ratatui::crossterm::event::{KeyCode, KeyEvent, MouseEvent};
use ratatui::layout::Rect;
use zeroize::Zeroizing;

use super::dialog::Dialog;
use super::generate::How;
use super::guarded::{Pending, Wanted};
use super::keyboard::is_control;
use super::layout::{Areas, areas, inside, padded};
use super::line::Line;
use super::note::Note;
use super::record::Open;
use super::syncing::{Syncing, Tie};
use super::tree::Tree;
use super::worker::{Call, Done};

/// After so long without a key, secrets are hidden.
const HIDES_AFTER: Duration = Duration::from_mins(2);
/// What is known of the sync is asked again at the next key after so long.
const STANDING_MAX_AGE: Duration = Duration::from_mins(5);
/// A list of records that is older is read again at the next key.
const LIST_MAX_AGE: Duration = Duration::from_secs(10);

/// What happens. A key may be a part of a secret, so this has no `Debug`.
pub(super) enum Event {
    Key(KeyEvent),
    Paste(Zeroizing<String>),
    Mouse(MouseEvent),
    /// The screen has another size.
    Resize(Rect),
    Done(Box<Done>),
    /// The call waits until a person has agreed, with this question.
    Asking(String),
    /// The call that waited ended.
    PendingDone(Box<Done>),
    /// The vault was unlocked again.
    Unlocked,
    /// It could not be unlocked.
    StillLocked(Problem),
    /// A secret is in the clipboard for a time, or could not be put there.
    Copied(Result<(String, Duration), Problem>),
    /// A record was edited in the person's editor, or was not.
    Edited(Result<String, Problem>),
    /// The vault was locked elsewhere.
    Locked,
    /// A password was made.
    Generated(Result<Generated, Problem>),
    /// Time went on.
    Tick,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Effect {
    Call(Call),
    /// Leave the call that is under way to a person, and make the next ones beside it.
    SetAside,
    /// Give up the call that is under way.
    Replace,
    /// Give up the call that waits for a person.
    Withdraw,
    Copy(Secret),
    /// Take away what was copied.
    ClearClipboard,
    Generate(How),
    /// Let the person's editor edit a record.
    Edit(String),
    /// Show what the time has changed.
    Draw,
    /// Let the vault go.
    Lock,
    /// Let the agent let it go too.
    LockEverywhere,
    /// Ask for the passphrase on the terminal.
    Unlock,
    /// Stop this program, as Ctrl-Z does.
    Stop,
    Quit,
}

/// A value for the clipboard.
pub(super) struct Secret {
    /// What it is, for people.
    pub(super) what: String,
    pub(super) text: Zeroizing<String>,
}

/// Without the value.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret")
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

/// What was copied, until it goes away.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) what: String,
    pub(super) until: Duration,
}

/// What the keys act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Focus {
    Tree,
    Search,
    Record,
}

pub(super) struct State {
    /// `None` for the default vault.
    pub(super) vault_name: Option<String>,
    pub(super) screen: Rect,
    /// The time since a fixed moment.
    pub(super) now: Duration,
    pub(super) is_locked: bool,
    pub(super) focus: Focus,
    pub(super) tree: Tree,
    pub(super) query: Line,
    /// The search was typed before, and what is typed next begins another one.
    pub(super) query_is_old: bool,
    pub(super) open: Option<Open>,
    pub(super) dialog: Option<Dialog>,
    pub(super) note: Option<Note>,
    pub(super) copied: Option<Copied>,
    /// What the vault syncs with, as far as this device knew at [`Self::stands_at`].
    pub(super) tie: Option<Tie>,
    pub(super) stands_at: Option<Duration>,
    /// The sync that a person asked for.
    pub(super) syncing: Option<Syncing>,
    /// What a sync asks once the person is done with what they type.
    pub(super) asks_later: Option<Question>,
    pub(super) asked_at: Duration,
    /// The record that the person's editor gets once the vault is free.
    pub(super) to_edit: Option<String>,
    /// The call that the vault has, and since when.
    pub(super) running: Option<(Call, Duration)>,
    /// The call that waits until a person has agreed.
    pub(super) pending: Option<Pending>,
    /// A guarded record that a person opens.
    pub(super) wanted: Option<Wanted>,
    /// Calls that wait for it.
    pub(super) waiting: VecDeque<Call>,
    /// The query whose matches are listed; empty for the tree.
    pub(super) found: String,
    /// The matches are to be looked for again.
    pub(super) found_is_stale: bool,
    pub(super) listed_at: Option<Duration>,
    /// The path of a record that is new in the next list.
    pub(super) select_when_listed: Option<String>,
    /// The record and field that a person goes to.
    pub(super) select_when_read: Option<(String, String)>,
    /// The record is to be read again.
    pub(super) record_is_stale: bool,
    /// The path of the record that could not be read.
    pub(super) unreadable: Option<String>,
    /// Keys that act on what is not there yet.
    pub(super) late_keys: VecDeque<KeyEvent>,
    last_key: Duration,
    pub(super) is_ending: bool,
}

impl State {
    pub(super) fn new(vault_name: Option<String>, screen: Rect, now: Duration) -> Self {
        Self {
            vault_name,
            screen,
            now,
            is_locked: false,
            focus: Focus::Tree,
            tree: Tree::default(),
            query: Line::default(),
            query_is_old: false,
            open: None,
            dialog: None,
            note: None,
            copied: None,
            late_keys: VecDeque::new(),
            tie: None,
            stands_at: None,
            syncing: None,
            asks_later: None,
            asked_at: Duration::ZERO,
            to_edit: None,
            running: None,
            pending: None,
            wanted: None,
            waiting: VecDeque::new(),
            found: String::new(),
            found_is_stale: false,
            listed_at: None,
            select_when_listed: None,
            select_when_read: None,
            record_is_stale: false,
            unreadable: None,
            last_key: now,
            is_ending: false,
        }
    }

    /// Takes in what happened, and returns what is to be done.
    pub(super) fn handle(&mut self, event: Event, now: Duration) -> Vec<Effect> {
        self.now = self.now.max(now);
        let mut effects = Vec::new();
        if matches!(event, Event::Key(_) | Event::Paste(_) | Event::Mouse(_)) {
            self.wake();
        }
        match event {
            // The second one does not wait for a change to be saved.
            Event::Key(key) if is_control(&key, 'c') && self.is_ending => {
                effects.push(Effect::Quit);
            }
            Event::Key(key) if is_control(&key, 'c') => self.end(),
            Event::Key(_) if self.is_ending => {}
            Event::Key(key) if is_control(&key, 'z') => {
                self.hide();
                effects.push(Effect::Stop);
            }
            Event::Key(key) if key.code == KeyCode::Esc && self.can_withdraw() => {
                effects.extend(self.withdraw());
            }
            Event::Key(key) if self.is_locked => effects.extend(self.locked_key(&key)),
            Event::Key(key) if self.must_wait(&key) => self.late_keys.push_back(key),
            Event::Key(key) => effects.extend(self.key(&key)),
            Event::Paste(text) if !self.is_locked => self.paste(&text),
            Event::Paste(_) => {}
            Event::Mouse(mouse) if !self.is_locked => self.mouse(mouse),
            Event::Mouse(_) => {}
            Event::Resize(screen) => self.screen = screen,
            Event::Done(done) => effects.extend(self.done(*done)),
            Event::Asking(question) => effects.extend(self.asking(question)),
            Event::PendingDone(done) => effects.extend(self.pending_done(*done)),
            Event::Unlocked => self.is_locked = false,
            Event::StillLocked(problem) => self.note = Some(Note::problem(&problem)),
            Event::Copied(Ok((what, keeps))) => self.copied(what, keeps),
            Event::Copied(Err(problem)) => self.note = Some(Note::problem(&problem)),
            Event::Edited(result) => {
                self.list_is_stale();
                self.note = Some(match result {
                    Ok(text) => Note::good(&text),
                    Err(problem) => Note::problem(&problem),
                });
            }
            Event::Locked if !self.is_locked => effects.push(self.lock()),
            Event::Locked => {}
            Event::Generated(made) => self.generated(made),
            Event::Tick => {}
        }
        self.confirm_sync();
        effects.extend(self.leave_guarded());
        effects.extend(self.rest());
        let call = match self.is_ending {
            true if self.running.is_none() => self.waiting.pop_front(),
            true => None,
            false => self.next_call(&mut effects),
        };
        if let Some(call) = call {
            self.running = Some((call.clone(), self.now));
            effects.push(Effect::Call(call));
        }
        if self.is_ending && !self.has_changes() {
            effects.extend(self.copied.take().map(|_| Effect::ClearClipboard));
            effects.push(Effect::Quit);
        }
        if let (None, Some(pending)) = (&self.note, &self.pending) {
            self.note = Some(pending.note());
        }
        self.keep_visible();
        effects
    }

    /// Ends the program once all changes are saved.
    pub(super) fn end(&mut self) {
        self.is_ending = true;
        let text = "the program ends when the change is saved; Ctrl-C ends it now";
        self.note = Some(Note::plain(text));
    }

    /// Whether the time changes what is shown.
    pub(super) fn is_lively(&self) -> bool {
        let is_named = |(call, _): &(Call, Duration)| call.words().is_some();
        self.running.as_ref().is_some_and(is_named)
            || self.copied.is_some()
            || self.open.as_ref().is_some_and(Open::has_ring)
    }

    /// Whether a change is not saved yet.
    pub(super) fn has_changes(&self) -> bool {
        let running = self.running.as_ref().map(|(call, _)| call);
        running
            .into_iter()
            .chain(&self.waiting)
            .any(Call::is_change)
    }

    /// Makes a call as soon as the vault is free.
    pub(super) fn wait_for(&mut self, call: Call) {
        self.waiting.push_back(call);
    }

    /// Reads all that is shown again.
    pub(super) fn list_is_stale(&mut self) {
        self.listed_at = None;
        self.close_guarded();
        self.record_is_stale = true;
        self.stands_at = None;
    }

    /// A person is there.
    fn wake(&mut self) {
        self.last_key = self.now;
        let is_old = |listed: Duration| self.now.saturating_sub(listed) > LIST_MAX_AGE;
        if self.listed_at.is_some_and(is_old) {
            self.listed_at = None;
            self.record_is_stale = true;
        }
        let is_old = |stood: Duration| self.now.saturating_sub(stood) > STANDING_MAX_AGE;
        if self.stands_at.is_some_and(is_old) {
            self.stands_at = None;
        }
    }

    /// Hides and forgets what nobody looks at.
    fn rest(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(path) = self.open.as_ref().map(Open::path)
            && self.tree.record() != Some(path)
        {
            self.open = None;
        }
        let idle = self.now.saturating_sub(self.last_key);
        if idle >= HIDES_AFTER && self.hide() {
            effects.push(Effect::Draw);
            self.note = Some(Note::plain("secrets are hidden again"));
        }
        if self
            .copied
            .take_if(|copied| self.now >= copied.until)
            .is_some()
        {
            effects.push(Effect::ClearClipboard);
        }
        // As the agent does it.
        if idle >= LockRule::default().idle && !self.is_locked {
            effects.push(self.lock());
        }
        effects
    }

    /// Hides all secrets; false if none was revealed.
    pub(super) fn hide(&mut self) -> bool {
        let in_dialog = self.dialog.as_mut().is_some_and(Dialog::hide);
        self.open.as_mut().is_some_and(Open::hide) || in_dialog
    }

    /// Forgets everything of the vault but the path that is selected. What a person was typing is
    /// there again when the vault is unlocked.
    pub(super) fn lock(&mut self) -> Effect {
        let typed = self.dialog.take().and_then(Dialog::typed);
        let name = self.vault_name.take();
        let selected = self.tree.row().map(|row| row.path.clone());
        let selected = selected.or_else(|| self.select_when_listed.take());
        *self = Self {
            is_locked: true,
            select_when_listed: selected,
            last_key: self.last_key,
            copied: self.copied.take(),
            dialog: typed.map(Dialog::Ask),
            ..Self::new(name, self.screen, self.now)
        };
        Effect::Lock
    }

    pub(super) fn areas(&self) -> Areas {
        let note = self.note.as_ref();
        areas(
            self.screen,
            note.map_or(0, |note| note.height(self.screen.width)),
        )
    }

    /// The width of the column of values in a part of the screen.
    pub(super) fn value_width(&self, inside: Rect) -> usize {
        let names = self.open.as_ref().map_or(0, Open::name_width);
        usize::from(inside.width).saturating_sub(names + 2)
    }

    fn keep_visible(&mut self) {
        let areas = self.areas();
        let height = usize::from(inside(areas.left).height);
        self.tree.keep_visible(height);
        let inside = padded(areas.right);
        let width = self.value_width(inside);
        if let Some(open) = &mut self.open {
            open.keep_visible(width, usize::from(inside.height), self.now);
        }
    }
}
