//! Syncs a vault with all that it is set up to sync with: its server, its shared folder, or both.

use std::collections::BTreeMap;
use std::iter;

use passmate_sync::{
    HeldBack, Options, RemoteError, Replica, Report, SyncClient, SyncError, SyncErrorKind,
    Transport,
};
use passmate_vault::format::folder_copy::CopyError;
use passmate_vault::record::Record;
use passmate_vault::report::RecordReport;
use passmate_vault::{Account, Passphrase, RecordId, Vault};
use serde::{Deserialize, Serialize};

use crate::answer::{Consent, Halt, Need, Place, Question, Reply};
use crate::clock::local_time;
use crate::command::command;
use crate::env::SystemEnv;
use crate::escape::escape;
use crate::net::{Deadlines, Server};
use crate::problem::{Problem, ProblemKind};
use crate::records::text;
use crate::session::Session;
use crate::shared_folder::{self, FolderError, FolderPreview, FolderReport, Skipped, Why};
use crate::size;
use crate::state::State;
use crate::sync_status::Quota;

/// What a person says about a sync.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SyncRequest {
    /// What they agreed to.
    pub consent: Consent,
    /// Overwrite what cannot be opened on the server. Needs [`Question::ReplaceRemote`].
    pub replace_remote: bool,
    /// Passphrases of copies in the shared folder that do not open with the vault's own.
    pub passphrases: Vec<Passphrase>,
    /// An earlier sync belongs to this one: one *undo* takes back both.
    pub continued: bool,
    /// Sync with the shared folder alone.
    pub folder_only: bool,
}

/// What a sync did with each place that is set up.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SyncAnswer {
    /// The server; `None` if there is none, or the network is forbidden.
    pub server: Option<Synced<Report>>,
    /// The shared folder; `None` if there is none.
    pub folder: Option<Synced<FolderReport>>,
}

/// What a sync did with one place.
#[derive(Debug, Serialize, Deserialize)]
pub struct Synced<R> {
    /// The server's host, or the folder's path.
    pub place: String,
    /// What came and went, or why it stopped.
    pub result: Reply<R>,
    /// What a person should know besides.
    pub notices: Vec<Notice>,
}

/// Something that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// How much it matters.
    pub level: Level,
    /// One sentence. Names in it are escaped.
    pub text: String,
}

/// How much a [`Notice`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Level {
    /// It matters although the sync succeeded.
    Warning,
    /// It is worth knowing.
    Note,
    /// It interests somebody who looks for a fault.
    Detail,
}

impl Notice {
    fn warning(text: String) -> Self {
        Self {
            level: Level::Warning,
            text,
        }
    }
}

impl SyncAnswer {
    /// What a person must decide before the sync can go on.
    #[must_use]
    pub fn need(&self) -> Option<&Need> {
        let server = self
            .server
            .as_ref()
            .and_then(|synced| need_of(&synced.result));
        server.or_else(|| {
            self.folder
                .as_ref()
                .and_then(|synced| need_of(&synced.result))
        })
    }

    /// Whether anything came that was not here.
    #[must_use]
    pub fn has_received(&self) -> bool {
        let received = |report: &Report| report.received > 0;
        let server = self
            .server
            .as_ref()
            .and_then(|synced| synced.result.as_ref().ok());
        let folder = self
            .folder
            .as_ref()
            .and_then(|synced| synced.result.as_ref().ok());
        server.is_some_and(received) || folder.is_some_and(|folder| received(&folder.report))
    }

    /// The places that were synced.
    pub(crate) fn places(&self) -> String {
        let server = self.server.as_ref().map(|synced| synced.place.as_str());
        let folder = self.folder.as_ref().map(|synced| synced.place.as_str());
        let places: Vec<&str> = server.into_iter().chain(folder).collect();
        places.join(" and ")
    }

    /// Adds a notice to the places that are synced.
    pub(crate) fn notice(&mut self, notice: Option<Notice>) {
        let server = self.server.as_mut().map(|synced| &mut synced.notices);
        let folder = self.folder.as_mut().map(|synced| &mut synced.notices);
        if let Some(notices) = server.or(folder) {
            notices.extend(notice);
        }
    }

