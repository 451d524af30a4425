//! The tree of records, as `ls` draws it.

use passmate_core::escape::escape;
use passmate_core::problem::Problem;
use passmate_core::records::RecordEntry;

use crate::app::App;
use crate::output::{NAME, NOTICE};

/// Draws the records, folder by folder.
pub(crate) fn print(app: &App, records: &[RecordEntry]) -> Result<(), Problem> {
    let mut tree = Node::default();
    for record in records {
        tree.add(record.path.splitn(DEPTH_MAX, '/'), record);
    }
    lines(&tree)
        .iter()
        .try_for_each(|line| print_line(app, line, "", ""))
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

/// A line of the tree: a record, or a folder with what is below it.
enum Line<'t, 'a> {
    Record(&'t str, &'a RecordEntry),
    Folder(&'t str, &'t Node<'a>),
}

/// The lines right below a folder. A name that is both has two.
fn lines<'t, 'a>(node: &'t Node<'a>) -> Vec<Line<'t, 'a>> {
    let of = |(name, child): &'t (String, Node<'a>)| {
        let record = child.record.map(|record| Line::Record(name, record));
        let folder = (!child.children.is_empty()).then(|| Line::Folder(name, child));
        record.into_iter().chain(folder)
    };
    node.children.iter().flat_map(of).collect()
}

/// The line itself, led by `branch`, and those below it, led by `indent`.
fn print_line(app: &App, line: &Line<'_, '_>, branch: &str, indent: &str) -> Result<(), Problem> {
    let shown = |name: &str| escape(if name.is_empty() { "(no name)" } else { name });
    let node = match line {
        Line::Record(name, record) => {
            let name = shown(name);
            return app
                .out
                .styled_line(&format!("{branch}{name}{}", mark(app, record)));
        }
        Line::Folder(name, node) => {
            let name = app.out.styled(NAME, &format!("{}/", shown(name)));
            app.out.styled_line(&format!("{branch}{name}"))?;
            node
        }
    };
    let lines = lines(node);
    let Some((last, others)) = lines.split_last() else {
        return Ok(());
    };
    for line in others {
        print_line(
            app,
            line,
            &format!("{indent}├── "),
            &format!("{indent}│   "),
        )?;
    }
    print_line(
        app,
        last,
        &format!("{indent}└── "),
        &format!("{indent}    "),
    )
}

/// The marks behind a record's name.
fn mark(app: &App, record: &RecordEntry) -> String {
    let mut mark = String::new();
    if let Some(wanted) = &record.clash {
        let wanted = escape(wanted);
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
