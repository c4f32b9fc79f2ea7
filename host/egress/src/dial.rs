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
    use std::io::ErrorKind;
    use std::net::IpAddr;
    use std::sync::Mutex;

    use bundles::Method;
    use host_policy::{AddressPolicy, EgressRequest, PermissionSet, check_addresses, permit_request};
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;

    /// Outcome of an attempt.
    #[derive(Debug, Clone, Copy)]
    enum Attempt {
        Hangs,
        Fails,
        Connects,
    }

    /// A dialer whose attempts have these outcomes, in order. The last one stands for all further attempts.
    #[derive(Debug)]
    struct Scripted {
        outcomes: Vec<Attempt>,
        dialled: Mutex<Vec<SocketAddr>>,
    }

    impl Scripted {
        fn new(outcomes: &[Attempt]) -> Self {
            Self { outcomes: outcomes.to_vec(), dialled: Mutex::default() }
        }

        fn dialled(&self) -> Vec<SocketAddr> {
            self.dialled.lock().expect("addresses").clone()
        }
    }

    #[async_trait]
    impl Dialer for Scripted {
        async fn connect(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
            let place = {
                let mut dialled = self.dialled.lock().expect("addresses");
                dialled.push(address);
                dialled.len() - 1
            };
            match self.outcomes.get(place).or(self.outcomes.last()) {
                Some(Attempt::Hangs) => std::future::pending().await,
                Some(Attempt::Fails) | None => Err(ErrorKind::ConnectionRefused.into()),
                // Connected without a wait, during which the paused clock would move.
                Some(Attempt::Connects) => {
                    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
                    let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
                    stream.set_nonblocking(true)?;
                    TcpStream::from_std(stream)
                }
            }
        }
    }

    /// Returns a number of checked addresses.
    fn addresses(count: u8) -> CheckedAddresses {
        let permission = json!({
            "scheme": "https", "host": "peer.example", "methods": ["GET"], "path_prefixes": ["/"],
        });
        let set = PermissionSet::new([serde_json::from_value(permission).expect("a permission")]);
        let request = EgressRequest::request(Method::Get, "https://peer.example/", Vec::new()).expect("a request");
        let permitted = permit_request(&set, &set, request).expect("permitted");
        let resolved: Vec<IpAddr> = (1..=count).map(|last| IpAddr::from([203, 0, 113, last])).collect();
        check_addresses(&AddressPolicy::with_test_net_3(), &permitted, &resolved).expect("public addresses")
    }

    #[tokio::test(start_paused = true)]
    async fn next_address_is_tried_at_once_after_a_failure_and_after_a_delay_while_one_hangs() {
        use Attempt::{Connects, Fails, Hangs};
        let addresses = addresses(4);
        for (outcomes, used, waited) in [
            (&[Connects][..], 0, Duration::ZERO),
            (&[Fails, Connects], 1, Duration::ZERO),
            (&[Hangs, Connects], 1, ATTEMPT_DELAY),
            (&[Hangs, Fails, Connects], 2, ATTEMPT_DELAY),
            (&[Fails, Hangs, Hangs, Connects], 3, ATTEMPT_DELAY * 2),
        ] {
            let (dialer, began) = (Scripted::new(outcomes), Instant::now());
            let (_, address) = dial(&dialer, &addresses).await.expect("a connection");
            assert_eq!(address, addresses.as_slice()[used], "{outcomes:?}");
            assert_eq!(dialer.dialled(), addresses.as_slice()[..=used], "{outcomes:?}");
            // The timer counts whole milliseconds.
            let elapsed = began.elapsed();
            assert!(elapsed >= waited && elapsed < waited + Duration::from_millis(10), "{outcomes:?}: {elapsed:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_all_fail_are_each_tried_once_and_not_more_than_the_limit() {
        for count in [1, 3, 10] {
            let (dialer, addresses) = (Scripted::new(&[Attempt::Fails]), addresses(count));
            let failure = dial(&dialer, &addresses).await.expect_err("no connection");
            assert_eq!(failure, Failure::Unreachable(Unreachable::Connect));
            assert_eq!(dialer.dialled(), addresses.as_slice()[..usize::from(count).min(MAX_ATTEMPTS)]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_all_hang_are_dialled_until_the_caller_gives_up() {
        let (dialer, addresses) = (Scripted::new(&[Attempt::Hangs]), addresses(10));
        let outcome = tokio::time::timeout(Duration::from_secs(3600), dial(&dialer, &addresses)).await;
        assert!(outcome.is_err(), "{outcome:?}");
        assert_eq!(dialer.dialled(), addresses.as_slice()[..MAX_ATTEMPTS]);
    }

    #[test]
    fn families_alternate_and_ipv6_comes_first() {
        let of = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("an address")).collect::<Vec<_>>();
        let ordered = in_order(&of(&["1.1.1.1:1", "2.2.2.2:1", "[::1]:1", "3.3.3.3:1"]));
        assert_eq!(ordered, of(&["[::1]:1", "1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1"]));
    }
}
