//! A message bus of our own, on which this test is logind and the screen saver.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use passmate_agent::desktop::{DesktopEvent, Watched, watch};
use zbus::connection::Builder;
use zbus::{Connection, OwnedFd, block_on, fdo, interface};

/// A bus without a configuration of the system's.
struct Bus {
    daemon: Child,
    address: String,
}

impl Bus {
    /// `None` where no bus is installed.
    fn start() -> Option<Self> {
        let mut daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address"])
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut address = String::new();
        let mut output = BufReader::new(daemon.stdout.take().unwrap());
        output.read_line(&mut address).unwrap();
        Some(Self {
            daemon,
            address: address.trim().to_owned(),
        })
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// Hands out a file for each delay, and keeps its other end.
#[derive(Clone, Default)]
struct Logind {
    delays: Arc<Mutex<Vec<UnixStream>>>,
}

#[interface(name = "org.freedesktop.login1.Manager")]
impl Logind {
    fn inhibit(&self, what: &str, _who: &str, _why: &str, mode: &str) -> fdo::Result<OwnedFd> {
        assert_eq!((what, mode), ("sleep", "delay"));
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.delays.lock().unwrap().push(ours);
        Ok(std::os::fd::OwnedFd::from(theirs).into())
    }
}

struct Session {
    user: u32,
}

#[interface(name = "org.freedesktop.login1.Session")]
impl Session {
    #[zbus(property)]
    fn user(&self) -> (u32, zbus::OwnedObjectPath) {
        let path = zbus::ObjectPath::try_from("/org/freedesktop/login1/user/x").unwrap();
        (self.user, path.into())
    }
}

const MANAGER: &str = "/org/freedesktop/login1";
const OWN: &str = "/org/freedesktop/login1/session/own";
const OTHER: &str = "/org/freedesktop/login1/session/other";

fn emit<B>(bus: &Connection, path: &str, interface: &str, signal: &str, body: &B)
where
    B: serde::Serialize + zbus::DynamicType,
{
    block_on(bus.emit_signal(None::<&str>, path, interface, signal, body)).unwrap();
}

fn wait_until(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn next(events: &Receiver<DesktopEvent>) -> DesktopEvent {
    events.recv_timeout(Duration::from_secs(60)).unwrap()
}

/// The child process of the test below has both buses in its environment.
#[test]
fn sleep_and_screen_lock_lock_the_vaults() {
    const IS_CHILD: &str = "PASSMATE_TEST_BUS";
    if let Ok(address) = std::env::var(IS_CHILD) {
        return run_on(&address);
    }
    let Some(bus) = Bus::start() else {
        eprintln!("not run: there is no dbus-daemon");
        return;
    };
    let test = "desktop::sleep_and_screen_lock_lock_the_vaults";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(IS_CHILD, &bus.address)
        .env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address)
        .env("DBUS_SESSION_BUS_ADDRESS", &bus.address)
        .status();
    assert!(child.unwrap().success());
}

fn run_on(address: &str) {
    let logind = Logind::default();
    let delays = Arc::clone(&logind.delays);
    let bus = block_on(async {
        let user = rustix::process::getuid().as_raw();
        Builder::address(address)
            .name("org.freedesktop.login1")
            .serve_at(MANAGER, logind)
            .serve_at(OWN, Session { user })
            .serve_at(OTHER, Session { user: user + 1 })
            .build()
            .await
    });
    let bus = bus.unwrap();
    let (sender, events) = channel();
    let watched: Watched = watch(move |event| sender.send(event).unwrap());
    wait_until(|| watched.tells_of_sleep() && watched.tells_of_screen_lock());

    let manager = "org.freedesktop.login1.Manager";
    emit(&bus, MANAGER, manager, "PrepareForSleep", &true);
    assert_eq!(next(&events), DesktopEvent::Sleeps);
    // The machine may sleep now.
    let mut first = delays.lock().unwrap().remove(0);
    assert_eq!(std::io::Read::read(&mut first, &mut [0]).unwrap(), 0);
    emit(&bus, MANAGER, manager, "PrepareForSleep", &false);
    wait_until(|| delays.lock().unwrap().len() == 1);

    let session = "org.freedesktop.login1.Session";
    emit(&bus, OTHER, session, "Lock", &());
    emit(&bus, OWN, session, "Lock", &());
    assert_eq!(next(&events), DesktopEvent::ScreenLocked);
    let hint = |locked: bool| {
        let changed =
            std::collections::HashMap::from([("LockedHint", zbus::Variant::from(locked))]);
        (session, changed, Vec::<String>::new())
    };
    let properties = "org.freedesktop.DBus.Properties";
    emit(&bus, OWN, properties, "PropertiesChanged", &hint(false));
    emit(&bus, OTHER, properties, "PropertiesChanged", &hint(true));
    emit(&bus, OWN, properties, "PropertiesChanged", &hint(true));
    assert_eq!(next(&events), DesktopEvent::ScreenLocked);
    for saver in ["org.freedesktop.ScreenSaver", "org.gnome.ScreenSaver"] {
        emit(&bus, "/x", saver, "ActiveChanged", &false);
        emit(&bus, "/x", saver, "ActiveChanged", &true);
        assert_eq!(next(&events), DesktopEvent::ScreenLocked);
    }
    // Signals come in order, so none of the others did anything.
    emit(&bus, MANAGER, manager, "PrepareForSleep", &true);
    assert_eq!(next(&events), DesktopEvent::Sleeps);
    assert!(events.try_recv().is_err());
}
