//! Everything that a front end may do with an unlocked vault.
//!
//! [`VaultApi`] is what a command line, a window or a browser bridge is written against.
//! [`Session`] implements it in the same process: it reads what it read or saved last, and merges
//! what other programs saved meanwhile before it writes. The rules are:
//!  - [`change`](VaultApi::change) is the only way in for a person's edits, and it syncs afterwards
//!    if the settings say so: no front end can forget to;
//!  - a call that needs a person returns [`Halt::Needs`](crate::answer::Halt::Needs) and is called
//!    again with the answer;
//!  - a call that fails has changed nothing, unless its documentation says otherwise.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use getrandom::SysRng;
use passmate_interchange::{Applied, Format, Imported, apply};
use passmate_proto::RequestCode;
use passmate_sync::{Reason, Replica, Report, SameKey};
use passmate_vault::format::container::Params;
use passmate_vault::history::undo::Step;
use passmate_vault::login::{FieldRole, role_of};
use passmate_vault::report::RecordReport;
use passmate_vault::{Document, FolderKey, Passphrase, Pin, Shape, SharedFolder, Trust};
use rand_core::UnwrapErr;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::answer::{Consent, Reply};
use crate::audit::{Audit, AuditRules, audit};
use crate::codes::code_source;
use crate::edit::{Edit, Edited, edit};
use crate::escape::escape;
use crate::export::{ExportForm, Exported, export};
use crate::generate::site::SiteRule;
use crate::history::{self, HistoryEntry};
use crate::leak::scan::{SecretValue, secret_values};
use crate::log_n::LogN;
use crate::lossy;
use crate::memory::memory_available;
use crate::naming::continuations;
use crate::otp::{Code, Otp};
use crate::problem::{Problem, ProblemKind};
use crate::records::{self, DeletedEntry, RecordContent, RecordEntry, Which};
use crate::recover::untouched;
use crate::search::{Match, search};
use crate::session::Session;
use crate::share::link::Link;
use crate::share::qr::wireless_network;
use crate::shared_folder::{self, FolderReport, Sealing};
use crate::size;
use crate::state::State;
use crate::sync_all::{
    Occasion, SyncAnswer, SyncPreview, SyncRequest, Synced, preview, require_online, require_place,
    sync_after_change, sync_all,
};
use crate::sync_setup::{self, ServerSetup, Ties, Untie, Untied};
use crate::sync_status::{Content, Status, status};
use crate::undo::note_sync;
use crate::use_log::{UseLog, log_of};

/// What a change did, and the sync after it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Changed {
    /// What it did on this device.
    pub edited: Edited,
    /// What the sync after the change did; empty if the settings want none.
    pub synced: SyncAnswer,
}

/// What a change of passphrase did besides the vault and its previous copy.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ChangedPassphrase {
    /// Files with history that was cut off, now under the new passphrase.
    #[serde(serialize_with = "lossy::paths")]
    pub archives: Vec<PathBuf>,
    /// Such files that may still be under another passphrase, and why.
    #[serde(serialize_with = "lossy::paths_with")]
    pub left: Vec<(PathBuf, Problem)>,
    /// Other copies beside the vault, which keep the passphrase that they had.
    #[serde(serialize_with = "lossy::paths")]
    pub copies: Vec<PathBuf>,
    /// How long an unlock takes from now on, but for reading the vault.
    pub unlock: Duration,
}

/// A one-time code, as far as reading a record gives one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OneTimeCode {
    /// It follows the time.
    Timed(Code),
    /// It follows a counter, and [`Edit::UseCounter`] makes it.
    Counted,
}

/// How a vault and the places that it syncs with stand, as far as this device knows.
#[derive(Debug, Serialize, Deserialize)]
pub struct Standing {
    /// The server.
    pub server: Option<Status>,
    /// The shared folder.
    pub folder: Option<FolderStatus>,
    /// What the vault holds.
    pub content: Content,
}

