//! Files that differ from what the format says: they are read as far as possible, and what is not
//! read is a loss that names its place.

use std::fmt::Write as _;
use std::io::Cursor;

use passmate_interchange::{Format, ImportError, Imported, ReadOptions, guess, parse};

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

#[test]
fn rows_without_a_common_root_keep_their_first_folder() {
    check(
        "keepass-csv",
        &read("import/kxc-folder.csv"),
        "web/shop\n  user: \"bob\"\n  password: \"pw1\"\ncard\n  password: \"pw2\"\n",
    );
}

#[test]
fn further_collections_of_a_table_are_losses() {
    check(
        "bitwarden-csv",
        &read("import/bw-org.csv"),
        "Ops/x\n  user: \"u\"\n  password: \"p\"\nlost: Ops/x: the further collection Web/Shop\n",
    );
}

const SHOP: &str = "Shop\n  url: \"https://shop.example/\"\n  user: \"bob\"\n  password: \"pw1\"\n";

#[test]
fn tables_have_short_rows_other_separators_and_utf_16() {
    check("chrome-csv", &read("import/cr-short-row.csv"), SHOP);
    let with_note = format!("{SHOP}  notes: \"hi\"\n");
    for sample in ["import/cr-semicolon.csv", "import/cr-utf16.csv"] {
        check("chrome-csv", &read(sample), &with_note);
    }
    let excel =
        b"sep=\t\r\nname\turl\tusername\tpassword\r\nShop\thttps://shop.example/\tbob\tpw1\t\r\n";
    check("chrome-csv", excel, SHOP);
}

#[test]
fn a_row_with_too_many_cells_is_a_loss_that_names_the_line() {
    let rows = "a,https://a,u,p,n,\nb,https://b,u,p,w,n\nc,https://c,u,p,\"1\n2\"\nd,d,d,d,d,d\n";
    let expected = "a\n  url: \"https://a\"\n  user: \"u\"\n  password: \"p\"\n  notes: \"n\"\nc\n  url: \
                    \"https://c\"\n  user: \"u\"\n  password: \"p\"\n  notes: \"1\\n2\"\nlost: : 2 rows \
                    with more cells than the first line has columns, at line 3, 6\n";
    check("chrome-csv", &crate::chrome(rows), expected);
    let many = parsed("chrome-csv", &crate::chrome(&"1,2,3,4,5,6\n".repeat(30)));
    assert!(many.losses[0].what.ends_with("20, 21 and further ones"));
}

#[test]
fn the_keys_of_a_firefox_account_are_a_loss_and_no_record() {
    let expected = "lost: : the keys of the Firefox account\n";
    check("firefox-csv", &read("import/ff-account.csv"), expected);
}

#[test]
fn html_entities_of_lastpass_are_kept_and_counted() {
    let imported = parsed("lastpass-csv", &read("import/lp-entities.csv"));
    let item = &imported.items[0];
    assert_eq!(item.path, "A &amp; B");
    assert_eq!(item.fields[2].value.as_str(), "p&amp;w&lt;1&gt;");
    let [loss] = imported.losses.as_slice() else {
        panic!("{:?}", imported.losses)
    };
    assert!(loss.what.starts_with("1 row with HTML entities"));
}

#[test]
fn headers_of_older_versions_are_read() {
    let login = "Shop\n  user: \"bob\"\n  password: \"pw1\"\n  url: \"https://shop.example\"\n";
    check("1password-csv", &read("import/op7.csv"), login);
    let keepass = b"\"Account\",\"Login Name\",\"Password\",\"Web Site\",\"Comments\"\n\
                    \"Shop\",\"bob\",\"pw1\",\"https://shop.example\",\"\"\n";
    check("keepass-csv", keepass, login);
    let firefox = b"hostname,username,password,formSubmitURL,httpRealm,usernameField\n\
                    https://shop.example,bob,pw1,,,user\n";
    let login =
        "shop.example\n  url: \"https://shop.example\"\n  user: \"bob\"\n  password: \"pw1\"\n";
    check("firefox-csv", firefox, login);
    check(
        "safari-csv",
        &read("import/sf-otp.csv"),
        "shop.example (bob)\n  url: \"https://shop.example/\"\n  user: \"bob\"\n  password: \
         \"pw1\"\n  otp: \
         \"otpauth://totp?secret=JBSWY3DPEHPK3PXP&algorithm=SHA1&digits=6&period=30\"\n",
    );
}

#[test]
fn rows_that_are_folders_of_nordpass_are_no_records() {
    // The first versions had no column for the kind of a row.
    let table = b"name,url,username,password,cardnumber,folder\nWork,,,,,\nx,,u,p,,Work\n";
    let expected = "Work/x\n  user: \"u\"\n  password: \"p\"\n";
    check("nordpass-csv", table, expected);
}

