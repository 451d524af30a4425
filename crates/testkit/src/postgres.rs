//! PostgreSQL for tests: a database in a cluster that all tests share, or a cluster of one's own that
//! can be killed and stopped. Tests start the clusters themselves, with the programs of the system.
//!
//! The test runner gives each test a process of its own, and a cluster takes a second or two to make.
//! So the first test makes one, in a folder of `/tmp`, and leaves it to a process that ends it when no
//! test has used it for a while.

use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::wait::until;

/// Ends the shared cluster: its arguments are the folder, the cluster, and the command of the server.
const SUPERVISOR: &str = r#"
base=$1 cluster=$2; shift 2
"$@" & server=$!
idle=0
while kill -0 $server 2>/dev/null; do
  sleep 1
  if flock -n -x "$base/users.lock" true; then idle=$((idle + 1)); else idle=0; fi
  [ $idle -ge 20 ] || continue
  # Whoever wants to use it waits for this lock.
  exec 9>>"$base/start.lock"; flock -x 9
  if flock -n -x "$base/users.lock" true; then
    rm -f "$base/ready"; kill -INT $server; wait $server; break
  fi
  exec 9>&-
done
rm -rf "$cluster"
"#;

/// Whether clusters can be made on this machine.
pub fn is_installed() -> bool {
    find_program("initdb").is_some()
}

/// A program of PostgreSQL.
fn program(name: &str) -> PathBuf {
    find_program(name).unwrap_or_else(|| {
        panic!("{name} is not installed: run `apt-get install postgresql`, or scripts/test once")
    })
}

fn find_program(name: &str) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path().join("bin").join(name)))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    let on_path = std::env::var_os("PATH").into_iter().flat_map(|path| {
        let paths: Vec<_> = std::env::split_paths(&path).collect();
        paths.into_iter().map(|folder| folder.join(name))
    });
    found
        .pop()
        .or_else(|| on_path.into_iter().find(|path| path.exists()))
}

/// A command as a user that PostgreSQL accepts, which root is not. It ends with the thread that starts
/// it.
fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if geteuid().is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.args(["--pdeathsig=KILL", "--"]).arg(program);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LANG", "C");
    command.current_dir("/").stdin(Stdio::null());
    command
}

/// Makes a folder that a cluster may own.
fn make_folder(path: &Path) {
    DirBuilder::new().mode(0o700).create(path).unwrap();
    if geteuid().is_root() {
        let owned = Command::new("chown").arg("postgres:").arg(path).status();
        assert!(
            owned.is_ok_and(|status| status.success()),
            "there is no user `postgres`: run `apt-get install postgresql`, or scripts/test once"
        );
    }
}

/// Gives the files in a folder to the user of the server.
fn own_files(folder: &Path) {
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(&path, mode).unwrap();
            if geteuid().is_root() {
                let owned = Command::new("chown").arg("postgres:").arg(&path).status();
                assert!(owned.unwrap().success());
            }
        }
    }
}

