//! A server made of a listener, a certificate and a script, on the loopback.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use passmate_proto::{
    AccountNumber, AuthToken, Failure, Layout, Outcome, SERVER_HELLO, UnknownCause,
};
use passmate_sync::exchange::{Ended, Greeting};
use passmate_sync::wire::StreamEnd;
use passmate_vault::{Pin, Trust};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

use super::*;
use crate::net::trust::{CertificateProblem, Typed, compare_pin, derive_pin, read_ca, words_of};

type Tls = StreamOwned<ServerConnection, TcpStream>;

/// A certificate and its key.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
    pem: String,
}

impl Identity {
    fn pin(&self) -> Pin {
        derive_pin(&self.chain[0]).unwrap()
    }
}

fn make_params(names: &[&str]) -> CertificateParams {
    CertificateParams::new(
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>(),
    )
    .unwrap()
}

fn make_self_signed(params: &CertificateParams) -> Identity {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Identity {
        chain: vec![certificate.der().clone()],
        key,
        pem: certificate.pem(),
    }
}

/// A CA's PEM and a certificate that it issued.
fn make_issued(params: &CertificateParams) -> (String, Identity) {
    make_issued_by("Test CA", params)
}

fn make_issued_by(ca: &str, params: &CertificateParams) -> (String, Identity) {
    let mut ca_params = make_params(&[]);
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca_params
        .distinguished_name
        .push(rcgen::DnType::CommonName, ca);
    let ca_key = KeyPair::generate().unwrap();
    let pem = ca_params.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let issued = params
        .signed_by(&key, &Issuer::from_params(&ca_params, &ca_key))
        .unwrap();
    (
        pem,
        Identity {
            chain: vec![issued.der().clone()],
            key,
            pem: issued.pem(),
        },
    )
}

/// Shows a certificate without asking whether the key fits.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

static ALL: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];

fn make_config(
    chain: &[CertificateDer<'static>],
    key: &KeyPair,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = provider
        .key_provider
        .load_private_key(PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let shown = Arc::new(CertifiedKey::new(chain.to_vec(), key));
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap();
    Arc::new(
        builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Shows(shown))),
    )
}

/// Serves one connection on a port of its own.
fn serve(script: impl FnOnce(TcpStream) + Send + 'static) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (
        port,
        thread::spawn(move || script(listener.accept().unwrap().0)),
    )
}

/// As [`serve`], behind TLS; a handshake that fails ends the script.
fn serve_tls(
    config: Arc<ServerConfig>,
    script: impl FnOnce(Tls) + Send + 'static,
) -> (u16, JoinHandle<()>) {
    serve(move |tcp| {
        let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), tcp);
        let mut hello = [0; 24 + 1 + 40];
        if tls.read_exact(&mut hello).is_ok() {
            script(tls);
        }
    })
}

/// The greeting of layout 1 and a btoken.
fn greet_and_send(tls: &mut Tls, btoken: &[u8]) {
    tls.write_all(SERVER_HELLO).unwrap();
    tls.write_all(&[0, 0, 0, 2, b'h', b'i']).unwrap();
    tls.write_all(&u32::try_from(btoken.len()).unwrap().to_be_bytes())
        .unwrap();
    tls.write_all(btoken).unwrap();
    tls.flush().unwrap();
}

/// What a client that only looks learned.
#[derive(Default)]
struct Looks {
    greeting: Greeting,
    btoken: Option<Vec<u8>>,
    replaces: Option<Vec<u8>>,
}

fn look(port: u16, trust: &Trust) -> Result<(Ended, Looks), ConnectError> {
    look_with(port, trust, Looks::default(), Deadlines::default())
}

fn look_with(
    port: u16,
    trust: &Trust,
    mut looks: Looks,
    deadlines: Deadlines,
) -> Result<(Ended, Looks), ConnectError> {
    let address = Address::new("localhost", port).unwrap();
    let mut server = Server::new(address, TlsTrust::new(trust).unwrap()).with_deadlines(deadlines);
    let account = AccountNumber::from_bytes([7; 8]).unwrap();
    let ended = match server.connect()?.update(account, AuthToken::new([9; 32])) {
        Ok(fetched) => {
            looks.btoken = Some(fetched.btoken().to_vec());
            match looks.replaces.take() {
                Some(btoken) => fetched.replace(btoken),
                None => fetched.leave(),
            }
        }
        Err(ended) => *ended,
    };
    looks.greeting = ended.greeting.clone();
    Ok((ended, looks))
}

