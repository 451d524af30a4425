use std::ffi::OsString;

use super::*;

/// Gathers a configuration from flags, variables and a file that may be missing.
fn gather(
    flags: &[&str],
    variables: &[(&str, &str)],
    file: Option<&str>,
) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server.toml");
    if let Some(text) = file {
        std::fs::write(&path, text).unwrap();
    }
    let home = [("HOME", "/home/someone")];
    let environment = home.iter().chain(variables).copied().collect();
    let mut sources = sources(flags, environment);
    sources.file_default = path;
    Config::gather(&sources)
}

fn sources(flags: &[&str], environment: Environment) -> Sources {
    let args = ["serve"].iter().chain(flags).map(OsString::from);
    let matches = serve_command().try_get_matches_from(args).unwrap();
    Sources::from_matches(&matches, environment)
}

/// The error and hint that the operator reads.
fn complaint(flags: &[&str], variables: &[(&str, &str)], file: Option<&str>) -> String {
    let error = gather(flags, variables, file).unwrap_err();
    format!("{error}\n{}", error.hint())
}

#[test]
fn no_setting_yields_the_documented_defaults() {
    let config = gather(&[], &[], None).unwrap();
    assert_eq!(
        config,
        Config::new("/home/someone/.local/share/passmate-server")
    );
    assert_eq!(config.listen, [ListenAddress::everywhere()]);
    assert_eq!(config.listen[0].to_string(), "[::]:29556");
    let store = StoreUrl::sqlite(config.data_dir.join("passmate.db"));
    assert_eq!(config.store, store);
    assert_eq!(config.limits.btoken_len_max, 2_097_152);
    assert_eq!(config.limits.memory_max, 256 * 1024 * 1024);
}

#[test]
fn flags_win_over_variables_and_variables_over_files() {
    let dir = tempfile::tempdir().unwrap();
    let named = dir.path().join("value");
    std::fs::write(&named, "33s\n").unwrap();
    let named = named.to_str().unwrap();
    let file = Some("idle-timeout = \"44s\"");
    let by_file = ("PASSMATE_SERVER_IDLE_TIMEOUT_FILE", named);
    let variable = ("PASSMATE_SERVER_IDLE_TIMEOUT", "22s");
    let check = |flags: &[&str], variables: &[(&str, &str)], file, seconds| {
        let idle = gather(flags, variables, file).unwrap().limits.idle_timeout;
        assert_eq!(idle, Duration::from_secs(seconds));
    };
    check(&["--idle-timeout", "11s"], &[variable, by_file], file, 11);
    check(&[], &[variable, by_file], file, 22);
    check(&[], &[by_file], file, 33);
    check(&[], &[], file, 44);
    check(&[], &[], None, 30);
}

