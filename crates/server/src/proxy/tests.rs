use proptest::prelude::*;

use super::*;

/// The result of reading these bytes, and the number of bytes that are left.
fn read(mut bytes: &[u8]) -> (Result<Option<SocketAddr>, ()>, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let read = runtime.block_on(read_header(&mut bytes)).map_err(drop);
    (read, bytes.len())
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    [V2_BEGIN.as_slice(), &[command, family], &len, body].concat()
}

#[track_caller]
fn check(header: &[u8], expected: Option<&str>) {
    let expected = expected.map(|address| address.parse().unwrap());
    let with_tls = [header, b"\x16\x03\x01\r\n"].concat();
    assert_eq!(
        read(&with_tls),
        (Ok(expected), 5),
        "{:?}",
        String::from_utf8_lossy(header)
    );
    for len in 0..header.len() {
        assert!(read(&header[..len]).0.is_err(), "cut after {len} bytes");
    }
}

#[test]
fn both_versions_name_the_source() {
    check(
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 29556\r\n",
        Some("192.0.2.7:56324"),
    );
    check(
        b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 29556\r\n",
        Some("[2001:db8::7]:56324"),
    );
    check(b"PROXY UNKNOWN\r\n", None);
    check(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None);
    let four = [192, 0, 2, 7, 198, 51, 100, 1, 0xDC, 0x04, 0x73, 0x74];
    check(&v2(0x21, 0x11, &four), Some("192.0.2.7:56324"));
    check(
        &v2(0x21, 0x11, &[four.as_slice(), &[4, 0, 1, 0]].concat()),
        Some("192.0.2.7:56324"),
    );
    let six = [
        [0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7].as_slice(),
        &[0; 16],
        &[0xDC, 4, 1, 1],
    ]
    .concat();
    check(&v2(0x21, 0x21, &six), Some("[2001:db8::7]:56324"));
    check(&v2(0x20, 0x00, b""), None);
    check(&v2(0x20, 0x11, &four), None);
}

#[test]
fn other_bytes_are_refused_early() {
    let refused = |bytes: &[u8]| {
        assert!(
            read(bytes).0.is_err(),
            "{:?}",
            String::from_utf8_lossy(bytes)
        )
    };
    refused(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello");
    refused(b"PROXYxTCP4 192.0.2.7 198.51.100.1 1 2\r\n");
    refused(b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n");
    refused(b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n");
    refused(b"PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n");
    refused(b"PROXY TCP5 192.0.2.7 198.51.100.1 1 2\r\n");
    refused(format!("PROXY TCP4 {}\r\n", "1".repeat(200)).as_bytes());
    refused(&v2(0x11, 0x11, &[0; 12]));
    refused(&v2(0x21, 0x11, &[0; 11]));
    refused(&v2(0x21, 0x12, &[0; 12]));
    refused(&v2(0x21, 0x99, &[0; 12]));
    // A header that is too long is refused before its body is read.
    assert_eq!(read(&v2(0x21, 0x11, &[0; 5000])), (Err(()), 5000));
    assert_eq!(
        read(&[b"PROXY ".as_slice(), &[b'a'; 1000]].concat()),
        (Err(()), 1006 - V1_LEN_MAX)
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(
        begin in prop::sample::select(vec![V2_BEGIN.as_slice(), V1_BEGIN, b"PROXY TCP4 ", b"PROXY \
            TCP6 ", b""]),
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [begin, &rest].concat();
        let (_, left) = read(&bytes);
        prop_assert!(bytes.len() - left <= V2_LEN_MAX);
    }

    #[test]
    fn every_header_of_a_proxy_is_understood(source: SocketAddr, port: u16, tlv in prop::collection::vec(any::<u8>(), 0..200)) {
        let target = SocketAddr::new(source.ip(), port);
        let line = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        // The scope of an IPv6 address is local to a machine.
        let source = SocketAddr::new(source.ip(), source.port());
        let v1 = format!("PROXY {line} {} {} {} {port}\r\n", source.ip(), target.ip(), source.port());
        prop_assert_eq!(read(v1.as_bytes()), (Ok(Some(source)), 0));
        let mut body = match source {
            SocketAddr::V4(source) => source.ip().octets().repeat(2),
            SocketAddr::V6(source) => source.ip().octets().repeat(2),
        };
        body.extend([source.port().to_be_bytes(), port.to_be_bytes()].concat());
        body.extend(tlv);
        let family = if source.is_ipv4() { 0x11 } else { 0x21 };
        prop_assert_eq!(read(&v2(0x21, family, &body)), (Ok(Some(source)), 0));
    }
}