fn pins(current: Pin) -> Trust {
    Trust::Pins {
        current,
        next: None,
    }
}

/// Runs a fetch against an identity and says why it was not trusted, if it was not.
fn check_trust(identity: &Identity, trust: &Trust) -> Result<(), CertificateProblem> {
    let config = make_config(&identity.chain, &identity.key, ALL);
    let (port, server) = serve_tls(config, |mut tls| {
        greet_and_send(&mut tls, b"btoken");
        assert_eq!(
            tls.read(&mut [0; 9]).unwrap(),
            0,
            "the client leaves cleanly"
        );
    });
    let looked = look(port, trust);
    server.join().unwrap();
    match looked {
        Ok((exchanged, looks)) => {
            assert_eq!(exchanged.outcome, Outcome::Left);
            assert_eq!(exchanged.certificate.pin, Some(identity.pin()));
            let greeting = Greeting {
                layout: Some(Layout::One),
                banner: b"hi".to_vec(),
            };
            assert_eq!(looks.greeting, greeting);
            assert_eq!(looks.btoken, Some(b"btoken".to_vec()));
            Ok(())
        }
        Err(ConnectError::NotTrusted(problem)) => {
            assert_eq!(problem.shown, identity.pin());
            Err(problem.problem)
        }
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_pin_is_confirmed_by_its_words_or_by_80_bits_of_its_digits() {
    let pin: Pin = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
        .parse()
        .unwrap();
    let words = "maimed crave tingling grunt grooving pelican emptier";
    assert_eq!(words_of(&pin), words);
    for typed in [
        words,
        "MAIMED-crave  Tingling Grunt Grooving Pelican Emptier",
        "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        "0011 2233 4455 6677 8899",
        "0011:2233:4455:6677:8899:AABB",
    ] {
        assert_eq!(compare_pin(&pin, typed), Typed::Matches, "{typed}");
    }
    for typed in ["", "y", "yes", "0011 2233", "sha256:0011223344556677889"] {
        assert_ne!(compare_pin(&pin, typed), Typed::Matches, "{typed}");
    }
    assert_eq!(compare_pin(&pin, "00112233"), Typed::TooShort);
    let longer = format!("{pin}0");
    for typed in [
        "0011 2233 4455 6677 8898",
        "maimed crave tingling grunt grooving pelican",
        "maimed crave tingling grunt grooving pelican emptiers",
        &longer,
        "2233445566778899aabbccddeeff00112233445566778899",
    ] {
        assert_eq!(compare_pin(&pin, typed), Typed::Differs, "{typed}");
    }
}

#[test]
fn the_pinned_key_is_trusted_whatever_its_name_and_dates_are() {
    let mut params = make_params(&["another.example"]);
    params.not_after = date_time_ymd(2020, 1, 1);
    let identity = make_self_signed(&params);
    assert_eq!(check_trust(&identity, &pins(identity.pin())), Ok(()));
    let next = Trust::Pins {
        current: Pin::from_bytes([1; 32]),
        next: Some(identity.pin()),
    };
    assert_eq!(check_trust(&identity, &next), Ok(()));
}

#[test]
fn another_key_than_the_pinned_one_is_refused_and_both_pins_are_told() {
    let (pem, identity) = make_issued(&make_params(&["localhost"]));
    assert_eq!(
        check_trust(&identity, &Trust::Ca(pem)),
        Ok(()),
        "nothing else is wrong with it"
    );
    let mismatch = CertificateProblem::PinMismatch {
        current: Pin::from_bytes([1; 32]),
        next: Some(Pin::from_bytes([2; 32])),
    };
    let trust = Trust::Pins {
        current: Pin::from_bytes([1; 32]),
        next: Some(Pin::from_bytes([2; 32])),
    };
    assert_eq!(check_trust(&identity, &trust), Err(mismatch));
}

#[test]
fn a_pinned_certificate_without_its_key_is_refused() {
    for versions in [&ALL[..1], &ALL[1..]] {
        let identity = make_self_signed(&make_params(&["localhost"]));
        let thief = KeyPair::generate().unwrap();
        let (port, server) = serve_tls(make_config(&identity.chain, &thief, versions), |_| {
            panic!("let in")
        });
        let refused = look(port, &pins(identity.pin()));
        server.join().unwrap();
        let Err(ConnectError::Handshake(StreamEnd::BrokenTls(why))) = refused.map(|_| ()) else {
            panic!()
        };
        assert!(why.contains("BadSignature"), "{why}");
    }
}

#[test]
fn a_ca_file_vouches_for_names_and_dates() {
    let (pem, identity) = make_issued(&make_params(&["localhost"]));
    assert_eq!(check_trust(&identity, &Trust::Ca(pem)), Ok(()));

    let (pem, identity) = make_issued(&make_params(&["one.example", "192.0.2.1"]));
    let names = vec!["one.example".to_owned(), "192.0.2.1".to_owned()];
    let wrong = CertificateProblem::WrongName {
        wanted: "localhost".to_owned(),
        names,
    };
    assert_eq!(check_trust(&identity, &Trust::Ca(pem)), Err(wrong));

    let mut params = make_params(&["localhost"]);
    params.not_after = date_time_ymd(2020, 1, 1);
    let (pem, identity) = make_issued(&params);
    let Err(CertificateProblem::Expired { not_after, now }) =
        check_trust(&identity, &Trust::Ca(pem))
    else {
        panic!()
    };
    assert!(not_after == 1_577_836_800 && now > not_after);

    let mut params = make_params(&["localhost"]);
    params.not_before = date_time_ymd(4000, 1, 1);
    let (pem, identity) = make_issued(&params);
    let Err(CertificateProblem::NotYetValid { not_before, now }) =
        check_trust(&identity, &Trust::Ca(pem))
    else {
        panic!()
    };
    assert!(not_before == 64_060_588_800 && now < not_before);

    let mut params = make_params(&["localhost"]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let (pem, identity) = make_issued(&params);
    assert_eq!(
        check_trust(&identity, &Trust::Ca(pem)),
        Err(CertificateProblem::NotForServers)
    );
}

#[test]
fn an_unknown_issuer_and_a_ca_in_a_servers_place_are_told_apart() {
    let (_, identity) = make_issued(&make_params(&["localhost"]));
    let (stranger, _) = make_issued_by("Other CA", &make_params(&["localhost"]));
    assert_eq!(
        check_trust(&identity, &Trust::Ca(stranger.clone())),
        Err(CertificateProblem::UnknownIssuer)
    );
    let (namesake, _) = make_issued(&make_params(&["localhost"]));
    assert_eq!(
        check_trust(&identity, &Trust::Ca(namesake)),
        Err(CertificateProblem::BadSignature)
    );
    let unknown = check_trust(&identity, &Trust::System);
    assert!(
        matches!(
            unknown,
            Err(CertificateProblem::UnknownIssuer | CertificateProblem::NoTrustStore)
        ),
        "{unknown:?}"
    );

    let mut params = make_params(&["localhost"]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let identity = make_self_signed(&params);
    let pem = format!("{}\n{stranger}", identity.pem);
    assert_eq!(
        check_trust(&identity, &Trust::Ca(pem)),
        Err(CertificateProblem::CaUsedAsLeaf)
    );
}

#[test]
fn of_a_ca_file_only_certificates_are_kept() {
    let (pem, _) = make_issued(&make_params(&["localhost"]));
    let key = KeyPair::generate().unwrap().serialize_pem();
    let kept = read_ca(format!("a comment\n{key}{pem}\n{key}").as_bytes()).unwrap();
    assert_eq!(kept.trim(), pem.replace('\r', "").trim());
    assert!(read_ca(key.as_bytes()).is_err());
    assert!(read_ca(pem.replace('A', "").as_bytes()).is_err());
    assert!(read_ca(&[b'\n'; 65_537]).is_err());
}

#[test]
fn tls_1_2_and_1_3_both_serve() {
    for versions in [&ALL[..1], &ALL[1..]] {
        let identity = make_self_signed(&make_params(&["localhost"]));
        let config = make_config(&identity.chain, &identity.key, versions);
        let (port, server) = serve_tls(config, |mut tls| {
            greet_and_send(&mut tls, &[5; 100_000]);
            let mut upload = vec![0; 4 + 70_000 + 8];
            tls.read_exact(&mut upload).unwrap();
            assert_eq!(
                (&upload[..4], &upload[4 + 70_000..]),
                (&70_000_u32.to_be_bytes()[..], &[7; 8][..])
            );
            tls.conn.send_close_notify();
            tls.flush().unwrap();
        });
        let looks = Looks {
            replaces: Some(vec![6; 70_000]),
            ..Looks::default()
        };
        let (exchanged, looks) =
            look_with(port, &pins(identity.pin()), looks, Deadlines::default()).unwrap();
        server.join().unwrap();
        assert!(matches!(exchanged.outcome, Outcome::Confirmed(_)));
        assert_eq!(looks.btoken, Some(vec![5; 100_000]));
    }
}

/// What becomes of a fetch when the server does this after the credentials came.
fn check_ending(script: impl FnOnce(Tls) + Send + 'static, outcome: Outcome, end: StreamEnd) {
    let identity = make_self_signed(&make_params(&["localhost"]));
    let (port, server) = serve_tls(make_config(&identity.chain, &identity.key, ALL), script);
    let deadlines = Deadlines {
        silence: Duration::from_secs(1),
        total: Duration::from_secs(2),
        ..Deadlines::default()
    };
    let looks = Looks {
        replaces: Some(vec![1]),
        ..Looks::default()
    };
    let (exchanged, _) = look_with(port, &pins(identity.pin()), looks, deadlines).unwrap();
    assert_eq!((exchanged.outcome, exchanged.stream), (outcome, end));
    server.join().unwrap();
}

fn greet(tls: &mut Tls) {
    tls.write_all(SERVER_HELLO).unwrap();
    tls.write_all(&[0; 4]).unwrap();
    tls.flush().unwrap();
}

#[test]
fn a_cut_after_the_credentials_is_a_refusal_and_a_clean_close_is_not() {
    check_ending(
        |mut tls| greet(&mut tls),
        Outcome::Failed(Failure::CutAfterCredentials),
        StreamEnd::Cut,
    );
    let reset = |mut tls: Tls| {
        greet(&mut tls);
        // Unread input makes the system answer with a reset.
        tls.sock.shutdown(Shutdown::Write).unwrap();
    };
    check_ending(
        reset,
        Outcome::Failed(Failure::CutAfterCredentials),
        StreamEnd::Cut,
    );
    let clean = |mut tls: Tls| {
        greet(&mut tls);
        tls.conn.send_close_notify();
        tls.flush().unwrap();
    };
    check_ending(
        clean,
        Outcome::Failed(Failure::ClosedTooEarly),
        StreamEnd::CloseNotify,
    );
}

#[test]
fn silence_and_dribble_end_by_their_deadlines() {
    let silent = |mut tls: Tls| {
        greet(&mut tls);
        let _ = tls.read(&mut [0]);
    };
    check_ending(
        silent,
        Outcome::Failed(Failure::CutAfterCredentials),
        StreamEnd::Silent(1),
    );
    let dribble = |mut tls: Tls| {
        tls.write_all(SERVER_HELLO).unwrap();
        tls.write_all(&100_u32.to_be_bytes()).unwrap();
        while tls.write_all(b"x").and_then(|()| tls.flush()).is_ok() {
            thread::sleep(Duration::from_millis(200));
        }
    };
    check_ending(
        dribble,
        Outcome::Failed(Failure::CutDuringGreeting),
        StreamEnd::TookTooLong(2),
    );
}

#[test]
fn a_server_that_sends_without_end_is_left_and_never_believed() {
    let endless = |mut tls: Tls| {
        greet_and_send(&mut tls, b"old");
        while tls.write_all(&[8; 1000]).is_ok() {}
    };
    check_ending(
        endless,
        Outcome::Unknown(UnknownCause::WrongNumber),
        StreamEnd::Closed,
    );
    let number_and_more = |mut tls: Tls| {
        greet_and_send(&mut tls, b"old");
        tls.write_all(&[7; 8]).unwrap();
        while tls.write_all(&[7; 1000]).is_ok() {}
    };
    check_ending(
        number_and_more,
        Outcome::Unknown(UnknownCause::TrailingBytes),
        StreamEnd::TookTooLong(2),
    );
}

#[test]
fn what_comes_before_a_broken_record_still_counts() {
    let broken = |mut tls: Tls| {
        greet_and_send(&mut tls, b"old");
        tls.sock.write_all(&[23, 3, 3, 0, 20]).unwrap();
        tls.sock.write_all(&[0; 20]).unwrap();
        let _ = tls.sock.read_to_end(&mut Vec::new());
    };
    let identity = make_self_signed(&make_params(&["localhost"]));
    let (port, server) = serve_tls(make_config(&identity.chain, &identity.key, ALL), broken);
    let (exchanged, looks) = look(port, &pins(identity.pin())).unwrap();
    assert_eq!(
        (exchanged.outcome, looks.btoken),
        (Outcome::Left, Some(b"old".to_vec()))
    );
    server.join().unwrap();
}

fn check_no_connection(script: impl FnOnce(TcpStream) + Send + 'static) -> ConnectError {
    let (port, server) = serve(script);
    let deadlines = Deadlines {
        silence: Duration::from_secs(1),
        ..Deadlines::default()
    };
    let error = look_with(
        port,
        &pins(Pin::from_bytes([1; 32])),
        Looks::default(),
        deadlines,
    )
    .map(|_| ())
    .unwrap_err();
    server.join().unwrap();
    error
}

#[test]
fn what_is_no_tls_server_is_told_by_name() {
    let plain = |mut tcp: TcpStream| {
        tcp.write_all(b"220 mail.example ESMTP\r\n").unwrap();
        let _ = tcp.read_to_end(&mut Vec::new());
    };
    assert_eq!(check_no_connection(plain), ConnectError::NotTls);
    assert_eq!(
        check_no_connection(drop),
        ConnectError::Handshake(StreamEnd::Cut)
    );
    let mute = |mut tcp: TcpStream| {
        let _ = tcp.read_to_end(&mut Vec::new());
    };
    assert_eq!(
        check_no_connection(mute),
        ConnectError::Handshake(StreamEnd::Silent(1))
    );
    let alert = |mut tcp: TcpStream| {
        tcp.write_all(&[21, 3, 3, 0, 2, 2, 112]).unwrap();
        let _ = tcp.read_to_end(&mut Vec::new());
    };
    let named = ConnectError::Handshake(StreamEnd::Alert("UnrecognisedName".to_owned()));
    assert_eq!(check_no_connection(alert), named);
}

#[test]
fn nobody_at_the_address_is_told_with_the_reason() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = look(port, &Trust::System).map(|_| ()).unwrap_err();
    let detail = "connection refused".to_owned();
    assert_eq!(
        error,
        ConnectError::Unreachable {
            address: format!("localhost:{port}"),
            detail
        }
    );
    let nowhere = Address::new("does-not-exist.invalid", 1).unwrap();
    let mut server = Server::new(nowhere, TlsTrust::new(&Trust::System).unwrap());
    let error = server.connect().map(drop).unwrap_err();
    assert!(matches!(error, ConnectError::Unresolved { .. }), "{error}");
}

#[test]
fn all_exchanges_with_one_server_share_a_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let cuts = thread::spawn(move || {
        // Each connection is cut at once, as a server does that wants to hold a sync for long.
        let mut cuts = 0;
        while let Ok((stream, _)) = listener.accept() {
            cuts += 1;
            if stream.peer_addr().is_err() || cuts > 10_000 {
                break;
            }
        }
    });
    let address = Address::new("127.0.0.1", port).unwrap();
    let trust = TlsTrust::new(&Trust::System).unwrap();
    let mut server = Server::new(address, trust).with_deadlines(Deadlines {
        all: Duration::from_secs(1),
        ..Deadlines::default()
    });
    let end = StreamEnd::TookTooLong(1);
    let mut tries = 0;
    loop {
        match server.connect() {
            Err(ConnectError::Handshake(found)) if found == end => break,
            Err(_) => tries += 1,
            Ok(_) => panic!("nobody answers"),
        }
    }
    assert!(tries > 1, "it was tried again until then");
    // Once the time is up, nothing is sent any more.
    assert!(matches!(
        server.connect(),
        Err(ConnectError::Handshake(found)) if found == end
    ));
    drop(cuts);
}