#[test]
fn every_setting_has_a_flag_a_variable_and_a_key() {
    let value = |name: &str| match name {
        "listen" | "listen-v2" => "127.0.0.1:1",
        "store" => "sqlite:/x/y.db",
        "log" => "json",
        "admin-listen" => "127.0.0.1:9556",
        "registration" => "invite",
        "limit-exempt" | "proxy-from" => "10.0.0.0/8",
        "limit-creates" | "limit-creates-all" | "limit-refusals" => "7/m",
        "limit-pause" => "7s",
        "limit-connections" => "7",
        "log-addresses" => "true",
        "banner" => "hello",
        "banner-file" | "tls-cert" | "tls-key" | "data-dir" => "/dev/null",
        "acme" => "a.example",
        "acme-directory" => "https://ca.example/dir",
        "acme-contact" => "a@b.example",
        "acme-listen" => "127.0.0.1:443",
        "acme-ca-file" | "acme-dns-hook" => "/x/y",
        "confirm-grace" | "handshake-timeout" | "idle-timeout" | "session-timeout" => "7s",
        "connections-max" => "5000",
        "memory-max" => "300000000",
        _ => "1000000",
    };
    for setting in settings::SETTINGS {
        let value = value(setting.name);
        let (mut flags, mut variables, mut file) = (vec![], vec![], String::new());
        // These settings need another one.
        for (name, mate) in [
            ("tls-cert", "tls-key"),
            ("tls-key", "tls-cert"),
            ("confirm-grace", "idle-timeout"),
            ("acme-directory", "acme"),
            ("acme-contact", "acme"),
            ("acme-listen", "acme"),
            ("acme-ca-file", "acme"),
            ("acme-dns-hook", "acme"),
        ] {
            if setting.name == name {
                let value = match mate {
                    "idle-timeout" => "20s",
                    "acme" => "b.example",
                    _ => "/k",
                };
                flags.push(format!("--{mate}={value}"));
                let variable = settings::setting(mate).unwrap().variable();
                variables.push((variable, value.to_owned()));
                file.push_str(&format!("{mate} = \"{value}\"\n"));
            }
        }
        flags.push(format!("--{}={value}", setting.name));
        variables.push((setting.variable(), value.to_owned()));
        file.push_str(&format!("{} = \"{value}\"\n", setting.name));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let variables: Vec<(&str, &str)> = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let by_flag = gather(&flags, &[], None).unwrap();
        assert_ne!(by_flag, gather(&[], &[], None).unwrap(), "{}", setting.name);
        assert_eq!(
            by_flag,
            gather(&[], &variables, None).unwrap(),
            "{}",
            setting.name
        );
        assert_eq!(
            by_flag,
            gather(&[], &[], Some(&file)).unwrap(),
            "{}",
            setting.name
        );
    }
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let empty: Vec<(String, String)> = settings::SETTINGS
        .iter()
        .flat_map(|setting| [setting.variable(), format!("{}_FILE", setting.variable())])
        .filter(|name| !name.ends_with("_FILE_FILE"))
        .map(|name| (name, String::new()))
        .collect();
    let mut empty: Vec<(&str, &str)> = empty
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    empty.extend([
        ("STATE_DIRECTORY", ""),
        ("XDG_DATA_HOME", ""),
        ("PASSMATE_SERVER_CONFIG", ""),
    ]);
    assert_eq!(
        gather(&[], &empty, None).unwrap(),
        gather(&[], &[], None).unwrap()
    );
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest() {
    let text = complaint(&[], &[], Some("idle_timeout = \"1s\""));
    assert!(text.contains("unknown key `idle_timeout` in "), "{text}");
    assert!(
        text.ends_with("the nearest known name is `idle-timeout`"),
        "{text}"
    );
    let text = complaint(&[], &[("PASSMATE_SERVER_LISTN", "x")], None);
    assert!(
        text.starts_with("unknown environment variable `PASSMATE_SERVER_LISTN`"),
        "{text}"
    );
    assert!(text.ends_with("`PASSMATE_SERVER_LISTEN`"), "{text}");
    let text = complaint(&[], &[("PASSMATE_SERVER_STORE_FIEL", "x")], None);
    assert!(text.ends_with("`PASSMATE_SERVER_STORE_FILE`"), "{text}");
    let text = complaint(&[], &[], Some("wxyzwxyzwxyzwxyz = 1"));
    assert!(text.contains("--help"), "{text}");
}

#[test]
fn variables_that_kubernetes_sets_are_ignored() {
    let variables = [
        ("PASSMATE_SERVER_SERVICE_HOST", "10.0.0.1"),
        ("PASSMATE_SERVER_SERVICE_PORT_SYNC", "29556"),
        ("PASSMATE_SERVER_PORT", "tcp://10.0.0.1:29556"),
        ("PASSMATE_SERVER_PORT_29556_TCP_ADDR", "10.0.0.1"),
    ];
    assert!(gather(&[], &variables, None).is_ok());
}

#[test]
fn a_list_has_the_same_meaning_in_every_source() {
    let flags = ["--listen", "127.0.0.1:1", "--listen", "[::1]:2"];
    let variables = [("PASSMATE_SERVER_LISTEN", "127.0.0.1:1, [::1]:2")];
    let file = "listen = [\"127.0.0.1:1\", \"[::1]:2\"]";
    let expected = gather(&flags, &[], None).unwrap();
    assert_eq!(expected.listen.len(), 2);
    assert_eq!(gather(&[], &variables, None).unwrap(), expected);
    assert_eq!(gather(&[], &[], Some(file)).unwrap(), expected);
}

#[test]
fn a_name_of_the_certificate_counts_once() {
    let flags = [
        "--acme",
        "A.example.",
        "--acme=b.example",
        "--acme=a.EXAMPLE",
    ];
    let acme = gather(&flags, &[], None).unwrap().acme.unwrap();
    assert_eq!(acme.names, ["a.example", "b.example"]);
}

#[test]
fn layout_2_on_the_default_port_replaces_layout_1() {
    let listen = |flags: &[&str]| gather(flags, &[], None).unwrap().listen;
    assert_eq!(listen(&["--listen-v2", "[::]:29556"]), []);
    assert_eq!(listen(&["--listen-v2", "127.0.0.1"]), []);
    assert_eq!(
        listen(&["--listen-v2", "[::]:29557"]),
        [ListenAddress::everywhere()]
    );
    assert_eq!(
        listen(&["--listen-v2", "[::]:29556", "--listen", ":29557"]).len(),
        1
    );
    assert_eq!(listen(&["--listen-v2", "[::]:1", "--listen", "none"]), []);
    let text = complaint(&["--listen", "none"], &[], None);
    assert!(
        text.starts_with("there is nothing to listen on\n"),
        "{text}"
    );
    let text = complaint(&["--listen", "none", "--listen", ":1"], &[], None);
    assert!(
        text.starts_with("--listen is `none` and an address"),
        "{text}"
    );
}

#[test]
fn the_data_dir_follows_systemd_then_xdg_then_home() {
    let dir = |variables: &[(&str, &str)]| gather(&[], variables, None).unwrap().data_dir;
    let (state, xdg) = (
        ("STATE_DIRECTORY", "/var/lib/a:/b"),
        ("XDG_DATA_HOME", "/x"),
    );
    assert_eq!(dir(&[state, xdg]), Path::new("/var/lib/a"));
    assert_eq!(dir(&[xdg]), Path::new("/x/passmate-server"));
    let home = Path::new("/home/someone/.local/share/passmate-server");
    assert_eq!(dir(&[("XDG_DATA_HOME", "relative")]), home);
    let text = complaint(&[], &[("HOME", "")], None);
    assert!(text.ends_with("give --data-dir DIR"), "{text}");
}

#[test]
fn a_banner_is_kept_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("banner");
    std::fs::write(&path, " two\nlines \n\n").unwrap();
    let path = path.to_str().unwrap();
    let banner = |flags: &[&str], variables: &[(&str, &str)]| {
        gather(flags, variables, Some("banner = \"file\""))
            .unwrap()
            .banner
            .unwrap()
    };
    assert_eq!(&*banner(&["--banner-file", path], &[]), b" two\nlines \n\n");
    assert_eq!(
        &*banner(&[], &[("PASSMATE_SERVER_BANNER_FILE", path)]),
        b" two\nlines \n\n"
    );
    assert_eq!(
        &*banner(&["--banner", ""], &[("PASSMATE_SERVER_BANNER", "env")]),
        b""
    );
    assert_eq!(&*banner(&[], &[("PASSMATE_SERVER_BANNER", "env")]), b"env");
    assert_eq!(&*banner(&[], &[]), b"file");
    let text = complaint(&["--banner", "x", "--banner-file", path], &[], None);
    assert!(
        text.starts_with("--banner-file and a banner as text"),
        "{text}"
    );
    let text = complaint(&["--banner", &"x".repeat(32 * 1024 + 1)], &[], None);
    assert!(text.contains("longer than 32 KiB"), "{text}");
}