/// How a shared folder stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderStatus {
    /// Its path.
    pub path: String,
    /// The file name of this device's copy.
    pub copy: String,
    /// Whether its copies are under a key; otherwise each is under the passphrase of its device.
    pub has_key: bool,
    /// When a change last came or went through it, in seconds since 1970.
    pub last_change: Option<i64>,
}

impl FolderStatus {
    fn of(folder: &SharedFolder) -> Self {
        Self {
            path: folder.path.clone(),
            copy: folder.copy_name(),
            has_key: folder.key.is_some(),
            last_change: folder.last.as_ref().map(|last| last.time),
        }
    }
}

/// A sync that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastSync {
    /// The server's host, or the folder's path.
    pub place: String,
    /// When, in seconds since 1970.
    pub time: i64,
    /// What came and went, record by record.
    pub records: Vec<RecordReport>,
}

/// The last syncs that changed anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSyncs {
    /// With the server.
    pub server: Option<PastSync>,
    /// With the shared folder.
    pub folder: Option<PastSync>,
}

/// What a front end may do with an unlocked vault.
pub trait VaultApi: Send {
    /// All records, in the order of [`compare_paths`](records::compare_paths).
    fn list(&mut self) -> Reply<Vec<RecordEntry>>;

    /// What an agent of this device handed out of the vault, the oldest first.
    fn uses(&mut self) -> Reply<UseLog>;

    /// The deleted records, the latest first.
    fn trash(&mut self) -> Reply<Vec<DeletedEntry>>;

    /// The record at a path, with its fields.
    fn record(&mut self, path: &str) -> Reply<RecordContent>;

    /// The records of a kind, with their fields: one call instead of many.
    fn records(&mut self, which: &Which) -> Reply<Vec<RecordContent>>;

    /// The values of all secret fields, on request also those that they had before.
    fn secret_values(&mut self, with_former: bool) -> Reply<Vec<SecretValue>>;

    /// The names of the fields of the record at a path, without their values.
    fn fields(&mut self, path: &str) -> Reply<Vec<String>>;

    /// The records that match a few letters, the best first, `max` of them at most.
    fn search(&mut self, query: &str, max: usize) -> Reply<Vec<Match>>;

    /// How a path goes on that a person began, part by part: folders with a slash behind them.
    fn continuations(&mut self, begin: &str) -> Reply<Vec<String>>;

    /// The history of a record, or of one field of it, the newest first.
    fn history(&mut self, path: &str, field: Option<&str>) -> Reply<Vec<HistoryEntry>>;

    /// The one-time code of a record, from the named field or the one that holds its secret.
    fn one_time_code(&mut self, path: &str, field: Option<&str>) -> Reply<OneTimeCode>;

    /// The rule for the password of the record at exactly this path, if it has one; see
    /// [`FieldRole::PasswordRule`].
    fn password_rule(&mut self, path: &str) -> Reply<Option<SiteRule>>;

    /// The text that a QR code of a field holds, for another device's camera. Without a field that
    /// is the password, or the access to a wireless network.
    fn qr_text(&mut self, path: &str, field: Option<&str>) -> Reply<Zeroizing<String>>;

    /// What a person should do something about. This takes long: each password is judged.
    fn audit(&mut self, rules: &AuditRules) -> Reply<Audit>;

    /// Changes records, saves them, and syncs if the settings say so. A sync that fails afterwards
    /// is part of the answer: the change is saved. `saved` is called before the sync, which may
    /// take long. The change is a step that [`Edit::Undo`] takes back; what the sync received is
    /// none.
    fn change(
        &mut self,
        change: &Edit,
        consent: &Consent,
        saved: &mut dyn FnMut(&Edited),
    ) -> Reply<Changed>;

    /// What importing this would do. Nothing is changed.
    fn preview_import(&mut self, format: Format, imported: &Imported) -> Reply<Applied>;

