use passmate_core::clock::local_time;
use passmate_core::problem::Problem;
use passmate_core::records::{DeletedEntry, RecordEntry};
use serde_json::json;

use crate::app::App;
use crate::output::{NAME, NOTICE};
use crate::report::plain;

/// Show the tree of records
///
/// If two devices gave the same path to two records, one of them is listed under a path with its id
/// and marked. Give it a path of its own with `passmate mv`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// List only records with this text in their path; case is ignored
    term: Option<String>,
    /// Print one bare path a line, as other commands accept it
    #[arg(long)]
    flat: bool,
    /// List deleted records, the most recent deletion first
    #[arg(long, conflicts_with = "flat")]
    deleted: bool,
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let mut vault = app.open()?;
    let term = args.term.as_deref().unwrap_or_default().to_lowercase();
    let is_wanted = |path: &str| path.to_lowercase().contains(&term);
    if args.deleted {
        let mut deleted = plain(vault.trash())?;
        deleted.retain(|record| is_wanted(&record.path));
        return list_deleted(app, &deleted);
    }
    let mut records = plain(vault.list())?;
    records.retain(|record| is_wanted(&record.path));
    if app.out.json {
        let records: Vec<_> = records.iter().map(object).collect();
        return app.out.object(json!({ "records": records }));
    }
    if args.flat {
        return records
            .iter()
            .try_for_each(|record| app.out.line(&record.path));
    }
    // Folder by folder: as bytes, `a-b` would stand between `a` and `a/c`.
    records.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
    let mut tree = Node::default();
    for record in &records {
        tree.add(record.path.splitn(DEPTH_MAX, '/'), record);
    }
    tree.children
        .iter()
        .try_for_each(|child| print(app, child, "", ""))
}

/// One line each, with the time of the deletion; `passmate restore PATH` brings a record back.
fn list_deleted(app: &App, deleted: &[DeletedEntry]) -> Result<(), Problem> {
    if app.out.json {
        let records = deleted.iter().map(|record| {
            json!({ "path": record.path, "id": record.id, "deleted_at": record.deleted_at })
        });
        return app
            .out
            .object(json!({ "records": records.collect::<Vec<_>>() }));
    }
    deleted.iter().try_for_each(|record| {
        let time = record.deleted_at.map_or_else(String::new, local_time);
        app.out.line(&format!("{time}  {}", record.path))
    })
}

fn object(record: &RecordEntry) -> serde_json::Value {
    json!({
        "path": record.path,
        "id": record.id,
        "clash": record.clash,
        "revived": record.revived,
    })
}

/// The deepest folder that is drawn; below it the rest of a path stands in one line. Paths come
/// from other devices, so they must not decide the depth.
const DEPTH_MAX: usize = 64;

/// A folder, a record, or both.
#[derive(Default)]
struct Node<'a> {
    children: Vec<(String, Node<'a>)>,
    record: Option<&'a RecordEntry>,
}

impl<'a> Node<'a> {
    /// Paths come in order, so a folder that is not the last one does not come again.
    fn add<'p>(&mut self, parts: impl Iterator<Item = &'p str>, record: &'a RecordEntry) {
        let mut node = self;
        for part in parts {
            if node.children.last().is_none_or(|(name, _)| name != part) {
                node.children.push((part.to_owned(), Node::default()));
            }
            let Some((_, child)) = node.children.last_mut() else {
                return;
            };
            node = child;
        }
        node.record = Some(record);
    }
}

/// One line for the node itself, led by `branch`, and below it, led by `indent`, those for its
/// children.
fn print(
    app: &App,
    (name, node): &(String, Node<'_>),
    branch: &str,
    indent: &str,
) -> Result<(), Problem> {
    let name = app
        .out
        .part(if name.is_empty() { "(no name)" } else { name });
    let name = if node.children.is_empty() {
        name
    } else {
        app.out.styled(NAME, &format!("{name}/"))
    };
    app.out
        .styled_line(&format!("{branch}{name}{}", mark(app, node.record)))?;
    let Some((last, others)) = node.children.split_last() else {
        return Ok(());
    };
    for child in others {
        print(
            app,
            child,
            &format!("{indent}├── "),
            &format!("{indent}│   "),
        )?;
    }
    print(
        app,
        last,
        &format!("{indent}└── "),
        &format!("{indent}    "),
    )
}

/// The marks behind a record's name.
fn mark(app: &App, record: Option<&RecordEntry>) -> String {
    let Some(record) = record else {
        return String::new();
    };
    let mut mark = String::new();
    if let Some(wanted) = &record.clash {
        let wanted = app.out.part(wanted);
        mark.push_str(
            &app.out
                .styled(NOTICE, &format!("  (another record has the path {wanted})")),
        );
    }
    if record.revived {
        mark.push_str(&app.out.styled(
            NOTICE,
            "  (deleted on one device, changed later on another)",
        ));
    }
    mark
}
