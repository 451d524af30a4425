//! Each value that crosses [`VaultApi`](passmate_core::api::VaultApi) reaches another process as it
//! is.

use std::path::PathBuf;
use std::time::Duration;

use passmate_core::answer::{Consent, Halt, Namesake, Need, Place, Question};
use passmate_core::api::{
    Changed, ChangedPassphrase, FolderStatus, LastSyncs, OneTimeCode, PastSync, Standing, VaultApi,
};
use passmate_core::audit::{Audit, AuditRules, FieldPlace, Finding, FindingKind};
use passmate_core::edit::{Edit, Edited, RecordText};
use passmate_core::export::{ExportForm, Exported};
use passmate_core::generate::site::SiteRule;
use passmate_core::history::{At, HistoryEntry, PurgeScope};
use passmate_core::interchange::{
    Applied, ExportFormat, Format, Imported, Loss, Outcome, ReadOptions, Same, parse,
};
use passmate_core::log_n::LogN;
use passmate_core::net::Address;
use passmate_core::otp::{Code, CountedCode};
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::records::{DeletedEntry, FieldContent, RecordContent, RecordEntry};
use passmate_core::search::Match;
use passmate_core::session::{Session, VaultLocation};
use passmate_core::settings::SyncSettings;
use passmate_core::share::link::Link;
use passmate_core::shared_folder::{FolderReport, Sealing, Skipped, Why};
use passmate_core::state::{LastSync, LastTry};
use passmate_core::sync::admit::{Entry, would_hold_back};
use passmate_core::sync::transport::{CertificateProblem, TrustProblem};
use passmate_core::sync::{
    Ahead, ConnectError, Content, Decision, Effect, Greeting, HeldBack, Policy, Reason,
    RemoteError, Report, Rollback, Room, SameKey, StreamEnd, SyncErrorKind,
};
use passmate_core::sync_all::{
    Level, Notice, PlacePreview, SyncAnswer, SyncPreview, SyncRequest, Synced,
};
use passmate_core::sync_setup::{FolderTie, ServerSetup, ServerTie, Ties, Untie, Untied};
use passmate_core::sync_status::{DeviceStatus, Quota, Status};
use passmate_core::undo::{RetracedStep, StepRecord};
use passmate_proto::{AccountNumber, Failure, Layout, RequestCode};
use passmate_vault::format::btoken::BtokenError;
use passmate_vault::format::container::{ContainerError, Params};
use passmate_vault::format::folder_copy::CopyError;
use passmate_vault::format::{CodecError, EncodeError, decode_vault_file};
use passmate_vault::history::undo::StepKind;
use passmate_vault::record::{AHEAD_SECONDS, FieldKey};
use passmate_vault::report::{Fate, FieldReport, Lost, RecordReport, Side};
use passmate_vault::sync::roll_call::DeviceId;
use passmate_vault::{
    Anomaly, AnomalyKind, Delta, DeviceText, FolderKey, Passphrase, Pin, RecordId, Secret,
    SeenChanges, Shape, SyncKey, Text, Trust, Vault,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).unwrap()
}

/// Checks that each value is the same after the way to another process.
#[track_caller]
fn check<T: Serialize + DeserializeOwned>(values: impl IntoIterator<Item = T>) {
    for value in values {
        let bytes = encode(&value);
        let name = std::any::type_name::<T>();
        let read: T = postcard::from_bytes(&bytes).unwrap_or_else(|error| {
            panic!("{name}: {error}");
        });
        assert_eq!(encode(&read), bytes, "{name}");
        // What is cut off is refused, whatever it is.
        for len in 0..bytes.len() {
            let _ = postcard::from_bytes::<T>(&bytes[..len]);
        }
    }
}

fn secret(text: &str) -> Zeroizing<String> {
    text.to_owned().into()
}

fn problem() -> Problem {
    Problem::new(ProblemKind::Network, "it broke", "try again")
}

fn vault() -> Vault {
    let mut vault = Vault::new();
    let id = RecordId::from("A");
    vault.create_record(id.clone(), "mail", 100).unwrap();
    vault.set(&id, "password", "one", 200).unwrap();
    vault.set(&id, "password", "two", 300).unwrap();
    vault.unset(&id, "password", 400).unwrap();
    vault
}

