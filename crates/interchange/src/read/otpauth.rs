//! A text with `otpauth://` addresses, one a line, as many authenticators write it. Also how the
//! secrets of all authenticators become items.

use passmate_vault::login::FieldRole;
use passmate_vault::otp::{OtpAlgorithm, OtpAuth, OtpError, OtpKind, decode_base32};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::Imported;
use super::item::{Builder, Collector, text_of};
use crate::error::ImportError;
use crate::loss::Loss;
use crate::syntax::json;

/// Reads a list of addresses.
pub(crate) fn read(bytes: &[u8]) -> Result<Imported, ImportError> {
    let mut collector = Collector::default();
    let (mut found, mut others) = (0_usize, 0);
    for (number, line) in lines_of(json::text_of(bytes)?) {
        if !is_address(line) {
            others += 1;
            continue;
        }
        found += 1;
        match OtpAuth::parse(line) {
            Ok(auth) => {
                let (line, display) = take_display(line);
                let mut builder = begin_code(&mut collector, None, &[], &auth)?;
                if display.get("trashed") == Some(&Value::Bool(true)) {
                    builder.lose_all("it is in the trash")?;
                    continue;
                }
                builder.add(FieldRole::Otp.name(), line)?;
                add_display(&display, &mut builder)?;
                builder.finish();
            }
            Err(error) => {
                let name = format!("line {number}");
                collector
                    .begin("", [], &name)?
                    .lose_all(&error.to_string())?;
            }
        }
    }
    if found == 0 {
        return Err(ImportError::NotThisFormat {
            expected: "a text with otpauth:// addresses",
        });
    }
    lose_lines(others, &mut collector);
    Ok(collector.into_imported())
}

fn is_address(line: &str) -> bool {
    ["otpauth://", "apple-otpauth://"].iter().any(|scheme| {
        let begin = line.get(..scheme.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
    })
}

/// An address without the parameter in which Ente Auth has what the person set there, and that.
fn take_display(address: &str) -> (String, Map<String, Value>) {
    let Some((begin, query)) = address.split_once('?') else {
        return (address.to_owned(), Map::new());
    };
    let (own, others): (Vec<&str>, Vec<&str>) = query
        .split('&')
        .partition(|pair| pair.starts_with("codeDisplay="));
    let display = own.first().and_then(|pair| {
        let (_, value) = pair.split_once('=')?;
        let json = percent_decode_str(value).decode_utf8().ok()?;
        serde_json::from_str(&json).ok()
    });
    match display {
        Some(display) => (format!("{begin}?{}", others.join("&")), display),
        None => (address.to_owned(), Map::new()),
    }
}

fn add_display(display: &Map<String, Value>, builder: &mut Builder<'_>) -> Result<(), ImportError> {
    let text = |name: &str| display.get(name).map(text_of).unwrap_or_default();
    builder.add(FieldRole::Notes.name(), text("note"))?;
    builder.add(FieldRole::Tags.name(), text("tags").replace('\n', ", "))?;
    if display.get("pinned") == Some(&Value::Bool(true)) {
        builder.add(FieldRole::Favourite.name(), "yes")?;
    }
    Ok(())
}

/// The lines that are not empty, without blanks at their ends, and their numbers from 1.
pub(crate) fn lines_of(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = (1..).zip(text.lines().map(str::trim));
    lines.filter(|(_, line)| !line.is_empty())
}

/// Adds the loss of lines that are no address.
pub(crate) fn lose_lines(count: usize, collector: &mut Collector) {
    match count {
        0 => {}
        1 => collector.lose(Loss::of_file("1 line that is no address of one-time codes")),
        count => collector.lose(Loss::of_file(format!(
            "{count} lines that are no addresses of one-time codes"
        ))),
    }
}

/// Reads the settings of codes in the JSON of an authenticator. `names` are those of the members with
/// the algorithm, the digits, the period and the counter.
pub(crate) fn read_settings(
    kind: &str,
    secret: &str,
    settings: &Map<String, Value>,
    names: [&str; 4],
) -> Result<OtpAuth, String> {
    let [algorithm, digits, period, counter] = names;
    let number = |name: &str, default: u64| match settings.get(name) {
        None | Some(Value::Null) => Some(default),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(value) => value.as_u64(),
    };
    let read = |kind: OtpKind| {
        let mut auth = OtpAuth::new(kind, decode_base32(secret)?);
        if kind != OtpKind::Steam {
            let digits = number(digits, auth.digits.into());
            let digits = digits.and_then(|digits| u32::try_from(digits).ok());
            auth.digits = digits.ok_or(OtpError::Digits)?;
            if let Some(name) = settings.get(algorithm).and_then(Value::as_str) {
                auth.algorithm = OtpAlgorithm::parse(name)?;
            }
        }
        auth.check()?;
        Ok(auth)
    };
    let kind = match kind.to_ascii_lowercase().as_str() {
        "totp" => number(period, 30)
            .map(|period| OtpKind::Timed { period })
            .ok_or(OtpError::Period),
        "hotp" => number(counter, 0)
            .map(|counter| OtpKind::Counted { counter })
            .ok_or(OtpError::Counter),
        "steam" => Ok(OtpKind::Steam),
        "motp" => return Err("codes of the kind mOTP are not supported".to_owned()),
        "yandex" => return Err("codes of Yandex are not supported".to_owned()),
        _ => return Err("its codes are of an unknown kind".to_owned()),
    };
    kind.and_then(read)
        .map_err(|error: OtpError| error.to_string())
}

/// Begins the item of a secret: its name is the issuer, or the account if there is none. Without an
/// id of the source, issuer and account identify it.
pub(crate) fn begin_code<'c>(
    collector: &'c mut Collector,
    source_id: Option<&str>,
    folders: &[&str],
    auth: &OtpAuth,
) -> Result<Builder<'c>, ImportError> {
    let OtpAuth { label, issuer, .. } = auth;
    let source_id = source_id.map_or_else(|| format!("{issuer}\0{label}"), str::to_owned);
    let name = if issuer.is_empty() { label } else { issuer };
    let mut builder = collector.begin(source_id, folders.iter().copied(), name)?;
    builder.add(FieldRole::User.name(), label.as_str())?;
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_make_no_codes_are_losses() {
        let text = "\u{feff}# my codes\r\n\r\notpauth://totp/Shop:bob?secret=JBSWY3DP\r\n\
                    otpauth://totp/x?secret=!!\nmore\notpauth://\n";
        let imported = read(text.as_bytes()).unwrap();
        let item = imported.items.first().unwrap();
        assert_eq!((imported.items.len(), item.path.as_str()), (1, "Shop"));
        let losses: Vec<_> = imported
            .losses
            .iter()
            .map(|loss| format!("{}: {}", loss.path, loss.what))
            .collect();
        assert_eq!(
            losses,
            [
                "line 4: the whole item: its secret is not base32 (A to Z and 2 to 7)",
                "line 6: the whole item: its address begins with neither otpauth://totp/ nor \
                 otpauth://hotp/",
                ": 2 lines that are no addresses of one-time codes"
            ]
        );
        assert!(read(b"JBSWY3DP\n").is_err() && read(b"").is_err());
    }
}
