use passmate_core::problem::Problem;
use passmate_core::reference::Reference;
use serde_json::json;

use crate::app::App;
use crate::completing;
use crate::report::plain;

/// Print the value that a reference names, for scripts
///
/// A reference is passmate://PATH/FIELD: the last part is always the field, PATH is the path or the
/// id of the record. passmate://PATH/FIELD?code is the present one-time code. Blanks, and in a name
/// of a field slashes, are written as in a URL: %20, %2F.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The reference, for example passmate://web/shop/password
    #[arg(add = completing::reference())]
    reference: String,
    /// Print no line feed behind the value
    #[arg(long, short = 'n')]
    no_newline: bool,
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    let reference: Reference = args.reference.parse()?;
    let resolved = plain(reference.resolve(&mut *app.open()?))?;
    if app.out.json {
        return app.out.object(json!({
            "reference": reference.to_string(),
            "value": *resolved.value,
        }));
    }
    if args.no_newline {
        app.out.bare_value(&resolved.value)
    } else {
        app.out.value(&resolved.value)
    }
}
