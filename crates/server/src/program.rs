//! The program: reads its arguments, runs one server or one operator command, handles signals, and
//! sets the exit code.

mod describe;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use passmate_proto::Layout;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin;
use crate::config::{self, Config, Environment, Registration, Sources};
use crate::exit::{Code, complain};
use crate::observe::log;
use crate::server::Server;
use crate::store::StoreError;
use crate::systemd::{self, Notify};

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    prevent_core_files();
    let matches = match command().try_get_matches_from(std::env::args_os()) {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    let environment = Environment::of_process();
    let sources = match matches.subcommand() {
        Some(("serve", matches)) => Sources::from_matches(matches, environment),
        Some(("completions", matches)) => return describe::write_completions(matches),
        Some(("man", matches)) => return describe::write_pages(matches),
        _ => return admin::run(&matches, environment),
    };
    let config = match Config::gather(&sources) {
        Ok(config) => config,
        Err(error) => return complain(Code::Usage, &error, &error.hint()),
    };
    log::init(config.log);
    keep_freed_memory();
    // At least two workers, also on one processor: the store reads in place only where another
    // worker can take over.
    let workers =
        std::thread::available_parallelism().map_or(2, |processors| processors.get().max(2));
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let hint = "the system gives no threads or descriptors: check its limits";
            return complain(Code::Other, &error, hint);
        }
    };
    let code = runtime.block_on(run(config, &sources));
    // A name lookup that hangs must not keep the process.
    runtime.shutdown_background();
    code
}

/// A command line that cannot be read, or the help that was asked for.
fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody may be reading.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            return Code::Usage.into();
        }
        _ => {}
    }
    let text = error.render().to_string();
    // Its first paragraph says what is wrong, a `tip:` what may have been meant.
    let message: Vec<&str> = text
        .lines()
        .take_while(|line| !line.trim().is_empty())
        .map(str::trim)
        .collect();
    let message = message.join(" ");
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    let tip = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("tip: "));
    let hint = match tip {
        Some(tip) => tip.trim(),
        None if error.kind() == ErrorKind::InvalidUtf8 => "give every argument in UTF-8",
        None => "`passmate-server --help` and `passmate-server COMMAND --help` show what there is",
    };
    complain(Code::Usage, &message, hint)
}

/// `passmate-server` with all commands.
fn command() -> clap::Command {
    let command = clap::Command::new("passmate-server")
        .version(env!("CARGO_PKG_VERSION"))
        .after_help("Start with `passmate-server serve`, which needs no configuration.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .max_term_width(100)
        .subcommand(config::serve_command());
    // The description comes last, because adding the commands sets their own.
    admin::add_commands(command)
        .subcommands(describe::commands())
        .about("The Passmate sync server: stores sealed vaults that it cannot read")
}

/// Keeps the memory of this process out of core files, because it holds the private key, auth
/// tokens and btokens.
///
/// The limit stops the kernel from writing a core file. The other setting stops it from passing one
/// to a crash reporter, and other processes of the same user from reading this memory. A system
/// that does not support one of them is no reason not to serve.
fn prevent_core_files() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Blocks of memory up to this length are used again after they are freed.
const KEPT_BLOCK_MAX: usize = 8 << 20;

/// Lets glibc keep the memory of freed btokens for the next ones. Otherwise it gives their pages back
/// to the system, which clears them again for each btoken: a quarter of the CPU for 1 MiB.
///
/// glibc keeps blocks as long as the longest that it has freed, and twice as much at the end of each
/// heap (mallopt(3), `M_MMAP_THRESHOLD`). So it is given one to free, of which no page is touched.
/// Other allocators ignore this.
fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(
        KEPT_BLOCK_MAX,
    )));
}