fn held() -> Box<HeldBack> {
    let mut remote = vault();
    let ahead = 2_000_000_000 + 2 * AHEAD_SECONDS;
    remote.set(&"A".into(), "note", "x", ahead).unwrap();
    let (vault, baseline, now) = (&vault(), None, 2_000_000_000);
    let entry = Entry {
        vault,
        baseline,
        now,
    };
    would_hold_back(remote, entry, &Policy::default()).unwrap()
}

fn key() -> SyncKey {
    SyncKey::from_parts([1; 8], Secret::from_bytes([2; 32]))
}

fn folder_key() -> FolderKey {
    FolderKey::from_parts([3; 8], Secret::from_bytes([4; 32]))
}

fn pin() -> Pin {
    Pin::from_bytes([200; 32])
}

fn trusts() -> Vec<Trust> {
    vec![
        Trust::System,
        Trust::Ca("PEM".into()),
        Trust::Pins {
            current: pin(),
            next: Some(pin()),
        },
    ]
}

fn trust_problems() -> Vec<TrustProblem> {
    let (not_after, not_before, now) = (1, 2, 3);
    let problems = [
        CertificateProblem::PinMismatch {
            current: pin(),
            next: None,
        },
        CertificateProblem::UnknownIssuer,
        CertificateProblem::NoTrustStore,
        CertificateProblem::CaUsedAsLeaf,
        CertificateProblem::WrongName {
            wanted: "a".into(),
            names: vec!["b".into()],
        },
        CertificateProblem::Expired { not_after, now },
        CertificateProblem::NotYetValid { not_before, now },
        CertificateProblem::Revoked,
        CertificateProblem::NotForServers,
        CertificateProblem::BadSignature,
        CertificateProblem::Unreadable,
    ];
    let problems = problems.into_iter().map(|problem| TrustProblem {
        problem,
        shown: pin(),
        self_signed: true,
    });
    problems.collect()
}

fn places() -> Vec<Place> {
    vec![
        Place::Server("a".into()),
        Place::Joined("b".into()),
        Place::Folder("c".into()),
        Place::File(Format::ChromeCsv),
    ]
}

fn questions() -> Vec<Question> {
    let text = String::from;
    let mut questions = vec![
        Question::Delete {
            paths: vec![text("a")],
        },
        Question::Purge {
            path: text("a"),
            field: Some(text("b")),
            values: 3,
        },
        Question::ReplaceRemote { why: problem() },
        Question::TooLarge {
            host: text("a"),
            len: 1 << 40,
            limit: u32::MAX,
        },
        Question::ReplaceVault {
            path: text("a"),
            records: None,
        },
        Question::Rotate {
            host: text("a"),
            keep_since: Some(-1),
            lost: true,
        },
        Question::Upgrade,
        Question::ForgetServer { host: text("a") },
        Question::DeleteAccount { host: text("a") },
        Question::ForgetFolder {
            path: text("a"),
            deletes: true,
            has_key: false,
        },
    ];
    let held_back = |place| Question::HeldBack {
        place,
        held: held(),
    };
    questions.extend(places().into_iter().map(held_back));
    questions
}

fn consents() -> Vec<Consent> {
    let mut given = Consent::none();
    let [mut all, mut refused] = [
        Consent::to_everything(),
        Consent::refusing_what_is_held_back(),
    ];
    for question in questions() {
        given.give(question.clone());
        all.give(question.clone());
        refused.refuse(question);
    }
    vec![Consent::none(), given, all, refused]
}

fn needs() -> Vec<Need> {
    let mut needs = vec![
        Need::Locked,
        Need::FolderKey(PathBuf::from("/a")),
        Need::OtherPath {
            path: "a".into(),
            candidates: vec!["b/a".into(), "c/a".into()],
            namesake: Some(Namesake::Deleted { path: "a".into() }),
            alike: vec!["b".into()],
        },
        Need::OtherPath {
            path: "a".into(),
            candidates: Vec::new(),
            namesake: Some(Namesake::Folder {
                path: "a".into(),
                records: 2,
            }),
            alike: Vec::new(),
        },
    ];
    needs.extend(questions().into_iter().map(Need::Confirmation));
    needs.extend(
        trust_problems()
            .into_iter()
            .map(|problem| Need::UnknownPin(Box::new(problem))),
    );
    needs
}

