use std::path::{Path, PathBuf};
use std::thread;

use passmate_core::command::command;
use passmate_core::plain_file::fifo::{Fifo, Served};
use passmate_core::plain_file::{Standing, is_same, replace, standing};
use passmate_core::problem::{Problem, ProblemKind};
use passmate_core::reference::Resolver;
use passmate_core::reference::template::Template;
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::app::App;
use crate::input::read_whole;
use crate::report::plain;

/// Longest template, in bytes.
const TEMPLATE_LEN_MAX: usize = 16 * 1024 * 1024;

/// Fill in a template: {{ passmate://PATH/FIELD }} becomes the value
///
/// Everything else stays as it is, also other braces. If a reference cannot be read, nothing is
/// written. Only you can read the file; it appears complete or not at all.
///
/// With --fifo the text is in no file: PATH is a named pipe that gives it to each reader, made anew,
/// until the command is ended, for example with Ctrl-C.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The template; `-` is standard input
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    input: PathBuf,
    /// The file to write; `-` is standard output
    #[arg(long, short, value_name = "FILE", conflicts_with = "fifo")]
    output: Option<PathBuf>,
    /// Give the text to each reader of a named pipe
    #[arg(long, value_name = "PATH")]
    fifo: Option<PathBuf>,
}

pub(crate) fn run(app: &App, args: &Args) -> Result<(), Problem> {
    // As everywhere, `-` is the standard stream.
    let output = args.output.as_deref();
    let output = output.filter(|output| *output != Path::new("-"));
    if let Some(output) = output {
        check_output(app, &args.input, output)?;
    }
    let template = Template::parse(&read_whole(&args.input, TEMPLATE_LEN_MAX)?)
        .map_err(|error| in_template(&args.input, error.into()))?;
    let mut vault = app.open()?;
    let mut fill = || {
        let filled = plain(template.fill(&mut *vault, &mut Resolver::default()));
        filled.map_err(|problem| in_template(&args.input, problem))
    };
    // Nothing is made for a template that cannot be filled in.
    let filled = fill()?;
    if let Some(path) = &args.fifo {
        drop(filled);
        return serve(app, path, fill);
    }
    match output {
        Some(output) => {
            replace(output, &filled)?;
            app.out.note(&format!("wrote {}", output.display()));
            app.done()
        }
        None if app.out.is_terminal() => {
            app.ask
                .confirm("The values will be on this terminal. Go on?")?;
            app.out.value(&String::from_utf8_lossy(&filled))
        }
        None => app.out.bytes(&filled),
    }
}

/// Another file may be of use, and the template is.
fn check_output(app: &App, input: &Path, output: &Path) -> Result<(), Problem> {
    match standing(output)? {
        Standing::Free => Ok(()),
        Standing::File if is_same(input, output) => Err(Problem::usage(
            "the output would replace the template",
            "name another file with -o",
        )),
        Standing::File => app
            .ask
            .confirm(&format!("{} exists already. Replace it?", output.display())),
    }
}

fn in_template(input: &Path, problem: Problem) -> Problem {
    let name = match input {
        input if input == Path::new("-") => "standard input".to_owned(),
        input => input.display().to_string(),
    };
    let message = format!("{name}: {}", problem.message);
    Problem { message, ..problem }
}

/// Serves the readers of a pipe until a signal ends it.
fn serve(
    app: &App,
    path: &Path,
    fill: impl FnMut() -> Result<zeroize::Zeroizing<Vec<u8>>, Problem>,
) -> Result<(), Problem> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(|error| {
        Problem::new(
            ProblemKind::Other,
            format!("cannot wait for signals: {error}"),
            "try again",
        )
    })?;
    let mut fifo = Fifo::create(path).map_err(|problem| match problem.kind {
        ProblemKind::Exists => {
            let remove = command(["rm"]).arg(path);
            problem.with_hint(format!(
                "name another path; if an earlier command was killed and left it, {remove} removes it"
            ))
        }
        _ => problem,
    })?;
    let stopper = fifo.stopper();
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            stopper.stop();
        }
    });
    // A script waits for this line.
    if app.out.json {
        app.out.object(json!({ "fifo": path.to_string_lossy() }))?;
    } else {
        app.out
            .line(&format!("each reader of {} gets the text", path.display()))?;
    }
    fifo.serve(fill, |served| match served {
        Served::Whole => app.out.note("a reader got the text"),
        Served::Part => app
            .out
            .warn("a reader ended before it had read the whole text"),
        Served::Nothing(problem) => app
            .out
            .warn(&format!("a reader got nothing: {}", problem.message)),
    })?;
    app.out.note(&format!("removed {}", path.display()));
    Ok(())
}