    /// All records in another form.
    fn export(&mut self, form: ExportForm) -> Reply<Exported>;

    /// Encrypts the vault and its previous copy under another passphrase, at a higher price, which
    /// later saves keep, or both. `None` keeps what there is.
    fn change_passphrase(
        &mut self,
        passphrase: Option<&Passphrase>,
        log_n: Option<LogN>,
    ) -> Reply<ChangedPassphrase>;

    /// Syncs with everything that is set up. What came is saved even where a part failed, and is a
    /// step that [`Edit::Undo`] takes back.
    fn sync(&mut self, request: &SyncRequest) -> Reply<SyncAnswer>;

    /// What a sync would do. Nothing is changed, here or there.
    fn preview_sync(&mut self) -> Reply<SyncPreview>;

    /// What the last syncs did that changed anything, from memory.
    fn last_syncs(&mut self) -> Reply<LastSyncs>;

    /// How the vault and the places that it syncs with stand, without a network.
    fn standing(&mut self) -> Reply<Standing>;

    /// What the vault syncs with.
    fn ties(&mut self) -> Reply<Ties>;

    /// Makes an account on a server, or joins one, and syncs with it.
    fn set_up_server(&mut self, setup: &ServerSetup) -> Reply<Synced<Report>>;

    /// Makes the account anew on a server that lost it, with the key that the vault has; `trust` is
    /// how the server is trusted from now on, if that changed.
    fn set_up_again(&mut self, trust: Option<&Trust>) -> Reply<(SameKey, Synced<Report>)>;

    /// Makes the key of an account to come, and the code by which an operator admits it.
    fn request_account(&mut self, setup: &ServerSetup) -> Reply<RequestCode>;

    /// Lets the vault take part in a shared folder, and syncs with it.
    fn set_up_folder(
        &mut self,
        folder: &Path,
        sealing: &Sealing,
        request: &SyncRequest,
    ) -> Reply<Synced<FolderReport>>;

    /// The key of the shared folder. Whoever has it can read what lies there.
    fn folder_key(&mut self) -> Reply<FolderKey>;

    /// The sync key with server and pin. Whoever has it can read and change everything.
    fn sync_key(&mut self) -> Reply<Link>;

    /// Trusts the server's next key, as its operator announced it.
    fn trust_next(&mut self, pin: Pin) -> Reply<Trust>;

    /// Moves to a new account with a new key, and deletes the old account; after a loss it is not
    /// read. With `keep_since` the history begins then, in seconds since 1970.
    fn rotate(
        &mut self,
        reason: Reason,
        keep_since: Option<i64>,
        consent: &Consent,
    ) -> Reply<Synced<Report>>;

    /// Makes an account that the desktop client shares one of this program's; whether it was shared
    /// is part of the answer.
    fn upgrade(&mut self, consent: &Consent) -> Reply<(bool, Synced<Report>)>;

    /// Forgets the server or the shared folder; with `delete` what this vault has there is deleted.
    fn untie(&mut self, what: Untie, delete: bool, consent: &Consent) -> Reply<Untied>;
}

impl VaultApi for Session {
    fn list(&mut self) -> Reply<Vec<RecordEntry>> {
        Ok(records::list(self.vault()))
    }

    fn uses(&mut self) -> Reply<UseLog> {
        Session::uses(self).map_err(|error| {
            let log = escape(&log_of(self.path()).display().to_string());
            Problem::new(
                ProblemKind::File,
                format!("cannot read {log}: {error}"),
                "check the file and its folder",
            )
            .into()
        })
    }

    fn trash(&mut self) -> Reply<Vec<DeletedEntry>> {
        Ok(records::trash(self.vault()))
    }

    fn record(&mut self, path: &str) -> Reply<RecordContent> {
        records::content(self.vault(), path)
    }

    fn records(&mut self, which: &Which) -> Reply<Vec<RecordContent>> {
        Ok(records::select(self.vault(), which))
    }

