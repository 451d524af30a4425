//! What the desktop tells: that the machine is about to sleep, and that the screen is locked. The
//! rules are:
//!  - the machine sleeps only after the vaults are locked: logind waits for that, for a few seconds;
//!  - a signal can only lock, so whoever sends one gains nothing;
//!  - where no message bus runs, time alone locks.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use futures_util::StreamExt;
use rustix::process::getuid;
use zbus::message::Type;

use zbus::{
    Connection, Message, MessageStream, OwnedFd, OwnedObjectPath, OwnedVariant, Variant, block_on,
};

/// What happens on the desktop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DesktopEvent {
    /// The machine is about to sleep.
    Sleeps,
    /// The screen was locked.
    ScreenLocked,
}

/// Which buses are listened to.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    system: Arc<AtomicBool>,
    session: Arc<AtomicBool>,
}

impl Watched {
    /// Whether logind tells of sleep.
    #[must_use]
    pub fn tells_of_sleep(&self) -> bool {
        self.system.load(Ordering::Acquire)
    }

    /// Whether logind or a screen saver tells of a locked screen.
    #[must_use]
    pub fn tells_of_screen_lock(&self) -> bool {
        self.tells_of_sleep() || self.session.load(Ordering::Acquire)
    }
}

/// How long it waits before it connects to a bus again.
const PAUSE: Duration = Duration::from_secs(30);

const LOGIND: &str = "org.freedesktop.login1";
const LOGIND_PATH: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const SESSION: &str = "org.freedesktop.login1.Session";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// Desktops send the same signal under names of their own.
const SCREEN_SAVERS: [&str; 5] = [
    "org.freedesktop.ScreenSaver",
    "org.gnome.ScreenSaver",
    "org.cinnamon.ScreenSaver",
    "org.mate.ScreenSaver",
    "org.xfce.ScreenSaver",
];

/// Calls `on_event`, in threads of its own, until the process ends.
pub fn watch(on_event: impl Fn(DesktopEvent) + Send + Sync + 'static) -> Watched {
    let watched = Watched::default();
    let on_event = Arc::new(on_event);
    let (system, of_system) = (Arc::clone(&watched.system), Arc::clone(&on_event));
    let (session, of_session) = (Arc::clone(&watched.session), on_event);
    again_and_again(system, move |is_watched| {
        block_on(watch_logind(is_watched, &*of_system))
    });
    again_and_again(session, move |is_watched| {
        block_on(watch_screen_savers(is_watched, &*of_session))
    });
    watched
}

/// Listens to a bus, also after it was started anew.
fn again_and_again(
    is_watched: Arc<AtomicBool>,
    listen: impl Fn(&AtomicBool) -> zbus::Result<()> + Send + 'static,
) {
    // Without a thread to spare, time alone locks.
    let _ = thread::Builder::new()
        .name("desktop".to_owned())
        .spawn(move || {
            loop {
                let _ = listen(&is_watched);
                is_watched.store(false, Ordering::Release);
                thread::sleep(PAUSE);
            }
        });
}

async fn watch_logind(
    is_watched: &AtomicBool,
    on_event: &(impl Fn(DesktopEvent) + Sync),
) -> zbus::Result<()> {
    let bus = Connection::system().await?;
    let mut signals = MessageStream::from(&bus);
    for rule in [
        format!("type='signal',sender='{LOGIND}',interface='{MANAGER}',member='PrepareForSleep'"),
        format!("type='signal',sender='{LOGIND}',interface='{SESSION}',member='Lock'"),
        format!("type='signal',sender='{LOGIND}',interface='{PROPERTIES}',arg0='{SESSION}'"),
    ] {
        add_match(&bus, &rule).await?;
    }
    // logind lets the machine sleep when this is closed, or after its own patience.
    let mut delay = Some(delay_sleep(&bus).await?);
    is_watched.store(true, Ordering::Release);
    while let Some(signal) = signals.next().await {
        let signal = signal?;
        match Signal::of(&signal) {
            Some(Signal::Sleep(true)) => {
                on_event(DesktopEvent::Sleeps);
                delay = None;
            }
            // The machine woke up.
            Some(Signal::Sleep(false)) => {
                if delay.is_none() {
                    delay = delay_sleep(&bus).await.ok();
                }
            }
            Some(Signal::SessionLocked(session)) => {
                if is_own_session(&bus, &session).await {
                    on_event(DesktopEvent::ScreenLocked);
                }
            }
            Some(Signal::ScreenSaver(_)) | None => {}
        }
    }
    Ok(())
}

