use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::super::hash_of;
use super::*;

/// A service on this machine that answers with this, and the requests that it got.
struct Service {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Service {
    fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (answer, got) = (Arc::new(answer), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, got) = (Arc::clone(&answer), Arc::clone(&got));
                thread::spawn(move || serve(stream, &*answer, &got));
            }
        });
        Self { address, requests }
    }

    fn counts(&self, passwords: &[&str]) -> Result<BTreeMap<Hash, u64>, Problem> {
        let service = RangeService::new(&format!("http://{}/range", self.address))?;
        service.counts(&passwords.iter().map(|password| hash_of(password)).collect())
    }
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&str) -> String, got: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    loop {
        let head: Vec<_> = lines
            .by_ref()
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        let Some(first) = head.first() else { return };
        let path = first.split(' ').nth(1).unwrap().to_owned();
        got.lock().unwrap().push(head.join("\n"));
        if stream.write_all(answer(&path).as_bytes()).is_err() {
            return;
        }
    }
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn hex(password: &str) -> String {
    HEXUPPER.encode(&hash_of(password))
}

/// All that a service knows, with the padding that it was asked for.
fn list(known: &[(&str, u64)]) -> impl Fn(&str) -> String + use<> {
    let known: Vec<_> = known
        .iter()
        .map(|(one, count)| (hex(one), *count))
        .collect();
    move |path: &str| {
        let begin = path.rsplit('/').next().unwrap();
        let padding = format!("{}:0\r\n", "0".repeat(35));
        let lines = known.iter().filter_map(|(hash, count)| {
            let rest = hash.strip_prefix(begin)?;
            Some(format!("{rest}:{count}\r\n"))
        });
        ok(&lines.chain([padding]).collect::<String>())
    }
}

#[test]
fn a_breached_password_is_found_and_only_five_digits_of_its_hash_are_sent() {
    let service = Service::start(list(&[("hunter2", 17_000), ("letmein", 3)]));
    let own: Vec<_> = (0..40).map(|number| format!("own {number}")).collect();
    let mut passwords: Vec<_> = own.iter().map(String::as_str).collect();
    passwords.extend(["hunter2", "letmein"]);
    let found = service.counts(&passwords).unwrap();
    let expected = [("hunter2", 17_000), ("letmein", 3)];
    assert_eq!(
        found,
        expected.map(|(one, count)| (hash_of(one), count)).into()
    );
    let requests = service.requests.lock().unwrap();
    let begins: BTreeSet<_> = passwords
        .iter()
        .map(|one| hex(one)[..5].to_owned())
        .collect();
    assert_eq!(requests.len(), begins.len(), "each begin is asked for once");
    for request in requests.iter() {
        let (line, headers) = request.split_once('\n').unwrap();
        let begin = line.strip_prefix("GET /range/").unwrap();
        let begin = begin.strip_suffix(" HTTP/1.1").unwrap();
        assert!(begins.contains(begin), "{line}");
        let headers = headers.to_ascii_lowercase();
        assert!(headers.contains("add-padding: true"), "{headers}");
        for header in headers.lines() {
            let name = header.split(':').next().unwrap();
            let known = [
                "host",
                "user-agent",
                "accept",
                "accept-encoding",
                "add-padding",
            ];
            assert!(known.contains(&name), "{header}");
        }
    }
}

#[test]
fn an_answer_that_is_none_is_an_error_and_no_good_news() {
    let redirect =
        "HTTP/1.1 302 Found\r\nLocation: http://example.org/\r\nContent-Length: 0\r\n\r\n";
    for (answer, why) in [
        (
            "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "status 429",
        ),
        (redirect.to_owned(), "status 302"),
        (ok("<html>Welcome to the hotel</html>"), "no list of hashes"),
        (ok("00AB:1\r\n"), "no list of hashes"),
        (
            ok(&format!("{}:many\n", "A".repeat(35))),
            "no list of hashes",
        ),
        (ok(&"x".repeat(2 << 20)), "cannot be asked"),
        ("SSH-2.0-x\r\n\r\n".to_owned(), "cannot be asked"),
        (String::new(), "cannot be asked"),
    ] {
        let is_empty = answer.is_empty();
        let service = Service::start(move |_| answer.clone());
        if is_empty {
            // Nobody listens there any more.
            let address = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap();
            let service = RangeService::new(&format!("http://{address}/")).unwrap();
            assert!(service.counts(&[hash_of("x")].into()).is_err());
            continue;
        }
        let problem = service.counts(&["hunter2"]).unwrap_err();
        assert_eq!(problem.kind, ProblemKind::Network);
        assert!(problem.message.contains(why), "{}", problem.message);
        assert!(
            !problem.message.contains(&hex("hunter2")[..5]),
            "{}",
            problem.message
        );
    }
}