    /// Counts a later sync of the same vault with this one.
    pub fn add(&mut self, later: Self) {
        add(&mut self.server, later.server, Report::add);
        add(&mut self.folder, later.folder, FolderReport::add);
    }
}

fn need_of<T>(result: &Reply<T>) -> Option<&Need> {
    match result {
        Err(Halt::Needs(need)) => Some(need),
        _ => None,
    }
}

fn add<R>(ours: &mut Option<Synced<R>>, later: Option<Synced<R>>, add: fn(&mut R, R)) {
    match (ours.as_mut(), later) {
        (_, None) => {}
        (Some(ours), Some(mut later)) => {
            later
                .notices
                .retain(|notice| !ours.notices.contains(notice));
            ours.notices.append(&mut later.notices);
            match (&mut ours.result, later.result) {
                (Ok(report), Ok(later)) => add(report, later),
                (result, later) => *result = later,
            }
        }
        (None, later) => *ours = later,
    }
}

/// What a sync would do with one place.
#[derive(Debug, Serialize, Deserialize)]
pub struct PlacePreview<R> {
    /// The server's host, or the folder's path.
    pub place: String,
    /// The report that the sync would give.
    pub report: R,
    /// What would come and go, record by record, if a person agreed to all of it.
    pub records: Vec<RecordReport>,
    /// What the sync would hold back until a person agrees.
    pub held: Option<Box<HeldBack>>,
}

/// What a sync would do with each place that is set up, or why that cannot be seen.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SyncPreview {
    /// The server; `None` if there is none, or the network is forbidden.
    pub server: Option<Reply<PlacePreview<Report>>>,
    /// The shared folder; `None` if there is none.
    pub folder: Option<Reply<PlacePreview<FolderReport>>>,
}

/// How a sync ended that nobody waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyncOutcome {
    /// There is neither a server nor a shared folder.
    NoPlace,
    /// It is done, with the server and the shared folder together.
    Done {
        /// Changes that came.
        received: usize,
        /// Changes that went.
        sent: usize,
    },
    /// A person must decide something, and this says why.
    Waits(Problem),
    /// It failed, and a later one may succeed.
    Failed(Problem),
}

impl From<&SyncAnswer> for SyncOutcome {
    fn from(answer: &SyncAnswer) -> Self {
        if let Some(need) = answer.need() {
            return Self::Waits(need.clone().into());
        }
        let server = answer.server.as_ref().map(|synced| synced.result.as_ref());
        let folder = answer.folder.as_ref().map(|synced| {
            let result = synced.result.as_ref();
            result.map(|folder| &folder.report)
        });
        let (mut received, mut sent) = (0, 0);
        for result in server.into_iter().chain(folder) {
            match result {
                Ok(report) => {
                    received += report.received;
                    sent += report.sent;
                }
                Err(Halt::Needs(need)) => return Self::Waits(need.clone().into()),
                Err(Halt::Failed(problem)) => return Self::Failed(problem.clone()),
            }
        }
        Self::Done { received, sent }
    }
}

/// Whether anybody asked for a sync, or it follows a change, or its time has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    Asked,
    AfterChange,
    InBackground,
}

/// Syncs with everything that is set up: first takes in what came in the folder, then syncs with
/// the server, then writes the folder again. So each gets what came from the other.
pub(crate) fn sync_all(
    session: &mut Session,
    request: &SyncRequest,
    occasion: Occasion,
) -> SyncAnswer {
    let taken = session
        .folder()
        .map(|folder| folder.path.clone())
        .map(|path| {
            let taken = take_in(session, &path, request);
            (path, taken)
        });
    let has_taken = |(_, taken): &(String, Reply<FolderReport>)| {
        taken.as_ref().is_ok_and(|taken| taken.report.received > 0)
    };
    let continued = request.continued || taken.as_ref().is_some_and(has_taken);
    // A device that its operator has not admitted yet has nothing to sync: only whoever asks is
    // told so.
    let is_up = |account: &Account| occasion == Occasion::Asked || !account.is_pending();
    let is_online = !session.sync_settings().offline;
    let has_server =
        is_online && !request.folder_only && Replica::account(session).is_some_and(is_up);
    let server = has_server.then(|| sync_server(session, request, continued, occasion));
    let folder = taken.map(|(place, taken)| give_out(session, place, taken));
    SyncAnswer { server, folder }
}

