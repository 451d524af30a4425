use passmate_vault::view::{View, ViewRecord};
use serde_json::json;

use super::App;
use super::error::Failure;
use super::output::{NAME, NOTICE, local_time};

/// Show the tree of records
///
/// A record that shows under another path than it was given, because two devices gave one path to
/// two records, is marked. `passmate mv` gives it a path of its own.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only records with this in their path; case does not count
    term: Option<String>,
    /// One bare path a line, as every command takes it
    #[arg(long)]
    flat: bool,
    /// The trash: records that are deleted, the latest first
    #[arg(long, conflicts_with = "flat")]
    deleted: bool,
}

pub(super) fn run(app: &App, args: &Args) -> Result<(), Failure> {
    let session = app.open()?;
    let view = session.vault().view();
    let term = args.term.as_deref().unwrap_or_default().to_lowercase();
    if args.deleted {
        return list_deleted(app, &view, &term);
    }
    let wanted = view
        .records()
        .iter()
        .filter(|record| record.path.to_string_lossy().to_lowercase().contains(&term));
    let records: Vec<_> = wanted.collect();
    if app.out.json {
        let records: Vec<_> = records.iter().map(|record| object(record)).collect();
        return app.out.object(json!({ "records": records }));
    }
    if args.flat {
        return records
            .iter()
            .try_for_each(|record| app.out.line(&record.path.to_string_lossy()));
    }
    let mut paths: Vec<_> = records
        .iter()
        .map(|record| (record.path.to_string_lossy(), *record))
        .collect();
    // Folder by folder: as bytes, `a-b` would stand between `a` and `a/c`.
    paths.sort_by(|(a, _), (b, _)| a.split('/').cmp(b.split('/')));
    let mut tree = Node::default();
    for (path, record) in &paths {
        tree.add(path.splitn(DEPTH_MAX, '/'), record);
    }
    tree.children
        .iter()
        .try_for_each(|child| print(app, child, "", ""))
}

/// One line each, with the time at which it was deleted; `passmate restore PATH` brings it back.
fn list_deleted(app: &App, view: &View<'_>, term: &str) -> Result<(), Failure> {
    let mut deleted: Vec<_> = view
        .deleted()
        .iter()
        .filter(|record| record.path.to_string_lossy().to_lowercase().contains(term))
        .collect();
    deleted.sort_by(|a, b| b.stamp.cmp(a.stamp));
    if app.out.json {
        let records: Vec<_> = deleted
            .iter()
            .map(|record| {
                json!({
                    "path": record.path.to_string_lossy(),
                    "id": record.id.as_text().to_string_lossy(),
                    "deleted_at": record.stamp.deciding_seconds(),
                })
            })
            .collect();
        return app.out.object(json!({ "records": records }));
    }
    deleted.iter().try_for_each(|record| {
        let time = record
            .stamp
            .deciding_seconds()
            .map_or_else(String::new, local_time);
        app.out
            .line(&format!("{time}  {}", record.path.to_string_lossy()))
    })
}

fn object(record: &ViewRecord<'_>) -> serde_json::Value {
    json!({
        "path": record.path.to_string_lossy(),
        "id": record.id.as_text().to_string_lossy(),
        "clash": record.clash.as_ref().map(|wanted| wanted.to_string_lossy().into_owned()),
        "revived": record.revived,
    })
}

/// How deep folders are drawn; below that the rest of a path stands in one line. Paths come from
/// other devices: the tree must not be as deep as they like.
const DEPTH_MAX: usize = 64;

/// A folder, a record, or both.
#[derive(Default)]
struct Node<'a> {
    children: Vec<(String, Node<'a>)>,
    record: Option<&'a ViewRecord<'a>>,
}

impl<'a> Node<'a> {
    /// Paths come in order, so a folder that is not the last one does not come again.
    fn add<'p>(&mut self, parts: impl Iterator<Item = &'p str>, record: &'a ViewRecord<'a>) {
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
) -> Result<(), Failure> {
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

/// What a person should know of a record besides its name.
fn mark(app: &App, record: Option<&ViewRecord<'_>>) -> String {
    let Some(record) = record else {
        return String::new();
    };
    let mut mark = String::new();
    if let Some(wanted) = &record.clash {
        let wanted = app.out.part(&wanted.to_string_lossy());
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
