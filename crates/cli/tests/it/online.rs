//! `audit --online` asks the service that the settings name, and no other.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::typed::Home;

/// A service that knows the password hunter2, and the first lines of what it is asked.
fn service() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/range/", listener.local_addr().unwrap());
    let (asked, questions) = channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            lines.map_while(Result::ok).find(String::is_empty);
            asked.send(first).unwrap();
            let body = "D66A63D4BF1747940578EC3D0103530E21D:17\r\n";
            let len = body.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (address, questions)
}

#[test]
fn an_online_audit_asks_the_service_of_the_settings_and_only_if_it_is_told_to() {
    let home = Home::new();
    home.ok_with(&["set", "web/shop", "password"], "hunter2");
    let (address, questions) = service();
    home.ok(&["config", "set", "audit.breach-url", &address]);
    let without = home.fails(30, &["audit"], "");
    assert!(without.contains("1 finding in"), "{without}");
    assert!(questions.try_recv().is_err(), "nothing was asked");
    let output = home.run_with(&["audit", "--online"], "");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("stood in 17 breaches"), "{text}");
    assert_eq!(output.status.code(), Some(30));
    assert_eq!(questions.recv().unwrap(), "GET /range/F3BBB HTTP/1.1");
    let told = home.fails(2, &["audit", "--online", "--offline"], "");
    assert!(told.contains("--offline"), "{told}");
    // In the clear it may only be asked on this machine.
    let far = [
        "config",
        "set",
        "audit.breach-url",
        "http://breaches.example/",
    ];
    let told = home.fails(2, &far, "");
    assert!(told.contains("an https address"), "{told}");
}