fn connect_errors() -> Vec<ConnectError> {
    let mut errors = vec![
        ConnectError::Unresolved {
            host: "a".into(),
            detail: "b".into(),
        },
        ConnectError::Unreachable {
            address: "a".into(),
            detail: "b".into(),
        },
        ConnectError::NotTls,
        ConnectError::Incompatible("a".into()),
    ];
    errors.extend(stream_ends().into_iter().map(ConnectError::Handshake));
    errors.extend(
        trust_problems()
            .into_iter()
            .map(|problem| ConnectError::NotTrusted(Box::new(problem))),
    );
    errors
}

fn stream_ends() -> Vec<StreamEnd> {
    vec![
        StreamEnd::Closed,
        StreamEnd::CloseNotify,
        StreamEnd::Cut,
        StreamEnd::Silent(1),
        StreamEnd::TookTooLong(2),
        StreamEnd::Alert("a".into()),
        StreamEnd::BrokenTls("b".into()),
        StreamEnd::Io("c".into()),
    ]
}

/// Errors of a document, as a reader makes them.
fn codec_errors() -> Vec<CodecError> {
    let documents = [
        &b""[..],
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"{",
        b"[]",
        b"{}",
        b"{\"version\":2,\"version\":2}",
        b"{\"version\":99}",
        br#"{"version":2,"purpose":"sync_copy","records":{}}"#,
        br#"{"version":2,"purpose":"primary","records":{"A":[["x"]]}}"#,
        br#"{"version":2,"purpose":"primary","records":{"A":[["meta","path","p",1.5]]}}"#,
    ];
    let errors = documents.map(|document| decode_vault_file(document).err());
    let errors: Vec<_> = errors.into_iter().flatten().collect();
    assert!(errors.len() >= 10, "{errors:?}");
    errors
}

fn encode_error() -> EncodeError {
    EncodeError::TooMany {
        what: "changes".into(),
        limit: 1,
    }
}

fn remote_errors() -> Vec<RemoteError> {
    let mut errors = vec![
        RemoteError::Busy,
        RemoteError::Broken {
            failure: Failure::CutDuringFetch,
            end: StreamEnd::Cut,
        },
        RemoteError::NotPassmate,
        RemoteError::TlsEnded,
        RemoteError::VersionUnsupported(1),
        RemoteError::Misbehaved(Failure::Unannounceable(1)),
        RemoteError::LetsAnyoneIn,
        RemoteError::Refused,
        RemoteError::CreateRefused,
        RemoteError::TooLarge {
            len: 1,
            limit: 2,
            known: true,
        },
        RemoteError::RemoteTooLarge {
            announced: 1,
            limit: 2,
        },
        RemoteError::Unopenable(BtokenError::Length { len: 1 }),
        RemoteError::Unsealable(encode_error()),
        RemoteError::Unsealable(EncodeError::TooLong { limit: 1 }),
        RemoteError::HistoryCut { since: 1 },
        RemoteError::Unconfirmed(1),
        RemoteError::OutcomeUnknown(Box::new(RemoteError::Busy)),
        RemoteError::AccountUnknown(Box::new(RemoteError::Busy)),
        RemoteError::DeletedOrUnreachable,
    ];
    errors.extend(codec_errors().into_iter().map(RemoteError::NoVault));
    errors.extend(connect_errors().into_iter().map(RemoteError::NoConnection));
    errors
}

fn report() -> Report {
    let seen = SeenChanges::of(&vault());
    let id = RecordId::from("A");
    let kinds = [
        AnomalyKind::WentBack { from: 2, to: 1 },
        AnomalyKind::Forked,
        AnomalyKind::Missing,
    ];
    let anomalies = kinds.map(|kind| Anomaly {
        device: DeviceId::from_bytes([5; 16]),
        name: DeviceText::new("desk\u{7}").unwrap(),
        kind,
    });
    Report {
        received: 1,
        sent: 2,
        conflicts_resolved: 3,
        revived: [id.clone()].into(),
        clashing: [id.clone()].into(),
        purged: [id.clone()].into(),
        refused: 4,
        common: 5,
        greeting: Greeting {
            layout: Some(Layout::Two),
            banner: vec![0, 200, b'x'],
        },
        rollback: Some(Rollback {
            changes: 1,
            times: Some((1, 2)),
        }),
        anomalies: anomalies.into(),
        delta: Delta {
            time: 7,
            received: seen.clone(),
            sent: seen,
        },
        ahead: vec![Ahead {
            record: id,
            field: FieldKey::user("note"),
            time: 9,
        }],
        ignored_cut: Some(1),
        unread: Some(RemoteError::Busy),
        gone: vec![AccountNumber::from_bytes([1; 8]).unwrap()],
        unfinished: Some(RemoteError::Busy),
        btoken_len: 10,
        valid: Some((1, 2)),
    }
}

