//! Checks of the `Host` and `Origin` headers.
//!
//! They are made on loopback too: a web page can send requests to a loopback address under a host name that the page's
//! own server chose (DNS rebinding).

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use runtime_api::Code;

use crate::{HttpEdge, Problem};

/// Allowed values of the `Host` and `Origin` headers.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    /// Allowed hosts: names and addresses, with the port unless it is the default port of the scheme.
    pub hosts: BTreeSet<String>,
    /// Allowed origins. If it is empty, requests of web pages are refused.
    pub origins: BTreeSet<String>,
}

pub(crate) async fn check(State(edge): State<Arc<HttpEdge>>, request: Request, next: Next) -> Response {
    match edge.hosts.check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

impl Hosts {
    fn check(&self, request: &Request) -> Result<(), Problem> {
        let values = |name| request.headers().get_all(name).iter().map(|value| value.to_str().ok()).collect::<Vec<_>>();
        let hosts = match request.uri().authority() {
            Some(authority) => vec![Some(authority.as_str())],
            None => values(header::HOST),
        };
        if !matches!(hosts.as_slice(), [Some(host)] if self.hosts.contains(&host.to_ascii_lowercase())) {
            return Err(Problem::new(
                Code::HostDenied,
                "the host name of the request is not allowed",
                "use a name from `hosts` in the service's config, or add the name there",
            ));
        }
        let is_allowed = |origin: &Option<&str>| origin.is_some_and(|origin| self.origins.contains(origin));
        if !values(header::ORIGIN).iter().all(is_allowed) {
            return Err(Problem::new(
                Code::OriginDenied,
                "the origin of the request is not allowed",
                "add the origin to `origins` in the service's config if you trust it",
            ));
        }
        Ok(())
    }
}
