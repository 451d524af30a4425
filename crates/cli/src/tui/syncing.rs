//! A sync that a person asked for, until all that it asks is answered, and what syncs did.

use std::path::Path;

use passmate_core::answer::{Halt, Need, Question, Reply};
use passmate_core::api::{LastSyncs, VaultApi};
use passmate_core::clock::{local_time, system_clock};
use passmate_core::escape::escape;
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::sync::{Report as Counts, SyncErrorKind};
use passmate_core::sync_all::{Level, Notice, SyncAnswer, SyncRequest, copy_notices};

use super::dialog::{Decision, Dialog, Report};
use super::note::{Note, Tone};
use super::state::State;
use super::worker::Call;
use crate::commands::sync::{ReportLine, decline, report_lines};
use crate::report::{problem_of, summary};

/// A sync that goes on.
#[derive(Debug)]
pub(super) struct Syncing {
    request: SyncRequest,
    answer: SyncAnswer,
    declined: Vec<Question>,
}

/// What the vault syncs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tie {
    /// The server's host, or the folder's name.
    pub(super) place: String,
    /// Seconds since the last sync that came through.
    pub(super) age: Option<u64>,
    pub(super) state: TieState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TieState {
    Fine,
    Failed,
    /// A person has to decide.
    HeldBack,
}

impl Tie {
    pub(super) fn of(vault: &mut dyn VaultApi) -> Reply<Option<Self>> {
        let standing = vault.standing()?;
        let age = |time: i64| u64::try_from(system_clock().saturating_sub(time)).unwrap_or(0);
        if let Some(server) = standing.server {
            let error = server.last_try.and_then(|last| last.error);
            return Ok(Some(Self {
                place: server.host,
                age: server.last_sync.map(|last| age(last.time)),
                state: match error {
                    None => TieState::Fine,
                    Some(SyncErrorKind::HeldBack) => TieState::HeldBack,
                    Some(_) => TieState::Failed,
                },
            }));
        }
        Ok(standing.folder.map(|folder| Self {
            place: last_part(folder.path),
            age: folder.last_change.map(age),
            state: TieState::Fine,
        }))
    }
}

impl State {
    pub(super) fn begin_sync(&mut self) {
        if self.syncing.is_none() {
            self.sync(SyncRequest::default(), SyncAnswer::default(), Vec::new());
        }
    }

    fn sync(&mut self, request: SyncRequest, answer: SyncAnswer, declined: Vec<Question>) {
        self.wait_for(Call::Sync(request.clone()));
        self.syncing = Some(Syncing {
            request,
            answer,
            declined,
        });
    }

    /// A sync ended, or stopped with a question.
    pub(super) fn synced(&mut self, request: SyncRequest, later: SyncAnswer) {
        let Some(Syncing {
            mut answer,
            declined,
            ..
        }) = self.syncing.take()
        else {
            return;
        };
        answer.add(later);
        self.list_is_stale();
        self.settle(Syncing {
            request,
            answer,
            declined,
        });
    }

    /// Asks what is open, or tells what was done.
    fn settle(&mut self, mut syncing: Syncing) {
        while let Some(Need::Confirmation(question)) = syncing.answer.need() {
            let question = question.clone();
            let is_declined = |declined: &Question| question.asks_no_more_than(declined);
            if !syncing.declined.iter().any(is_declined) {
                self.syncing = Some(syncing);
                self.asks_later = Some(question);
                return;
            }
            let left = Problem::new(
                ProblemKind::Cancelled,
                format!("{question} and was left for later"),
                "no record was changed by it; s asks again",
            );
            decline(&mut syncing.answer, &question, &left);
        }
        self.note = Some(told(&syncing.answer));
    }

    /// A person answered a question of the sync.
    pub(super) fn decided(&mut self, question: Question, decision: Decision) {
        let Some(mut syncing) = self.syncing.take() else {
            return;
        };
        match decision {
            Decision::Yes => syncing.request.consent.give(question),
            Decision::Refuse => syncing.request.consent.refuse(question),
            Decision::No => {
                syncing.declined.push(question);
                self.settle(syncing);
                return;
            }
        }
        syncing.request.continued |= syncing.answer.has_received();
        self.sync(syncing.request, syncing.answer, syncing.declined);
    }

    /// Shows what the last syncs did.
    pub(super) fn show_last(&mut self, last: &LastSyncs) {
        let mut lines = Vec::new();
        for past in last.server.iter().chain(&last.folder) {
            let (place, time) = (escape(&past.place), local_time(past.time));
            lines.push((format!("with {place} at {time}"), false));
            let of_records = report_lines(&past.records).into_iter();
            lines.extend(of_records.map(|line| {
                let ReportLine {
                    name,
                    text,
                    is_field,
                } = line;
                (format!("{name}: {text}"), is_field)
            }));
        }
        if self.dialog.is_some() {
            return;
        }
        self.dialog = Some(Dialog::Report(Report {
            title: "The last sync that changed anything".to_owned(),
            lines,
            top: 0,
        }));
    }
}

/// The name of a folder, without those above it.
fn last_part(path: String) -> String {
    let name = Path::new(&path).file_name();
    let name = name.map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or(path)
}

/// What a sync did.
fn told(answer: &SyncAnswer) -> Note {
    let mut tone = Tone::Good;
    let mut parts = Vec::new();
    tell(&mut parts, &mut tone, answer, |halt| {
        let Problem { message, hint, .. } = problem_of(halt);
        format!("{message}; {hint}")
    });
    if parts.is_empty() {
        return Note::warning("nothing was synced: --offline forbids the network");
    }
    Note::new(tone, &parts.join("; "))
}

/// Adds what a sync did with each place; `failed` tells of one that failed.
pub(super) fn tell(
    parts: &mut Vec<String>,
    tone: &mut Tone,
    answer: &SyncAnswer,
    failed: fn(&Halt) -> String,
) {
    let mut place = |place: &str, result: Result<&Counts, &Halt>, notices: Vec<Notice>| {
        match result {
            Ok(counts) => parts.push(summary(place, counts)),
            Err(halt) => {
                *tone = Tone::Warning;
                parts.push(failed(halt));
            }
        }
        for Notice { level, text } in notices {
            match level {
                Level::Warning => *tone = Tone::Warning,
                Level::Note => {}
                Level::Detail => continue,
            }
            parts.push(text);
        }
    };
    if let Some(server) = &answer.server {
        place(
            &server.place,
            server.result.as_ref(),
            server.notices.clone(),
        );
    }
    if let Some(folder) = &answer.folder {
        let counts = folder.result.as_ref().map(|found| &found.report);
        let copies = folder.result.as_ref().map(copy_notices).unwrap_or_default();
        let notices = folder.notices.iter().cloned().chain(copies).collect();
        place(&folder.place, counts, notices);
    }
}
