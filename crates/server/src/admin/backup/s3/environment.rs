//! The environment variables that say how an object store is reached. They have the names that all
//! programs for S3 use. An empty one counts as not set.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use hyper::Uri;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{
    BackoffConfig, Certificate, ClientConfigKey, ClientOptions, HeaderValue, RetryConfig,
};

use super::super::super::Failure;
use super::fault::StoreName;
use crate::exit::Code;
use crate::files;

/// The length of the longest AWS_CA_BUNDLE, in bytes.
const CA_LEN_MAX: u64 = 4 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The time for one part, from its first byte to the answer, or for the next bytes of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
const RETRIES: usize = 4;
/// After this time a request is not repeated.
const RETRY_TIMEOUT: Duration = Duration::from_secs(180);

const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("passmate-server/", env!("CARGO_PKG_VERSION")));

/// What a variable may hold, so that a request with it can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Letters that a header can have.
    Word,
    /// A part of the name of a host.
    Name,
    Url,
    /// What follows the host in a URL.
    UrlPath,
    File,
    Switch,
    Time,
}

/// The variables that are read. A later one goes before an earlier one for the same thing.
const VARIABLES: [(&str, Kind); 20] = [
    ("AWS_ACCESS_KEY_ID", Kind::Word),
    ("AWS_SECRET_ACCESS_KEY", Kind::Word),
    ("AWS_SESSION_TOKEN", Kind::Word),
    ("AWS_DEFAULT_REGION", Kind::Name),
    ("AWS_REGION", Kind::Name),
    ("AWS_ENDPOINT_URL", Kind::Url),
    ("AWS_ENDPOINT_URL_S3", Kind::Url),
    ("AWS_ENDPOINT_URL_STS", Kind::Url),
    ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", Kind::Switch),
    ("AWS_ALLOW_HTTP", Kind::Switch),
    ("AWS_CONNECT_TIMEOUT", Kind::Time),
    ("AWS_READ_TIMEOUT", Kind::Time),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", Kind::File),
    ("AWS_ROLE_ARN", Kind::Word),
    ("AWS_ROLE_SESSION_NAME", Kind::Word),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", Kind::UrlPath),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", Kind::Url),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", Kind::File),
    ("AWS_SERVER_SIDE_ENCRYPTION", Kind::Word),
    ("AWS_SSE_KMS_KEY_ID", Kind::Word),
];

/// Where the machine is asked for credentials.
const METADATA: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";

