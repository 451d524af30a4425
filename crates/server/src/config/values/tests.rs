use super::*;

#[test]
fn durations_need_a_unit_and_never_overflow() {
    assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
    assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
    assert_eq!(parse_duration("24h"), Ok(Duration::from_secs(86_400)));
    for bad in [
        "",
        "10",
        "s",
        "-1s",
        "+1s",
        "1.5s",
        "10 years",
        "99999999999999999999s",
        "18446744073709551615h",
    ] {
        assert_eq!(parse_duration(bad), Err(ValueError::NotADuration), "{bad}");
    }
}

#[test]
fn a_rate_has_a_unit_and_is_never_nothing() {
    let rate = parse_rate("20/h", 1).map(|rate| (rate.interval(), rate.burst));
    assert_eq!(rate, Ok((Duration::from_secs(180), 20)));
    assert_eq!(
        parse_rate("10/s", 10).map(|rate| (rate.interval(), rate.burst)),
        Ok((Duration::from_millis(100), 100))
    );
    for bad in [
        "",
        "20",
        "/h",
        "0/h",
        "20/",
        "20/d",
        "-1/h",
        "1.5/s",
        "20 / h",
        "1000001/s",
        "99999999999/s",
    ] {
        assert_eq!(parse_rate(bad, 1), Err(ValueError::NotARate), "{bad}");
    }
}

#[test]
fn a_network_is_an_address_or_a_prefix() {
    let contains = |network: &str, address: &str| {
        parse_network(network)
            .unwrap()
            .contains(&address.parse::<IpAddr>().unwrap())
    };
    assert!(contains("192.0.2.0/24", "192.0.2.200") && !contains("192.0.2.0/24", "192.0.3.1"));
    assert!(contains("192.0.2.7", "192.0.2.7") && !contains("192.0.2.7", "192.0.2.8"));
    assert!(contains("::ffff:192.0.2.7", "192.0.2.7"));
    assert!(
        contains("2001:db8::/32", "2001:db8:ffff::1") && !contains("2001:db8::/32", "2001:db9::1")
    );
    for bad in [
        "",
        "x",
        "192.0.2.0/33",
        "192.0.2/24",
        "2001:db8::/129",
        "192.0.2.0/",
        "/8",
        "192.0.2.1/-1",
    ] {
        assert_eq!(parse_network(bad), Err(ValueError::NotANetwork), "{bad}");
    }
}

#[test]
fn sizes_are_bytes_or_binary_units() {
    assert_eq!(parse_size("2097152"), Ok(2_097_152));
    assert_eq!(parse_size("2MiB"), Ok(2_097_152));
    assert_eq!(parse_size("2 MiB"), Ok(2_097_152));
    assert_eq!(parse_size("1GiB"), Ok(1 << 30));
    for bad in ["", "2MB", "2M", "MiB", "-1", "1e6", "99999999999GiB"] {
        assert_eq!(parse_size(bad), Err(ValueError::NotASize), "{bad}");
    }
}

#[test]
fn listen_addresses_are_read_as_people_write_them() {
    let check = |text: &str, shown: &str| {
        assert_eq!(
            parse_listen(text).map(|a| a.to_string()),
            Ok(shown.to_owned()),
            "{text}"
        );
    };
    check("[::]:29556", "[::]:29556");
    check("0.0.0.0:1", "0.0.0.0:1");
    check(":7000", "[::]:7000");
    check("*:7000", "[::]:7000");
    check("::1", "[::1]:29556");
    check("[::1]", "[::1]:29556");
    check("127.0.0.1", "127.0.0.1:29556");
    check("localhost:0", "localhost:0");
    check("sync.example.org", "sync.example.org:29556");
    for bad in [
        "",
        "::1:x",
        "1.2.3.4.5:1",
        "1.2.3:9",
        "host:",
        "host:70000",
        "host:+1",
        "[::1",
        "none",
        "a b:1",
        "-a:1",
        "[fe80]:1",
    ] {
        if bad.is_empty() {
            continue; // an empty value never gets here
        }
        assert_eq!(parse_listen(bad), Err(ValueError::NotAnAddress), "{bad}");
    }
}

#[test]
fn the_nearest_word_is_found_and_nonsense_has_none() {
    let known = [
        "listen",
        "listen-v2",
        "data-dir",
        "idle-timeout",
        "btoken-max",
    ];
    assert_eq!(nearest("lisen", known), Some("listen"));
    assert_eq!(nearest("data_dir", known), Some("data-dir"));
    assert_eq!(nearest("DATADIR", known), Some("data-dir"));
    assert_eq!(nearest("idletimeout", known), Some("idle-timeout"));
    assert_eq!(nearest("zzzzzzzzzzzzzzzzzzzzzz", known), None);
    assert_eq!(nearest(&"x".repeat(1_000_000), known), None);
}

#[test]
fn moments_are_days_times_and_times_ago() {
    let now = 1_800_000_000;
    assert_eq!(parse_moment("24h", now), Ok(now - 86_400));
    assert_eq!(parse_moment("7d", now), Ok(now - 7 * 86_400));
    assert_eq!(parse_moment("2023-11-14", now), Ok(1_699_920_000));
    assert_eq!(parse_moment("2023-11-14T22:13:20Z", now), Ok(1_700_000_000));
    for bad in ["", "soon", "2023-13-14", "-1h"] {
        assert!(parse_moment(bad, now).is_err(), "{bad}");
    }
}
