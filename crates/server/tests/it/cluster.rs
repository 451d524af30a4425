//! The cluster that `deploy/` describes, on loopback: PostgreSQL, PgBouncer, three servers and
//! HAProxy run with its files, in which only addresses and paths are changed. Clients go on when a
//! part of it dies.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use passmate_testkit::postgres::{Cluster, Pooler};
use passmate_testkit::wait::until;
use passmate_testkit::wire::{
    Client, End, How, TLS13, TOKEN, connect_from, create, update, upload,
};
use tempfile::TempDir;

use crate::support::{PROGRAM, Program, command, ok, text};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

fn deployed(name: &str) -> String {
    let path = deploy().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A text in which each of these parts, which it must have, is replaced.
#[track_caller]
fn replaced(text: String, parts: &[(&str, &str)]) -> String {
    parts.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in {text}");
        text.replace(from, to)
    })
}

/// The settings of servers in a file, with the character between name and value.
fn settings(name: &str, between: &str) -> Vec<(String, String)> {
    let file = deployed(name);
    let found: Vec<_> = file
        .lines()
        .map(|line| line.trim().trim_start_matches("- "))
        .filter(|line| line.starts_with("PASSMATE_SERVER_"))
        .map(|line| {
            let (name, value) = line.split_once(between).unwrap();
            (name.to_owned(), value.trim_matches('"').to_owned())
        })
        .collect();
    // Those that a comment names are no settings.
    let lines = file.lines().filter(|line| !line.trim().starts_with('#'));
    let named: usize = lines
        .map(|line| line.matches("PASSMATE_SERVER_").count())
        .sum();
    assert_eq!(found.len(), named, "{name} has settings elsewhere");
    assert!(!found.is_empty(), "{name}");
    found
}

/// The secrets of a cluster whose servers are named `localhost`.
fn make_secrets(dir: &Path) -> PathBuf {
    let secrets = dir.join("secrets");
    let script = deploy().join("cluster/make-secrets");
    ok(Command::new(script)
        .arg(&secrets)
        .arg("localhost")
        .output()
        .unwrap());
    secrets
}

#[test]
fn a_server_accepts_the_settings_of_a_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = make_secrets(dir.path());
    let base = settings("kubernetes/base/kustomization.yaml", "=");
    let mut behind_haproxy = base.clone();
    behind_haproxy.extend(settings("kubernetes/haproxy/kustomization.yaml", "="));
    for variables in [
        settings("cluster/compose.yml", ": "),
        base,
        behind_haproxy,
        settings("compose.yml", ": "),
    ] {
        let place = "/run/secrets/passmate";
        let here = secrets.join("passmate");
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name, value.replace(place, text(&here))));
        let mut shown = Command::new(PROGRAM);
        // As the image does.
        shown.env_clear().env("PASSMATE_SERVER_DATA_DIR", "/data");
        shown.envs(variables.clone());
        let shown = ok(shown.args(["config", "show", "--origin"]).output().unwrap());
        for (name, _) in variables {
            assert!(shown.contains(&name), "{name}: {shown}");
        }
    }
}

#[test]
fn secrets_of_a_cluster_are_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = make_secrets(dir.path());
    let key = secrets.join("passmate/server.key");
    let before = fs::read(&key).unwrap();
    let make = |folder: &Path, name: &str| {
        let mut script = Command::new(deploy().join("cluster/make-secrets"));
        let output = script.arg(folder).arg(name).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("make-secrets: hint: "), "{text}");
        (output.status.code(), text)
    };
    let (code, said) = make(&secrets, "localhost");
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(fs::read(&key).unwrap(), before, "devices have pinned it");
    let other = dir.path().join("other");
    for name in ["", "-x", "a b", "a/CN=b", "a,DNS:b", &"a".repeat(64)] {
        let (code, said) = make(&other, name);
        assert_eq!(code, Some(2), "{name}: {said}");
    }
    assert!(!other.exists());
}

/// An address of this process alone, so that its servers may have one port.
fn own_address(place: u8) -> Ipv4Addr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    assert!(high < 64 && place < 4, "pids have at most 22 bits");
    Ipv4Addr::new(127, 64 * place + high, middle, low)
}