/// Syncs after an edit. What the sync receives is no step: *undo* takes back the edit, and nothing
/// else.
pub fn sync_after_change(session: &mut Session) -> SyncAnswer {
    sync_unasked(session, Occasion::AfterChange)
}

/// Syncs while nobody waits. As after an edit, what it receives is no step.
pub fn sync_in_background(session: &mut Session) -> SyncAnswer {
    sync_unasked(session, Occasion::InBackground)
}

fn sync_unasked(session: &mut Session, occasion: Occasion) -> SyncAnswer {
    let request = SyncRequest {
        continued: true,
        ..SyncRequest::default()
    };
    sync_all(session, &request, occasion)
}

fn take_in(session: &mut Session, place: &str, request: &SyncRequest) -> Reply<FolderReport> {
    let options = Options {
        continued: request.continued,
        ..options(session, &request.consent, &Place::Folder(place.to_owned()))
    };
    let forms = |typed: &Passphrase| iter::once(typed.clone()).chain(typed.other_form());
    let passphrases: Vec<_> = request.passphrases.iter().flat_map(forms).collect();
    match shared_folder::take_in(session, &passphrases, &options) {
        Err(FolderError::HeldBack(held)) => Err(held_back(Place::Folder(place.to_owned()), held)),
        taken => Ok(taken?),
    }
}

fn give_out(
    session: &mut Session,
    place: String,
    taken: Reply<FolderReport>,
) -> Synced<FolderReport> {
    let mut notices = Vec::new();
    if let Ok(taken) = &taken {
        notices.extend(surprises(session, &taken.report));
        notices.extend(clocks(session, &taken.report));
    }
    let result = taken.and_then(|mut taken| {
        shared_folder::give_out(session, &mut taken)?;
        Ok(taken)
    });
    if let (Ok(_), Some(folder)) = (&result, session.folder()) {
        notices.push(Notice {
            level: Level::Detail,
            text: format!("this device's copy is {}", folder.copy_name()),
        });
    }
    Synced {
        place,
        result,
        notices,
    }
}

fn sync_server(
    session: &mut Session,
    request: &SyncRequest,
    continued: bool,
    occasion: Occasion,
) -> Synced<Report> {
    let place = host_of(session);
    let options = Options {
        continued,
        ..options(session, &request.consent, &Place::Server(place.clone()))
    };
    let was_rotating = is_rotating(session);
    let server = server_of(session).map(|server| match occasion {
        Occasion::Asked | Occasion::InBackground => server,
        Occasion::AfterChange => server.with_deadlines(Deadlines::AFTER_CHANGE),
    });
    match server {
        Ok(mut server) => {
            let mut env = SystemEnv::default();
            let mut client = client(session, &mut server, &mut env);
            let mut result = client.sync(&options);
            if let Err(SyncError::Remote(
                error @ (RemoteError::Unopenable(_) | RemoteError::NoVault(_)),
            )) = &result
                && request.replace_remote
            {
                let why = Problem::from(error.clone());
                let question = Question::ReplaceRemote { why };
                if !request.consent.covers(&question) {
                    let mut notices = Vec::new();
                    note_state(session, &result, &mut notices);
                    return Synced {
                        place,
                        result: Err(Halt::Needs(Need::Confirmation(question))),
                        notices,
                    };
                }
                result = client.sync(&Options {
                    replace_remote: true,
                    ..options
                });
            }
            let mut synced = conclude(session, result);
            if was_rotating && !is_rotating(session) {
                let text = "the rotation is complete: this vault has a new key; on every other \
                            device: `passmate sync leave`, then `passmate sync setup` with the key \
                            of `passmate sync key`";
                synced.notices.push(Notice::warning(text.to_owned()));
            }
            synced
        }
        Err(problem) => Synced {
            place,
            result: Err(problem.into()),
            notices: Vec::new(),
        },
    }
}

/// Whether a rotation is under way.
fn is_rotating(session: &Session) -> bool {
    let account = Replica::account(session);
    account.is_some_and(|account| account.is_lost || !account.retired.is_empty())
}

