//! When a vault is synced while nobody waits for it. The rules are:
//!  - after it was unlocked, a few seconds after a change, after its shared folder changed, and at
//!    regular times;
//!  - a sync that failed is tried again, each time after twice the time; a change brings that
//!    forward, but not below the first pause after the last try;
//!  - a person who sets up or leaves a place to sync with changes what is due;
//!  - all times differ a little, so that many devices do not come at once;
//!  - what a person must decide waits for that person;
//!  - no clock and no randomness: the caller gives the time since any fixed moment, and a share.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::session::Session;
use passmate_core::sync::Replica;
use passmate_core::sync_all::SyncOutcome;

/// How long it waits for further changes after a change.
const SETTLE: Duration = Duration::from_secs(3);
/// The first pause after a sync that failed.
const RETRY_FIRST: Duration = Duration::from_secs(30);
/// How many files of a shared folder are looked at.
const FILES_MAX: usize = 1000;

/// When a vault is synced next.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// `None` is never.
    every: Option<Duration>,
    /// `None` while a sync runs, and where none is to come.
    due: Option<Duration>,
    /// A change came while a sync ran.
    has_changed: bool,
    is_running: bool,
    failures: u32,
    last: Option<(Duration, SyncOutcome)>,
    /// `None` until it is known.
    places: Option<Places>,
}

/// What a vault syncs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// The host and the port.
    server: Option<(String, u16)>,
    folder: Option<PathBuf>,
}

impl Places {
    pub(crate) fn of(session: &Session) -> Self {
        let account = Replica::account(session);
        let folder = session.folder();
        Self {
            server: account.map(|account| (account.host.clone(), account.port)),
            folder: folder.map(|folder| PathBuf::from(&folder.path)),
        }
    }
}

impl Schedule {
    /// A vault that was unlocked now.
    pub(crate) fn new(every: Option<Duration>, now: Duration) -> Self {
        Self {
            every,
            due: every.map(|_| now),
            has_changed: false,
            is_running: false,
            failures: 0,
            last: None,
            places: None,
        }
    }

    /// The vault syncs with these places. If they are others than before, nothing that was known of
    /// syncs is true any more.
    pub(crate) fn set_places(&mut self, places: Places, now: Duration) {
        let before = self.places.replace(places);
        if before.is_some() && before != self.places {
            self.failures = 0;
            self.last = None;
            self.changed(now);
        }
    }

    /// Something is there to be sent or received.
    pub(crate) fn changed(&mut self, now: Duration) {
        if self.every.is_none() {
            return;
        }
        if self.is_running {
            self.has_changed = true;
            return;
        }
        let mut soon = now.saturating_add(SETTLE);
        if self.failures > 0
            && let Some((ended, _)) = &self.last
        {
            soon = soon.max(ended.saturating_add(RETRY_FIRST));
        }
        self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
    }

    /// Begins a sync if it is time for one.
    pub(crate) fn begin(&mut self, now: Duration) -> bool {
        let is_due = !self.is_running && self.due.is_some_and(|due| due <= now);
        if is_due {
            self.due = None;
            self.is_running = true;
            self.has_changed = false;
        }
        is_due
    }

    /// The vault is busy: it is tried again soon.
    pub(crate) fn postpone(&mut self, now: Duration) {
        self.is_running = false;
        self.due = Some(now.saturating_add(SETTLE));
    }

    /// A sync has ended. `share`, from 0 to 1, makes the next time differ from that of others.
    pub(crate) fn ended(&mut self, outcome: SyncOutcome, now: Duration, share: f64) {
        self.is_running = false;
        self.failures = if is_retried(&outcome) {
            self.failures + 1
        } else {
            0
        };
        self.due = self.every.map(|every| {
            let pause = match self.failures {
                0 => every,
                failures => RETRY_FIRST
                    .saturating_mul(2_u32.saturating_pow(failures - 1))
                    .min(every),
            };
            now.saturating_add(pause.mul_f64(0.8 + 0.4 * share.clamp(0.0, 1.0)))
        });
        self.last = Some((now, outcome));
        if std::mem::take(&mut self.has_changed) && self.failures == 0 {
            self.changed(now);
        }
    }

