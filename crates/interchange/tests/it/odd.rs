//! Files that differ from what the format says: they are read as far as possible, and what is not
//! read is a loss that names its place.

use std::fmt::Write as _;

use passmate_interchange::{Format, ImportError, Imported, ReadOptions, parse};

use crate::read;

fn parsed(word: &str, bytes: &[u8]) -> Imported {
    let format = Format::from_word(word).unwrap();
    parse(format, bytes, ReadOptions::default()).unwrap()
}

/// The items, with their earlier values, and the losses.
pub(crate) fn listed(imported: &Imported) -> String {
    let mut text = String::new();
    for item in &imported.items {
        writeln!(text, "{}", item.path).unwrap();
        for field in &item.fields {
            writeln!(text, "  {}: {:?}", field.name, field.value.as_str()).unwrap();
        }
        for earlier in &item.earlier {
            let since = earlier
                .since
                .map_or("?".to_owned(), |since| since.to_string());
            let value = earlier.value.as_str();
            writeln!(text, "  {} since {since}: {value:?}", earlier.name).unwrap();
        }
    }
    for loss in &imported.losses {
        writeln!(text, "lost: {}: {}", loss.path, loss.what).unwrap();
    }
    text
}

#[track_caller]
fn check(word: &str, bytes: &[u8], expected: &str) {
    let listed = listed(&parsed(word, bytes));
    assert!(listed == expected, "{listed}");
}

const LOGIN: &str = "a\n  user: \"u\"\n  password: \"p\"\n";

#[test]
fn a_bitwarden_file_without_encrypted_is_plain() {
    check("bitwarden", &read("import/bw-no-encrypted.json"), LOGIN);
}

#[test]
fn null_in_a_list_of_bitwarden_is_skipped() {
    check("bitwarden", &read("import/bw-collection-null.json"), LOGIN);
}

#[test]
fn kinds_of_bitwarden_that_are_new_are_fields() {
    check(
        "bitwarden",
        &read("import/bw-new-kinds.json"),
        "bank\n  bank name: \"B\"\n  iban: \"DE00\"\n  pin: \"0000\"\nlicence\n  license number: \
         \"L1\"\npassport\n  passport number: \"P1\"\n",
    );
}

#[test]
fn attachments_in_an_archive_of_bitwarden_are_lost_by_name() {
    let expected = format!("{LOGIN}lost: a: the attachment a.txt\n");
    check("bitwarden", &read("import/bw-attachments.zip"), &expected);
}

#[test]
fn an_export_for_a_bitwarden_account_says_what_to_export_instead() {
    let bytes = read("import/bw-account.json");
    let error = parse(Format::Bitwarden, &bytes, ReadOptions::default()).unwrap_err();
    assert!(matches!(error, ImportError::WrongExport { .. }));
    assert!(error.to_string().contains("\"Password protected\""));
}

#[test]
fn odd_members_of_bitwarden_are_losses_and_refuse_no_file() {
    let json = br#"{"encrypted":null,"folders":null,"items":[
        5,
        {"name":["n"],"id":7,"type":"1","favorite":1,"reprompt":"0","fields":[3,{"name":"pin",
         "value":1234,"type":"0"}],"login":{"username":null,"password":5,"uris":["https://a",{"uri":
         "https://b"}],"totp":{}},"passwordHistory":{},"new":"x"},
        {"login":"x"}]}"#;
    check(
        "bitwarden",
        json,
        "untitled\n  password: \"5\"\n  url: \"https://a\"\n  url 2: \"https://b\"\n  favourite: \
         \"yes\"\n  pin: \"1234\"\nuntitled\nlost: : items[0], which cannot be read\nlost: untitled: \
         the member fields[0], which has an unknown form\nlost: untitled: the member name, which has \
         an unknown form\nlost: untitled: the member new, which has an unknown form\nlost: untitled: \
         the member login, which has an unknown form\n",
    );
}

