//! The address of a service that knows breached passwords. It is asked encrypted, unless it is on
//! this machine.

use std::net::IpAddr;

use ureq::http::Uri;

/// The service of Have I Been Pwned.
pub(crate) const PUBLIC: &str = "https://api.pwnedpasswords.com/range/";

/// Checks the address of a service.
///
/// # Errors
/// What it should be.
pub(crate) fn check_address(address: &str) -> Result<(), &'static str> {
    host_of(address).map(drop)
}

/// The host of an address that may be asked, and whether it is this machine.
pub(crate) fn host_of(address: &str) -> Result<(String, bool), &'static str> {
    const WRONG: &str = "an https address such as https://api.pwnedpasswords.com/range/, or an http \
                         one of this machine";
    let uri: Uri = address.parse().map_err(|_| WRONG)?;
    let host = uri.host().ok_or(WRONG)?;
    let name = host.trim_matches(['[', ']']);
    let is_here = match name.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    };
    let is_safe = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => is_here,
        _ => false,
    };
    match is_safe && uri.query().is_none() {
        true => Ok((host.to_owned(), is_here)),
        false => Err(WRONG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_asked_encrypted_unless_it_is_on_this_machine() {
        for fine in [
            PUBLIC,
            "https://breaches.example:8443",
            "http://localhost:8000/range/",
            "http://127.0.0.1/",
            "http://[::1]:9/x",
        ] {
            assert_eq!(check_address(fine), Ok(()), "{fine}");
        }
        for wrong in [
            "",
            "api.pwnedpasswords.com",
            "http://api.pwnedpasswords.com/range/",
            "http://localhost.example/",
            "http://127.0.0.1.example/",
            "ftp://localhost/",
            "https://",
            "https://x.example/?range=",
            "https://x.example/\n",
        ] {
            assert!(check_address(wrong).is_err(), "{wrong}");
        }
    }
}
