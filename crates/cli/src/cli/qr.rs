use passmate_vault::login::{FieldRole, role_of};
use serde_json::json;
use zeroize::Zeroizing;

use super::App;
use super::error::{Code, Failure};
use super::show::{find, no_field};
use passmate_core::otp::Otp;
use passmate_core::qr::{Qr, TooLong};

/// Show a field as a QR code, for another device's camera
///
/// Without FIELD it is the password; of a record with a field `ssid` what phones take as a wireless
/// network. A secret of one-time codes becomes the address that authenticator apps scan.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The record
    path: String,
    /// The field
    field: Option<String>,
}

pub(super) fn run(app: &App, args: &Args) -> Result<(), Failure> {
    let session = app.open()?;
    let view = session.vault().view();
    let record = find(&view, &args.path)?;
    let value = |role: FieldRole| {
        let field = role.find(record)?;
        Some(Zeroizing::new(field.value.to_string_lossy().into_owned()))
    };
    let text = match &args.field {
        Some(name) => {
            let field = record
                .field(&name.as_str().into())
                .ok_or_else(|| no_field(&args.path, name))?;
            let text = Zeroizing::new(field.value.to_string_lossy().into_owned());
            let is_otp = role_of(name) == Some(FieldRole::Otp);
            match is_otp.then(|| Otp::address_of(&text, &args.path)).flatten() {
                Some(address) => address,
                None => text,
            }
        }
        None => match (value(FieldRole::Ssid), value(FieldRole::Password)) {
            (Some(ssid), password) => wireless(&ssid, password.as_deref().map(String::as_str)),
            (None, Some(password)) => password,
            (None, None) => return Err(no_field(&args.path, FieldRole::Password.name())),
        },
    };
    show(app, &text)
}

/// Shows a text as a code.
pub(super) fn show(app: &App, text: &str) -> Result<(), Failure> {
    let code = Qr::new(text).map_err(|error| failure_of(&error))?;
    if app.out.json {
        return app.out.object(json!({ "text": text, "rows": code.rows() }));
    }
    if let Some(columns) = app.out.columns().filter(|columns| *columns < code.width()) {
        app.out.warn(&format!(
            "the code is {} columns wide and the terminal {columns}: make the window wider, or the letters smaller",
            code.width()
        ));
    }
    app.out.picture(&code.to_blocks(app.out.is_colored()))
}

/// The two lines for a text that no code holds.
pub(super) fn failure_of(error: &TooLong) -> Failure {
    Failure::new(
        Code::TooLarge,
        error.to_string(),
        "name a shorter field, or carry it in another way",
    )
}

/// What phones take as a wireless network.
fn wireless(ssid: &str, password: Option<&str>) -> Zeroizing<String> {
    let escaped = |text: &str| {
        let marked = |c: char| {
            if matches!(c, '\\' | ';' | ',' | ':' | '"') {
                vec!['\\', c]
            } else {
                vec![c]
            }
        };
        Zeroizing::new(text.chars().flat_map(marked).collect::<String>())
    };
    Zeroizing::new(match password {
        Some(password) => format!("WIFI:T:WPA;S:{};P:{};;", *escaped(ssid), *escaped(password)),
        None => format!("WIFI:T:nopass;S:{};;", *escaped(ssid)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wireless_network_is_written_as_phones_read_it() {
        assert_eq!(
            *wireless("Café; \"5\"", Some("a:b\\c,d")),
            "WIFI:T:WPA;S:Café\\; \\\"5\\\";P:a\\:b\\\\c\\,d;;"
        );
        assert_eq!(*wireless("open", None), "WIFI:T:nopass;S:open;;");
    }
}