    fn secret_values(&mut self, with_former: bool) -> Reply<Vec<SecretValue>> {
        Ok(secret_values(self.vault(), with_former))
    }

    fn fields(&mut self, path: &str) -> Reply<Vec<String>> {
        let fields = records::find_one(self.vault(), path)?.fields();
        Ok(fields.map(|field| records::text(field.name)).collect())
    }

    fn search(&mut self, query: &str, max: usize) -> Reply<Vec<Match>> {
        Ok(search(self.vault(), query, max))
    }

    fn continuations(&mut self, begin: &str) -> Reply<Vec<String>> {
        Ok(continuations(self.vault(), begin))
    }

    fn history(&mut self, path: &str, field: Option<&str>) -> Reply<Vec<HistoryEntry>> {
        history::history(self.vault(), path, field)
    }

    fn one_time_code(&mut self, path: &str, field: Option<&str>) -> Reply<OneTimeCode> {
        Ok(match code_source(self.vault(), path, field)?.otp {
            Otp::Timed(timed) => OneTimeCode::Timed(timed.at(self.now().try_into().unwrap_or(0))),
            Otp::Counted(_) => OneTimeCode::Counted,
        })
    }

    fn password_rule(&mut self, path: &str) -> Reply<Option<SiteRule>> {
        let view = self.vault().view();
        let Some(field) =
            records::get(&view, path).and_then(|record| FieldRole::PasswordRule.find(record))
        else {
            return Ok(None);
        };
        let rule = SiteRule::parse(&field.value.to_string_lossy()).map_err(|error| {
            let name = field.name.to_string_lossy();
            Problem::usage(
                format!("{name} of {path} is no rule for passwords: {error}"),
                "set it anew, or say with options such as --length how to make the password",
            )
        })?;
        Ok(Some(rule))
    }

    fn qr_text(&mut self, path: &str, field: Option<&str>) -> Reply<Zeroizing<String>> {
        let record = records::find_one(self.vault(), path)?;
        let value = |role: FieldRole| {
            let field = role.find(&record)?;
            Some(Zeroizing::new(records::text(&field.value)))
        };
        let Some(name) = field else {
            return match (value(FieldRole::Ssid), value(FieldRole::Password)) {
                (Some(ssid), password) => Ok(wireless_network(
                    &ssid,
                    password.as_deref().map(String::as_str),
                )),
                (None, Some(password)) => Ok(password),
                (None, None) => Err(Problem::no_field(path, FieldRole::Password.name()).into()),
            };
        };
        let field = record.field(&name.into());
        let field = field.ok_or_else(|| Problem::no_field(path, name))?;
        let text = Zeroizing::new(records::text(&field.value));
        let is_otp = role_of(name) == Some(FieldRole::Otp);
        let address = is_otp.then(|| Otp::address_of(&text, path)).flatten();
        Ok(address.unwrap_or(text))
    }

    fn audit(&mut self, rules: &AuditRules) -> Reply<Audit> {
        if rules.online.is_some() {
            require_online(self)?;
        }
        audit(self.vault(), rules, self.now())
    }

    fn change(
        &mut self,
        change: &Edit,
        consent: &Consent,
        saved: &mut dyn FnMut(&Edited),
    ) -> Reply<Changed> {
        let retraces = matches!(change, Edit::Undo | Edit::Redo);
        // No code is made twice, and no step of another program is missed.
        if retraces || matches!(change, Edit::UseCounter { .. }) {
            self.hold()?;
        } else {
            // A person may have taken an hour to type it: it is about the records of now.
            self.refresh()?;
        }
        let before = self.stored();
        let edited = edit(self, change, consent).and_then(|edited| {
            size::check(self, &before.vault, consent)?;
            Ok(edited)
        });
        let edited = edited.inspect_err(|_| self.revert())?;
        let step = change.step_kind().filter(|_| edited.changes > 0);
        let step = step.map(|kind| Step::between(kind, self.now(), &before.vault, self.vault()));
        if let Some(step) = step.flatten() {
            self.note_step(step, false);
        }
        if matches!(change, Edit::Purge { .. }) {
            self.save_purge()?;
        } else if retraces || edited.changes > 0 {
            self.save()?;
        }
        saved(&edited);
        let is_synced = self.sync_settings().auto && edited.changes > 0;
        let synced = is_synced.then(|| sync_after_change(self));
        Ok(Changed {
            edited,
            synced: synced.unwrap_or_default(),
        })
    }