/// The options of a sync with a place, by the settings and by what a person said.
pub(crate) fn options(session: &Session, consent: &Consent, place: &Place) -> Options {
    Options {
        policy: consent.policy(place, &session.sync_settings().policy),
        ..Options::default()
    }
}

/// Remembers how a sync with the server went, and collects what a person should know of it.
pub(crate) fn conclude(session: &Session, result: Result<Report, SyncError>) -> Synced<Report> {
    let place = host_of(session);
    let mut notices = Vec::new();
    note_state(session, &result, &mut notices);
    notices.extend(archives(session));
    let result = match result {
        Ok(report) => {
            notices.extend(rotation(&report));
            notices.extend(surprises(session, &report));
            notices.extend(clocks(session, &report));
            let quota = Quota::new(report.btoken_len, report.greeting.btoken_len_max());
            notices.extend(shortage(quota));
            let banner = String::from_utf8_lossy(&report.greeting.banner);
            notices.push(Notice {
                level: Level::Detail,
                text: format!("the server says: {}", banner.trim_end()),
            });
            match (report.rollback, report.anomalies.as_slice()) {
                (Some(rollback), _) => Err(Problem::rolled_back(rollback, None).into()),
                (None, [_, ..]) => Err(Problem::forked(&report.anomalies).into()),
                (None, []) => Ok(report),
            }
        }
        Err(SyncError::HeldBack(held)) => Err(held_back(Place::Server(place.clone()), held)),
        Err(error @ SyncError::Remote(RemoteError::TooLarge { .. })) => {
            let advice = size::advice(session.vault(), Replica::account(session).is_some());
            let hint = format!("everything is saved on this device; {advice}");
            Err(Problem::from(error).with_hint(hint).into())
        }
        Err(error) => Err(error.into()),
    };
    Synced {
        place,
        result,
        notices,
    }
}

/// What became of the account from before a rotation, where it is not simply deleted.
fn rotation(report: &Report) -> Vec<Notice> {
    let unread = report.unread.as_ref().map(|error| {
        format!(
            "the account from before the rotation could not be read: {error}; nothing of it \
                 was taken over"
        )
    });
    let unfinished = report.unfinished.as_ref().map(|error| {
        format!(
            "the account from before the rotation is not deleted yet: {error}; the next sync \
                 tries again"
        )
    });
    let gone = report.gone.iter().map(|account| {
        format!(
            "the server refuses the account from before the rotation, {account}: it is deleted \
                 already, or whoever runs the server has disabled it"
        )
    });
    unread
        .into_iter()
        .chain(unfinished)
        .chain(gone)
        .map(Notice::warning)
        .collect()
}

/// Nothing but `sync status` depends on the state file, and a vault without a server has none.
fn note_state(session: &Session, result: &Result<Report, SyncError>, notices: &mut Vec<Notice>) {
    let mut state = State::load(session.path());
    match result {
        Ok(report) => {
            state.note_synced(session.now(), report);
            if report.rollback.is_some() || !report.anomalies.is_empty() {
                state.note_failed(session.now(), SyncErrorKind::Older);
            }
        }
        Err(error) if error.kind() == SyncErrorKind::NotSetUp => return,
        Err(error) => state.note_failed(session.now(), error.kind()),
    }
    if let Err(error) = state.save(session.path()) {
        notices.push(Notice::warning(format!(
            "cannot record this sync for `passmate sync status`: {error}"
        )));
    }
}

/// What a sync would do. Nothing is changed, here or there.
pub(crate) fn preview(session: &mut Session) -> SyncPreview {
    let has_server = Replica::account(session).is_some() && !session.sync_settings().offline;
    SyncPreview {
        server: has_server.then(|| preview_server(session)),
        folder: session
            .folder()
            .map(|folder| preview_folder(session, &folder.path)),
    }
}

fn preview_server(session: &mut Session) -> Reply<PlacePreview<Report>> {
    let mut reached = server_of(session)?;
    let mut env = SystemEnv::default();
    let policy = session.sync_settings().policy.clone();
    let preview = client(session, &mut reached, &mut env).preview(&policy)?;
    Ok(PlacePreview {
        place: host_of(session),
        records: preview.vault.report(&preview.report.delta),
        report: preview.report,
        held: preview.held,
    })
}

