//! The messages between a client of SSH and its agent: parsing and making, without a socket. A
//! message is its length in four bytes, its kind in one, and its fields.

use super::approver::Purpose;

/// The longest message, in bytes, without its length. That of OpenSSH.
pub const MESSAGE_LEN_MAX: usize = 256 * 1024;
/// The longest session id, in bytes: a hash.
const SESSION_LEN_MAX: usize = 128;

const LIST: u8 = 11;
const SIGN: u8 = 13;
const EXTENSION: u8 = 27;
const FAILURE: u8 = 5;
const SUCCESS: u8 = 6;
const IDENTITIES: u8 = 12;
const SIGNATURE: u8 = 14;

const BIND: &[u8] = b"session-bind@openssh.com";
/// The kind of the message that a login signs.
const USERAUTH: u8 = 50;
/// What a signature of a file signs begins with so.
const SSHSIG: &[u8] = b"SSHSIG";

/// The flag for `rsa-sha2-256`.
pub const FLAG_SHA256: u32 = 2;
/// The flag for `rsa-sha2-512`.
pub const FLAG_SHA512: u32 = 4;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request<'m> {
    /// The public keys.
    List,
    /// A signature.
    Sign {
        /// The public key.
        key: &'m [u8],
        /// What is signed.
        data: &'m [u8],
        /// How.
        flags: u32,
    },
    /// The client is connected to a host.
    Bind(Bind<'m>),
}

/// A connection of a client to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind<'m> {
    /// The host's public key.
    pub host_key: &'m [u8],
    /// What names the connection.
    pub session: &'m [u8],
    /// The host's signature of the session.
    pub signature: &'m [u8],
    /// The client hands on what comes from there.
    pub is_forwarding: bool,
}

impl<'m> Request<'m> {
    /// Reads a message without its length; `None` if it is damaged or asks for something that this
    /// agent does not do.
    #[must_use]
    pub fn read(message: &'m [u8]) -> Option<Self> {
        let mut rest = message;
        let request = match take_byte(&mut rest)? {
            LIST => Self::List,
            SIGN => Self::Sign {
                key: take_string(&mut rest)?,
                data: take_string(&mut rest)?,
                flags: take_number(&mut rest)?,
            },
            EXTENSION if take_string(&mut rest)? == BIND => Self::Bind(Bind {
                host_key: take_string(&mut rest)?,
                session: take_string(&mut rest).filter(|id| id.len() <= SESSION_LEN_MAX)?,
                signature: take_string(&mut rest)?,
                is_forwarding: take_byte(&mut rest)? != 0,
            }),
            _ => return None,
        };
        rest.is_empty().then_some(request)
    }
}

/// The answer to what was not done.
#[must_use]
pub fn failure() -> Vec<u8> {
    framed(FAILURE, &[])
}

/// The answer to what was done.
#[must_use]
pub fn success() -> Vec<u8> {
    framed(SUCCESS, &[])
}

/// The public keys, each with its comment. Those that do not fit into one message are left out.
#[must_use]
pub fn identities<'k>(keys: impl IntoIterator<Item = (&'k [u8], &'k str)>) -> Vec<u8> {
    let mut count = 0_u32;
    let mut body = vec![0; 4];
    for (key, comment) in keys {
        // Two lengths, and the kind of the message.
        if body.len() + key.len() + comment.len() + 9 > MESSAGE_LEN_MAX {
            break;
        }
        put_string(&mut body, key);
        put_string(&mut body, comment.as_bytes());
        count += 1;
    }
    if let Some(number) = body.first_chunk_mut() {
        *number = count.to_be_bytes();
    }
    framed(IDENTITIES, &body)
}

/// A signature.
#[must_use]
pub fn signature(signature: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(signature.len() + 4);
    put_string(&mut body, signature);
    framed(SIGNATURE, &body)
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(body.len() + 5);
    let len = u32::try_from(body.len() + 1).unwrap_or(u32::MAX);
    message.extend_from_slice(&len.to_be_bytes());
    message.push(kind);
    message.extend_from_slice(body);
    message
}