#[test]
fn a_fault_names_where_it_was_written() {
    let check = |flags: &[&str], variables: &[(&str, &str)], file, part: &str| {
        let text = complaint(flags, variables, file);
        assert!(text.contains(part), "{text}");
    };
    check(
        &["--idle-timeout", "10"],
        &[],
        None,
        "--idle-timeout is not a duration",
    );
    check(
        &[],
        &[("PASSMATE_SERVER_BTOKEN_MAX", "2MB")],
        None,
        "PASSMATE_SERVER_BTOKEN_MAX is not a size",
    );
    check(&[], &[], Some("\nlisten = 5.5"), "`listen` in ");
    check(
        &[],
        &[],
        Some("[serve]\nlisten = \"x\""),
        "unknown key `serve`",
    );
    check(
        &[],
        &[],
        Some("idle-timeout = \"1s\"\nsecret ="),
        "is not TOML, line 2",
    );
    check(
        &["--btoken-max", "0"],
        &[],
        None,
        "--btoken-max is out of range: at least 1 bytes",
    );
    check(&["--connections-max", "0"], &[], None, "at least 1");
    check(
        &["--tls-cert", "x"],
        &[],
        None,
        "--tls-cert is given without --tls-key",
    );
    check(&[], &[], Some("tls-key = \"x\""), "without --tls-cert");
    check(
        &["--account-limit", "3MiB"],
        &[],
        None,
        "more than btoken-max",
    );
    check(
        &["--memory-max", "4MiB"],
        &[],
        None,
        "less than four times btoken-max",
    );
    check(
        &["--confirm-grace", "30s"],
        &[],
        None,
        "not shorter than idle-timeout",
    );
    check(
        &["--log", "xml"],
        &[],
        None,
        "--log is not one of: text, json",
    );
    check(&["--data-dir", ""], &[], None, "--data-dir is empty");
    check(
        &["--config", "/nowhere/at/all"],
        &[],
        None,
        "cannot read /nowhere/at/all",
    );
    check(
        &[],
        &[("PASSMATE_SERVER_STORE_FILE", "/nowhere")],
        None,
        "PASSMATE_SERVER_STORE_FILE (/nowhere)",
    );
}