    /// A person synced.
    pub(crate) fn noted(&mut self, outcome: SyncOutcome, now: Duration) {
        self.failures = if is_retried(&outcome) {
            self.failures.max(1)
        } else {
            0
        };
        self.last = Some((now, outcome));
    }

    /// Why the last sync failed, if it ended since then and for want of a server.
    pub(crate) fn failed_since(&self, since: Duration) -> Option<Problem> {
        match &self.last {
            Some((ended, SyncOutcome::Failed(problem)))
                if *ended >= since && problem.kind == ProblemKind::Network =>
            {
                Some(problem.clone())
            }
            _ => None,
        }
    }

    /// How long it is until the next sync; `None` if one runs, or none is to come.
    pub(crate) fn next_in(&self, now: Duration) -> Option<Duration> {
        self.due.map(|due| due.saturating_sub(now))
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.is_running
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.every.is_some()
    }

    /// How long ago the last sync ended, and how.
    pub(crate) fn last(&self, now: Duration) -> Option<(Duration, &SyncOutcome)> {
        let (ended, outcome) = self.last.as_ref()?;
        Some((now.saturating_sub(*ended), outcome))
    }
}

/// Whether time may mend what went wrong.
fn is_retried(outcome: &SyncOutcome) -> bool {
    matches!(
        outcome,
        SyncOutcome::Failed(problem)
            if matches!(problem.kind, ProblemKind::Network | ProblemKind::InUse)
    )
}

/// What tells that other devices wrote into a shared folder, without reading what they wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FolderLook(Vec<(std::ffi::OsString, u64, Option<SystemTime>)>);