    fn preview_import(&mut self, format: Format, imported: &Imported) -> Reply<Applied> {
        let mut vault = self.vault().clone();
        let rng = &mut UnwrapErr(SysRng);
        Ok(apply(imported, &mut vault, format, self.now(), rng)?)
    }

    fn export(&mut self, form: ExportForm) -> Reply<Exported> {
        export(self, form)
    }

    fn change_passphrase(
        &mut self,
        passphrase: Option<&Passphrase>,
        log_n: Option<LogN>,
    ) -> Reply<ChangedPassphrase> {
        if let Some(log_n) = log_n {
            check_dearer(log_n, self.params())?;
            if let Some(folder) = self.folder() {
                shared_folder::check_price(folder, log_n.params())?;
            }
        }
        let passphrase = match passphrase {
            Some(passphrase) => passphrase.clone(),
            None => self.with_passphrase(Passphrase::clone),
        };
        if log_n.is_none() && self.is_passphrase(&passphrase) {
            return Err(
                Problem::usage("the new passphrase is the old one", "choose another").into(),
            );
        }
        let change = Self::change_passphrase(self, passphrase, log_n)?;
        let left = change.left.into_iter();
        Ok(ChangedPassphrase {
            archives: change.archives,
            left: left.map(|(path, error)| (path, error.into())).collect(),
            copies: untouched(self.location()),
            unlock: change.unlock,
        })
    }

    fn sync(&mut self, request: &SyncRequest) -> Reply<SyncAnswer> {
        require_place(self)?;
        let before = before_sync(self)?;
        let mut answer = sync_all(self, request, Occasion::Asked);
        let places = answer.places();
        answer.notice(note_sync(self, &places, &before.vault, request.continued));
        Ok(answer)
    }

    fn preview_sync(&mut self) -> Reply<SyncPreview> {
        require_place(self)?;
        Ok(preview(self))
    }

    fn last_syncs(&mut self) -> Reply<LastSyncs> {
        let account = Replica::account(self);
        if account.is_none() && self.folder().is_none() {
            return Err(passmate_sync::SyncError::NotSetUp.into());
        }
        let past = |place: &str, last: &passmate_vault::Delta| PastSync {
            place: place.to_owned(),
            time: last.time,
            records: self.vault().report(last),
        };
        let server = account.and_then(|account| Some(past(&account.host, account.last.as_ref()?)));
        let folder = self
            .folder()
            .and_then(|folder| Some(past(&folder.path, folder.last.as_ref()?)));
        if server.is_none() && folder.is_none() {
            return Err(Problem::new(
                ProblemKind::NotFound,
                "no sync is remembered",
                "it is remembered from the next sync on that changes anything",
            )
            .into());
        }
        Ok(LastSyncs { server, folder })
    }

    fn standing(&mut self) -> Reply<Standing> {
        let folder = self.folder().cloned();
        if let Some(folder) = &folder
            && Replica::account(self).is_none()
        {
            let content = match folder.key {
                Some(_) => Content::of(self.vault(), Shape::Modern)?,
                None => Content::of_folder(self.vault())?,
            };
            return Ok(Standing {
                server: None,
                folder: Some(FolderStatus::of(folder)),
                content,
            });
        }
        let server = status(self, &State::load(self.path()))?;
        Ok(Standing {
            content: server.content.clone(),
            server: Some(server),
            folder: folder.as_ref().map(FolderStatus::of),
        })
    }

