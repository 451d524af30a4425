//! The tree of records, as `ls` draws it.

use passmate_core::escape::escape;
use passmate_core::problem::Problem;
use passmate_core::records::RecordEntry;

use crate::app::App;
use crate::output::{NAME, NOTICE};

/// Draws the records, folder by folder.
pub(crate) fn print(app: &App, records: &[RecordEntry]) -> Result<(), Problem> {
    let mut records: Vec<_> = records.iter().collect();
    // As bytes, `a-b` would stand between `a` and `a/c`.
    records.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
    let mut tree = Node::default();
    for record in records {
        tree.add(record.path.splitn(DEPTH_MAX, '/'), record);
    }
    tree.children
        .iter()
        .try_for_each(|child| print_node(app, child, "", ""))
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
fn print_node(
    app: &App,
    (name, node): &(String, Node<'_>),
    branch: &str,
    indent: &str,
) -> Result<(), Problem> {
    let name = escape(if name.is_empty() { "(no name)" } else { name });
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
        print_node(
            app,
            child,
            &format!("{indent}├── "),
            &format!("{indent}│   "),
        )?;
    }
    print_node(
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