#[test]
fn a_host_without_a_scheme_names_an_item() {
    let table = b"url,username,password\nshop.example/login,u,p\n";
    let expected =
        "shop.example\n  url: \"shop.example/login\"\n  user: \"u\"\n  password: \"p\"\n";
    check("chrome-csv", table, expected);
}

#[test]
fn a_row_of_empty_cells_is_no_record() {
    check("chrome-csv", &crate::chrome(",,,,\n\n,\n"), "");
    check("keeper-csv", b"\"\",\"\",\"\"\n", "");
}

#[test]
fn a_column_without_a_name_has_its_number() {
    let table = b",Title,Username,Password\nx,a,u,p\n";
    let expected = "a\n  column 1: \"x\"\n  user: \"u\"\n  password: \"p\"\n";
    check("1password-csv", table, expected);
}

#[test]
fn a_time_in_a_table_may_be_a_number() {
    let modified = |word, table: &str| parsed(word, table.as_bytes()).items[0].modified;
    for time in ["1700000000", "1700000000000", "2023-11-14T22:13:20Z"] {
        let firefox = format!("url,username,password,timePasswordChanged\nx,u,p,{time}\n");
        let keepass = format!("Group,Title,Username,Password,Last Modified\n,t,u,p,{time}\n");
        assert_eq!(modified("firefox-csv", &firefox), Some(1_700_000_000));
        assert_eq!(modified("keepass-csv", &keepass), Some(1_700_000_000));
    }
}

#[test]
fn former_values_of_enpass_are_earlier_ones_of_their_field() {
    let imported = parsed("enpass", &read("import/enpass.json"));
    let earlier = imported.items[0].earlier.iter();
    let earlier: Vec<_> = earlier
        .map(|earlier| (earlier.name.as_str(), earlier.value.as_str(), earlier.since))
        .collect();
    assert_eq!(
        earlier,
        [
            ("user", "old@example.org", Some(1_600_000_001)),
            ("password", "p1", Some(1_600_000_000)),
            ("password", "p2", Some(1_650_000_000)),
            ("url", "https://old.example", Some(1_600_000_002)),
            ("url 2", "https://older.example", Some(1_600_000_003)),
            ("BACKUP PIN", "4321", Some(1_600_000_004)),
        ]
    );
}

#[test]
fn former_passwords_of_1password_were_replaced_at_their_time() {
    let imported = parsed("1password", &read("import/1password.1pux"));
    let earlier = &imported.items[0].earlier;
    let [former] = earlier.as_slice() else {
        panic!("{earlier:?}")
    };
    assert_eq!(
        (former.value.as_str(), former.since),
        ("old", Some(1_700_000_000))
    );
}

#[test]
fn the_use_of_each_column_is_told() {
    let imported = parsed("csv", &read("import/any.csv"));
    let used = imported.columns.iter();
    let used: Vec<_> = used
        .map(|used| (used.column.as_str(), used.meaning.as_str()))
        .collect();
    assert_eq!(used[0], ("Account Name", "name"));
    assert_eq!(used[6..8], [("PIN", "PIN"), ("Labels", "tags")]);
    assert_eq!(used[10], ("Created", "skip"));
}

#[test]
fn the_format_of_each_sample_is_guessed() {
    for (sample, word) in [
        ("any.csv", "csv"),
        ("any-tabs.csv", "csv"),
        ("bitwarden.csv", "bitwarden-csv"),
        ("bw-attachments.zip", "bitwarden"),
        ("bw-no-encrypted.json", "bitwarden"),
        ("chrome.csv", "chrome-csv"),
        ("cr-utf16.csv", "chrome-csv"),
        ("dashlane.zip", "dashlane"),
        ("dashlane-payments.csv", "dashlane"),
        ("enpass.json", "enpass"),
        ("firefox.csv", "firefox-csv"),
        ("keeper-header.csv", "keeper-csv"),
        ("keeper.json", "keeper"),
        ("kxc-folder.csv", "keepass-csv"),
        ("lastpass.csv", "lastpass-csv"),
        ("nordpass-old.csv", "nordpass-csv"),
        ("nordpass.csv", "nordpass-csv"),
        ("op-kinds.1pux", "1password"),
        ("proton.json", "protonpass"),
        ("protonpass.zip", "protonpass"),
        ("roboform-old.csv", "roboform-csv"),
        ("roboform.csv", "roboform-csv"),
        ("safari.csv", "safari-csv"),
    ] {
        let bytes = read(&format!("import/{sample}"));
        let guessed = guess(&mut Cursor::new(bytes), sample).map(Format::word);
        assert_eq!(guessed, Some(word), "{sample}");
    }
}
