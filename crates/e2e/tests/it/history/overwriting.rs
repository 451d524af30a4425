//! A database that writes over what it has not compared: a replacement does not look at the revision
//! that it replaces. It stands in front of a real one, and changes one condition of one statement.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use passmate_testkit::postgres::Cluster;

/// The condition of a replacement, and what the database gets in its place. Messages carry their
/// length, so it has the same.
const CONDITION: &[u8] = b"account.revision = new.expected";
const ANY: &[u8; CONDITION.len()] = b"account.revision IS NOT NULL   ";

pub(super) struct Overwriting {
    dir: tempfile::TempDir,
}

impl Overwriting {
    pub(super) fn before(cluster: &Cluster) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(".s.PGSQL.5432")).unwrap();
        let to = cluster.folder().join(".s.PGSQL.5432");
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // It is killed and started again meanwhile.
                let Ok(server) = UnixStream::connect(&to) else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || carry(from, to));
                }
            }
        });
        Self { dir }
    }

    pub(super) fn url(&self) -> String {
        let socket = self.dir.path().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{socket}/passmate")
    }
}

fn carry(mut from: UnixStream, mut to: UnixStream) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(len @ 1..) = from.read(&mut bytes) {
        let sent = &mut bytes[..len];
        let place = sent
            .windows(CONDITION.len())
            .position(|part| part == CONDITION);
        if let Some(place) = place {
            sent[place..place + ANY.len()].copy_from_slice(ANY);
        }
        if to.write_all(sent).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
