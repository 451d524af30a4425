//! The program: arguments to one configuration, one running server, signals, exit code.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use crate::config::{self, Config, Environment, Registration, Sources};
use crate::observe::log;
use crate::systemd::{self, Notify};
use crate::{Server, admin};
use passmate_proto::Layout;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The server could not start, or its store failed.
const EXIT_OTHER: u8 = 1;
/// The command line, the environment or the configuration file is wrong.
const EXIT_USAGE: u8 = 2;

/// Runs the program on this process's arguments, until it is told to stop.
pub fn main() -> ExitCode {
    leave_no_core();
    let matches = match config::command().try_get_matches_from(std::env::args_os()) {
        Ok(matches) => matches,
        // Help and version come this way too.
        Err(text) => text.exit(),
    };
    let environment = Environment::of_process();
    let sources = match matches.subcommand() {
        Some(("serve", matches)) => Sources::from_matches(matches, environment),
        _ => return admin::run(&matches, environment),
    };
    let config = match Config::gather(&sources) {
        Ok(config) => config,
        Err(error) => return complain(EXIT_USAGE, &error, &error.hint()),
    };
    log::init(config.log);
    // Two also on one processor: the store reads in place only where another worker can take over.
    let workers =
        std::thread::available_parallelism().map_or(2, |processors| processors.get().max(2));
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let hint = "the system gives no threads or descriptors: look at its limits";
            return complain(EXIT_OTHER, &error, hint);
        }
    };
    let code = runtime.block_on(run(config, &sources));
    // A look-up of a name that hangs must not keep the process.
    runtime.shutdown_background();
    code
}

/// Keeps this process's memory out of core files: private key, auth tokens and btokens are in it.
///
/// The limit stops the kernel from writing one, the other setting stops it from handing one to a
/// program, as most distributions let it, and keeps other processes of the same user from reading
/// our memory. Where the system does not know one of them, that is no reason not to serve.
fn leave_no_core() {
    let _ = setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    );
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

async fn run(config: Config, sources: &Sources) -> ExitCode {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return complain(EXIT_OTHER, &error, "the system gives no signals"),
    };
    let data_dir = config.data_dir.clone();
    let sockets = match systemd::inherited() {
        Ok(sockets) => sockets,
        Err(error) => {
            let hint = "look at the .socket unit that passes it: ListenStream= and FileDescriptorName=layout1 or layout2";
            return complain(EXIT_OTHER, &error, hint);
        }
    };
    let server = match Server::start_on(config, sockets, end_at_once).await {
        Ok(server) => server,
        Err(error) => return complain(EXIT_OTHER, &error, error.hint()),
    };
    for warning in server.warnings() {
        tracing::warn!("{warning}");
    }
    // Who started us may not read what we print; that is no reason to stop.
    let _ = std::io::stdout().write_all(greeting(&server, &data_dir).as_bytes());
    tracing::info!(pin = %server.pin(), "ready");
    let notify = Arc::new(Notify::from_env());
    let status = status(&server);
    notify.ready(&status);
    if let Some(pause) = systemd::watchdog() {
        let notify = Arc::clone(&notify);
        // As long as tasks run at all.
        tokio::spawn(async move {
            loop {
                notify.alive();
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
            return ExitCode::from(EXIT_OTHER);
        }
    }
    tracing::info!("stopped");
    ExitCode::SUCCESS
}

/// One line for `systemctl status`.
fn status(server: &Server) -> String {
    let listening: Vec<String> = server
        .listening()
        .iter()
        .map(|one| one.address.to_string())
        .collect();
    format!("listening on {}", listening.join(", "))
}

/// What the operator reads at start, and copies the last line of.
fn greeting(server: &Server, data_dir: &std::path::Path) -> String {
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
    if let Some(admin) = server.admin() {
        text.push_str(&format!("status page {admin}\n"));
    }
    let setup = server.setup_command();
    text.push_str(&match server.registration() {
        Registration::Open => format!("set up a first device with:\n    {setup}\n"),
        Registration::Invite => format!(
            "new accounts by invitation: for each, add the code that its first device prints with:\n    {setup} --request\n"
        ),
        Registration::Closed => {
            format!("no new accounts; join one that is there with:\n    {setup} --key-file FILE\n")
        }
    });
    text
}

fn reload(server: &Server, sources: &Sources) {
    let config = match Config::gather(sources) {
        Ok(config) => config,
        Err(error) => {
            let hint = error.hint();
            tracing::error!(%error, hint, "nothing is reloaded, everything stays as it was");
            return;
        }
    };
    match server.reload(&config) {
        Ok(reloaded) => {
            for warning in &reloaded.warnings {
                tracing::warn!("{warning}");
            }
            if !reloaded.needs_restart.is_empty() {
                let settings = reloaded.needs_restart.join(", ");
                tracing::warn!(settings, "changed, and take effect at the next start");
            }
            tracing::info!(pin = %reloaded.pin, "certificate, banner, registration and limits are reloaded");
        }
        Err(error) => {
            let hint = error.hint();
            tracing::error!(%error, hint, "nothing is reloaded, everything stays as it was");
        }
    }
}

/// Nobody can say what the disk holds: confirm nothing more, and let the next start find out.
fn end_at_once(error: &crate::store::StoreError) {
    tracing::error!(%error, "the store failed at a commit; ending so that nothing false is confirmed");
    std::process::exit(i32::from(EXIT_OTHER));
}

pub(crate) fn complain(code: u8, error: &dyn std::fmt::Display, hint: &str) -> ExitCode {
    let text = format!("passmate-server: error: {error}\npassmate-server: hint: {hint}\n");
    // Without a standard error the exit code has to do.
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(code)
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

    /// Resolves when somebody asks a second time.
    async fn stop_again(&mut self) {
        while !matches!(self.next().await, Asked::Stop) {}
    }
}
