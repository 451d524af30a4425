//! The PROXY protocol, v1 and v2: a header in which a proxy names the client of a connection. The
//! reader takes exactly the header, because TLS follows it.

use std::io;
use std::net::SocketAddr;

use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The least length of a header of both versions.
const BEGIN_LEN: usize = 12;
const V1_BEGIN: &[u8] = b"PROXY ";
/// The longest line of v1, with its end.
const V1_LEN_MAX: usize = 107;
const V2_BEGIN: &[u8; BEGIN_LEN] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEAD_LEN: usize = 16;
/// The longest header of v2 that is accepted: far longer than those that proxies send.
const V2_LEN_MAX: usize = 4096;

/// Reads the header. `None`: the proxy speaks for itself, as its health checks do.
///
/// # Errors
/// The bytes are not a header, or it is too long, or the connection ended.
pub(crate) async fn read_header(
    io: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; BEGIN_LEN];
    io.read_exact(&mut header).await?;
    if header == V2_BEGIN {
        read_on(io, &mut header, V2_HEAD_LEN).await?;
        let len = match header.as_slice() {
            [.., high, low] => V2_HEAD_LEN + usize::from(u16::from_be_bytes([*high, *low])),
            _ => return Err(bad()),
        };
        if len > V2_LEN_MAX {
            return Err(bad());
        }
        read_on(io, &mut header, len).await?;
    } else if header.starts_with(V1_BEGIN) {
        while !header.ends_with(b"\r\n") {
            if header.len() >= V1_LEN_MAX {
                return Err(bad());
            }
            let len = header.len() + 1;
            read_on(io, &mut header, len).await?;
        }
    } else {
        return Err(bad());
    }
    let config = ParseConfig {
        include_tlvs: false,
        allow_v1: true,
        allow_v2: true,
    };
    let (parsed, len) = ProxyHeader::parse(&header, config).map_err(|_| bad())?;
    match parsed.proxied_address() {
        _ if len != header.len() => Err(bad()),
        None => Ok(None),
        Some(proxied) if proxied.protocol == Protocol::Stream => Ok(Some(proxied.source)),
        Some(_) => Err(bad()),
    }
}

/// Reads until the header has this length.
async fn read_on(
    io: &mut (impl AsyncRead + Unpin),
    header: &mut Vec<u8>,
    len: usize,
) -> io::Result<()> {
    let begun = header.len();
    header.resize(len.max(begun), 0);
    io.read_exact(header.get_mut(begun..).unwrap_or_default())
        .await
        .map(drop)
}

fn bad() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no PROXY protocol header")
}

#[cfg(test)]
mod tests;