fn preview_folder(session: &Session, place: &str) -> Reply<PlacePreview<FolderReport>> {
    let preview = shared_folder::preview(session, &session.sync_settings().policy)?;
    let FolderPreview {
        report,
        vault,
        held,
    } = preview;
    Ok(PlacePreview {
        place: place.to_owned(),
        records: vault.report(&report.report.delta),
        report,
        held,
    })
}

/// There must be something to sync with, and the network must be allowed if a server is all that
/// there is.
pub(crate) fn require_place(session: &Session) -> Reply<()> {
    if session.folder().is_some() {
        return Ok(());
    }
    if Replica::account(session).is_none() {
        return Err(SyncError::NotSetUp.into());
    }
    require_online(session)
}

/// The network must be allowed.
pub(crate) fn require_online(session: &Session) -> Reply<()> {
    if session.sync_settings().offline {
        return Err(Problem::offline().into());
    }
    Ok(())
}

/// The server that the vault is tied to.
pub(crate) fn server_of(session: &Session) -> Result<Server, Problem> {
    let account = Replica::account(session).ok_or(SyncError::NotSetUp)?;
    Server::of(account).map_err(|error| unusable(&error))
}

pub(crate) fn unusable(error: &dyn std::fmt::Display) -> Problem {
    Problem::new(
        ProblemKind::Damaged,
        format!("the vault's server cannot be used: {error}"),
        "forget the server with `passmate sync leave`, then set it up again with the key of \
         another device",
    )
}

pub(crate) fn client<'a>(
    session: &'a mut Session,
    transport: &'a mut dyn Transport,
    env: &'a mut SystemEnv,
) -> SyncClient<'a> {
    SyncClient {
        replica: session,
        transport,
        env,
    }
}

pub(crate) fn host_of(session: &Session) -> String {
    Replica::account(session)
        .map(|account| account.host.clone())
        .unwrap_or_default()
}

pub(crate) fn held_back(place: Place, held: Box<HeldBack>) -> Halt {
    Halt::Needs(Need::Confirmation(Question::HeldBack { place, held }))
}

/// How many skipped copies are named.
const SKIPPED_SHOWN: usize = 10;

/// Tells of copies that were not merged, and of copies that a sync program put aside. A sync does
/// not tell of them in its notices, because a front end may first ask for passphrases and sync
/// again.
#[must_use]
pub fn copy_notices(found: &FolderReport) -> Vec<Notice> {
    let more = found.skipped.len().saturating_sub(SKIPPED_SHOWN);
    let more = (more > 0).then(|| Notice::warning(format!("{more} more copies are skipped")));
    let skipped = found.skipped.iter().take(SKIPPED_SHOWN);
    let skipped = skipped.map(|Skipped { name, why }| {
        let hint = match why {
            Why::Locked => "; run `passmate sync` on a terminal to type it",
            Why::Empty => "; its device, or the program that carries it, may not be done",
            Why::Copy(CopyError::OtherKey) => {
                "; if its device is yours, let it leave the folder and join it with the key of \
                 `passmate sync key --folder`"
            }
            Why::Postponed => "; the next sync goes on",
            _ => "",
        };
        let name = escape(name);
        Notice::warning(format!("the copy {name} is skipped: {why}{hint}"))
    });
    let conflicts = found.conflicts.iter().map(|name| Notice {
        level: Level::Note,
        text: format!(
            "{} is a copy that a sync program put aside: it is merged, and may be deleted",
            escape(name)
        ),
    });
    let others = (found.others > 0).then(|| Notice {
        level: Level::Note,
        text: format!(
            "copies that are not read: {}; a device that has the folder's key reads those under it, \
             and one without the key reads those under passphrases",
            found.others
        ),
    });
    let skipped = skipped.chain(more);
    skipped.chain(conflicts).chain(others).collect()
}