async fn run(config: Config, sources: &Sources) -> ExitCode {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return complain(Code::Other, &error, "the system gives no signals"),
    };
    let data_dir = config.data_dir.clone();
    let sockets = match systemd::inherited() {
        Ok(sockets) => sockets,
        Err(error) => {
            let hint = "check the .socket unit that passes it: ListenStream= and \
                FileDescriptorName=layout1 or layout2";
            return complain(Code::Other, &error, hint);
        }
    };
    let server = match Server::start_on(config, sockets, exit_at_once).await {
        Ok(server) => server,
        Err(error) => return complain(Code::Other, &error, error.hint()),
    };
    for warning in server.warnings() {
        warning.log();
    }
    // A closed standard output is no reason to stop.
    let _ = std::io::stdout().write_all(greeting(&server, &data_dir).as_bytes());
    tracing::info!(pin = %server.pin(), "ready");
    let notify = Arc::new(Notify::from_env());
    let status = status(&server);
    notify.ready(&status);
    if let Some(pause) = systemd::watchdog() {
        let notify = Arc::clone(&notify);
        let is_alive = server.pulse();
        // The watchdog hears from the server as long as its tasks run and its store works.
        tokio::spawn(async move {
            loop {
                if is_alive(pause) {
                    notify.alive();
                } else {
                    tracing::error!(
                        "the store thread hangs or has ended; the watchdog is not told \
                        that all is well"
                    );
                }
                tokio::time::sleep(pause).await;
            }
        });
    }

    while let Asked::Reload = signals.next().await {
        notify.reloading();
        reload(&server, sources);
        notify.ready(&status);
    }
    notify.stopping();
    tracing::info!("stopping: running exchanges have 10 s to finish");
    tokio::select! {
        () = server.stop() => {}
        () = signals.stop_again() => {
            tracing::warn!("stopped at once");
            return Code::Other.into();
        }
    }
    tracing::info!("stopped");
    ExitCode::SUCCESS
}

/// The line for `systemctl status`.
fn status(server: &Server) -> String {
    let listening: Vec<String> = server
        .listening()
        .iter()
        .map(|one| one.address.to_string())
        .collect();
    format!("listening on {}", listening.join(", "))
}

/// What the operator reads at start. The last line is for copying.
fn greeting(server: &Server, data_dir: &Path) -> String {
    let mut text = format!(
        "passmate-server {}, data in {}\n",
        env!("CARGO_PKG_VERSION"),
        data_dir.display()
    );
    for listening in server.listening() {
        let layout = match listening.layout {
            Layout::One => 1,
            Layout::Two => 2,
        };
        text.push_str(&format!(
            "listening on {} (layout {layout})\n",
            listening.address
        ));
    }
    text.push_str(&format!("pin {}\n", server.pin()));
    text.push_str(&format!("pin in words: {}\n", server.pin().words()));
    if let Some(admin) = server.admin() {
        text.push_str(&format!("status page {admin}\n"));
    }
    let setup = server.setup_command();
    text.push_str(&match server.registration() {
        Registration::Open => format!("set up a first device with:\n    {setup}\n"),
        Registration::Invite => format!(
            "new accounts need an invite: add the code that the first device prints with:\n    \
             {setup} --request\n"
        ),
        Registration::Closed => {
            format!("no new accounts; join an existing one with:\n    {setup} --key-file FILE\n")
        }
    });
    text
}

fn reload(server: &Server, sources: &Sources) {
    const FAILED: &str = "nothing was reloaded, all settings stay";
    let config = match Config::gather(sources) {
        Ok(config) => config,
        Err(error) => {
            let hint = error.hint();
            tracing::error!(%error, hint, "{FAILED}");
            return;
        }
    };
    match server.reload(&config) {
        Ok(reloaded) => {
            for warning in &reloaded.warnings {
                warning.log();
            }
            if !reloaded.needs_restart.is_empty() {
                let settings = reloaded.needs_restart.join(", ");
                tracing::warn!(settings, "changed settings take effect at the next start");
            }
            tracing::info!(pin = %reloaded.pin, "certificate, banner, registration and limits are \
                reloaded");
        }
        Err(error) => {
            let hint = error.hint();
            tracing::error!(%error, hint, "{FAILED}");
        }
    }
}

/// Ends the process: the state of the disk is unknown, so nothing more may be confirmed. The next
/// start finds out what the disk holds.
fn exit_at_once(error: &StoreError) {
    let hint = error.hint();
    tracing::error!(%error, hint, "the store failed; exiting, so that nothing false is confirmed");
    std::process::exit(i32::from(Code::Other as u8));
}

enum Asked {
    Stop,
    Reload,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }

    /// Resolves at a second request to stop.
    async fn stop_again(&mut self) {
        while !matches!(self.next().await, Asked::Stop) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
        let about = command().get_about().unwrap().to_string();
        assert!(about.starts_with("The Passmate sync server"), "{about}");
    }
}
