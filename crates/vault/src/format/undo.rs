//! The steps that can be undone as JSON, inside a vault file of version 3.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

use super::account::{read_members, read_string, read_time, set};
use super::baseline::read_count;
use super::error::CodecError;
use super::path::JsonPath;
use super::reader::Reader;
use super::writer::{Sink, write_str};
use crate::history::undo::{
    Cell, PLACE_LEN_MAX, STEP_CELLS_MAX, STEPS_MAX, Step, StepKind, UndoLog,
};
use crate::record::Stamp;

/// The bytes of a field: the digests of the changes that decided it before and after.
const CELL_LEN: usize = 16;
/// The digest where there was no such field.
const NONE: [u8; CELL_LEN / 2] = [0; CELL_LEN / 2];

pub(super) fn read_undo(reader: &mut Reader<'_>, path: &JsonPath) -> Result<UndoLog, CodecError> {
    let (mut at, mut steps) = (None, None);
    read_members(reader, path, |reader, name, place| match name {
        b"at" => set(&mut at, place, |place| read_count(reader, place)),
        b"steps" => set(&mut steps, place, |place| read_steps(reader, place)),
        _ => Err(CodecError::Newer { path: place }),
    })?;
    let missing = |key| CodecError::MissingKey {
        path: path.clone().member(key),
    };
    let at = at.ok_or_else(|| missing("at"))?;
    let steps: Vec<Step> = steps.ok_or_else(|| missing("steps"))?;
    if at > steps.len() {
        return Err(CodecError::WrongShape {
            path: path.clone().member("at"),
            expected: "at most the number of steps".into(),
        });
    }
    Ok(UndoLog { steps, at })
}

fn read_steps(reader: &mut Reader<'_>, path: &JsonPath) -> Result<Vec<Step>, CodecError> {
    reader
        .begin_array("a list of steps")
        .map_err(|fault| fault.at(path.clone()))?;
    let (mut steps, mut cells_left, mut first) = (Vec::new(), STEP_CELLS_MAX, true);
    while reader
        .next_item(&mut first)
        .map_err(|fault| fault.at(path.clone()))?
    {
        if steps.len() >= STEPS_MAX {
            return Err(CodecError::TooMany {
                what: "steps to undo".into(),
                limit: STEPS_MAX,
            });
        }
        let step = read_step(reader, &path.clone().index(steps.len()), cells_left)?;
        cells_left -= step.cells.len();
        steps.push(step);
    }
    Ok(steps)
}

fn read_step(
    reader: &mut Reader<'_>,
    path: &JsonPath,
    cells_max: usize,
) -> Result<Step, CodecError> {
    let (mut kind, mut place, mut time, mut cells) = (None, None, None, None);
    read_members(reader, path, |reader, name, at| match name {
        b"kind" => set(&mut kind, at, |at| read_string(reader, at)),
        b"place" => set(&mut place, at, |at| read_place(reader, at)),
        b"time" => set(&mut time, at, |at| read_time(reader, at)),
        b"cells" => set(&mut cells, at, |at| read_cells(reader, at, cells_max)),
        _ => Err(CodecError::Newer { path: at }),
    })?;
    let at = |key| path.clone().member(key);
    let missing = |key| CodecError::MissingKey { path: at(key) };
    let word: String = kind.ok_or_else(|| missing("kind"))?;
    let kind = match (word.as_str(), place) {
        ("sync", place) => StepKind::Sync(place.ok_or_else(|| missing("place"))?),
        (_, Some(_)) => return Err(CodecError::UnknownKey { path: at("place") }),
        (word, None) => StepKind::from_word(word.as_bytes())
            .ok_or_else(|| CodecError::Newer { path: at("kind") })?,
    };
    Ok(Step {
        kind,
        time: time.ok_or_else(|| missing("time"))?,
        cells: cells.ok_or_else(|| missing("cells"))?,
    })
}

fn read_place(reader: &mut Reader<'_>, path: &JsonPath) -> Result<String, CodecError> {
    let place = read_string(reader, path)?;
    if place.chars().count() > PLACE_LEN_MAX {
        return Err(CodecError::WrongShape {
            path: path.clone(),
            expected: "at most 1000 characters".into(),
        });
    }
    Ok(place)
}

fn read_cells(
    reader: &mut Reader<'_>,
    path: &JsonPath,
    max: usize,
) -> Result<Vec<Cell>, CodecError> {
    let text = read_string(reader, path)?;
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
    let chunks = bytes.as_deref().map(<[u8]>::as_chunks::<CELL_LEN>);
    let Some((chunks, [])) = chunks else {
        return Err(CodecError::WrongShape {
            path: path.clone(),
            expected: "32 hex digits for each field".into(),
        });
    };
    if chunks.len() > max {
        return Err(CodecError::TooMany {
            what: "fields to undo".into(),
            limit: STEP_CELLS_MAX,
        });
    }
    let cells = chunks.iter().map(|bytes| {
        let (digests, _) = bytes.as_chunks();
        let [before, after] = [0, 1].map(|at| digests.get(at).copied().unwrap_or(NONE));
        Cell {
            before: (before != NONE).then(|| u64::from_be_bytes(before)),
            after: u64::from_be_bytes(after),
        }
    });
    Ok(cells.collect())
}

pub(super) fn write_undo(sink: &mut impl Sink, log: &UndoLog) {
    sink.put(b"{\"at\":");
    sink.put(log.at.to_string().as_bytes());
    sink.put(b",\"steps\":[");
    for (index, step) in log.steps.iter().enumerate() {
        sink.put(if index == 0 {
            b"{\"kind\":".as_slice()
        } else {
            b",{\"kind\":"
        });
        write_str(sink, step.kind.word());
        if let StepKind::Sync(place) = &step.kind {
            sink.put(b",\"place\":");
            write_str(sink, place);
        }
        sink.put(b",\"time\":");
        sink.put(Stamp::from_seconds(step.time).to_string().as_bytes());
        sink.put(b",\"cells\":");
        let mut text = String::with_capacity(2 * CELL_LEN * step.cells.len());
        for Cell { before, after } in &step.cells {
            for digest in [before.unwrap_or_default(), *after] {
                HEXLOWER.encode_append(&digest.to_be_bytes(), &mut text);
            }
        }
        write_str(sink, &text);
        sink.put(b"}");
    }
    sink.put(b"]}");
}