async fn watch_screen_savers(
    is_watched: &AtomicBool,
    on_event: &(impl Fn(DesktopEvent) + Sync),
) -> zbus::Result<()> {
    let bus = Connection::session().await?;
    let mut signals = MessageStream::from(&bus);
    for interface in SCREEN_SAVERS {
        let rule = format!("type='signal',interface='{interface}',member='ActiveChanged'");
        add_match(&bus, &rule).await?;
    }
    is_watched.store(true, Ordering::Release);
    while let Some(signal) = signals.next().await {
        if let Some(Signal::ScreenSaver(true)) = Signal::of(&signal?) {
            on_event(DesktopEvent::ScreenLocked);
        }
    }
    Ok(())
}

/// A signal that matters.
enum Signal {
    Sleep(bool),
    SessionLocked(OwnedObjectPath),
    ScreenSaver(bool),
}

impl Signal {
    fn of(message: &Message) -> Option<Self> {
        let header = message.header();
        if header.message_type() != Type::Signal {
            return None;
        }
        let body = message.body();
        let path = || header.path().map(|path| path.to_owned().into());
        match (header.interface()?.as_str(), header.member()?.as_str()) {
            (MANAGER, "PrepareForSleep") => body.deserialize().ok().map(Self::Sleep),
            (SESSION, "Lock") => path().map(Self::SessionLocked),
            (PROPERTIES, "PropertiesChanged") => {
                type Changed = (
                    String,
                    std::collections::HashMap<String, OwnedVariant>,
                    Vec<String>,
                );
                let (interface, changed, _): Changed = body.deserialize().ok()?;
                let hint = changed.get("LockedHint").map(|hint| &**hint);
                let is_locked = interface == SESSION && hint == Some(&Variant::Bool(true));
                path().filter(|_| is_locked).map(Self::SessionLocked)
            }
            (interface, "ActiveChanged") if SCREEN_SAVERS.contains(&interface) => {
                body.deserialize().ok().map(Self::ScreenSaver)
            }
            _ => None,
        }
    }
}

async fn add_match(bus: &Connection, rule: &str) -> zbus::Result<()> {
    let dbus = "org.freedesktop.DBus";
    bus.call_method(
        Some(dbus),
        "/org/freedesktop/DBus",
        Some(dbus),
        "AddMatch",
        &rule,
    )
    .await?;
    Ok(())
}

/// Keeps the machine awake until the result is dropped.
async fn delay_sleep(bus: &Connection) -> zbus::Result<OwnedFd> {
    let what = ("sleep", "Passmate", "Locks the vault", "delay");
    let answer = bus
        .call_method(Some(LOGIND), LOGIND_PATH, Some(MANAGER), "Inhibit", &what)
        .await?;
    answer.body().deserialize()
}

/// Whether a session is one of this user. One that cannot be asked counts: locking too much does
/// no harm.
async fn is_own_session(bus: &Connection, session: &OwnedObjectPath) -> bool {
    let what = (SESSION, "User");
    let answer = bus
        .call_method(Some(LOGIND), session, Some(PROPERTIES), "Get", &what)
        .await;
    let user = answer.and_then(|answer| answer.body().deserialize::<OwnedVariant>());
    let user = user.map_err(io::Error::other).and_then(|user| {
        let user: Result<(u32, OwnedObjectPath), _> = user.try_into();
        user.map_err(io::Error::other)
    });
    user.map_or(true, |(user, _)| user == getuid().as_raw())
}
