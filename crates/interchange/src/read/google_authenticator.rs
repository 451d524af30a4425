//! Google Authenticator's export: a text with the `otpauth-migration://offline?data=…` addresses of
//! its QR codes, one a line, in any order.
//!
//! `data` is base64 of a Protocol Buffers message. An export of many accounts has several QR codes,
//! a *batch*; each says how many there are.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::{BASE64_NOPAD, Specification};
use passmate_vault::login::FieldRole;
use passmate_vault::otp::{OtpAlgorithm, OtpAuth, OtpKind, split_names};
use percent_encoding::percent_decode_str;
use prost::Message;
use zeroize::Zeroizing;

use super::Imported;
use super::item::Collector;
use super::otpauth::{begin_code, lines_of, lose_lines};
use crate::error::ImportError;
use crate::loss::Loss;
use crate::syntax::json;

/// The beginning of an address.
const SCHEME: &str = "otpauth-migration:";
/// The longest `data`, in bytes. A QR code has less than 3000.
const DATA_LEN_MAX: usize = 64 * 1024;

/// The content of a QR code.
#[derive(Clone, PartialEq, Message)]
struct Payload {
    #[prost(message, repeated, tag = "1")]
    parameters: Vec<Parameters>,
    #[prost(int32, tag = "3")]
    batch_size: i32,
    #[prost(int32, tag = "4")]
    batch_index: i32,
    #[prost(int32, tag = "5")]
    batch_id: i32,
}

/// An account. Texts are bytes, so that one that is not UTF-8 does not refuse all accounts.
#[derive(Clone, PartialEq, Message)]
struct Parameters {
    #[prost(bytes = "vec", tag = "1")]
    secret: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    name: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    issuer: Vec<u8>,
    #[prost(int32, tag = "4")]
    algorithm: i32,
    #[prost(int32, tag = "5")]
    digits: i32,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(int64, tag = "7")]
    counter: i64,
}

/// Reads the addresses of one or several exports.
pub(crate) fn read(bytes: &[u8]) -> Result<Imported, ImportError> {
    let mut collector = Collector::default();
    let mut payloads = Vec::new();
    let (mut damaged, mut others) = (0, 0);
    for (_, line) in lines_of(json::text_of(bytes)?) {
        let begin = line.get(..SCHEME.len());
        if !begin.is_some_and(|begin| begin.eq_ignore_ascii_case(SCHEME)) {
            others += 1;
            continue;
        }
        match read_address(line) {
            Some(payload) => payloads.push(payload),
            None => damaged += 1,
        }
    }
    match (payloads.is_empty(), damaged) {
        (true, 0) => {
            return Err(ImportError::NotThisFormat {
                expected: "a text with otpauth-migration:// addresses of Google Authenticator",
            });
        }
        (true, _) => {
            return Err(ImportError::Damaged {
                what: "its address is cut off or misspelt",
            });
        }
        (false, 0) => {}
        (false, 1) => collector.lose(Loss::of_file("1 address, which is cut off or misspelt")),
        (false, count) => collector.lose(Loss::of_file(format!(
            "{count} addresses, which are cut off or misspelt"
        ))),
    }
    // The order of the lines does not matter, and a QR code may be in the file twice.
    payloads.sort_by_key(|payload| (payload.batch_id, payload.batch_index));
    payloads.dedup();
    for payload in &payloads {
        for parameters in &payload.parameters {
            read_account(parameters, &mut collector)?;
        }
    }
    lose_batches(&payloads, &mut collector);
    lose_lines(others, &mut collector);
    Ok(collector.into_imported())
}

fn read_address(line: &str) -> Option<Payload> {
    let (_, query) = line.split_once('?')?;
    let data = query
        .split(['&', '#'])
        .find_map(|pair| pair.strip_prefix("data="))?;
    if data.len() > DATA_LEN_MAX {
        return None;
    }
    let data = percent_decode_str(data).decode_utf8().ok()?;
    // A decoder of queries may have turned `+` into a blank.
    let letters = data
        .trim_end_matches('=')
        .chars()
        .map(|letter| match letter {
            ' ' | '-' => '+',
            '_' => '/',
            letter => letter,
        });
    let letters: Zeroizing<String> = Zeroizing::new(letters.collect());
    let mut specification: Specification = BASE64_NOPAD.specification();
    specification.check_trailing_bits = false;
    let message = specification.encoding().ok()?.decode(letters.as_bytes());
    let message = Zeroizing::new(message.ok()?);
    let payload = Payload::decode(message.as_slice()).ok()?;
    // An address that was cut off early has no account.
    (!payload.parameters.is_empty()).then_some(payload)
}

fn read_account(parameters: &Parameters, collector: &mut Collector) -> Result<(), ImportError> {
    let (name, issuer) = (text_of(&parameters.name), text_of(&parameters.issuer));
    let (label, issuer) = split_names(&name, &issuer);
    let secret = Zeroizing::new(parameters.secret.clone());
    let kind = match parameters.kind {
        1 => Some(OtpKind::Counted {
            counter: u64::try_from(parameters.counter).unwrap_or(u64::MAX),
        }),
        0 | 2 => Some(OtpKind::Timed { period: 30 }),
        _ => None,
    };
    let algorithm = match parameters.algorithm {
        0 | 1 => Some(OtpAlgorithm::Sha1),
        2 => Some(OtpAlgorithm::Sha256),
        3 => Some(OtpAlgorithm::Sha512),
        _ => None,
    };
    let digits = match parameters.digits {
        0 | 1 => Some(6),
        2 => Some(8),
        3 => Some(7),
        _ => None,
    };
    let mut auth = OtpAuth {
        label,
        issuer,
        ..OtpAuth::new(kind.unwrap_or(OtpKind::Steam), secret)
    };
    let mut builder = begin_code(collector, None, &[], &auth)?;
    let (Some(_), Some(algorithm), Some(digits)) = (kind, algorithm, digits) else {
        return builder.lose_all("its codes are of an unknown kind");
    };
    (auth.algorithm, auth.digits) = (algorithm, digits);
    if let Err(error) = auth.check() {
        return builder.lose_all(&error.to_string());
    }
    builder.add(FieldRole::Otp.name(), auth.to_address().as_str())?;
    builder.finish();
    Ok(())
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Adds the losses of QR codes that are missing.
fn lose_batches(payloads: &[Payload], collector: &mut Collector) {
    let mut batches: BTreeMap<i32, (i32, BTreeSet<i32>)> = BTreeMap::new();
    for payload in payloads {
        let (size, indices) = batches.entry(payload.batch_id).or_default();
        *size = payload.batch_size.max(*size);
        indices.insert(payload.batch_index);
    }
    for (size, indices) in batches.values() {
        let size = usize::try_from(*size).unwrap_or(0);
        let found = indices.len();
        if found < size {
            collector.lose(Loss::of_file(format!(
                "the other accounts of an export: the file has {found} of {size} codes"
            )));
        }
    }
}