/// A port of an address that nobody uses.
fn free_port(address: Ipv4Addr) -> SocketAddr {
    // It is free when the listener is dropped.
    let listener = TcpListener::bind((address, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// A name server that knows one name, that of the servers.
struct Names {
    address: SocketAddr,
    servers: Arc<Mutex<Vec<Ipv4Addr>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Names {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let servers = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (servers, is_over) = (Arc::clone(&servers), Arc::clone(&is_over));
            move || {
                let mut query = [0; 1500];
                while let Ok((len, client)) = socket.recv_from(&mut query) {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    let answer = Self::answer(&query[..len], &servers.lock().unwrap());
                    let _ = socket.send_to(&answer, client);
                }
            }
        });
        Self {
            address,
            servers,
            is_over,
            thread: Some(thread),
        }
    }

    fn set(&self, servers: &[Ipv4Addr]) {
        *self.servers.lock().unwrap() = servers.to_vec();
    }

    /// The addresses of the servers, whatever name is asked for (RFC 1035).
    fn answer(query: &[u8], servers: &[Ipv4Addr]) -> Vec<u8> {
        let name_len = query[12..].iter().position(|&byte| byte == 0).unwrap() + 1;
        let question = &query[12..12 + name_len + 4];
        let is_of_ipv4 = question[name_len..name_len + 2] == [0, 1];
        let servers = if is_of_ipv4 { servers } else { &[] };
        let count = u8::try_from(servers.len()).unwrap();
        let mut answer = query[..2].to_vec();
        answer.extend([0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0]);
        answer.extend(question);
        for server in servers {
            // The name of the question, an address of the Internet, for one second.
            answer.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
            answer.extend(server.octets());
        }
        answer
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = UdpSocket::bind("127.0.0.1:0").map(|socket| socket.send_to(b"", self.address));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// PostgreSQL as `create-database.sql` prepares it, on a port of loopback.
fn start_database(secrets: &Path) -> (Cluster, SocketAddr) {
    let address = free_port(Ipv4Addr::LOCALHOST);
    let cluster = Cluster::with(&[
        &format!("--listen_addresses={}", address.ip()),
        &format!("--port={}", address.port()),
    ]);
    cluster.sql_of("postgres", "DROP DATABASE passmate");
    let script = secrets.join("create-database.sql");
    let place = (
        "/run/secrets/postgres",
        text(&secrets.join("postgres")).to_owned(),
    );
    let sql = deployed("cluster/postgres/create-database.sql");
    fs::write(&script, replaced(sql, &[(place.0, &place.1)])).unwrap();
    let mut psql = Command::new("psql");
    psql.args(["-X", "-q", "-U", "postgres", "-d", "postgres"])
        .args(["-p", &address.port().to_string(), "-h"])
        .arg(cluster.folder())
        .arg("-f")
        .arg(&script);
    ok(psql.output().unwrap());
    (cluster, address)
}

/// A PgBouncer in front of the database.
fn start_pooler(secrets: &Path, database: SocketAddr) -> (Pooler, SocketAddr) {
    let address = free_port(Ipv4Addr::LOCALHOST);
    let (host, port) = (database.ip().to_string(), database.port().to_string());
    let pooler = Pooler::prepared(|folder| {
        let listen = format!("listen_addr = {}", address.ip());
        let listen_port = format!("listen_port = {}", address.port());
        let settings = replaced(
            deployed("cluster/pgbouncer/pgbouncer.ini"),
            &[
                ("/run/secrets/pgbouncer", text(folder)),
                ("listen_addr = *", &listen),
                ("listen_port = 6432", &listen_port),
            ],
        );
        fs::write(folder.join("settings"), settings).unwrap();
        for name in ["tls.pem", "tls.key", "userlist.txt"] {
            fs::copy(secrets.join("pgbouncer").join(name), folder.join(name)).unwrap();
        }
        let database = fs::read_to_string(secrets.join("pgbouncer/database.ini")).unwrap();
        let place = format!("host={host} port={port}");
        let database = replaced(database, &[("host=postgres port=5432", &place)]);
        fs::write(folder.join("database.ini"), database).unwrap();
    });
    until("PgBouncer listens", || TcpStream::connect(address).is_ok());
    (pooler, address)
}

/// A server with the settings of `compose.yml`, which reaches the database through this PgBouncer.
fn start_server(
    dir: &Path,
    secrets: &Path,
    listen: SocketAddr,
    admin: SocketAddr,
    pooler: SocketAddr,
) -> Program {
    fs::create_dir(dir).unwrap();
    let secrets = secrets.join("passmate");
    let store = fs::read_to_string(secrets.join("store-url")).unwrap();
    let place = format!(
        "@pgbouncer:{}/passmate?hostaddr={}&",
        pooler.port(),
        pooler.ip()
    );
    let store = replaced(
        store,
        &[
            ("@pgbouncer:6432/passmate?", &place),
            ("/run/secrets/passmate", text(&secrets)),
        ],
    );
    let store_url = dir.join("store-url");
    fs::write(&store_url, store).unwrap();
    let data_dir = dir.join("data");
    let mut server = command(&data_dir);
    for (name, value) in settings("cluster/compose.yml", ": ") {
        let value = match &*name {
            "PASSMATE_SERVER_DATA_DIR" => text(&data_dir).to_owned(),
            "PASSMATE_SERVER_STORE_FILE" => text(&store_url).to_owned(),
            "PASSMATE_SERVER_ADMIN_LISTEN" => admin.to_string(),
            // HAProxy on loopback.
            "PASSMATE_SERVER_PROXY_FROM" => "127.0.0.1".to_owned(),
            // So that the clients of this test need no codes.
            "PASSMATE_SERVER_REGISTRATION" => "open".to_owned(),
            _ => value.replace("/run/secrets/passmate", text(&secrets)),
        };
        server.env(name, value);
    }
    server.args(["--log-addresses", "--listen", &listen.to_string()]);
    Program::spawn(server, &data_dir)
}

/// HAProxy, which writes to a file when a server goes up or down.
struct Haproxy {
    child: Child,
    address: SocketAddr,
    health: SocketAddr,
    log: PathBuf,
}

impl Haproxy {
    fn start(dir: &Path, names: &Names, server: u16, admin: u16) -> Self {
        let (address, health) = (
            free_port(Ipv4Addr::LOCALHOST),
            free_port(Ipv4Addr::LOCALHOST),
        );
        let settings = replaced(
            deployed("cluster/haproxy/haproxy.cfg"),
            &[
                ("bind :::29556 v4v6", &format!("bind {address}")),
                ("bind :::8404 v4v6", &format!("bind {health}")),
                (
                    "parse-resolv-conf",
                    &format!("nameserver test {}", names.address),
                ),
                (
                    "${PASSMATE_NODES}:29556",
                    &format!("${{PASSMATE_NODES}}:{server}"),
                ),
                ("check port 9556", &format!("check port {admin}")),
            ],
        );
        let (file, log) = (dir.join("haproxy.cfg"), dir.join("haproxy.log"));
        fs::write(&file, settings).unwrap();
        let written = fs::File::create(&log).unwrap();
        let mut haproxy = Command::new(haproxy().expect("the caller has looked"));
        haproxy.arg("-db").arg("-f").arg(&file);
        haproxy
            .env("PASSMATE_NODES", "servers.test")
            .stdin(Stdio::null())
            .stdout(written)
            // It says the same in other words.
            .stderr(Stdio::null());
        let child = haproxy.spawn().unwrap();
        until("HAProxy listens", || {
            TcpStream::connect(health).is_ok() && TcpStream::connect(address).is_ok()
        });
        Self {
            child,
            address,
            health,
            log,
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// How often the log says this.
    fn count(&self, part: &str) -> usize {
        self.log().matches(part).count()
    }

    /// How often the server at this address went down or came back.
    fn changes(&self, server: Ipv4Addr, state: &str) -> usize {
        let log = self.log();
        // Versions before 3.0 write it without quotes and colon.
        let log = log.replace('\'', "").replace(':', " ");
        let found = format!("changed from (none) to {server} by ");
        let found = [found.replace("changed", "changed its IP"), found];
        let is_its = |line: &&str| found.iter().any(|found| line.contains(found));
        let name = log
            .lines()
            .find(is_its)
            .and_then(|line| line.split(' ').next());
        name.map_or(0, |name| self.count(&format!("Server {name} is {state}.")))
    }

    /// Whether the health check of `compose.yml` succeeds.
    fn is_healthy(&self) -> bool {
        let file = deployed("cluster/compose.yml");
        let begin = file.find("exec 3<>/dev/tcp/127.0.0.1/8404").unwrap();
        let script: Vec<_> = file[begin..].lines().take(3).collect();
        let (ip, port) = (self.health.ip(), self.health.port());
        let place = format!("/dev/tcp/{ip}/{port}");
        let parts = [("/dev/tcp/127.0.0.1/8404", &*place), ("$$", "$")];
        let script = replaced(script.join("\n"), &parts);
        let checked = Command::new("bash").args(["-c", &script]).output();
        checked.unwrap().status.success()
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of HAProxy:\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn haproxy() -> Option<PathBuf> {
    let paths = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"].map(PathBuf::from);
    let found = paths.into_iter().find(|path| path.exists());
    if found.is_none() {
        eprintln!("NOT CHECKED: haproxy is not installed");
    }
    found
}

/// A device that comes from an address of its own.
struct Device<'a> {
    source: Ipv4Addr,
    proxy: SocketAddr,
    certificate: &'a Path,
    account: [u8; 8],
}

impl<'a> Device<'a> {
    fn new(number: u8, proxy: SocketAddr, certificate: &'a Path) -> Self {
        let mut device = Self {
            source: Ipv4Addr::new(127, 0, 1, number),
            proxy,
            certificate,
            account: [0; 8],
        };
        let mut client = device.connect();
        client.send(&create(&[number]));
        device.account = client.take(8).try_into().unwrap();
        assert_eq!(client.end(), End::clean());
        device
    }

    fn connect(&self) -> Client {
        let tcp = connect_from(IpAddr::V4(self.source), self.proxy).unwrap();
        let mut client = Client::over(tcp, self.certificate, 1, &TLS13).unwrap();
        client.greet();
        client
    }

    /// An update up to the upload.
    fn fetch(&self) -> (Client, Vec<u8>) {
        let mut client = self.connect();
        client.send(&update(self.account, TOKEN));
        let btoken = client.take_btoken().unwrap();
        (client, btoken)
    }

    /// Makes the btoken one byte longer.
    fn update(&self) {
        let (mut client, mut btoken) = self.fetch();
        btoken.push(1);
        client.send(&[upload(&btoken).as_slice(), &self.account].concat());
        assert_eq!(client.end(), End::clean());
    }

    /// The lines of a log that name its address.
    fn lines(&self, log: &str) -> usize {
        let address = format!("address={}:", self.source);
        log.lines().filter(|line| line.contains(&address)).count()
    }
}

#[test]
fn a_cluster_goes_on_without_one_of_its_parts() {
    // No multiple of three: one after the other, they must not come to their server by turns.
    const DEVICES: u8 = 25;
    if haproxy().is_none() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let secrets = make_secrets(dir.path());
    let certificate = secrets.join("passmate/server.pem");
    let (_database, database) = start_database(&secrets);
    // As in Kubernetes, there are two PgBouncers. One of them serves one server only.
    let (mut lonely_pooler, lonely) = start_pooler(&secrets, database);
    let (_pooler, shared) = start_pooler(&secrets, database);

    let addresses = [0, 1, 2, 3].map(own_address);
    let (listen, admin) = (
        free_port(addresses[0]).port(),
        free_port(addresses[0]).port(),
    );
    let server = |place: usize, pooler: SocketAddr| {
        let folder = dir.path().join(place.to_string());
        let at = |port: u16| SocketAddr::from((addresses[place], port));
        start_server(&folder, &secrets, at(listen), at(admin), pooler)
    };
    let names = Names::start();
    let haproxy = Haproxy::start(dir.path(), &names, listen, admin);
    assert!(!haproxy.is_healthy(), "no server");

    let killed = server(0, shared);
    let cut_off = server(1, lonely);
    let whole = server(2, shared);
    for other in [&cut_off, &whole] {
        assert_eq!(other.pin(), killed.pin(), "devices may use any of them");
    }
    names.set(&addresses[..3]);
    until("HAProxy uses all servers", || {
        haproxy.count("is UP/READY") == 3
    });
    until("HAProxy is healthy", || haproxy.is_healthy());

    let devices: Vec<_> = (1..=DEVICES)
        .map(|number| Device::new(number, haproxy.address, &certificate))
        .collect();
    let rounds = Cell::new(0);
    let all_update = || {
        devices.iter().for_each(Device::update);
        rounds.set(rounds.get() + 1);
    };
    all_update();
    // Each server knows its clients by their own addresses, and each client is counted by one.
    let servers = [&killed, &cut_off, &whole];
    let home = |device: &Device<'_>| {
        let counts = || servers.map(|server| device.lines(&server.log_so_far()));
        until("both exchanges are logged", || {
            counts().iter().sum::<usize>() == 2
        });
        counts().iter().position(|&count| count == 2)
    };
    let homes: Vec<_> = devices
        .iter()
        .map(|device| home(device).expect("one server had both exchanges"))
        .collect();
    let used: BTreeSet<_> = homes.iter().collect();
    assert_eq!(used.len(), 3, "{homes:?}");

    // A server dies in the middle of an exchange. Whoever connects next gets another one.
    let device_of = |server: usize| &devices[homes.iter().position(|&one| one == server).unwrap()];
    let (mut cut, mut btoken) = device_of(0).fetch();
    killed.kill();
    btoken.push(2);
    let _ = cut.try_send(&[upload(&btoken).as_slice(), &device_of(0).account].concat());
    assert_ne!(cut.end().how, How::Clean, "nobody stored it");
    all_update();
    until("HAProxy knows that it is dead", || {
        haproxy.changes(addresses[0], "DOWN") == 1
    });
    all_update();

    // A server whose database is gone is taken out, although it lives.
    lonely_pooler.kill();
    until("HAProxy knows that it is not ready", || {
        haproxy.changes(addresses[1], "DOWN") == 1
    });
    let before = device_of(1).lines(&cut_off.log_so_far());
    all_update();
    assert_eq!(device_of(1).lines(&cut_off.log_so_far()), before);
    // It comes back by itself, and so do its clients.
    lonely_pooler.start();
    until("HAProxy knows that it is ready", || {
        haproxy.changes(addresses[1], "UP") == 1
    });
    all_update();
    until("its client is there again", || {
        device_of(1).lines(&cut_off.log_so_far()) > before
    });

    // Another server takes the place of the dead one. Nobody tells HAProxy.
    let replacement = server(3, shared);
    names.set(&addresses[1..]);
    until("clients use the new server", || {
        all_update();
        replacement.log_so_far().contains("result=\"confirmed\"")
    });
    for device in &devices {
        let (_, btoken) = device.fetch();
        assert_eq!(btoken.len(), 1 + rounds.get(), "each update once");
    }
    for server in [cut_off, whole, replacement] {
        let log = server.log();
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// PgBouncer accepts connections while there is no database behind it.
#[test]
fn a_cluster_comes_back_with_its_database() {
    if haproxy().is_none() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let secrets = make_secrets(dir.path());
    let certificate = secrets.join("passmate/server.pem");
    let (mut cluster, database) = start_database(&secrets);
    let (_pooler, pooler) = start_pooler(&secrets, database);
    let server = own_address(0);
    let (listen, admin) = (free_port(server), free_port(server));
    let folder = dir.path().join("server");
    let program = start_server(&folder, &secrets, listen, admin, pooler);
    let names = Names::start();
    names.set(&[server]);
    let haproxy = Haproxy::start(dir.path(), &names, listen.port(), admin.port());
    until("HAProxy uses the server", || haproxy.is_healthy());
    let device = Device::new(1, haproxy.address, &certificate);
    cluster.kill();
    until("HAProxy has no server", || !haproxy.is_healthy());
    cluster.start();
    until("HAProxy uses the server again", || haproxy.is_healthy());
    device.update();
    let (_, btoken) = device.fetch();
    assert_eq!(btoken, [1, 1]);
    let log = program.log();
    let [failures, ends] =
        ["database cannot be used", "database works again"].map(|part| log.matches(part).count());
    // PgBouncer lets what is asked wait, so the server itself may never notice.
    assert_eq!(failures, ends, "{log}");
}