    fn ties(&mut self) -> Reply<Ties> {
        Ok(sync_setup::ties(self))
    }

    fn set_up_server(&mut self, setup: &ServerSetup) -> Reply<Synced<Report>> {
        as_step(self, false, |session| {
            sync_setup::set_up_server(session, setup)
        })
    }

    fn set_up_again(&mut self, trust: Option<&Trust>) -> Reply<(SameKey, Synced<Report>)> {
        let mut same_key = SameKey::No;
        let synced = as_step(self, false, |session| {
            let (key, synced) = sync_setup::set_up_again(session, trust)?;
            same_key = key;
            Ok(synced)
        })?;
        Ok((same_key, synced))
    }

    fn request_account(&mut self, setup: &ServerSetup) -> Reply<RequestCode> {
        sync_setup::request_account(self, setup)
    }

    fn set_up_folder(
        &mut self,
        folder: &Path,
        sealing: &Sealing,
        request: &SyncRequest,
    ) -> Reply<Synced<FolderReport>> {
        as_step(self, request.continued, |session| {
            sync_setup::set_up_folder(session, folder, sealing, request)
        })
    }

    fn folder_key(&mut self) -> Reply<FolderKey> {
        sync_setup::folder_key(self)
    }

    fn sync_key(&mut self) -> Reply<Link> {
        sync_setup::link(self)
    }

    fn trust_next(&mut self, pin: Pin) -> Reply<Trust> {
        sync_setup::trust_next(self, pin)
    }

    fn rotate(
        &mut self,
        reason: Reason,
        keep_since: Option<i64>,
        consent: &Consent,
    ) -> Reply<Synced<Report>> {
        as_step(self, false, |session| {
            sync_setup::rotate(session, reason, keep_since, consent)
        })
    }

    fn upgrade(&mut self, consent: &Consent) -> Reply<(bool, Synced<Report>)> {
        let mut was_shared = false;
        let synced = as_step(self, false, |session| {
            let (shared, synced) = sync_setup::upgrade(session, consent)?;
            was_shared = shared;
            Ok(synced)
        })?;
        Ok((was_shared, synced))
    }

    fn untie(&mut self, what: Untie, delete: bool, consent: &Consent) -> Reply<Untied> {
        sync_setup::untie(self, what, delete, consent)
    }
}

/// What other programs stored meanwhile is here, so what is new after a sync came with it.
fn before_sync(session: &mut Session) -> Reply<Arc<Document>> {
    session.save()?;
    Ok(session.stored())
}

/// Syncs because a person asked for it, and remembers what that brought as a step.
fn as_step<R>(
    session: &mut Session,
    is_continued: bool,
    sync: impl FnOnce(&mut Session) -> Reply<Synced<R>>,
) -> Reply<Synced<R>> {
    let before = before_sync(session)?;
    let mut synced = sync(session)?;
    let notice = note_sync(session, &synced.place, &before.vault, is_continued);
    synced.notices.extend(notice);
    Ok(synced)
}

/// A vault is never made cheaper, and what the machine has not is not promised.
fn check_dearer(log_n: LogN, now: Params) -> Result<(), Problem> {
    if now.or_dearer(log_n.params()) == now {
        return Err(Problem::usage(
            format!("an unlock of this vault costs logN {} already", now.log_n()),
            "a vault is never made cheaper; choose a higher one, or change the passphrase alone",
        ));
    }
    match memory_available() {
        Some(free) if free < log_n.params().memory_bytes() => Err(Problem::new(
            ProblemKind::File,
            format!(
                "logN {log_n} takes {} MiB of memory, and this machine has {} MiB free",
                log_n.memory_mib(),
                free >> 20
            ),
            "choose a lower one: the vault could not be opened here",
        )),
        _ => Ok(()),
    }
}