/// Reads how a bucket is reached.
pub(super) fn builder(
    bucket: &str,
    get: impl Fn(&str) -> Option<OsString>,
) -> Result<(AmazonS3Builder, StoreName), Failure> {
    let get = |name: &str| match get(name).filter(|value| !value.is_empty()) {
        None => Ok(None),
        Some(value) => match value.into_string() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(wrong(name, "is not UTF-8")),
        },
    };
    let mut options = ClientOptions::new()
        .with_user_agent(USER_AGENT)
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_read_timeout(READ_TIMEOUT);
    if let Some(file) = get("AWS_CA_BUNDLE")? {
        options = options.with_no_system_certificates(true);
        for certificate in read_ca(Path::new(&file))? {
            options = options.with_root_certificate(certificate);
        }
    }
    let mut builder = AmazonS3Builder::new()
        .with_client_options(options)
        .with_bucket_name(bucket)
        .with_disable_bulk_delete(true)
        .with_retry(RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: RETRIES,
            retry_timeout: RETRY_TIMEOUT,
        });
    let mut endpoint = None;
    for (name, kind) in VARIABLES {
        let Some(value) = get(name)? else { continue };
        if let Err(problem) = kind.check(&value) {
            return Err(wrong(name, problem));
        }
        if name.starts_with("AWS_ENDPOINT_URL") && name != "AWS_ENDPOINT_URL_STS" {
            endpoint = Some((name, value.clone()));
        }
        let key: AmazonS3ConfigKey = name
            .to_ascii_lowercase()
            .parse()
            .map_err(|_| wrong(name, "is not known"))?;
        builder = builder.with_config(key, value);
    }
    if let Some(url) = get(METADATA)? {
        check_url(&url).map_err(|problem| wrong(METADATA, problem))?;
        builder = builder.with_metadata_endpoint(url.trim_end_matches('/'));
    }
    check_credentials(&get)?;
    if let Some(url) = get("AWS_CONTAINER_CREDENTIALS_FULL_URI")?
        && !may_give_credentials(&url)
    {
        return Err(wrong(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "is neither https nor an address of this machine or of its provider",
        ));
    }
    let region = builder.get_config_value(&AmazonS3ConfigKey::Region);
    let region = region.unwrap_or_else(|| "us-east-1".to_owned());
    if let Some((name, url)) = &endpoint
        && url.starts_with("http://")
    {
        let allow = AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp);
        let is_allowed = is_true(&builder.get_config_value(&allow).unwrap_or_default());
        if !is_allowed && !host_of(url).is_some_and(is_loopback) {
            return Err(Failure::new(
                Code::Usage,
                format_args!("{name} is plain http, by which anyone on the way reads the backup"),
                "give an https:// address, or set AWS_ALLOW_HTTP=true if the way is protected \
                 otherwise",
            ));
        }
        builder = builder.with_allow_http(true);
    }
    let endpoint = endpoint.map_or_else(
        || format!("https://s3.{region}.amazonaws.com"),
        |(_, url)| url,
    );
    let name = StoreName {
        bucket: bucket.to_owned(),
        endpoint,
        region,
    };
    Ok((builder, name))
}

/// An error that does not show what the variable holds.
fn wrong(name: &str, problem: &str) -> Failure {
    Failure::new(
        Code::Usage,
        format_args!("the environment variable {name} {problem}"),
        "docs/operating.md lists the variables for s3:// and what they hold",
    )
}

fn read_ca(file: &Path) -> Result<Vec<Certificate>, Failure> {
    let failed = |problem: &dyn std::fmt::Display| {
        Failure::new(
            Code::File,
            format_args!("cannot read AWS_CA_BUNDLE {}: {problem}", file.display()),
            "give a file with the certificate of an authority in PEM",
        )
    };
    let pem = files::read(file, CA_LEN_MAX).map_err(|error| failed(&error))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(failed(&"it holds no certificate")),
    }
}

/// # Errors
/// Half of the credentials are given, or none can be had.
fn check_credentials(
    get: &impl Fn(&str) -> Result<Option<String>, Failure>,
) -> Result<(), Failure> {
    let has = |name: &str| get(name).map(|value| value.is_some());
    match (has("AWS_ACCESS_KEY_ID")?, has("AWS_SECRET_ACCESS_KEY")?) {
        (true, true) => return Ok(()),
        (true, false) => return Err(wrong("AWS_SECRET_ACCESS_KEY", "is not set")),
        (false, true) => return Err(wrong("AWS_ACCESS_KEY_ID", "is not set")),
        (false, false) => {}
    }
    let has_web_identity = has("AWS_WEB_IDENTITY_TOKEN_FILE")? && has("AWS_ROLE_ARN")?;
    let has_container = has("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")?
        || (has("AWS_CONTAINER_CREDENTIALS_FULL_URI")?
            && has("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")?);
    let may_ask_machine = !is_true(&get("AWS_EC2_METADATA_DISABLED")?.unwrap_or_default());
    if has_web_identity || has_container || may_ask_machine {
        return Ok(());
    }
    Err(no_credentials(
        "no variable names credentials, and AWS_EC2_METADATA_DISABLED is set",
    ))
}

/// There are no credentials.
pub(super) fn no_credentials(why: &str) -> Failure {
    Failure::new(
        Code::Usage,
        format_args!("there are no credentials for the object store: {why}"),
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in a file that only the server's user \
         reads; `passmate-server backup --help` names the other ways",
    )
}

