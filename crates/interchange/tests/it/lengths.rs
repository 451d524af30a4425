//! Names that a file states once and that stand in every item: their sum is limited.

use passmate_interchange::{
    Format, ImportError, NAME_LEN_MAX, NAMES_LEN_MAX, PATH_LEN_MAX, PassEntry, ReadOptions, parse,
    parse_pass,
};

const ITEMS: usize = 20_000;

/// What is refused, the number of the item at which it is, and the limit.
#[track_caller]
fn refused(format: Format, file: &str) -> (&'static str, usize, usize) {
    let error = parse(format, file.as_bytes(), ReadOptions::default()).unwrap_err();
    let shown = error.to_string();
    match error {
        ImportError::NameTooLong { what, item, limit } => {
            let told = [what, &format!("item {}", item.number), &limit.to_string()];
            assert!(told.iter().all(|part| shown.contains(part)), "{shown}");
            assert!(shown.len() < 200, "{shown}");
            (what, item.number, limit)
        }
        error => panic!("{error:?}"),
    }
}

fn bitwarden(folder: &str, item: &str, count: usize) -> String {
    let items = vec![item; count].join(",");
    format!(
        "{{\"encrypted\":false,\"folders\":[{{\"id\":\"f\",\"name\":\"{folder}\"}}],\
         \"items\":[{items}]}}"
    )
}

const LOGIN: &str = "{\"type\":1,\"folderId\":\"f\",\"name\":\"mail\",\"login\":{\"username\":\"me\",\
                     \"password\":\"p\"}}";

fn keepass(folders: &[&str], count: usize) -> String {
    let open: String = folders
        .iter()
        .map(|folder| format!("<Group><Name>{folder}</Name>"))
        .collect();
    let entry = "<Entry><String><Key>Title</Key><Value>mail</Value></String></Entry>";
    format!(
        "<KeePassFile><Root><Group>{open}{}{}</Group></Root></KeePassFile>",
        entry.repeat(count),
        "</Group>".repeat(folders.len())
    )
}

#[test]
fn a_long_folder_name_over_many_items_is_refused_at_the_first_item() {
    let folder = "f".repeat(2 << 20);
    let expected = ("the name or a folder", 1, NAME_LEN_MAX);
    for (format, file) in [
        (Format::Bitwarden, bitwarden(&folder, LOGIN, ITEMS)),
        (Format::KeepassXml, keepass(&[&folder], ITEMS)),
        (
            Format::LastpassCsv,
            format!("url,username,password,extra,name,grouping\nu,m,p,,mail,{folder}\n"),
        ),
    ] {
        assert_eq!(refused(format, &file), expected, "{}", format.word());
    }
    let path = format!("{folder}/mail");
    let error = parse_pass([PassEntry {
        path: path.clone(),
        content: Ok(b"p".to_vec().into()),
    }])
    .unwrap_err();
    assert!(matches!(error, ImportError::NameTooLong { .. }), "{error}");
}

#[test]
fn a_long_path_of_short_folders_is_refused() {
    let folder = "f".repeat(NAME_LEN_MAX);
    let folders = [folder.as_str(); 5];
    let path = ("the path", 1, PATH_LEN_MAX);
    assert_eq!(refused(Format::KeepassXml, &keepass(&folders, 9)), path);
    parse(
        Format::KeepassXml,
        keepass(&folders[..3], 9).as_bytes(),
        ReadOptions::default(),
    )
    .unwrap();
}

#[test]
fn all_names_together_take_no_more_than_their_limit() {
    // A path of 4001 bytes, and the names of two fields.
    let file = bitwarden(&"f".repeat(3996), LOGIN, ITEMS);
    let each = 4001 + "user".len() + "password".len();
    let at = NAMES_LEN_MAX / each + 1;
    let sum = "the sum of all names up to those";
    assert_eq!(
        refused(Format::Bitwarden, &file),
        (sum, at, NAMES_LEN_MAX),
        "what was collected before is within the limit"
    );
    parse(
        Format::Bitwarden,
        bitwarden(&"f".repeat(3996), LOGIN, at - 1).as_bytes(),
        ReadOptions::default(),
    )
    .unwrap();
    // A column's name is that of a field in each row.
    let column = "c".repeat(NAME_LEN_MAX);
    let rows = "n,u,m,p,x\n".repeat(ITEMS);
    let table = format!("name,url,username,password,{column}\n{rows}");
    let (what, at, _) = refused(Format::ChromeCsv, &table);
    assert!(what == sum && at < NAMES_LEN_MAX / NAME_LEN_MAX + 1, "{at}");
    // Each loss has the path of its item.
    let link = vec!["{\"type\":3}"; 100_000].join(",");
    let item = format!("{{\"type\":1,\"folderId\":\"f\",\"fields\":[{link}]}}");
    let (what, at, _) = refused(Format::Bitwarden, &bitwarden(&"f".repeat(4000), &item, 1));
    assert_eq!((what, at), (sum, 1));
}

#[test]
fn a_long_name_of_a_field_is_refused() {
    let name = "c".repeat(NAME_LEN_MAX + 1);
    let table = format!("name,url,username,password,{name}\nn,u,m,p,x\n");
    let field = ("the name of a field", 1, NAME_LEN_MAX);
    assert_eq!(refused(Format::ChromeCsv, &table), field);
    let item = format!("{{\"type\":1,\"fields\":[{{\"type\":3,\"name\":\"{name}\"}}]}}");
    assert_eq!(refused(Format::Bitwarden, &bitwarden("f", &item, 1)), field);
}

#[test]
fn all_fields_together_are_limited() {
    let columns: Vec<String> = (0..9_996).map(|number| number.to_string()).collect();
    let row = format!("n,u,m,p,{}", vec!["x"; columns.len()].join(","));
    let table = format!(
        "name,url,username,password,{}\n{}",
        columns.join(","),
        format!("{row}\n").repeat(201)
    );
    let error = parse(Format::ChromeCsv, table.as_bytes(), ReadOptions::default()).unwrap_err();
    assert!(
        matches!(error, ImportError::TooMany { what: "fields", .. }),
        "{error}"
    );
}

#[test]
fn an_error_shows_the_beginning_of_a_name_and_no_control_character() {
    let name = format!("mail\u{1b}[2J\u{202e}{}", "x".repeat(NAME_LEN_MAX));
    let table = format!("name,url,username,password\n{name},u,m,p\n");
    let error = parse(Format::ChromeCsv, table.as_bytes(), ReadOptions::default()).unwrap_err();
    let shown = error.to_string();
    assert!(shown.starts_with("the name or a folder of item 1 (\"mail [2J\\u{202e}xx"));
    assert!(!shown.chars().any(|character| character.is_control()) && shown.len() < 140);
}
