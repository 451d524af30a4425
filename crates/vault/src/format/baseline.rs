//! The baseline as JSON, inside a vault file of version 3.

use super::account::{read_members, read_string, read_time, set};
use super::error::CodecError;
use super::path::JsonPath;
use super::reader::Reader;
use super::writer::{Sink, write_str};
use crate::record::Stamp;
use crate::sync::baseline::Baseline;

pub(super) fn read_baseline(
    reader: &mut Reader<'_>,
    path: &JsonPath,
) -> Result<Baseline, CodecError> {
    let (mut time, mut records, mut altered) = (None, None, None);
    let (mut added, mut hidden) = (None, None);
    read_members(reader, path, |reader, name, at| match name {
        b"time" => set(&mut time, at, |at| read_time(reader, at)),
        b"records" => set(&mut records, at, |at| read_count(reader, at)),
        b"added" => set(&mut added, at, |at| read_count(reader, at)),
        b"hidden" => set(&mut hidden, at, |at| read_count(reader, at)),
        b"altered" => set(&mut altered, at, |at| read_string(reader, at)),
        _ => Err(CodecError::Newer { path: at }),
    })?;
    let missing = |key| CodecError::MissingKey {
        path: path.clone().member(key),
    };
    let time = time.ok_or_else(|| missing("time"))?;
    let records = records.ok_or_else(|| missing("records"))?;
    let mut baseline = Baseline::new(time, records);
    baseline.added = added.unwrap_or_default();
    baseline.hidden = hidden.unwrap_or_default();
    let altered = altered.unwrap_or_default();
    baseline
        .with_altered_text(&altered)
        .ok_or_else(|| CodecError::WrongShape {
            path: path.clone().member("altered"),
            expected: "16 hex digits for each record".into(),
        })
}

pub(super) fn read_count(reader: &mut Reader<'_>, path: &JsonPath) -> Result<usize, CodecError> {
    const EXPECTED: &str = "a number";
    let count = reader
        .integer(EXPECTED)
        .map_err(|fault| fault.at(path.clone()))?;
    let count = count
        .seconds()
        .and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| CodecError::WrongShape {
        path: path.clone(),
        expected: EXPECTED.into(),
    })
}

pub(super) fn write_baseline(sink: &mut impl Sink, baseline: &Baseline) {
    sink.put(b"{\"time\":");
    sink.put(Stamp::from_seconds(baseline.time).to_string().as_bytes());
    sink.put(b",\"records\":");
    sink.put(baseline.records.to_string().as_bytes());
    for (name, count) in [
        (b",\"added\":".as_slice(), baseline.added),
        (b",\"hidden\":", baseline.hidden),
    ] {
        if count > 0 {
            sink.put(name);
            sink.put(count.to_string().as_bytes());
        }
    }
    if baseline.altered() > 0 {
        sink.put(b",\"altered\":");
        write_str(sink, &baseline.altered_text());
    }
    sink.put(b"}");
}