impl Kind {
    fn check(self, value: &str) -> Result<(), &'static str> {
        let is_ok = match self {
            Self::Word => value.bytes().all(|byte| byte.is_ascii_graphic()),
            Self::Name => value
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
            Self::Url => return check_url(value),
            Self::UrlPath => {
                value.starts_with('/') && format!("http://host{value}").parse::<Uri>().is_ok()
            }
            Self::File => true,
            Self::Switch => is_true(value) || is_false(value),
            Self::Time => crate::config::parse_duration(value).is_ok(),
        };
        is_ok.then_some(()).ok_or(match self {
            Self::Word => "has characters that no such value has, such as blanks",
            Self::Name => "is not the name of a region",
            Self::Switch => "is neither `true` nor `false`",
            Self::Time => "is not a time such as 30s",
            _ => "is not the path of a URL",
        })
    }
}

fn check_url(value: &str) -> Result<(), &'static str> {
    let url: Uri = value.parse().map_err(|_| "is not a URL")?;
    let is_web = matches!(url.scheme_str(), Some("http" | "https"));
    let Some(authority) = url.authority().filter(|_| is_web) else {
        return Err("is not a URL that begins with https://");
    };
    if authority.as_str().contains('@') {
        return Err("holds a user or a password: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    }
    if url.query().is_some() || value.contains('#') {
        return Err("has something behind its path");
    }
    Ok(())
}

fn host_of(url: &str) -> Option<String> {
    let url: Uri = url.parse().ok()?;
    Some(url.host()?.trim_matches(['[', ']']).to_owned())
}

fn is_loopback(host: String) -> bool {
    host == "localhost" || host.parse().is_ok_and(|host: IpAddr| host.is_loopback())
}

/// Whether credentials may come from there: by https, or from this machine, or from the addresses
/// at which containers are given theirs.
fn may_give_credentials(url: &str) -> bool {
    let Some(host) = host_of(url) else {
        return false;
    };
    let is_of_provider = match host.parse() {
        Ok(IpAddr::V4(address)) => address.is_link_local(),
        Ok(IpAddr::V6(address)) => address.segments().starts_with(&[0xfd00, 0x0ec2]),
        Err(_) => false,
    };
    url.starts_with("https://") || is_of_provider || is_loopback(host)
}

fn is_true(value: &str) -> bool {
    matches!(
        value.to_ascii_lowercase().as_str(),
        "1" | "true" | "on" | "yes" | "y"
    )
}

fn is_false(value: &str) -> bool {
    matches!(
        value.to_ascii_lowercase().as_str(),
        "0" | "false" | "off" | "no" | "n"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const KEYS: [(&str, &str); 2] = [
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG"),
    ];

    fn read(more: &[(&str, &str)]) -> Result<StoreName, Failure> {
        let all: BTreeMap<&str, &str> = KEYS.iter().chain(more).copied().collect();
        let (builder, name) = builder("vaults", |name| all.get(name).map(OsString::from))?;
        assert!(builder.build().is_ok());
        Ok(name)
    }

    fn refused(more: &[(&str, &str)], why: &str) {
        let failure = read(more).unwrap_err();
        assert_eq!(failure.code, Code::Usage, "{failure:?}");
        assert!(failure.message.contains(why), "{failure:?}");
        for (name, value) in KEYS.iter().chain(more) {
            let is_secret = name.contains("KEY") || name.contains("TOKEN");
            let shown = format!("{failure:?}");
            assert!(
                !is_secret || value.len() < 5 || !shown.contains(value),
                "{shown}"
            );
        }
    }

    #[test]
    fn a_place_is_named_by_region_or_by_url() {
        let place = |more: &[_]| {
            let name = read(more).unwrap();
            (name.endpoint, name.region)
        };
        let of = |endpoint: &str, region: &str| (endpoint.to_owned(), region.to_owned());
        assert_eq!(
            place(&[]),
            of("https://s3.us-east-1.amazonaws.com", "us-east-1")
        );
        let regions = [("AWS_REGION", "eu-north-1"), ("AWS_DEFAULT_REGION", "x")];
        assert_eq!(place(&regions).1, "eu-north-1");
        let urls = [
            ("AWS_ENDPOINT_URL_S3", "https://s3.example.org"),
            ("AWS_ENDPOINT_URL", "https://example.org"),
            ("AWS_ENDPOINT_URL_STS", "https://sts.example.org"),
        ];
        assert_eq!(place(&urls).0, "https://s3.example.org");
        // What is empty is not set.
        let empty = [("AWS_SESSION_TOKEN", ""), ("AWS_ENDPOINT_URL", "")];
        assert!(read(&empty).is_ok());
    }

    #[test]
    fn plain_http_needs_a_loopback_or_a_word() {
        for near in [
            "http://127.0.0.1:9000",
            "http://localhost",
            "http://[::1]:9000",
        ] {
            assert!(read(&[("AWS_ENDPOINT_URL", near)]).is_ok(), "{near}");
        }
        let far = ("AWS_ENDPOINT_URL", "http://minio.example.org");
        refused(&[far], "AWS_ENDPOINT_URL is plain http");
        refused(&[far, ("AWS_ALLOW_HTTP", "false")], "plain http");
        assert!(read(&[far, ("AWS_ALLOW_HTTP", "true")]).is_ok());
    }

    #[test]
    fn what_no_request_can_carry_is_refused_and_not_shown() {
        for (name, value, why) in [
            (
                "AWS_SECRET_ACCESS_KEY",
                "two words",
                "AWS_SECRET_ACCESS_KEY has characters",
            ),
            (
                "AWS_SESSION_TOKEN",
                "line\nbreak",
                "AWS_SESSION_TOKEN has characters",
            ),
            ("AWS_REGION", "eu/north", "is not the name of a region"),
            (
                "AWS_ENDPOINT_URL",
                "minio.example.org",
                "is not a URL that begins",
            ),
            (
                "AWS_ENDPOINT_URL",
                "ftp://example.org",
                "is not a URL that begins",
            ),
            (
                "AWS_ENDPOINT_URL",
                "https://a:b@example.org",
                "a user or a password",
            ),
            (
                "AWS_ENDPOINT_URL",
                "https://example.org/?a",
                "behind its path",
            ),
            ("AWS_ENDPOINT_URL", "https://exa mple.org", "is not a URL"),
            ("AWS_ALLOW_HTTP", "maybe", "neither `true` nor `false`"),
            ("AWS_READ_TIMEOUT", "soon", "is not a time"),
            (
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                "x y",
                "path of a URL",
            ),
            (
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "http://example.org",
                "neither https",
            ),
        ] {
            refused(&[(name, value)], why);
        }
        assert!(
            read(&[(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "http://169.254.170.23/v1"
            )])
            .is_ok()
        );
        let bundle = read(&[("AWS_CA_BUNDLE", "/nonexistent")]).unwrap_err();
        assert_eq!(bundle.code, Code::File);
    }

    #[test]
    fn half_of_the_credentials_or_none_is_an_error() {
        let only = |given: &'static [(&str, &str)]| {
            let get = |name: &str| {
                let found = given.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            builder("vaults", get).map(drop)
        };
        let message = |failure: Result<(), Failure>| failure.unwrap_err().message;
        let said = message(only(&[("AWS_ACCESS_KEY_ID", "a")]));
        assert!(said.contains("AWS_SECRET_ACCESS_KEY is not set"), "{said}");
        let said = message(only(&[("AWS_SECRET_ACCESS_KEY", "a")]));
        assert!(said.contains("AWS_ACCESS_KEY_ID is not set"), "{said}");
        let said = message(only(&[("AWS_EC2_METADATA_DISABLED", "true")]));
        assert!(said.contains("no credentials"), "{said}");
        assert!(only(&[]).is_ok(), "the machine may have some");
    }
}