impl FolderLook {
    /// `None` if the folder cannot be looked at. This device's own copy does not count.
    pub(crate) fn of(folder: &Path, own_copy: &str) -> Option<Self> {
        let files = std::fs::read_dir(folder).ok()?.take(FILES_MAX).flatten();
        let others = files.filter(|file| file.file_name() != own_copy);
        let looks = others.filter_map(|file| {
            let found = file.metadata().ok()?;
            Some((file.file_name(), found.len(), found.modified().ok()))
        });
        let mut looks: Vec<_> = looks.collect();
        looks.sort();
        Some(Self(looks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_mins(15);
    /// The pause is neither stretched nor shortened.
    const EVEN: f64 = 0.5;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn done() -> SyncOutcome {
        SyncOutcome::Done {
            received: 0,
            sent: 0,
        }
    }

    fn failed(kind: ProblemKind) -> SyncOutcome {
        SyncOutcome::Failed(Problem::new(kind, "a test", "none"))
    }

    #[test]
    fn a_vault_is_synced_when_unlocked_after_changes_and_in_time() {
        let mut schedule = Schedule::new(Some(EVERY), at(0));
        assert!(schedule.begin(at(0)));
        assert!(!schedule.begin(at(0)), "one at a time");
        schedule.ended(done(), at(1), EVEN);
        assert_eq!(schedule.next_in(at(1)), Some(EVERY));
        schedule.changed(at(10));
        schedule.changed(at(12));
        assert!(!schedule.begin(at(12)));
        assert!(schedule.begin(at(13)), "changes do not put it off for ever");
        schedule.changed(at(14));
        schedule.ended(done(), at(20), EVEN);
        assert!(schedule.begin(at(23)), "what changed meanwhile is sent too");
    }

    #[test]
    fn a_server_that_fails_is_asked_less_and_less_often() {
        let mut schedule = Schedule::new(Some(EVERY), at(0));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let now = schedule.due.unwrap();
            assert!(schedule.begin(now));
            schedule.ended(failed(ProblemKind::Network), now, EVEN);
            pauses.push(schedule.next_in(now).unwrap().as_secs());
        }
        assert_eq!(pauses, [30, 60, 120, 240, 480, 900, 900, 900]);
        let now = schedule.due.unwrap();
        assert!(schedule.begin(now));
        schedule.ended(failed(ProblemKind::Refused), now, EVEN);
        assert_eq!(
            schedule.next_in(now),
            Some(EVERY),
            "time does not mend that"
        );
    }

    #[test]
    fn neither_changes_nor_a_person_make_it_ask_a_dead_server_more_often() {
        let mut schedule = Schedule::new(Some(EVERY), at(0));
        assert!(schedule.begin(at(0)));
        schedule.ended(failed(ProblemKind::Network), at(0), EVEN);
        for second in 1..RETRY_FIRST.as_secs() {
            schedule.changed(at(second));
            assert!(!schedule.begin(at(second)), "{second}");
        }
        schedule.noted(failed(ProblemKind::Network), at(29));
        schedule.changed(at(29));
        assert!(schedule.begin(at(30)), "it was due");
        schedule.ended(failed(ProblemKind::Network), at(30), EVEN);
        assert_eq!(schedule.next_in(at(30)), Some(at(60)), "the second pause");
        // Long after the last try, a change brings the next one forward.
        schedule.changed(at(70));
        assert_eq!(schedule.next_in(at(70)), Some(SETTLE));
        schedule.noted(done(), at(71));
        schedule.changed(at(71));
        assert!(schedule.begin(at(74)), "it answers again");
    }

    #[test]
    fn whoever_waited_for_a_sync_that_failed_is_told_why() {
        let mut schedule = Schedule::new(Some(EVERY), at(0));
        assert_eq!(schedule.failed_since(at(0)), None);
        schedule.noted(failed(ProblemKind::Network), at(5));
        assert!(schedule.failed_since(at(5)).is_some());
        assert_eq!(schedule.failed_since(at(6)), None, "it is tried again");
        schedule.noted(failed(ProblemKind::Refused), at(7));
        assert_eq!(schedule.failed_since(at(7)), None);
        schedule.noted(done(), at(8));
        assert_eq!(schedule.failed_since(at(8)), None);
    }

    #[test]
    fn another_place_makes_the_last_sync_untrue() {
        let place = |host: Option<&str>| Places {
            server: host.map(|host| (host.to_owned(), 1)),
            folder: None,
        };
        let mut schedule = Schedule::new(Some(EVERY), at(0));
        schedule.set_places(place(None), at(0));
        assert!(schedule.begin(at(0)));
        schedule.ended(SyncOutcome::NoPlace, at(0), EVEN);
        schedule.set_places(place(None), at(1));
        assert!(schedule.last(at(1)).is_some());
        schedule.set_places(place(Some("one")), at(2));
        assert_eq!(schedule.last(at(2)), None);
        assert!(schedule.begin(at(5)));
        schedule.ended(failed(ProblemKind::Network), at(5), EVEN);
        schedule.set_places(place(None), at(6));
        assert_eq!(schedule.last(at(6)), None);
        assert_eq!(schedule.next_in(at(6)), Some(SETTLE));
    }

    #[test]
    fn many_devices_do_not_come_at_once() {
        let next = |share| {
            let mut schedule = Schedule::new(Some(EVERY), at(0));
            assert!(schedule.begin(at(0)));
            schedule.ended(done(), at(0), share);
            schedule.next_in(at(0)).unwrap().as_secs()
        };
        assert_eq!([next(0.0), next(1.0), next(7.0)], [720, 1080, 1080]);
    }

    #[test]
    fn where_no_sync_is_wanted_none_comes() {
        let mut schedule = Schedule::new(None, at(0));
        schedule.changed(at(0));
        assert!(!schedule.begin(at(100_000)));
    }

    #[test]
    fn a_folder_has_changed_if_another_device_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let look = || FolderLook::of(dir.path(), "own.pmdb");
        let empty = look();
        std::fs::write(dir.path().join("own.pmdb"), "x").unwrap();
        assert_eq!(look(), empty);
        std::fs::write(dir.path().join("other.pmdb"), "x").unwrap();
        assert_ne!(look(), empty);
        assert!(FolderLook::of(&dir.path().join("none"), "own.pmdb").is_none());
    }
}
