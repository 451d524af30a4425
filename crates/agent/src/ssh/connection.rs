//! What one client may do: a machine that gets messages and gives answers.
//!
//! A client tells to which hosts it is connected, and each proves it by a signature. From then on
//! the client can only log in there: another session than the last one is not signed. A client that
//! hands on what a host asks for tells that too.

use std::path::PathBuf;

use passmate_core::ssh_key::signing::{RsaHash, verified};

use super::approver::Purpose;
use super::message::{
    Bind, Data, FLAG_SHA256, FLAG_SHA512, Request, failure, identities, signature, success,
};
use crate::peer::Peer;

/// The most hosts that a client can name, one behind the other. That of OpenSSH.
const HOSTS_MAX: usize = 16;

/// A public key that a client can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    /// As it goes over the wire.
    pub public: Vec<u8>,
    /// The path of its record, made safe for a terminal.
    pub comment: String,
    /// The vault that it is in.
    pub vault: PathBuf,
}

/// What a client wants signed.
#[derive(Debug)]
pub struct SignRequest<'m> {
    /// The public key.
    pub key: &'m [u8],
    /// The data.
    pub data: &'m [u8],
    /// The hash, for an RSA key.
    pub hash: Option<RsaHash>,
    /// Who asks.
    pub peer: &'m Peer,
    /// What the data are.
    pub purpose: Purpose,
    /// The client hands it on from another machine.
    pub is_forwarded: bool,
}

/// The keys behind a connection.
pub trait Keys {
    /// All public keys.
    fn list(&mut self) -> Vec<ListedKey>;

    /// A signature as it goes over the wire; `None` if there is no such key, or its use is not
    /// approved.
    fn sign(&mut self, request: SignRequest<'_>) -> Option<Vec<u8>>;
}

/// A client.
#[derive(Debug)]
pub struct Connection {
    peer: Peer,
    hosts: Vec<Host>,
}

/// A host to which a client is connected.
#[derive(Debug)]
struct Host {
    /// Its key.
    key: Vec<u8>,
    fingerprint: String,
    session: Vec<u8>,
    is_forwarding: bool,
}

impl Connection {
    /// A client that has asked for nothing yet.
    #[must_use]
    pub const fn new(peer: Peer) -> Self {
        let hosts = Vec::new();
        Self { peer, hosts }
    }

    /// Answers a message without its length. The answer has one.
    pub fn answer(&mut self, message: &[u8], keys: &mut dyn Keys) -> Vec<u8> {
        match Request::read(message) {
            Some(Request::List) => {
                let listed = keys.list();
                identities(listed.iter().map(|key| (&key.public[..], &key.comment[..])))
            }
            Some(Request::Sign { key, data, flags }) => {
                let signed = self.sign(key, data, flags, keys);
                signed.map_or_else(failure, |signed| signature(&signed))
            }
            Some(Request::Bind(bind)) => match self.bind(&bind) {
                Some(()) => success(),
                None => failure(),
            },
            None => failure(),
        }
    }

    fn bind(&mut self, bind: &Bind<'_>) -> Option<()> {
        if self.hosts.len() >= HOSTS_MAX {
            return None;
        }
        // A connection that is not handed on leads nowhere else.
        if self.hosts.iter().any(|host| !host.is_forwarding) {
            return None;
        }
        let mut known = self.hosts.iter();
        if let Some(host) = known.find(|host| host.session == bind.session) {
            return (host.key == bind.host_key).then_some(());
        }
        let fingerprint = verified(bind.host_key, bind.signature, bind.session)?;
        self.hosts.push(Host {
            key: bind.host_key.to_vec(),
            fingerprint,
            session: bind.session.to_vec(),
            is_forwarding: bind.is_forwarding,
        });
        Some(())
    }

    fn sign(&self, key: &[u8], data: &[u8], flags: u32, keys: &mut dyn Keys) -> Option<Vec<u8>> {
        let what = Data::of(data, key);
        let host = self.hosts.last();
        if let (Data::Login(login), Some(host)) = (&what, host) {
            let is_host = login.host_key.is_none_or(|key| key == host.key);
            if login.session != host.session || !is_host {
                return None;
            }
        }
        let hash = match flags {
            flags if flags & FLAG_SHA512 != 0 => Some(RsaHash::Sha512),
            flags if flags & FLAG_SHA256 != 0 => Some(RsaHash::Sha256),
            _ => None,
        };
        keys.sign(SignRequest {
            key,
            data,
            hash,
            peer: &self.peer,
            purpose: what.purpose(host.map(|host| host.fingerprint.clone())),
            is_forwarded: self.hosts.iter().any(|host| host.is_forwarding),
        })
    }
}

#[cfg(test)]
mod tests {
    use passmate_core::ssh_key::signing::SigningKey;

    use super::*;
    use crate::ssh::message::tests::{login, message};

    /// The key of a host.
    const HOST: &str = "\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACDpXVGKmXBE49N+Fk47XgspRnBT5OAVZvhB3jIxOWx4lAAAAJjjOedY4znn
WAAAAAtzc2gtZWQyNTUxOQAAACDpXVGKmXBE49N+Fk47XgspRnBT5OAVZvhB3jIxOWx4lA
AAAEBi4I50/s8bzDDOYKb/22XtFOC8zqcmeZZofCP08CxC1uldUYqZcETj034WTjteCylG
cFPk4BVm+EHeMjE5bHiUAAAAEGEgaG9zdCBvZiBhIHRlc3QBAgMEBQ==
-----END OPENSSH PRIVATE KEY-----
";

