//! What a sync holds back, for people and for programs.

use passmate_core::clock::local_time;
use passmate_core::escape::escape;
use passmate_core::sync::{Effect, HeldBack, HeldRecord};
use passmate_vault::guard::GUARD_TAG;
use serde_json::{Value, json};

/// One line for each record, and one for a history that would be cut off.
pub(crate) fn lines(held: &HeldBack) -> Vec<String> {
    let cut = held
        .cut
        .map(|since| format!("the history before {} would be cut off", local_time(since)));
    let hidden = (held.hidden > 0).then(|| {
        format!(
            "{} bytes would come that show in no record (also if another device of yours refused \
             very many changes)",
            held.hidden
        )
    });
    let too_large = held
        .too_large
        .map(|len| format!("the vault would have {len} bytes, more than the server accepts"));
    let rest = cut.into_iter().chain(hidden).chain(too_large);
    held.records.iter().map(line).chain(rest).collect()
}

fn line(record: &HeldRecord) -> String {
    let path = match escape(&record.path.to_string_lossy()) {
        path if path.is_empty() => "a record without a path".to_owned(),
        path => path,
    };
    match &record.effect {
        Effect::Deleted => format!("{path}: would be deleted"),
        Effect::Changed => format!("{path}: would be changed"),
        Effect::Displaced { .. } => format!("{path}: another record would take over its path"),
        Effect::Purged => format!("{path}: would lose earlier values for good"),
        Effect::Unguarded => format!(
            "{path}: would lose its guard, the tag {GUARD_TAG}: programs could use it unasked"
        ),
        Effect::Ahead { field, time } => {
            let field = escape(&field.name.to_string_lossy());
            format!(
                "{path}: {field} is from {}, in the future: a clock is wrong, or somebody wants it \
                 to win over all edits until then",
                local_time(*time)
            )
        }
    }
}

/// The same as an object.
pub(crate) fn object(held: &HeldBack) -> Value {
    let record = |record: &HeldRecord| {
        let (effect, future) = match &record.effect {
            Effect::Deleted => ("deleted", None),
            Effect::Changed => ("changed", None),
            Effect::Displaced { .. } => ("displaced", None),
            Effect::Purged => ("purged", None),
            Effect::Unguarded => ("unguarded", None),
            Effect::Ahead { field, time } => ("from_future", Some((field, *time))),
        };
        json!({
            "path": record.path.to_string_lossy(),
            "id": record.id.as_text().to_string_lossy(),
            "effect": effect,
            "field": future.map(|(field, _)| field.name.to_string_lossy()),
            "time": future.map(|(_, time)| time),
        })
    };
    json!({
        "records": held.records.iter().map(record).collect::<Vec<_>>(),
        "of": held.of,
        "earlier": held.earlier,
        "history_since": held.cut,
        "hidden": held.hidden,
        "too_large": held.too_large,
    })
}
