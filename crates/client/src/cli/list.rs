use passmate_vault::view::ViewRecord;
use serde_json::json;

use super::App;
use super::error::Failure;
use super::output::{NAME, NOTICE};

/// Show the tree of records
///
/// A record that shows under another path than it was given, because two devices gave one path to two records,
/// is marked. `passmate mv` gives it a path of its own.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only records with this in their path; case does not count
    term: Option<String>,
    /// One bare path a line, as every command takes it
    #[arg(long)]
    flat: bool,
}

pub(super) fn run(app: &App, args: &Args) -> Result<(), Failure> {
    let session = app.open()?;
    let view = session.vault().view();
    let term = args.term.as_deref().unwrap_or_default().to_lowercase();
    let wanted = view.records().iter().filter(|record| record.path.to_string_lossy().to_lowercase().contains(&term));
    let records: Vec<_> = wanted.collect();
    if app.out.json {
        let records: Vec<_> = records.iter().map(|record| object(record)).collect();
        return app.out.object(json!({ "records": records }));
    }
    if args.flat {
        return records.iter().try_for_each(|record| app.out.line(&record.path.to_string_lossy()));
    }
    let mut tree = Node::default();
    for record in records {
        let path = record.path.to_string_lossy();
        let parts: Vec<&str> = path.split('/').collect();
        tree.add(&parts, record);
    }
    print(app, &tree, "")
}

fn object(record: &ViewRecord<'_>) -> serde_json::Value {
    json!({
        "path": record.path.to_string_lossy(),
        "id": record.id.as_text().to_string_lossy(),
        "clash": record.clash.as_ref().map(|wanted| wanted.to_string_lossy().into_owned()),
        "revived": record.revived,
    })
}

/// A folder, a record, or both.
#[derive(Default)]
struct Node<'a> {
    children: Vec<(String, Node<'a>)>,
    record: Option<&'a ViewRecord<'a>>,
}

impl<'a> Node<'a> {
    /// Records come in the order of their paths, so what belongs together comes together.
    fn add(&mut self, parts: &[&str], record: &'a ViewRecord<'a>) {
        let mut node = self;
        for part in parts {
            let at = node.children.iter().position(|(name, _)| name == part);
            let at = at.unwrap_or_else(|| {
                node.children.push(((*part).to_owned(), Node::default()));
                node.children.len() - 1
            });
            let Some((_, child)) = node.children.get_mut(at) else { return };
            node = child;
        }
        node.record = Some(record);
    }
}

/// How deep folders are drawn; below that the rest of a path stands in one line.
const DEPTH_MAX: usize = 64;

fn print(app: &App, node: &Node<'_>, indent: &str) -> Result<(), Failure> {
    for (index, (name, child)) in node.children.iter().enumerate() {
        let is_last = index + 1 == node.children.len();
        let is_top = indent.is_empty();
        let (branch, below) = match (is_top, is_last) {
            (true, _) => ("", ""),
            (false, false) => ("├── ", "│   "),
            (false, true) => ("└── ", "    "),
        };
        let name = app.out.part(if name.is_empty() { "(no name)" } else { name });
        let name = if child.children.is_empty() { name } else { app.out.styled(NAME, &format!("{name}/")) };
        let lead = if is_top { String::new() } else { indent.get(1..).unwrap_or_default().to_owned() };
        app.out.styled_line(&format!("{lead}{branch}{name}{}", mark(app, child.record)))?;
        // The first character only says that this is not the top.
        let indent = if is_top { ".".to_owned() } else { format!("{indent}{below}") };
        if indent.chars().count() < 4 * DEPTH_MAX {
            print(app, child, &indent)?;
        } else {
            app.out.styled_line(&format!("{}…", indent.get(1..).unwrap_or_default()))?;
        }
    }
    Ok(())
}

/// What a person should know of a record besides its name.
fn mark(app: &App, record: Option<&ViewRecord<'_>>) -> String {
    let Some(record) = record else { return String::new() };
    let mut mark = String::new();
    if let Some(wanted) = &record.clash {
        let wanted = app.out.part(&wanted.to_string_lossy());
        mark.push_str(&app.out.styled(NOTICE, &format!("  (another record has the path {wanted})")));
    }
    if record.revived {
        mark.push_str(&app.out.styled(NOTICE, "  (deleted on one device, changed later on another)"));
    }
    mark
}