#[test]
fn no_error_shows_the_password_of_a_store() {
    let url = "postgres://user:hunter2@host/db";
    let secret = |text: String| assert!(!text.contains("hunter2"), "{text}");
    secret(complaint(
        &[],
        &[("PASSMATE_SERVER_STORE", &url.replace("postgres", "mysql"))],
        None,
    ));
    secret(complaint(&[], &[], Some(&format!("store = {url}"))));
    let text = complaint(&["--store", &format!("{url}?batch=0")], &[], None);
    assert!(text.contains("batch: write 1 to 512"), "{text}");
    secret(text);
}

#[test]
fn a_switch_is_a_bare_flag_and_can_be_turned_off() {
    let on = Some("log-addresses = true");
    assert!(
        gather(&["--log-addresses"], &[], None)
            .unwrap()
            .log_addresses
    );
    assert!(gather(&[], &[], on).unwrap().log_addresses);
    assert!(
        !gather(&["--log-addresses=false"], &[], on)
            .unwrap()
            .log_addresses
    );
    assert!(
        !gather(&[], &[("PASSMATE_SERVER_LOG_ADDRESSES", "off")], on)
            .unwrap()
            .log_addresses
    );
}

#[test]
fn sample_and_defaults_in_the_manual_are_correct() {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operating.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    let sample = manual
        .split("```toml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let config = gather(&[], &[], Some(sample)).unwrap();
    assert_eq!(config.limits.accounts_max, 1000);
    assert_eq!(config.log, LogFormat::Json);

    let mut rows = 0;
    for row in manual.lines().filter_map(|line| line.strip_prefix("| `--")) {
        let Some((name, rest)) = row.split_once("` | ") else {
            continue;
        };
        let default = rest.split(" |").next().unwrap();
        // Giving the documented default must change nothing.
        let flag = format!("--{name}={default}");
        assert_eq!(
            gather(&[&flag], &[], None).unwrap(),
            gather(&[], &[], None).unwrap(),
            "{flag}"
        );
        rows += 1;
    }
    assert_eq!(rows, 15, "the table of limits has a row for each");
}

#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
    )
    .unwrap();
    let folder = dir.path().to_str().unwrap().to_owned();
    let pipe = pipe.to_str().unwrap().to_owned();
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for path in [pipe, folder] {
            let texts = [
                complaint(&["--config", &path], &[], None),
                complaint(&["--banner-file", &path], &[], None),
                complaint(&[], &[("PASSMATE_SERVER_IDLE_TIMEOUT_FILE", &path)], None),
            ];
            for text in texts {
                assert!(
                    text.contains("cannot read") && text.contains("not a regular file"),
                    "{text}"
                );
            }
            let files = CertificateFiles {
                certificate: path.clone().into(),
                key: path.into(),
            };
            let error =
                crate::tls::Identity::load(Some(&files), Path::new("/nowhere")).unwrap_err();
            assert!(error.to_string().contains("not a regular file"), "{error}");
        }
        done.send(()).unwrap();
    });
    assert!(
        is_done.recv_timeout(Duration::from_secs(10)).is_ok(),
        "it waits, or it failed"
    );
}

#[test]
fn the_lines_of_the_example_are_the_defaults() {
    let example = example();
    let is_line =
        |line: &&str| line.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(" = ");
    let lines: Vec<&str> = example
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(is_line)
        .collect();
    assert!(lines.len() > 15, "{lines:?}");
    assert_eq!(
        gather(&[], &[], Some(&lines.join("\n"))).unwrap(),
        gather(&[], &[], None).unwrap()
    );
    for line in lines {
        // Each line alone, so that two errors cannot hide each other.
        assert_eq!(
            gather(&[], &[], Some(line)).unwrap(),
            gather(&[], &[], None).unwrap(),
            "{line}"
        );
    }
}
