//! Connections to checked addresses. No other code of this project opens a connection for a plugin.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use component_host::host_api::Unreachable;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use host_policy::CheckedAddresses;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::failure::Failure;

/// Time after which the next address is tried as well (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Addresses of a name that are tried. All of them were checked.
const MAX_ATTEMPTS: usize = 8;

/// Opens TCP connections. Tests use another one to see every address that is dialled.
#[async_trait]
pub trait Dialer: fmt::Debug + Send + Sync + 'static {
    /// Connects to an address, which was checked.
    async fn connect(&self, address: SocketAddr) -> std::io::Result<TcpStream>;
}

/// Connections of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDialer;

#[async_trait]
impl Dialer for SystemDialer {
    async fn connect(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        TcpStream::connect(address).await
    }
}

/// Connects to the first address that accepts.
pub(crate) async fn dial(
    dialer: &dyn Dialer,
    addresses: &CheckedAddresses,
) -> Result<(TcpStream, SocketAddr), Failure> {
    let attempt = |address: SocketAddr| async move { (dialer.connect(address).await, address) };
    let mut rest = in_order(addresses.as_slice()).into_iter().take(MAX_ATTEMPTS);
    let mut attempts = FuturesUnordered::new();
    attempts.extend(rest.next().map(attempt));
    loop {
        tokio::select! {
            connected = attempts.next() => match connected {
                Some((Ok(stream), address)) => {
                    // Each message is written as a whole, so there is nothing to wait for.
                    let _ = stream.set_nodelay(true);
                    return Ok((stream, address));
                }
                // The next attempt begins at once after a failure.
                Some((Err(_), _)) => attempts.extend(rest.next().map(attempt)),
                None => return Err(Failure::Unreachable(Unreachable::Connect)),
            },
            () = sleep(ATTEMPT_DELAY) => attempts.extend(rest.next().map(attempt)),
        }
    }
}

/// Returns the addresses with alternating families, IPv6 first (RFC 8305, section 4).
fn in_order(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let (six, four): (Vec<SocketAddr>, Vec<SocketAddr>) = addresses.iter().partition(|address| address.is_ipv6());
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    let mut ordered = Vec::with_capacity(addresses.len());
    while ordered.len() < addresses.len() {
        ordered.extend(six.next());
        ordered.extend(four.next());
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_and_ipv6_comes_first() {
        let of = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("an address")).collect::<Vec<_>>();
        let ordered = in_order(&of(&["1.1.1.1:1", "2.2.2.2:1", "[::1]:1", "3.3.3.3:1"]));
        assert_eq!(ordered, of(&["[::1]:1", "1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1"]));
    }
}