/// Records that a merge brought back or gave another path, and of which values were purged.
fn surprises(session: &Session, report: &Report) -> Vec<Notice> {
    if report.revived.is_empty() && report.clashing.is_empty() && report.purged.is_empty() {
        return Vec::new();
    }
    let view = session.vault().view();
    let records: BTreeMap<_, _> = view
        .records()
        .iter()
        .map(|record| (record.id, record))
        .collect();
    let mut notices = Vec::new();
    for id in &report.purged {
        let path = session.vault().record(id).and_then(Record::last_path);
        let of = path.map_or_else(
            || "a whole record was purged".to_owned(),
            |path| format!("values of {} were purged", escape(&text(&path))),
        );
        notices.push(Notice::warning(format!("{of} on another device")));
    }
    for id in report.revived.union(&report.clashing) {
        let Some(record) = records.get(id) else {
            continue;
        };
        let path = escape(&record.path.to_string_lossy());
        if report.revived.contains(id) {
            notices.push(Notice::warning(format!(
                "{path} was deleted on one device and changed later on another: it is kept"
            )));
        }
        if let Some(wanted) = &record.clash
            && report.clashing.contains(id)
        {
            let wanted = escape(&wanted.to_string_lossy());
            notices.push(Notice::warning(format!(
                "two records want the path {wanted}: one shows as {path}; give one of them a new \
                 path with `passmate mv`"
            )));
        }
    }
    notices
}

/// A wrong clock picks the wrong change as the newest.
fn clocks(session: &Session, report: &Report) -> Vec<Notice> {
    let now = session.now();
    let mut notices = Vec::new();
    for ahead in &report.ahead {
        let path = path_of(session.vault(), &ahead.record);
        let path = path.map_or_else(|| "a deleted record".to_owned(), |path| escape(&path));
        let field = escape(&ahead.field.name.to_string_lossy());
        let (time, days) = (local_time(ahead.time), (ahead.time - now) / (24 * 3600));
        notices.push(Notice::warning(format!(
            "{field} of {path} was changed at {time}, {days} days after this device's present \
             ({}): one of the two clocks is wrong",
            local_time(now)
        )));
    }
    if report.refused > 0 {
        notices.push(Notice::warning(format!(
            "refused for good: {} as before",
            match report.refused {
                1 => "1 record stays".to_owned(),
                count => format!("{count} records stay"),
            }
        )));
    }
    if let Some(since) = report.ignored_cut {
        notices.push(Notice::warning(format!(
            "the history was cut off at {}, after this device's present ({}): that was ignored, \
             and is undone on the server",
            local_time(since),
            local_time(now)
        )));
    }
    match report.valid {
        Some((begin, _)) if now < begin => notices.push(Notice::warning(format!(
            "this device's clock says {}, before the server's certificate begins ({}): is it \
             right?",
            local_time(now),
            local_time(begin)
        ))),
        Some((_, end)) if now > end => notices.push(Notice::warning(format!(
            "the server's certificate ended at {}, unless this device's clock is wrong ({})",
            local_time(end),
            local_time(now)
        ))),
        _ => {}
    }
    notices
}

fn path_of(vault: &Vault, id: &RecordId) -> Option<String> {
    let view = vault.view();
    let record = view.records().iter().find(|record| record.id == id)?;
    Some(text(&record.path))
}

/// Where the history is that was cut off.
fn archives(session: &Session) -> Vec<Notice> {
    let notice = |path: &std::path::PathBuf| {
        let shows = command(["passmate", "--vault"])
            .arg(path)
            .word("history")
            .word("PATH");
        Notice::warning(format!(
            "the whole history, a part of which was cut off, is in {}: {shows} shows it",
            escape(&path.display().to_string())
        ))
    };
    session.archives().iter().map(notice).collect()
}

/// Warns of a limit that is nearly reached: then nothing can be sent any more.
#[must_use]
pub fn shortage(quota: Quota) -> Option<Notice> {
    let percent = quota.percent();
    if percent < 75 {
        return None;
    }
    let urgent = if quota.left() == 0 {
        "nothing can be sent now: "
    } else if percent >= 90 {
        "soon nothing can be sent any more: "
    } else {
        ""
    };
    Some(Notice::warning(format!(
        "the vault fills {percent} % of the {} bytes that the server accepts: {urgent}ask its \
         operator for a higher --btoken-max, or keep less history with \
         `passmate sync rotate --keep-history 1y`",
        quota.limit
    )))
}
