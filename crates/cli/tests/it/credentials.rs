//! `git-credential` and `docker-credential`, and git itself over HTTPS on loopback.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{Home, PROGRAM, answer};

fn home() -> Home {
    Home::with(&[
        ("web/forge", "url", "https://forge.example/login"),
        ("web/forge", "user", "alice"),
        ("web/forge", "password", "of the site"),
        ("work/forge", "website", "https://forge.example:8443"),
        ("work/forge", "url 2", "forge.example/work"),
        ("work/forge", "user", "bob"),
        ("work/forge", "pass", "of work"),
        ("token", "url", "http://plain.example"),
        ("token", "password", "only a token"),
        ("evil", "url", "https://forge.example.evil.example"),
        ("evil", "password", "other"),
    ])
}

fn git(home: &Home, operation: &str, request: &str) -> String {
    answer(&mut home.command(&["git-credential", operation]), request)
}

fn request(lines: &[&str]) -> String {
    lines
        .iter()
        .map(|line| format!("{line}\n"))
        .collect::<String>()
        + "\n"
}

const FORGE: [&str; 2] = ["protocol=https", "host=forge.example"];

#[test]
fn get_gives_the_login_of_exactly_the_host() {
    let home = home();
    let get = |lines: &[&str]| git(&home, "get", &request(lines));
    let (alice, bob) = (
        "username=alice\npassword=of the site\n",
        "username=bob\npassword=of work\n",
    );
    // Which of the two is meant nobody knows.
    assert_eq!(get(&FORGE), "");
    assert_eq!(get(&[&FORGE[..], &["username=alice"]].concat()), alice);
    assert_eq!(
        get(&[&FORGE[..], &["path=work", "capability[]=authtype"]].concat()),
        bob
    );
    assert_eq!(get(&[&FORGE[..], &["path=other"]].concat()), "");
    assert_eq!(
        get(&["protocol=https", "host=forge.example:8443", "path=a/b.git"]),
        bob
    );
    assert_eq!(
        get(&["protocol=https", "host=forge.example:443", "username=bob"]),
        bob
    );
    assert_eq!(
        get(&["protocol=http", "host=plain.example"]),
        "password=only a token\n"
    );
    for other in [
        "example",
        "www.forge.example",
        "plain.example",
        "orge.example",
        "",
    ] {
        assert_eq!(
            get(&["protocol=https", &format!("host={other}")]),
            "",
            "{other}"
        );
    }
    assert_eq!(get(&["protocol=http", "host=forge.example"]), "");
    assert_eq!(git(&home, "capability", ""), "");
}

#[test]
fn store_never_duplicates_and_erase_keeps_the_history() {
    let home = home();
    let all = || home.answer(&["ls", "--flat"]);
    let before = all();
    let login = |password: &str| {
        request(
            &[
                &FORGE[..],
                &["username=alice", &format!("password={password}")],
            ]
            .concat(),
        )
    };
    git(&home, "store", &login("of the site"));
    git(
        &home,
        "store",
        &request(&[&FORGE[..], &["username=alice"]].concat()),
    );
    let expiring = login("x").replace("\n\n", "\npassword_expiry_utc=4102444800\n\n");
    git(&home, "store", &expiring);
    assert_eq!(all(), before);
    for _ in 0..2 {
        git(&home, "store", &login("token"));
    }
    git(&home, "store", &login("new token"));
    assert_eq!(all().replace("git/forge.example/alice\n", ""), before);
    let show = |path: &str| home.answer(&["show", path]);
    assert_eq!(
        show("git/forge.example/alice"),
        "user: alice\npassword: new token\nurl: https://forge.example\n"
    );
    // The record that git wrote goes first, and the site's stays as it is.
    assert_eq!(
        git(&home, "get", &request(&FORGE)),
        "username=alice\npassword=new token\n"
    );
    assert_eq!(
        home.answer(&["show", "web/forge", "password"]),
        "of the site\n"
    );
    git(&home, "erase", &login("token"));
    assert_eq!(
        git(&home, "get", &request(&FORGE)),
        "username=alice\npassword=new token\n"
    );
    git(&home, "erase", &login("new token"));
    git(&home, "erase", &login("of the site"));
    assert!(!show("git/forge.example/alice").contains("password"));
    assert_eq!(
        home.answer(&["show", "web/forge", "password"]),
        "of the site\n"
    );
    let history = home.answer(&["history", "git/forge.example/alice", "password"]);
    assert!(history.contains("new token"), "{history}");
    git(&home, "store", &login("newest"));
    assert_eq!(all().matches("git/").count(), 1);
    // A path is part of the address.
    let with_path = login("p").replace("\n\n", "\npath=team/x.git\n\n");
    git(&home, "store", &with_path);
    assert!(all().contains("git/forge.example/team_x.git/alice\n"));
    let path = "git/forge.example/team_x.git/alice";
    assert!(show(path).contains("url: https://forge.example/team/x.git\n"));
}

