//! Look-up of names. The rest of this package resolves names only through [`NameResolver`].

use std::fmt;
use std::net::IpAddr;

use async_trait::async_trait;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{ResolverBuilder, TokioResolver};

/// Error of a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The name does not exist or has no address.
    #[error("name not found")]
    NotFound,
    /// The name servers did not answer.
    #[error("the name servers did not answer")]
    Unavailable,
}

/// Source of the addresses of a name.
#[async_trait]
pub trait NameResolver: fmt::Debug + Send + Sync + 'static {
    /// Returns all addresses of a host name: lower-case ASCII, without a final dot.
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError>;
}

/// Names of the system: `/etc/hosts` and the name servers of `/etc/resolv.conf`. Both files are read once, when the value is
/// created. Without name servers, every look-up is [`ResolveError::Unavailable`].
///
/// A name is looked up as it is: search lists are not applied.
pub struct SystemNames(Option<TokioResolver>);

impl SystemNames {
    /// Reads the system's configuration.
    pub fn new() -> Self {
        Self(Self::resolver())
    }

    fn resolver() -> Option<TokioResolver> {
        Self::configured(TokioResolver::builder_tokio().ok()?)
    }

    fn configured(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Option<TokioResolver> {
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        // An answer is used once and checked each time, so that a changed record takes effect with the next request.
        options.cache_size = 0;
        builder.build().ok()
    }
}

impl Default for SystemNames {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SystemNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemNames")
    }
}

#[async_trait]
impl NameResolver for SystemNames {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        // A name that ends with a dot is complete, so that the resolver tries no suffix of a search list.
        let resolver = self.0.as_ref().ok_or(ResolveError::Unavailable)?;
        match resolver.lookup_ip(format!("{name}.")).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(error) if error.is_nx_domain() || error.is_no_records_found() => Err(ResolveError::NotFound),
            Err(_) => Err(ResolveError::Unavailable),
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a fixed form")]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::{Arc, Mutex};

    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use tokio::net::UdpSocket;

    use super::*;

    /// Returns the name of a question, and the bytes of the question itself.
    fn question(query: &[u8]) -> (String, &[u8]) {
        let (mut name, mut at) = (String::new(), 12);
        while query[at] != 0 {
            let end = at + 1 + usize::from(query[at]);
            name.push_str(std::str::from_utf8(&query[at + 1..end]).expect("a label"));
            name.push('.');
            at = end;
        }
        (name.to_ascii_lowercase(), &query[12..at + 5])
    }

    /// Answers like a name server that has one address of `peer.example`. Names that it is asked for are recorded.
    async fn name_server() -> (u16, Arc<Mutex<Vec<String>>>) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = socket.local_addr().expect("an address").port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let names = asked.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                let (name, question) = question(&buffer[..length]);
                // The type A is 1. An answer without records for another type, and no such name for another name.
                let is_address = question[question.len() - 3] == 1;
                let (code, answers) = match (name.as_str(), is_address) {
                    ("peer.example.", true) => (0x80, 1),
                    ("peer.example.", false) => (0x80, 0),
                    _ => (0x83, 0),
                };
                names.lock().expect("names").push(name);
                let mut answer = vec![buffer[0], buffer[1], 0x81, code, 0, 1, 0, answers, 0, 0, 0, 0];
                answer.extend_from_slice(question);
                if answers == 1 {
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 7]);
                }
                let _ = socket.send_to(&answer, client).await;
            }
        });
        (port, asked)
    }

    #[tokio::test]
    async fn name_is_looked_up_as_it_is_and_each_time() {
        let (port, asked) = name_server().await;
        let mut server = NameServerConfig::udp(Ipv4Addr::LOCALHOST.into());
        let mut connection = ConnectionConfig::udp();
        connection.port = port;
        server.connections = vec![connection];
        let suffix = "corp.example.".parse().expect("a name");
        let config = ResolverConfig::from_parts(None, vec![suffix], vec![server]);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let names = SystemNames(SystemNames::configured(builder));
        for _ in 0..2 {
            assert_eq!(names.resolve("peer.example").await, Ok(vec![IpAddr::from([203, 0, 113, 7])]));
        }
        assert_eq!(names.resolve("other").await, Err(ResolveError::NotFound));
        let asked = asked.lock().expect("names");
        assert!(asked.iter().all(|name| name == "peer.example." || name == "other."), "{asked:?}");
        assert!(asked.iter().filter(|name| *name == "peer.example.").count() >= 2, "{asked:?}");
    }

    #[tokio::test]
    async fn without_name_servers_no_name_is_found() {
        assert_eq!(SystemNames(None).resolve("peer.example").await, Err(ResolveError::Unavailable));
    }
}
