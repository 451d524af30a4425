//! A sheet of paper that brings a vault back: what to keep in a safe place, as one page to print.

use passmate_vault::SyncKey;
use zeroize::Zeroizing;

use crate::share::link::Link;
use crate::share::qr::{Qr, TooLong};

/// What stands on a sheet beside the key.
#[derive(Debug, Clone, Copy)]
pub struct Sheet<'a> {
    /// The day it was made, as people write it.
    pub day: &'a str,
    /// How the server is trusted, in words.
    pub trust: &'a str,
    /// How many records the vault has.
    pub records: usize,
}

/// One page of HTML without anything from elsewhere.
///
/// # Errors
/// The server's name is so long that no QR code holds it.
pub fn make_sheet(link: &Link, sheet: Sheet<'_>) -> Result<Zeroizing<String>, TooLong> {
    let text = link.to_text();
    let picture = Qr::new(&text)?.to_svg();
    let groups = link.key_text();
    let groups: Vec<&str> = groups.split('-').collect();
    let key: Zeroizing<String> = Zeroizing::new(
        groups
            .chunks(5)
            .map(|line| format!("<div>{}</div>", line.join("-")))
            .collect::<Vec<_>>()
            .join("\n"),
    );
    let host = escape(&link.address.to_string());
    let (day, trust) = (escape(sheet.day), escape(sheet.trust));
    let account = escape(account_of(&link.key).as_str());
    let pin = link
        .pin
        .map_or_else(String::new, |pin| format!(" --pin {pin}"));
    let records = sheet.records;
    Ok(Zeroizing::new(format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Passmate emergency sheet</title>
<style>
@page {{ size: auto; margin: 14mm; }}
* {{ box-sizing: border-box; }}
body {{ color: #000; background: #fff; font: 10pt/1.4 "Source Serif 4", Georgia, "Times New \
    Roman", serif; max-width: 174mm; margin: 10mm auto; padding: 0 4mm; }}
h1 {{ font-size: 18pt; line-height: 1.1; margin: 0 0 1mm; }}
h2 {{ font-size: 11pt; margin: 5mm 0 1.5mm; border-top: 0.4mm solid #000; padding-top: 2mm; }}
p {{ margin: 0 0 2mm; }}
.sub {{ color: #333; margin-bottom: 3mm; }}
.key {{ display: flex; gap: 8mm; align-items: center; }}
.key svg {{ width: 58mm; height: 58mm; flex: none; }}
.mono, code {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; }}
.groups {{ font-size: 12pt; line-height: 1.7; white-space: nowrap; }}
code {{ font-size: 8.5pt; overflow-wrap: anywhere; }}
dl {{ display: grid; grid-template-columns: 28mm 1fr; gap: 1mm 4mm; margin: 0; }}
dt {{ color: #333; }} dd {{ margin: 0; overflow-wrap: anywhere; }}
ol {{ margin: 0; padding-left: 6mm; }} li {{ margin-bottom: 1.5mm; }}
.warn {{ border: 0.6mm solid #000; padding: 3mm 4mm; margin: 5mm 0 0; }}
.line {{ border-bottom: 0.3mm solid #000; height: 8mm; }}
@media (max-width: 130mm) {{ .key {{ flex-direction: column; align-items: flex-start; }} .groups {{ font-size: 10pt; white-space: normal; }} }}
@media print {{ body {{ margin: 0; padding: 0; max-width: none; }} h2, .warn, .key {{ break-inside: avoid; }} }}
</style>
</head>
<body>
<h1>Passmate emergency sheet</h1>
<p class="sub">Made on {day}, for a vault of {records} records. Whoever has this sheet can read and change all of them: keep it like a passport.</p>
<div class="key">
{picture}
<div class="mono groups">
{key}
</div>
</div>
<h2>Where it is for</h2>
<dl>
<dt>Server</dt><dd class="mono">{host}</dd>
<dt>Trusted by</dt><dd>{trust}</dd>
<dt>Account</dt><dd class="mono">{account}</dd>
</dl>
<h2>To get the vault back</h2>
<ol>
<li>Install Passmate on a device, and type <code>passmate init</code>. You choose a new master passphrase there; the old one is not needed.</li>
<li>Type <code>passmate sync setup {host}{pin}</code></li>
<li>When it asks for the sync key, type the 14 groups above, with or without dashes. A mistyped group is noticed. Or scan the code with a phone, bring the
text of it to the device in a file, and type <code>passmate sync setup --key-file FILE</code>.</li>
<li>Type <code>passmate ls</code>. All records are there as they were at the last sync.</li>
</ol>
<p class="warn"><strong>This sheet is not a backup:</strong> the records are on the server and on your devices, not on this paper.
After <code>passmate sync rotate</code> it is worthless: then print a new one and burn this. If it is lost or was seen, run <code>passmate sync rotate</code>.</p>
<h2>Notes</h2>
<div class="line"></div><div class="line"></div><div class="line"></div>
</body>
</html>
"#,
        picture = *picture,
        key = *key,
    )))
}

/// The first 8 bytes of the key, which are no secret.
fn account_of(key: &SyncKey) -> Zeroizing<String> {
    let digits: String = key
        .account()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    Zeroizing::new(digits)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use passmate_vault::{Pin, Secret, Shape, Trust};

    use super::*;

    #[test]
    fn a_sheet_has_the_key_as_text_and_as_a_code_and_nothing_from_elsewhere() {
        let key = SyncKey::from_parts([1; 8], Secret::from_bytes([0xC3; 32]));
        let trust = Trust::Pins {
            current: Pin::from_bytes([0x5A; 32]),
            next: None,
        };
        let address = "home.example.org".parse().unwrap();
        let link = Link::new(address, &trust, key.clone(), Shape::Desktop);
        let html = make_sheet(
            &link,
            Sheet {
                day: "2026-11-24",
                trust: "<pin> & more",
                records: 42,
            },
        )
        .unwrap();
        for group in key.to_desktop_text().split('-') {
            assert!(html.contains(group), "{group}");
        }
        assert!(
            html.contains("<svg ")
                && html.contains("&lt;pin&gt; &amp; more")
                && html.contains("0101010101010101")
        );
        assert!(html.contains("passmate sync setup home.example.org --pin sha256:5a5a"));
        for outside in ["src=", "href=", "url(", "<script", "@import"] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert_eq!(
            html.matches("http").count(),
            2,
            "the name space of the picture, and http-equiv"
        );
    }
}