#[test]
fn a_request_that_is_none_is_refused() {
    let home = home();
    for text in ["no assignment\n", "x\u{0}\n"] {
        let mut command = home.command(&["git-credential", "get"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, text.as_bytes()).unwrap();
        drop(input);
        assert_eq!(child.wait().unwrap().code(), Some(2));
    }
}

/// A web server that gives a repository to whoever has the login in the file `login`.
const SERVER: &str = r#"
import base64, functools, http.server, ssl, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        login = base64.b64encode(open("login", "rb").read().strip()).decode()
        if self.headers.get("Authorization") == "Basic " + login:
            return super().do_GET()
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="test"')
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
"#;

struct Server {
    child: Child,
    port: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// `None` if there is no Python.
    fn start(folder: &Path, script: &str) -> Option<Self> {
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(folder.join("cert.pem"), key.cert.pem()).unwrap();
        fs::write(folder.join("key.pem"), key.signing_key.serialize_pem()).unwrap();
        let mut command = Command::new("python3");
        command.args(["-c", script]).current_dir(folder);
        let mut child = command.stdout(Stdio::piped()).spawn().ok()?;
        let mut port = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut port).unwrap();
        let port = port.trim().to_owned();
        Some(Self { child, port }).filter(|server| !server.port.is_empty())
    }
}

#[test]
fn git_itself_stores_uses_and_erases_a_login_over_https() {
    let home = Home::with(&[]);
    home.write("login", "alice:first");
    let Some(server) = Server::start(home.path(), SERVER) else {
        eprintln!("not run: python3 is not installed");
        return;
    };
    let git = |args: &[&str], asked: &str| {
        let ask = home.write("ask", format!("#!/bin/sh\n{asked}\n"));
        fs::set_permissions(&ask, fs::Permissions::from_mode(0o700)).unwrap();
        let mut command = home.program("git");
        command
            .args(args)
            .env("GIT_ASKPASS", ask)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_SSL_CAINFO", home.path().join("cert.pem"));
        command.output()
    };
    if git(&["init", "--bare", "-q", "repo.git"], "exit 1").is_err() {
        eprintln!("not run: git is not installed");
        return;
    }
    let run = |args: &[&str], asked: &str| git(args, asked).unwrap().status.success();
    assert!(run(&["-C", "repo.git", "update-server-info"], "exit 1"));
    // Git looks for the program git-credential-passmate.
    let bin = home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let helper = bin.join("git-credential-passmate");
    symlink(PROGRAM, &helper).unwrap();
    let helper = helper.to_str().unwrap().to_owned();
    assert!(run(
        &["config", "--global", "credential.helper", &helper],
        "exit 1"
    ));
    let url = format!("https://localhost:{}/repo.git", server.port);
    let typed = "case $1 in Username*) echo alice;; *) echo first;; esac";
    assert!(!run(&["ls-remote", &url], "exit 1"));
    assert!(run(&["ls-remote", &url], typed));
    let record = format!("git/localhost:{}/alice", server.port);
    assert_eq!(home.answer(&["show", &record, "password"]), "first\n");
    // Nobody is asked any more.
    assert!(run(&["ls-remote", &url], "exit 1"));
    // A login that the server rejects is taken away, and the next one stored in its place.
    home.write("login", "alice:second");
    assert!(!run(&["ls-remote", &url], "exit 1"));
    assert_eq!(home.failure(&["show", &record, "password"]).0, 10);
    assert!(run(&["ls-remote", &url], &typed.replace("first", "second")));
    assert_eq!(home.answer(&["show", &record, "password"]), "second\n");
    assert_eq!(home.answer(&["ls", "--flat"]), format!("{record}\n"));
    assert!(run(&["ls-remote", &url], "exit 1"));
}

/// A registry that accepts one login.
const REGISTRY: &str = r#"
import base64, http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        login = "Basic " + base64.b64encode(b"alice:first").decode()
        self.send_response(200 if self.headers.get("Authorization") == login else 401)
        self.send_header("WWW-Authenticate", 'Basic realm="test"')
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"#;