fn folder_report() -> FolderReport {
    let mut why = vec![
        Why::Unreadable("no".into()),
        Why::Empty,
        Why::Locked,
        Why::NoCopy,
        Why::TooCheap,
        Why::TooExpensive,
        Why::Useless,
        Why::Postponed,
        Why::Container(ContainerError::Truncated { len: 1 }),
        Why::Container(ContainerError::WrongPassphrase),
        Why::Copy(CopyError::VersionUnknown { version: 1 }),
        Why::Copy(CopyError::Damaged),
    ];
    why.extend(codec_errors().into_iter().map(Why::NoVault));
    let skipped = why.into_iter().map(|why| Skipped {
        name: "copy".into(),
        why,
    });
    let mut folder = FolderReport::default();
    folder.report = report();
    folder.skipped = skipped.collect();
    folder.conflicts = vec!["a".into()];
    folder.others = 2;
    folder
}

fn notices() -> Vec<Notice> {
    let levels = [Level::Warning, Level::Note, Level::Detail];
    let notice = |level| Notice {
        level,
        text: "it".into(),
    };
    levels.map(notice).into()
}

fn synced<R>(result: Result<R, Halt>) -> Synced<R> {
    Synced {
        place: "here".into(),
        result,
        notices: notices(),
    }
}

fn sync_answers() -> Vec<SyncAnswer> {
    vec![
        SyncAnswer::default(),
        SyncAnswer {
            server: Some(synced(Ok(report()))),
            folder: Some(synced(Ok(folder_report()))),
        },
        SyncAnswer {
            server: Some(synced(Err(problem().into()))),
            folder: Some(synced(Err(Halt::Needs(Need::Locked)))),
        },
    ]
}

fn imported() -> Imported {
    let csv = b"name,url,username,password,note\nshop,https://shop.example,alice,one,\n";
    let mut imported = parse(Format::ChromeCsv, csv, ReadOptions::default()).unwrap();
    imported.vault = vault();
    imported.losses = vec![Loss::new("a", "b")];
    imported
}

fn applied() -> Applied {
    let outcomes = [
        Outcome::Created,
        Outcome::Changed,
        Outcome::Unchanged,
        Outcome::Deleted,
        Outcome::Removed,
    ];
    Applied {
        records: outcomes.map(|outcome| (outcome, "a".to_owned())).into(),
        same: vec![Same {
            item: "a".into(),
            record: "b".into(),
            added: vec!["c".into()],
        }],
        renamed: vec![("a".into(), "b".into())],
        losses: vec![Loss::new("a", "b")],
        changes: 1,
        clamped: 2,
    }
}

fn edits() -> Vec<Edit> {
    let text = String::from;
    let record = || RecordText::new("a", [("user", "bob"), ("password", "s;ecret")]);
    let scopes = [
        PurgeScope::Record,
        PurgeScope::Field(text("a")),
        PurgeScope::Earlier(text("a")),
        PurgeScope::Value(text("a"), 1),
    ];
    let mut edits = vec![
        Edit::Create { path: text("a") },
        Edit::Add { record: record() },
        Edit::Set {
            path: text("a"),
            field: text("b"),
            value: secret("c"),
        },
        Edit::SetFields {
            path: text("a"),
            fields: vec![(text("b"), secret("c"))],
        },
        Edit::UseCounter {
            path: text("a"),
            field: None,
        },
        Edit::Unset {
            path: text("a"),
            field: text("b"),
        },
        Edit::Move {
            from: vec![text("a")],
            to: text("b"),
        },
        Edit::Copy {
            from: vec![text("a")],
            to: text("b"),
        },
        Edit::Delete {
            paths: vec![text("a")],
        },
        Edit::Update {
            path: text("a"),
            before: record(),
            after: RecordText::default(),
        },
        Edit::RestoreRecord {
            path: text("a"),
            seconds: -1,
        },
        Edit::Undelete {
            path: text("a"),
            to: Some(text("b")),
        },
        Edit::Undo,
        Edit::Redo,
        Edit::Import {
            format: Format::ChromeCsv,
            imported: imported(),
        },
    ];
    let times = [None, Some(At::Number(1)), Some(At::Time(2))];
    edits.extend(times.map(|at| Edit::RestoreField {
        path: text("a"),
        field: text("b"),
        at,
    }));
    edits.extend(scopes.map(|scope| Edit::Purge {
        path: text("a"),
        scope,
    }));
    edits
}