    const SUCCESS: u8 = 6;
    const FAILURE: u8 = 5;
    const SIGNATURE: u8 = 14;

    /// One key, and what was asked of it.
    #[derive(Default)]
    struct OneKey {
        asked: Vec<(Purpose, bool, Option<RsaHash>)>,
    }

    impl Keys for OneKey {
        fn list(&mut self) -> Vec<ListedKey> {
            vec![ListedKey {
                public: b"key".to_vec(),
                comment: "a comment".to_owned(),
                vault: PathBuf::new(),
            }]
        }

        fn sign(&mut self, request: SignRequest<'_>) -> Option<Vec<u8>> {
            if request.key != b"key" {
                return None;
            }
            let asked = (request.purpose, request.is_forwarded, request.hash);
            self.asked.push(asked);
            Some(b"signed".to_vec())
        }
    }

    /// The kind of an answer.
    fn kind(answer: &[u8]) -> u8 {
        answer[4]
    }

    fn bind(session: &[u8], signed: &[u8], is_forwarding: bool) -> Vec<u8> {
        let host = SigningKey::read(HOST).unwrap();
        let signature = host.sign(signed, None).unwrap();
        let strings = [
            &b"session-bind@openssh.com"[..],
            host.public(),
            session,
            &signature,
        ];
        message(27, &strings, &[is_forwarding.into()])
    }

    fn sign(data: &[u8], flags: u32) -> Vec<u8> {
        message(13, &[b"key", data], &flags.to_be_bytes())
    }

    fn purpose(host_key: Option<String>) -> Purpose {
        let user = "alice".to_owned();
        Purpose::Login { user, host_key }
    }

    #[test]
    fn a_client_lists_and_signs() {
        let (mut client, mut keys) = (Connection::new(Peer::default()), OneKey::default());
        let listed = client.answer(&[11], &mut keys);
        assert!(listed.ends_with(b"\0\0\0\x03key\0\0\0\x09a comment"));
        for (flags, hash) in [
            (0, None),
            (FLAG_SHA256, Some(RsaHash::Sha256)),
            (FLAG_SHA256 | FLAG_SHA512, Some(RsaHash::Sha512)),
        ] {
            let data = login(b"id", b"key", None);
            assert_eq!(
                kind(&client.answer(&sign(&data, flags), &mut keys)),
                SIGNATURE
            );
            assert_eq!(keys.asked.pop(), Some((purpose(None), false, hash)));
        }
        let other = message(13, &[b"other", b"data"], &[0; 4]);
        assert_eq!(kind(&client.answer(&other, &mut keys)), FAILURE);
        assert_eq!(kind(&client.answer(b"", &mut keys)), FAILURE);
    }

    #[test]
    fn a_client_that_named_its_host_can_log_in_only_there() {
        let (mut client, mut keys) = (Connection::new(Peer::default()), OneKey::default());
        let host = SigningKey::read(HOST).unwrap();
        // Nobody can say that they are connected to a host without its signature.
        assert_eq!(
            kind(&client.answer(&bind(b"id", b"other", false), &mut keys)),
            FAILURE
        );
        assert_eq!(
            kind(&client.answer(&bind(b"id", b"id", false), &mut keys)),
            SUCCESS
        );
        for (data, is_signed) in [
            (login(b"id", b"key", None), true),
            (login(b"id", b"key", Some(host.public())), true),
            (login(b"id", b"key", Some(b"other")), false),
            (login(b"other", b"key", None), false),
        ] {
            let answer = client.answer(&sign(&data, 0), &mut keys);
            assert_eq!(kind(&answer) == SIGNATURE, is_signed);
            let asked = is_signed.then(|| (purpose(Some(host.fingerprint())), false, None));
            assert_eq!(keys.asked.pop(), asked);
        }
        // The connection leads nowhere else.
        assert_eq!(
            kind(&client.answer(&bind(b"id 2", b"id 2", false), &mut keys)),
            FAILURE
        );
    }

    #[test]
    fn what_comes_from_another_machine_is_told() {
        let (mut client, mut keys) = (Connection::new(Peer::default()), OneKey::default());
        for session in [&b"id"[..], b"id", b"id 2"] {
            let bound = client.answer(&bind(session, session, true), &mut keys);
            assert_eq!(kind(&bound), SUCCESS);
        }
        assert_eq!(
            kind(&client.answer(&bind(b"id 3", b"id 3", false), &mut keys)),
            SUCCESS
        );
        client.answer(&sign(&login(b"id 3", b"key", None), 0), &mut keys);
        client.answer(&sign(b"SSHSIG\0\0\0\x03git\0", 0), &mut keys);
        let asked: Vec<_> = keys
            .asked
            .iter()
            .map(|(what, forwarded, _)| (what, *forwarded))
            .collect();
        let namespace = "git".to_owned();
        assert!(matches!(asked[..], [
            (Purpose::Login { .. }, true),
            (Purpose::Signature { namespace: found }, true),
        ] if *found == namespace));
        // The number of hosts is bounded.
        let mut client = Connection::new(Peer::default());
        let bound = (0..20_u8).filter(|number| {
            let session = [*number];
            kind(&client.answer(&bind(&session, &session, true), &mut keys)) == SUCCESS
        });
        assert_eq!(bound.count(), HOSTS_MAX);
    }
}