/// Makes a cluster in a folder, whose socket is in the same folder.
fn make_cluster(folder: &Path) {
    make_folder(folder);
    let mut initdb = unprivileged(&program("initdb"));
    initdb.args([
        "--auth-local=trust",
        "--auth-host=scram-sha-256",
        "--username=postgres",
        "--encoding=UTF8",
        "--locale=C",
    ]);
    let made = initdb
        .args(["--no-sync", "-D"])
        .arg(folder.join("data"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

/// The arguments of a server.
fn serve(folder: &Path) -> Vec<String> {
    let set = |name: &str, value: &str| format!("--{name}={value}");
    vec![
        "-D".to_owned(),
        folder.join("data").display().to_string(),
        set("unix_socket_directories", &folder.display().to_string()),
        set("listen_addresses", ""),
        set("max_connections", "300"),
        set("shared_buffers", "64MB"),
        set("logging_collector", "on"),
        set("log_directory", &folder.display().to_string()),
        set("log_filename", "log"),
    ]
}

/// Runs SQL as `psql` does.
fn sql(folder: &Path, database: &str, text: &str) -> io::Result<String> {
    let mut psql = Command::new("psql");
    psql.env_clear()
        .env("PATH", "/usr/bin:/bin")
        .args(["-X", "-q", "-A", "-t"]);
    psql.args([
        "-v",
        "ON_ERROR_STOP=1",
        "-U",
        "postgres",
        "-d",
        database,
        "-c",
        text,
    ]);
    psql.args(["-p", &port(folder)]);
    let output = psql.arg("-h").arg(folder).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs a file of SQL as `psql` does.
fn sql_of_file(folder: &Path, database: &str, file: &Path) {
    let mut psql = Command::new("psql");
    psql.env_clear().env("PATH", "/usr/bin:/bin");
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d"]);
    psql.args([database, "-p", &port(folder), "-h"]).arg(folder);
    let done = psql.arg("-f").arg(file).stdin(Stdio::null()).output();
    let done = done.unwrap();
    assert!(done.status.success(), "{done:?}");
}

/// The port of the server, which the name of its socket ends with.
fn port(folder: &Path) -> String {
    let names = fs::read_dir(folder).into_iter().flatten();
    let names = names.filter_map(|file| file.ok()?.file_name().into_string().ok());
    let mut ports = names.filter_map(|name| {
        let port = name.strip_prefix(".s.PGSQL.")?;
        port.parse::<u16>().is_ok().then(|| port.to_owned())
    });
    ports.next().unwrap_or_else(|| "5432".to_owned())
}

fn url(folder: &Path, database: &str) -> String {
    let socket = folder.display().to_string().replace('/', "%2F");
    format!("postgres://postgres@{socket}/{database}")
}

/// An empty database in the shared cluster.
pub struct Database {
    folder: PathBuf,
    pub name: String,
}

impl Default for Database {
    fn default() -> Self {
        Self::new()
    }
}

impl Database {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let folder = shared_cluster().to_owned();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{count}", std::process::id());
        // A process with the same number may have had it.
        sql(
            &folder,
            "postgres",
            &format!("DROP DATABASE IF EXISTS {name}"),
        )
        .unwrap();
        sql(&folder, "postgres", &format!("CREATE DATABASE {name}")).unwrap();
        Self { folder, name }
    }

    /// The database of a server with this data dir: the same one if the server starts again.
    pub fn of(data_dir: &Path) -> Self {
        let folder = shared_cluster().to_owned();
        let mut hasher = DefaultHasher::new();
        data_dir.hash(&mut hasher);
        let name = format!("server_{:016x}", hasher.finish());
        let there = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
        if sql(&folder, "postgres", &there).unwrap() == "0" {
            sql(&folder, "postgres", &format!("CREATE DATABASE {name}")).unwrap();
        }
        Self { folder, name }
    }

    pub fn url(&self) -> String {
        url(&self.folder, &self.name)
    }

    #[track_caller]
    pub fn sql(&self, text: &str) -> String {
        sql(&self.folder, &self.name, text).unwrap()
    }

    /// Becomes a copy of another one of the cluster. Whoever uses one of them is cut off.
    pub fn become_copy_of(&self, other: &Self) {
        for database in [other, self] {
            database.cut_sessions();
        }
        let name = &self.name;
        let drop = format!("DROP DATABASE IF EXISTS {name}");
        let copy = format!("CREATE DATABASE {name} TEMPLATE {}", other.name);
        for text in [drop, copy] {
            // A session that was cut off ends a moment later.
            until("no session is left", || {
                sql(&self.folder, "postgres", &text).is_ok()
            });
        }
    }

    /// Removes everything of the server, as if it had never run.
    pub fn empty(&self) {
        self.cut_sessions();
        self.sql("DROP SCHEMA IF EXISTS passmate CASCADE");
    }

    fn cut_sessions(&self) {
        let text = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
            self.name
        );
        sql(&self.folder, "postgres", &text).unwrap();
    }

    /// The folder with the socket of its cluster.
    pub fn socket_folder(&self) -> &Path {
        &self.folder
    }
}

/// The folder of the shared cluster, which is started if it is not there. The process holds a lock on
/// it until it ends.
fn shared_cluster() -> &'static Path {
    static SHARED: OnceLock<(PathBuf, File)> = OnceLock::new();
    let (folder, _) = SHARED.get_or_init(|| {
        let base = PathBuf::from(format!("/tmp/passmate-postgres-{}", geteuid().as_raw()));
        let _ = DirBuilder::new().mode(0o711).create(&base);
        let owner = fs::symlink_metadata(&base).unwrap().uid();
        assert_eq!(owner, geteuid().as_raw(), "{} is not ours", base.display());
        let lock = |name: &str, how| {
            let mut options = File::options();
            options.append(true).create(true);
            let file = options.open(base.join(name)).unwrap();
            flock(&file, how).unwrap();
            file
        };
        let starting = lock("start.lock", FlockOperation::LockExclusive);
        let used = lock("users.lock", FlockOperation::LockShared);
        let ready = base.join("ready");
        let there = fs::read_to_string(&ready).map(PathBuf::from);
        let is_there = |folder: &PathBuf| sql(folder, "postgres", "SELECT 1").is_ok();
        let folder = there.ok().filter(is_there).unwrap_or_else(|| {
            let folder = base.join(format!("cluster-{}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            make_cluster(&folder);
            leave_to_supervisor(&base, &folder);
            until("the shared cluster starts", || is_there(&folder));
            let mut file = File::create(&ready).unwrap();
            file.write_all(folder.to_str().unwrap().as_bytes()).unwrap();
            folder
        });
        drop(starting);
        (folder, used)
    });
    folder
}

fn leave_to_supervisor(base: &Path, folder: &Path) {
    let mut supervisor = Command::new("setsid");
    supervisor
        .args(["--fork", "sh", "-c", SUPERVISOR, "supervisor"])
        .arg(base)
        .arg(folder);
    let server = unprivileged(&program("postgres"));
    supervisor
        .arg(server.get_program())
        .args(server.get_args())
        .args(serve(folder));
    supervisor
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/");
    supervisor
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    assert!(supervisor.status().unwrap().success());
}

/// A cluster of one test, with an empty database `passmate`. Its processes end with the test.
pub struct Cluster {
    dir: tempfile::TempDir,
    more: Vec<String>,
    server: Child,
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

impl Cluster {
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// With more arguments of the server.
    pub fn with(more: &[&str]) -> Self {
        Self::prepared(more, |_| {})
    }

    /// With more arguments of the server, and with files that `prepare` puts into the folder of the
    /// cluster.
    pub fn prepared(more: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        // The path of a socket is short.
        let dir = tempfile::Builder::new()
            .prefix("pg-")
            .tempdir_in("/tmp")
            .unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        fs::set_permissions(dir.path(), open).unwrap();
        let folder = dir.path().join("cluster");
        make_cluster(&folder);
        prepare(&folder);
        own_files(&folder);
        let more: Vec<String> = more.iter().map(|&one| one.to_owned()).collect();
        let server = start_server(&folder, &more);
        let cluster = Self { dir, more, server };
        cluster.wait();
        cluster.sql_of("postgres", "CREATE DATABASE passmate");
        cluster
    }

    /// A standby of this cluster. From now on a commit waits until the standby has it.
    pub fn standby(&self) -> Self {
        let standby = self.copy(&["--write-recovery-conf"]);
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.sql("SELECT pg_reload_conf()");
        let state = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        until("the standby follows", || self.sql(state) == "1");
        standby
    }

    /// Another cluster, which was restored from a backup that `pg_basebackup` made.
    pub fn copy_by_base_backup(&self) -> Self {
        self.copy(&[])
    }

    fn copy(&self, how: &[&str]) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("pg-")
            .tempdir_in("/tmp")
            .unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        fs::set_permissions(dir.path(), open).unwrap();
        let folder = dir.path().join("cluster");
        make_folder(&folder);
        let mut copy = unprivileged(&program("pg_basebackup"));
        copy.args(["-U", "postgres", "--checkpoint=fast", "-h"]);
        copy.arg(self.folder())
            .args(how)
            .args(["--no-sync", "-D"])
            .arg(folder.join("data"));
        let copied = copy.output().unwrap();
        assert!(copied.status.success(), "{copied:?}");
        let server = start_server(&folder, &self.more);
        let copy = Self {
            dir,
            more: self.more.clone(),
            server,
        };
        copy.wait();
        copy
    }

    /// Copies what servers keep in one database into another, by `pg_dump` and `psql`.
    pub fn copy_by_dump(&self, from: &str, to: &str) {
        let mut dump = unprivileged(&program("pg_dump"));
        dump.args(["-U", "postgres", "--schema=passmate", "-h"]);
        let dumped = dump.arg(self.folder()).arg(from).output().unwrap();
        assert!(dumped.status.success(), "{dumped:?}");
        let file = self.dir.path().join("dump");
        fs::write(&file, dumped.stdout).unwrap();
        sql_of_file(&self.folder(), to, &file);
    }

    /// Makes a standby the primary. It waits for no standby of its own.
    pub fn promote(&self) {
        self.sql("SELECT pg_promote()");
    }

    /// A URL with both clusters, this one first.
    pub fn url_with(&self, other: &Self) -> String {
        let socket = |cluster: &Self| cluster.folder().display().to_string().replace('/', "%2F");
        format!(
            "postgres://postgres@{},{}/passmate",
            socket(self),
            socket(other)
        )
    }

    pub fn folder(&self) -> PathBuf {
        self.dir.path().join("cluster")
    }

    pub fn url(&self) -> String {
        url(&self.folder(), "passmate")
    }

    #[track_caller]
    pub fn sql(&self, text: &str) -> String {
        self.sql_of("passmate", text)
    }

    #[track_caller]
    pub fn sql_of(&self, database: &str, text: &str) -> String {
        sql(&self.folder(), database, text).unwrap()
    }

    /// The process of the server, whose children do the work.
    pub fn pid(&self) -> u32 {
        self.server.id()
    }

    /// Waits until it accepts connections.
    pub fn wait(&self) {
        let folder = self.folder();
        until("the cluster starts", || {
            sql(&folder, "postgres", "SELECT 1").is_ok()
        });
    }

    /// Kills all its processes at once, as a power cut does.
    pub fn kill(&mut self) {
        let children = children_of(Pid::from_child(&self.server));
        self.server.kill().unwrap();
        for child in &children {
            let _ = kill_process(*child, Signal::KILL);
        }
        self.server.wait().unwrap();
        let is_there = |child: &Pid| {
            let status = format!("/proc/{}/cmdline", child.as_raw_nonzero());
            fs::read(status).is_ok_and(|words| !words.is_empty())
        };
        until("its processes are gone", || !children.iter().any(is_there));
    }

    /// Starts it after a kill. It may be some time until it is ready.
    pub fn start(&mut self) {
        self.server = start_server(&self.folder(), &self.more);
    }

    /// Stops all its processes, until [`resume`](Self::resume). Their sockets stay open.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let server = Pid::from_child(&self.server);
        kill_process(server, signal).unwrap();
        for child in children_of(server) {
            let _ = kill_process(child, signal);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let children = children_of(Pid::from_child(&self.server));
        let _ = self.server.kill();
        let _ = self.server.wait();
        for child in children {
            let _ = kill_process(child, Signal::KILL);
        }
    }
}

fn start_server(folder: &Path, more: &[String]) -> Child {
    let mut server = unprivileged(&program("postgres"));
    server.args(serve(folder)).args(more).process_group(0);
    server.stdout(Stdio::null()).stderr(Stdio::null());
    server.spawn().unwrap()
}

/// The processes that a process has started and that are still there.
fn children_of(parent: Pid) -> Vec<Pid> {
    let number = parent.as_raw_nonzero().get();
    let list = fs::read_to_string(format!("/proc/{number}/task/{number}/children"));
    let list = list.unwrap_or_default();
    let pids = list
        .split_whitespace()
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
    pids.collect()
}

/// PgBouncer with settings of the caller's.
pub struct Pooler {
    dir: tempfile::TempDir,
    pooler: Child,
}

impl Pooler {
    /// With files that `prepare` puts into a folder that the pooler may read, one of which is named
    /// `settings`. It may not listen yet.
    pub fn prepared(prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("pgb-")
            .tempdir_in("/tmp")
            .unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        fs::set_permissions(dir.path(), open).unwrap();
        let folder = dir.path().join("pooler");
        make_folder(&folder);
        prepare(&folder);
        own_files(&folder);
        let pooler = start_pooler(&folder);
        Self { dir, pooler }
    }

    pub fn folder(&self) -> PathBuf {
        self.dir.path().join("pooler")
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        self.pooler.kill().unwrap();
        self.pooler.wait().unwrap();
    }

    /// Starts it after a kill.
    pub fn start(&mut self) {
        self.pooler = start_pooler(&self.folder());
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.pooler.kill();
        let _ = self.pooler.wait();
    }
}

fn start_pooler(folder: &Path) -> Child {
    let path = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].map(PathBuf::from);
    let program = path.iter().find(|path| path.exists());
    let program = program.unwrap_or_else(|| {
        panic!("pgbouncer is not installed: run `apt-get install pgbouncer`, or scripts/test once")
    });
    let mut pooler = unprivileged(program);
    pooler.arg("-q").arg(folder.join("settings"));
    pooler.stdout(Stdio::null()).stderr(Stdio::null());
    pooler.spawn().unwrap()
}

/// PgBouncer in transaction mode in front of a database: each transaction may run on another
/// connection.
pub struct Bouncer {
    database: String,
    pooler: Pooler,
}

impl Bouncer {
    /// With so many connections to the database.
    pub fn new(database: &Database, connections: usize) -> Self {
        let (name, socket) = (&database.name, database.socket_folder().display());
        let pooler = Pooler::prepared(|folder| {
            let settings = format!(
                "[databases]\n{name} = host={socket} dbname={name} user=postgres\n\
                 [pgbouncer]\nlisten_addr =\nlisten_port = 6432\nunix_socket_dir = {}\n\
                 auth_type = any\npool_mode = transaction\ndefault_pool_size = {connections}\n\
                 max_client_conn = 200\nlogfile = {}\n",
                folder.display(),
                folder.join("log").display(),
            );
            fs::write(folder.join("settings"), settings).unwrap();
        });
        let socket = pooler.folder().join(".s.PGSQL.6432");
        until("the pooler starts", || socket.exists());
        Self {
            database: name.clone(),
            pooler,
        }
    }

    pub fn url(&self) -> String {
        let socket = self.pooler.folder().display().to_string();
        let socket = socket.replace('/', "%2F");
        format!("postgres://postgres@{socket}:6432/{}", self.database)
    }
}