#[test]
fn docker_itself_logs_in_and_out() {
    let home = Home::with(&[]);
    let Some(registry) = Server::start(home.path(), REGISTRY) else {
        eprintln!("not run: python3 is not installed");
        return;
    };
    let bin = home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    symlink(PROGRAM, bin.join("docker-credential-passmate")).unwrap();
    home.write(".docker/config.json", r#"{"credsStore":"passmate"}"#);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let docker = |args: &[&str]| {
        let mut command = home.program("docker");
        command.args(args).env("PATH", &path);
        command
    };
    if docker(&["--version"]).output().is_err() {
        eprintln!("not run: docker is not installed");
        return;
    }
    let host = format!("127.0.0.1:{}", registry.port);
    answer(
        &mut docker(&["login", "-u", "alice", "--password-stdin", &host]),
        "first",
    );
    let list = home.answer(&["docker-credential", "list"]);
    assert_eq!(list, format!(r#"{{"{host}":"alice"}}"#));
    let config = fs::read_to_string(home.path().join(".docker/config.json")).unwrap();
    assert!(!config.contains("first"));
    answer(&mut docker(&["logout", &host]), "");
    assert_eq!(home.answer(&["docker-credential", "list"]), "{}");
}

#[test]
fn docker_stores_gets_lists_and_erases_a_login() {
    let home = home();
    let docker = |operation: &str, input: &str| {
        answer(&mut home.command(&["docker-credential", operation]), input)
    };
    let hub = "https://index.docker.io/v1/";
    for secret in ["first", "second", "second"] {
        let login = format!(r#"{{"ServerURL":"{hub}","Username":"alice","Secret":"{secret}"}}"#);
        assert_eq!(docker("store", &login), "");
    }
    for (server, secret) in [("", "x"), (" ", "x"), (hub, ""), ("a\\nb", "x")] {
        let login = format!(r#"{{"ServerURL":"{server}","Username":"bob","Secret":"{secret}"}}"#);
        let file = home.write("login", login);
        let mut command = home.command(&["docker-credential", "store"]);
        let output = command.stdin(fs::File::open(file).unwrap()).output();
        assert_eq!(
            output.unwrap().status.code(),
            Some(2),
            "{server:?} {secret:?}"
        );
    }
    docker(
        "store",
        r#"{"ServerURL":"ghcr.example","Username":"bob","Secret":"x"}"#,
    );
    let login: serde_json::Value = serde_json::from_str(&docker("get", hub)).unwrap();
    assert_eq!(
        login,
        serde_json::json!({ "ServerURL": hub, "Username": "alice", "Secret": "second" })
    );
    let list: serde_json::Value = serde_json::from_str(&docker("list", "")).unwrap();
    assert_eq!(
        list,
        serde_json::json!({ hub: "alice", "ghcr.example": "bob" })
    );
    let all = home.answer(&["ls", "--flat"]);
    assert_eq!(all.matches("docker/").count(), 2, "{all}");
    docker("erase", hub);
    let mut command = home.command(&["docker-credential", "get"]);
    // A login for the host that docker did not store is none.
    for server in [hub, "forge.example", "ghcr.example/x"] {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, server.as_bytes()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(10));
        assert_eq!(output.stdout, b"credentials not found in native keychain\n");
        assert!(output.stderr.is_empty());
    }
    let history = home.answer(&["history", "docker/index.docker.io", "password"]);
    assert!(history.contains("second"), "{history}");
}

/// A record that another device may have added.
fn add(home: &Home, path: &str, fields: &[(&str, &str)]) {
    for (field, value) in fields {
        answer(&mut home.command(&["set", path, field]), value);
    }
}

#[test]
fn a_record_of_git_with_another_user_does_not_replace_a_persons_login() {
    let home = Home::with(&[
        ("web/forge", "url", "https://forge.example/login"),
        ("web/forge", "user", "alice"),
        ("web/forge", "password", "of the site"),
    ]);
    let get = |lines: &[&str]| git(&home, "get", &request(lines));
    let token = ("password", "token");
    add(
        &home,
        "git/a",
        &[("url", "forge.example"), ("user", "mallory"), token],
    );
    assert_eq!(get(&FORGE), "");
    let named = get(&[&FORGE[..], &["username=alice"]].concat());
    assert_eq!(named, "username=alice\npassword=of the site\n");
    // A token of the same user goes first.
    add(&home, "git/a", &[("user", "alice")]);
    assert_eq!(get(&FORGE), "username=alice\npassword=token\n");
}

#[test]
fn docker_gets_no_login_if_several_differ() {
    let home = home();
    let server = "ghcr.example";
    let login = format!(r#"{{"ServerURL":"{server}","Username":"alice","Secret":"x"}}"#);
    answer(&mut home.command(&["docker-credential", "store"]), &login);
    let other = [("url", server), ("user", "alice"), ("password", "other")];
    add(&home, "docker/aaa", &other);
    let mut command = home.command(&["docker-credential", "get"]);
    let file = home.path().join("server");
    fs::write(&file, server).unwrap();
    let output = command.stdin(fs::File::open(file).unwrap()).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(11), "{output:?}");
    assert!(output.stdout.is_empty());
    add(&home, "docker/aaa", &[("password", "x")]);
    let found = answer(&mut home.command(&["docker-credential", "get"]), server);
    assert!(found.contains("alice"), "{found}");
}