fn edited() -> Edited {
    Edited {
        changes: 1,
        from_future: 2,
        stays_elsewhere: true,
        archives: vec!["/a".into()],
        paths: vec!["b".into()],
        applied: Some(applied()),
        code: Some(CountedCode {
            digits: secret("123456"),
            counter: u64::MAX,
        }),
        step: Some(RetracedStep {
            kind: StepKind::Sync("a".into()),
            time: 1,
            records: vec![StepRecord {
                path: "a".into(),
                moved: Some(("b".into(), "c".into())),
                fields: vec!["d".into()],
            }],
            left: 1,
            is_forgotten: true,
        }),
    }
}

fn record_reports() -> Vec<RecordReport> {
    let field = || FieldReport {
        key: FieldKey::user("a"),
        received: 1,
        sent: 2,
        purged: 3,
        lost: Some(Lost {
            side: Side::Sent,
            time: 4,
            number: 5,
        }),
    };
    let fates = [
        Fate::New(Side::Received),
        Fate::Deleted(Side::Sent),
        Fate::Revived,
        Fate::Changed,
        Fate::Purged(Side::Sent),
    ];
    let reports = fates.map(|fate| RecordReport {
        id: "A".into(),
        path: "mail".into(),
        fate,
        fields: vec![field()],
        moved: Some(field()),
    });
    reports.into()
}

fn content() -> Content {
    Content {
        records: 1,
        deleted: 2,
        changes: 3,
        newest: Some(4),
        history_since: None,
        fingerprint: "f".into(),
    }
}

fn status(trust: Trust) -> Status {
    Status {
        host: "a".into(),
        port: 1,
        trust,
        shape: Shape::Upgraded,
        pending: true,
        confirmed: false,
        last_sync: Some(LastSync {
            time: 1,
            received: 2,
            sent: 3,
            conflicts_resolved: 4,
            common: 5,
            btoken_len_max: Some(6),
        }),
        last_try: Some(LastTry {
            time: 1,
            error: Some(SyncErrorKind::NotSafe),
        }),
        content: content(),
        unsent: Some(1),
        quota: Quota {
            used: 1,
            limit: 2,
            stated: true,
        },
        lost: true,
        retired: 1,
        devices: vec![DeviceStatus {
            name: "a".into(),
            id: "b".into(),
            time: 1,
            version: "c".into(),
            is_this: true,
            is_silent: false,
        }],
    }
}

#[test]
fn what_stops_a_call_crosses() {
    check(places());
    check(questions());
    check(needs());
    check(needs().into_iter().map(Halt::Needs));
    check([problem(), Problem::from(Need::Locked)]);
    check(needs().into_iter().map(Problem::from));
    check([Halt::Failed(problem())]);
    check(consents());
    check([
        Effect::Deleted,
        Effect::Changed,
        Effect::Purged,
        Effect::Unguarded,
    ]);
}

#[test]
fn what_is_asked_for_crosses() {
    check(edits());
    check([
        ExportForm::Paper,
        ExportForm::File(ExportFormat::Cxf),
        ExportForm::File(ExportFormat::Passmate),
    ]);
    let passphrases = [&b""[..], b"correct horse", b"m\xfcnze"];
    let passphrases = passphrases.map(|bytes| Passphrase::from_bytes(bytes.to_vec()));
    check(passphrases.clone());
    check(consents().into_iter().map(|consent| SyncRequest {
        consent,
        replace_remote: true,
        passphrases: passphrases.to_vec(),
        continued: true,
        folder_only: false,
    }));
    let addresses = ["cloud.example", "127.0.0.1:1", "[::1]:31001"];
    let addresses = addresses.map(|address| address.parse::<Address>().unwrap());
    for address in addresses {
        check(trusts().into_iter().map(|trust| ServerSetup {
            address: address.clone(),
            trust: Some(trust),
            key: Some(key()),
            consent: Consent::none(),
        }));
    }
    check([
        Sealing::AsFound,
        Sealing::NewKey,
        Sealing::Key(folder_key()),
        Sealing::Passphrases,
    ]);
    check([Reason::Renewal, Reason::Loss]);
    check([Untie::Any, Untie::Folder]);
    let decisions = [
        Decision::Ask,
        Decision::Agree(held()),
        Decision::AgreeToAll,
        Decision::Preview,
        Decision::Refuse(held()),
        Decision::RefuseAll,
    ];
    check(decisions.map(|decision| SyncSettings {
        auto: true,
        offline: true,
        policy: Policy {
            room: Some(Room {
                btoken_len_max: 1,
                shape: Shape::Upgraded,
            }),
            decision,
            ..Policy::default()
        },
    }));
}

