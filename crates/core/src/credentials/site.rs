//! The address of a site, as far as it decides who gets a login.

/// Scheme, host, port and path of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// In lower case; `https` if the address has none.
    pub scheme: String,
    /// In lower case, without a dot at its end.
    pub host: String,
    /// The port, if it is not the usual one of the scheme.
    pub port: Option<u16>,
    /// Without slashes at its ends, query and fragment.
    pub path: String,
}

impl Site {
    /// Reads an address such as a record's `url` holds. An address without a scheme is one of
    /// `https`: a login for it is sent through no open connection.
    #[must_use]
    pub fn parse(address: &str) -> Option<Self> {
        let address = address.trim();
        let (scheme, rest) = address.split_once("://").unwrap_or(("https", address));
        let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if scheme.is_empty() || !scheme.bytes().all(is_scheme) {
            return None;
        }
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = authority.rsplit('@').next().unwrap_or_default();
        Self::new(scheme, host, path)
    }

    /// A site of its parts; the host may have a port.
    #[must_use]
    pub fn new(scheme: &str, host: &str, path: &str) -> Option<Self> {
        let scheme = scheme.to_ascii_lowercase();
        let (name, port) = match host.rsplit_once(':') {
            // The last colon of `[::1]` stands in its brackets.
            Some((name, port)) if !port.contains(']') => (name, Some(port)),
            _ => (host, None),
        };
        let port = match port {
            None | Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            Some(_) => return None,
        };
        let usual = match scheme.as_str() {
            "https" => Some(443),
            "http" => Some(80),
            _ => None,
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_lowercase();
        let is_host = |c: char| !c.is_whitespace() && !c.is_control() && !"/\\@?#".contains(c);
        if name.is_empty() || !name.chars().all(is_host) || name.split('.').any(str::is_empty) {
            return None;
        }
        Some(Self {
            scheme,
            host: name,
            port: port.filter(|port| Some(*port) != usual),
            path: path.trim_matches('/').to_owned(),
        })
    }

    /// Whether both have the same scheme, host and port.
    #[must_use]
    pub fn is_same_host(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.host == other.host && self.port == other.port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(address: &str) -> Site {
        Site::parse(address).unwrap()
    }

    #[test]
    fn an_address_has_scheme_host_port_and_path() {
        for (address, scheme, host, port, path) in [
            ("https://example.org", "https", "example.org", None, ""),
            (
                "HTTPS://Example.ORG.:443/",
                "https",
                "example.org",
                None,
                "",
            ),
            (
                "example.org/login?x#y",
                "https",
                "example.org",
                None,
                "login",
            ),
            (
                "http://a@b:8080@c.example/d/e/",
                "http",
                "c.example",
                None,
                "d/e",
            ),
            ("https://[::1]:8443/x", "https", "[::1]", Some(8443), "x"),
            ("ssh://host:22", "ssh", "host", Some(22), ""),
            (
                "https://bücher.example",
                "https",
                "bücher.example",
                None,
                "",
            ),
        ] {
            let found = site(address);
            let found = (
                found.scheme.as_str(),
                found.host.as_str(),
                found.port,
                found.path.as_str(),
            );
            assert_eq!(found, (scheme, host, port, path), "{address}");
        }
        for address in [
            "",
            "https://",
            "https:///x",
            "https://a b/",
            "https://a:x/",
            "https://a:99999/",
            "https://a..b/",
            "a b://c",
            "https://\u{9b}",
        ] {
            assert_eq!(Site::parse(address), None, "{address}");
        }
    }

    #[test]
    fn only_the_same_host_is_the_same() {
        let of = site("https://example.org/x");
        for same in [
            "https://example.org",
            "example.org:443/y",
            "https://EXAMPLE.org./",
        ] {
            assert!(of.is_same_host(&site(same)), "{same}");
        }
        for other in [
            "http://example.org",
            "https://example.org:8443",
            "https://www.example.org",
            "https://example.org.evil.example",
            "https://notexample.org",
            "https://example.org@evil.example",
            "https://evil.example/example.org",
            "https://org",
        ] {
            assert!(!of.is_same_host(&site(other)), "{other}");
        }
    }
}