#[test]
fn former_values_of_bitwarden_are_earlier_ones() {
    let json = br#"{"items":[{"id":"1","name":"a","creationDate":"2023-01-01T00:00:00.000Z",
        "login":{"password":"c"},"fields":[{"name":"PIN","value":"2","type":1}],
        "passwordHistory":[{"lastUsedDate":"2023-03-01T00:00:00.000Z","password":"b"},
        {"lastUsedDate":"2023-02-01T00:00:00.000Z","password":"a"},
        {"lastUsedDate":"2023-02-01T00:00:00.000Z","password":"PIN: 1"}]}]}"#;
    check(
        "bitwarden",
        json,
        "a\n  password: \"c\"\n  PIN: \"2\"\n  PIN since 1672531200: \"1\"\n  password since \
         1672531200: \"a\"\n  password since 1675209600: \"b\"\n",
    );
}

#[test]
fn a_passkey_of_bitwarden_has_bytes_in_base64() {
    let json = br#"{"items":[{"id":"1","name":"a","login":{"fido2Credentials":[{"credentialId":
        "2b3f1c0e-7a9d-4e2b-9c11-0f6a8d3e5b27","keyValue":"MIGH","rpId":"x.example","userHandle":
        "dQ","userName":"u","userDisplayName":"U","counter":"0","discoverable":"true"},
        {"rpId":"y.example"}]}}]}"#;
    let passkey = r#"{"credentialId":"Kz8cDnqdTiucEQ9qjT5bJw","rpId":"x.example","username":"u","userDisplayName":"U","userHandle":"dQ","key":"MIGH","counter":"0","discoverable":"true"}"#;
    let expected = format!("a\n  passkey: {passkey:?}\nlost: a: a passkey without a key\n");
    check("bitwarden", json, &expected);
}

#[test]
fn kinds_of_1password_have_plain_keys_dates_and_names() {
    check(
        "1password",
        &read("import/op-kinds.1pux"),
        "V/ssh\n  private key: \"-----BEGIN PRIVATE KEY-----\\nAAAA\\n-----END PRIVATE \
         KEY-----\\n\"\n  public key: \"ssh-ed25519 AAAA\"\n  fingerprint: \"SHA256:x\"\n  key type: \
         \"ed25519\"\nV/mail\n  user: \"a@x.example\"\nV/dates\n  date of birth: \"1983-04-01\"\n  \
         expiry: \"2030-12\"\nV/sections\n  POP password: \"p1\"\n  SMTP password: \"p2\"\n",
    );
}

#[test]
fn an_item_of_1password_needs_no_uuid() {
    check("1password", &read("import/op-no-uuid.1pux"), "V/no uuid\n");
}

#[test]
fn sections_of_proton_tell_fields_apart() {
    check(
        "protonpass",
        &read("import/proton.json"),
        "P/identity\n  full name: \"Ann\"\n  nickname: \"A\"\nP/wifi\n  password: \"wifi-pw\"\n  \
         security: \"WPA2\"\n  ssid: \"net\"\n  Router Password: \"router-pw\"\nP/custom\n  Test Key: \
         \"k1\"\n  Live Key: \"k2\"\n",
    );
}

#[test]
fn folders_passkeys_and_attachments_of_proton_are_read() {
    let json = br#"{"vaults":{"v":{"name":"P","folders":[{"folderId":"1","parentFolderId":null,
        "name":"out"},{"folderId":"2","parentFolderId":"1","name":"in"},{"folderId":"3",
        "parentFolderId":"3","name":"circle"}],"items":[{"folderId":"2","pinned":true,
        "files":["a.txt"],"data":{"metadata":{"name":"x"},"type":"login","content":{"urls":
        ["https://a"],"autofillUrls":[{"url":"https://a","mode":0},{"url":"https://b"}],
        "passkeys":[{"content":"AA==","credentialId":"+/8=","rpId":"x.example"}]}}},
        {"itemId":5,"folderId":"3","data":{"metadata":null}}]}}}"#;
    let imported = parsed("protonpass", json);
    let passkey = r#"{"credentialId":"-_8","rpId":"x.example","username":"","userDisplayName":"","userHandle":"","key":"","content":"AA=="}"#;
    let head = format!(
        "P/out/in/x\n  url: \"https://a\"\n  url 2: \"https://b\"\n  favourite: \"yes\"\n  passkey: \
         {passkey:?}\nP/circle"
    );
    let listed = listed(&imported);
    assert!(listed.starts_with(&head), "{listed}");
    assert!(listed.ends_with("/untitled\nlost: P/out/in/x: the attachment a.txt\n"));
}