#[test]
fn what_is_read_crosses() {
    check([RecordEntry {
        path: "a".into(),
        id: "b".into(),
        clash: Some("c".into()),
        revived: true,
        guarded: true,
    }]);
    check([DeletedEntry {
        path: "a".into(),
        id: "b".into(),
        deleted_at: None,
    }]);
    check([RecordContent {
        path: "a".into(),
        id: "b".into(),
        fields: vec![FieldContent {
            name: "c".into(),
            value: secret("d"),
            is_secret: true,
        }],
    }]);
    check([Match {
        path: "a".into(),
        id: "b".into(),
        in_path: true,
    }]);
    check([HistoryEntry {
        number: 1,
        field: "a".into(),
        is_path: false,
        is_secret: true,
        value: Some(secret("b")),
        time: Some(1),
    }]);
    check([
        OneTimeCode::Counted,
        OneTimeCode::Timed(Code {
            digits: secret("1"),
            valid_for: 2,
            period: 3,
        }),
    ]);
    check([
        Some(SiteRule::parse("minlength: 8; required: lower; max-consecutive: 2").unwrap()),
        Some(SiteRule::parse("maxlength: 9; allowed: [-_.]; required: upper, digit").unwrap()),
        None,
    ]);
    check([secret("WIFI:T:nopass;S:net;;")]);
    check([applied()]);
    check([Exported {
        bytes: vec![0, 200].into(),
        losses: vec![Loss::new("a", "b")],
        warnings: Vec::new(),
        records: 1,
    }]);
    check([vault(), Vault::new()]);
}

#[test]
fn what_a_change_or_a_sync_did_crosses() {
    check([Edited::default(), edited()]);
    check(sync_answers().into_iter().map(|synced| Changed {
        edited: edited(),
        synced,
    }));
    check(sync_answers());
    check([ChangedPassphrase {
        archives: vec!["/a".into()],
        left: vec![("/b".into(), problem())],
        copies: vec!["/c".into()],
        unlock: Duration::from_millis(5),
    }]);
    let log_ns: Vec<LogN> = LogN::CHOICES
        .map(|log_n| log_n.try_into().unwrap())
        .collect();
    check(log_ns);
    check([report(), Report::default()]);
    check(remote_errors());
    let preview = || PlacePreview {
        place: "a".into(),
        report: report(),
        records: record_reports(),
        held: Some(held()),
    };
    check([
        SyncPreview::default(),
        SyncPreview {
            server: Some(Ok(preview())),
            folder: Some(Err(problem().into())),
        },
    ]);
    let past = || PastSync {
        place: "a".into(),
        time: 1,
        records: record_reports(),
    };
    check([LastSyncs {
        server: Some(past()),
        folder: Some(past()),
    }]);
    check([
        (SameKey::Yes, synced(Ok(report()))),
        (SameKey::No, synced(Err(problem().into()))),
    ]);
    check([(true, synced(Ok(report())))]);
}

#[test]
fn how_a_vault_stands_crosses() {
    check(trusts());
    check(trusts().into_iter().map(|trust| Standing {
        server: Some(status(trust)),
        folder: Some(FolderStatus {
            path: "a".into(),
            copy: "b".into(),
            has_key: true,
            last_change: Some(1),
        }),
        content: content(),
    }));
    check([Ties {
        server: Some(ServerTie {
            host: "a".into(),
            port: 1,
            pending: true,
        }),
        folder: Some(FolderTie {
            path: "a".into(),
            has_key: true,
        }),
    }]);
    check([
        Untied::Server {
            host: "a".into(),
            not_forgotten: Some("b".into()),
            retired: vec!["c".into()],
        },
        Untied::Folder { path: "a".into() },
    ]);
    check([RequestCode::from_hash([7; 32])]);
    check([folder_key()]);
    check([pin()]);
    let shapes = [Shape::Modern, Shape::Desktop, Shape::Upgraded];
    check(shapes.map(|shape| {
        let address = Address::new("cloud.example", 1).unwrap();
        Link {
            shape,
            ..Link::new(address, &trusts()[2], key(), shape)
        }
    }));
}

