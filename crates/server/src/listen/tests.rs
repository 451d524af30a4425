use super::*;

fn address(text: &str, port: u16) -> ListenAddress {
    let host = text
        .parse()
        .map_or_else(|_| ListenHost::Name(text.to_owned()), ListenHost::Ip);
    ListenAddress { host, port }
}

fn has_ipv6() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok()
}

#[tokio::test]
async fn everywhere_is_both_ip_versions_if_the_machine_has_both() {
    let listeners = open(&[address("::", 0)], &[]).unwrap();
    let [one] = listeners.as_slice() else {
        panic!("{listeners:?}")
    };
    let port = one.address.port();
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(one.address.is_ipv6(), has_ipv6());
    if has_ipv6() {
        std::net::TcpStream::connect(("::1", port)).unwrap();
    }
}

#[tokio::test]
async fn both_ip_versions_may_listen_on_one_port() {
    if !has_ipv6() {
        return;
    }
    let port = open(&[address("::", 0)], &[]).unwrap()[0].address.port();
    let both = open(&[address("::", port)], &[address("0.0.0.0", port)]).unwrap();
    assert_eq!(both.len(), 2);
    assert_eq!(both[1].layout, Layout::Two);
}

#[tokio::test]
async fn a_name_is_resolved_and_a_used_port_is_an_error() {
    let first = open(&[address("localhost", 0)], &[]).unwrap();
    assert!(first[0].address.ip().is_loopback());
    let again = ListenAddress {
        host: ListenHost::Ip(first[0].address.ip()),
        port: first[0].address.port(),
    };
    let error = open(&[again], &[]).unwrap_err();
    assert!(matches!(&error, ListenError::System { error, .. }
        if error.kind() == io::ErrorKind::AddrInUse));
    assert!(error.hint().contains("another program"));
}

#[test]
fn only_missing_ipv6_falls_back_to_ipv4() {
    let error = |errno: Errno| io::Error::from(errno);
    assert!(is_without_ipv6(&error(Errno::AFNOSUPPORT)));
    assert!(is_without_ipv6(&error(Errno::ADDRNOTAVAIL)));
    assert!(!is_without_ipv6(&error(Errno::ADDRINUSE)));
    assert!(!is_without_ipv6(&error(Errno::ACCESS)));
}

#[tokio::test]
async fn a_connection_takes_bounded_memory_of_the_system() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (accepted, client) = tokio::join!(listener.accept(), client);
    let (stream, client) = (accepted.unwrap().0, client.unwrap());
    bound_kernel_memory(&stream, Duration::from_secs(30));
    assert!(stream.nodelay().unwrap());
    #[cfg(target_os = "linux")]
    assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 30_000);
    // The system counts its own overhead too. The client does not read.
    let mut sent = 0;
    while let Ok(len) = stream.try_write(&[0; 64 << 10]) {
        sent += len;
        assert!(sent < 64 << 20, "it never fills up");
    }
    let buffered = sockopt::socket_send_buffer_size(&stream).unwrap();
    assert!(buffered <= 2 * SEND_BUFFER_LEN, "{buffered}");
    drop(client);
}

#[tokio::test]
async fn an_address_that_is_given_twice_is_named() {
    let free = open(&[address("127.0.0.1", 0)], &[]).unwrap()[0]
        .address
        .port();
    let twice = open(&[address("127.0.0.1", free)], &[address("0.0.0.0", free)]);
    let error = twice.unwrap_err();
    assert!(matches!(error, ListenError::Twice { .. }), "{error}");
    assert!(error.hint().contains("of its own"), "{error}");
}