fn put_string(to: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    to.extend_from_slice(&len.to_be_bytes());
    to.extend_from_slice(bytes);
}

fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    let (byte, behind) = rest.split_first()?;
    *rest = behind;
    Some(*byte)
}

fn take_number(rest: &mut &[u8]) -> Option<u32> {
    let (number, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(u32::from_be_bytes(*number))
}

fn take_string<'m>(rest: &mut &'m [u8]) -> Option<&'m [u8]> {
    let len = usize::try_from(take_number(rest)?).ok()?;
    let (string, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    Some(string)
}

/// A login that is to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginData<'m> {
    /// What names the connection.
    pub session: &'m [u8],
    /// The user at the host.
    pub user: &'m [u8],
    /// The host's public key, if the client names it.
    pub host_key: Option<&'m [u8]>,
}

/// What data are that a key is to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data<'m> {
    /// A login with this key.
    Login(LoginData<'m>),
    /// A signature of a file, in a namespace.
    File(&'m [u8]),
    /// Something else.
    Unknown,
}

impl<'m> Data<'m> {
    /// Looks at data that this key is to sign.
    #[must_use]
    pub fn of(data: &'m [u8], key: &[u8]) -> Self {
        if let Some(login) = read_login(data, key) {
            return Self::Login(login);
        }
        let mut rest = data.strip_prefix(SSHSIG).unwrap_or_default();
        take_string(&mut rest).map_or(Self::Unknown, Self::File)
    }

    /// For a person; `host_key` is the fingerprint of the host, if it is known.
    #[must_use]
    pub fn purpose(&self, host_key: Option<String>) -> Purpose {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self {
            Self::Login(login) => Purpose::Login {
                user: text(login.user),
                host_key,
            },
            Self::File(namespace) => Purpose::Signature {
                namespace: text(namespace),
            },
            Self::Unknown => Purpose::Unknown,
        }
    }
}

/// Reads what RFC 4252, section 7, lets a client sign, or OpenSSH's form of it that names the host.
fn read_login<'m>(data: &'m [u8], key: &[u8]) -> Option<LoginData<'m>> {
    let mut rest = data;
    let session = take_string(&mut rest)?;
    if take_byte(&mut rest)? != USERAUTH {
        return None;
    }
    let user = take_string(&mut rest)?;
    if take_string(&mut rest)? != b"ssh-connection" {
        return None;
    }
    let names_host = match take_string(&mut rest)? {
        b"publickey" => false,
        b"publickey-hostbound-v00@openssh.com" => true,
        _ => return None,
    };
    if take_byte(&mut rest)? != 1 {
        return None;
    }
    let _algorithm = take_string(&mut rest)?;
    if take_string(&mut rest)? != key {
        return None;
    }
    let host_key = match names_host {
        true => Some(take_string(&mut rest)?),
        false => None,
    };
    rest.is_empty().then_some(LoginData {
        session,
        user,
        host_key,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message without its length.
    pub(crate) fn message(kind: u8, strings: &[&[u8]], end: &[u8]) -> Vec<u8> {
        let mut message = vec![kind];
        strings
            .iter()
            .for_each(|bytes| put_string(&mut message, bytes));
        message.extend_from_slice(end);
        message
    }

    /// What a client signs to log in as alice.
    pub(crate) fn login(session: &[u8], key: &[u8], host_key: Option<&[u8]>) -> Vec<u8> {
        let mut data = Vec::new();
        put_string(&mut data, session);
        data.push(USERAUTH);
        let method: &[u8] = match host_key {
            Some(_) => b"publickey-hostbound-v00@openssh.com",
            None => b"publickey",
        };
        for string in [b"alice", &b"ssh-connection"[..], method] {
            put_string(&mut data, string);
        }
        data.push(1);
        put_string(&mut data, b"ssh-ed25519");
        put_string(&mut data, key);
        if let Some(host_key) = host_key {
            put_string(&mut data, host_key);
        }
        data
    }

    #[test]
    fn requests_are_read_and_damaged_ones_are_none() {
        assert_eq!(Request::read(&[LIST]), Some(Request::List));
        let (key, data) = (&b"key"[..], &b"data"[..]);
        let sign = message(SIGN, &[key, data], &FLAG_SHA512.to_be_bytes());
        let flags = FLAG_SHA512;
        assert_eq!(
            Request::read(&sign),
            Some(Request::Sign { key, data, flags })
        );
        let bind = message(EXTENSION, &[BIND, b"host", b"id", b"signature"], &[1]);
        let expected = Bind {
            host_key: b"host",
            session: b"id",
            signature: b"signature",
            is_forwarding: true,
        };
        assert_eq!(Request::read(&bind), Some(Request::Bind(expected)));
        for whole in [&sign, &bind] {
            for len in 0..whole.len() {
                assert_eq!(Request::read(&whole[..len]), None, "{len}");
            }
            assert_eq!(Request::read(&[whole, &b"x"[..]].concat()), None);
        }
        let long = [0; SESSION_LEN_MAX + 1];
        for other in [
            vec![],
            vec![LIST, 0],
            vec![1],
            // Adding and removing keys, and locking with another passphrase.
            message(17, &[b"ssh-ed25519", b"key"], &[]),
            message(18, &[b"key"], &[]),
            vec![19],
            message(22, &[b"passphrase"], &[]),
            message(EXTENSION, &[b"query"], &[]),
            message(EXTENSION, &[BIND, b"host", &long, b"signature"], &[0]),
            vec![SIGN, 0xFF, 0xFF, 0xFF, 0xFF],
        ] {
            assert_eq!(Request::read(&other), None, "{other:?}");
        }
    }

    #[test]
    fn answers_have_their_length_and_no_more_keys_than_fit() {
        assert_eq!(failure(), [0, 0, 0, 1, 5]);
        assert_eq!(success(), [0, 0, 0, 1, 6]);
        assert_eq!(signature(b"ab"), [0, 0, 0, 7, 14, 0, 0, 0, 2, b'a', b'b']);
        let keys = [(&b"k"[..], "c"), (b"", "")];
        let expected = [
            &[0, 0, 0, 23, 12, 0, 0, 0, 2][..],
            b"\0\0\0\x01k\0\0\0\x01c",
            &[0; 8],
        ];
        assert_eq!(identities(keys), expected.concat());
        let long = vec![0; 100_000];
        let message = identities([(&long[..], ""); 5]);
        assert!(message.len() <= MESSAGE_LEN_MAX + 4);
        assert_eq!(message[5..9], [0, 0, 0, 2]);
    }

    #[test]
    fn what_is_signed_is_told_from_its_bytes() {
        let with_host = login(b"id", b"key", Some(b"host"));
        let data = Data::of(&with_host, b"key");
        let expected = LoginData {
            session: b"id",
            user: b"alice",
            host_key: Some(b"host"),
        };
        assert_eq!(data, Data::Login(expected));
        let purpose = data.purpose(Some("SHA256:x".to_owned()));
        let (user, host_key) = ("alice".to_owned(), Some("SHA256:x".to_owned()));
        assert_eq!(purpose, Purpose::Login { user, host_key });
        assert_eq!(Data::of(&with_host, b"other"), Data::Unknown);
        let plain = login(b"id", b"key", None);
        assert!(matches!(Data::of(&plain, b"key"), Data::Login(login) if login.host_key.is_none()));
        let more = [&plain[..], b"x"].concat();
        assert_eq!(Data::of(&more, b"key"), Data::Unknown);
        assert_eq!(
            Data::of(b"SSHSIG\0\0\0\x03git\0", b"key"),
            Data::File(b"git")
        );
        assert_eq!(Data::of(b"SSHSIG\0\0\0\x09git", b"key"), Data::Unknown);
        assert_eq!(Data::of(b"", b"key"), Data::Unknown);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in any::<u8>()) {
            let message = [&[kind][..], &bytes].concat();
            let _ = Request::read(&message);
            let _ = Data::of(&bytes, b"key").purpose(None);
        }
    }
}