#[test]
fn a_value_that_breaks_its_own_rules_is_refused() {
    fn refused<T: DeserializeOwned>(value: &impl Serialize) {
        let read = postcard::from_bytes::<T>(&encode(value));
        assert!(read.is_err(), "{}", std::any::type_name::<T>());
    }
    /// Bytes as such, not as a sequence of numbers.
    #[derive(Serialize, Deserialize)]
    struct Bytes(#[serde(with = "passmate_vault::wire")] Zeroizing<Vec<u8>>);
    let bytes = |bytes: &[u8]| Bytes(bytes.to_vec().into()).0;
    let wrapped = |of: &[u8]| Bytes(bytes(of));
    refused::<Address>(&("cloud.example", 0));
    refused::<Address>(&("a b", 1));
    refused::<AccountNumber>(&[0_u8; 8]);
    refused::<Text>(&wrapped(b"\xff"));
    refused::<Vault>(&wrapped(b"{}"));
    refused::<DeviceText>(&wrapped(&[b'a'; 257]));
    refused::<Secret<32>>(&wrapped(&[1; 31]));
    refused::<SyncKey>(&"text");
}

#[test]
fn a_real_answer_crosses() {
    let dir = tempfile::tempdir().unwrap();
    let location = VaultLocation::new(dir.path().join("vault.pmdb"))
        .with_params(Params::new(4, 1, 1).unwrap());
    let mut session = Session::create(location, Passphrase::from("a".to_owned())).unwrap();
    let api: &mut dyn VaultApi = &mut session;
    for edit in edits() {
        check([api.change(&edit, &Consent::to_everything(), &mut |_| {})]);
    }
    check([api.list()]);
    check([api.standing()]);
    check([api.preview_sync()]);
    check([api.last_syncs()]);
}

#[test]
fn what_an_audit_found_crosses() {
    check([AuditRules {
        old_before: Some(-1),
        breached: Some("/a".into()),
        online: Some("https://a".to_owned()),
    }]);
    let kinds = [
        FindingKind::Breached { count: u64::MAX },
        FindingKind::Reused,
        FindingKind::Weak { guesses: 7 },
        FindingKind::Expired { since: -1 },
        FindingKind::NoTls {
            scheme: "http".to_owned(),
            host: "a".to_owned(),
        },
        FindingKind::ReusedEarlier {
            other: "b".to_owned(),
        },
        FindingKind::Old { since: 1 },
    ];
    let place = FieldPlace {
        path: "a".to_owned(),
        field: "password".to_owned(),
    };
    let findings = kinds.map(|kind| Finding {
        kind,
        places: vec![place.clone()],
    });
    check([Audit {
        findings: findings.into(),
        records: 2,
        passwords: 3,
    }]);
}

#[test]
fn an_error_within_many_others_is_refused() {
    let mut error = RemoteError::Refused;
    for depth in 0..20 {
        let bytes = encode(&error);
        assert_eq!(
            postcard::from_bytes::<RemoteError>(&bytes).is_ok(),
            depth <= 8,
            "{depth}"
        );
        error = RemoteError::OutcomeUnknown(Box::new(error));
    }
    // As deep as a frame can make it: the stack is not taken.
    let outermost = encode(&error)[0];
    let deepest = vec![outermost; 1 << 20];
    assert!(postcard::from_bytes::<RemoteError>(&deepest).is_err());
}

#[test]
fn more_answers_than_a_person_gives_are_refused() {
    let answer = encode(&Question::Upgrade);
    for (count, is_read) in [(1000, true), (1001, false)] {
        let answers = answer.repeat(count);
        let given = [encode(&count), answers].concat();
        // Not to everything, these answers, no refusal.
        let consent = [&[0], given.as_slice(), &[0, 0]].concat();
        let read = postcard::from_bytes::<Consent>(&consent);
        assert_eq!(read.is_ok(), is_read, "{count}");
    }
}
