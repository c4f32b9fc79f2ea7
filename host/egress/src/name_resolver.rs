//! Look-up of names. The rest of this package resolves names only through [`NameResolver`].

use std::fmt;
use std::net::IpAddr;

use async_trait::async_trait;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;

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

/// Names of the system: `/etc/hosts` and the name servers of `/etc/resolv.conf`, as they are when it is created. Without
/// name servers, every look-up is [`ResolveError::Unavailable`].
///
/// A name is looked up as it is: search lists are not applied.
pub struct SystemNames(Option<TokioResolver>);

impl SystemNames {
    /// Reads the system's configuration.
    pub fn new() -> Self {
        Self(Self::resolver())
    }

    fn resolver() -> Option<TokioResolver> {
        let mut builder = TokioResolver::builder_tokio().ok()?;
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        // An answer is used once and judged each time, so that a changed record takes effect with the next request.
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
