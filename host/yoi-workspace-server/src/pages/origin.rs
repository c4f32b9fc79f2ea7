//! The host and the origin of a request, and the check that a form was sent by a page of this server.

use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use runtime_api::Code;
use runtime_service::{ApiProblem, ServiceOptions};

use super::problem::PageProblem;

/// Host of a request. The edge of the server has checked that it is an allowed one.
#[derive(Debug)]
pub(super) struct RequestHost {
    authority: Authority,
}

impl RequestHost {
    /// Returns the host of a request.
    pub(super) fn of(parts: &Parts) -> Result<Self, PageProblem> {
        let named = || parts.headers.get(header::HOST)?.to_str().ok()?.parse().ok();
        let authority = parts.uri.authority().cloned().or_else(named);
        match authority {
            Some(authority) => Ok(Self { authority }),
            None => Err(ApiProblem::new(Code::HostDenied, "the request names no host", "send a `Host` header").into()),
        }
    }

    /// Returns `true` if the host is this machine, so that the connection needs no TLS.
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.authority)
    }

    /// Returns the port in the host, which is absent if it is the default one.
    pub(super) fn port(&self) -> Option<u16> {
        self.authority.port_u16()
    }

    /// Returns `true` if the origin is that of the pages of this host.
    fn is_own(&self, origin: &str) -> bool {
        own_origins(self.authority.as_str(), self.is_loopback()).any(|own| own.eq_ignore_ascii_case(origin))
    }
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Returns the origins of pages of a host. Without TLS only on loopback.
fn own_origins(host: &str, is_loopback: bool) -> impl Iterator<Item = String> {
    let schemes = if is_loopback { ["https", "http"].as_slice() } else { ["https"].as_slice() };
    schemes.iter().map(move |scheme| format!("{scheme}://{host}"))
}

/// Allows the origins of the server's own pages, whose forms are requests with an `Origin` header.
pub(crate) fn with_own_origins(mut options: ServiceOptions) -> ServiceOptions {
    for host in &options.hosts.hosts {
        let is_loopback = host.parse().is_ok_and(|authority| is_loopback(&authority));
        options.hosts.origins.extend(own_origins(host, is_loopback));
    }
    options
}

/// Checks that a form was sent by a page of this host, and not by a page of another site or of another port.
pub(super) fn check_same_origin(parts: &Parts) -> Result<(), PageProblem> {
    let host = RequestHost::of(parts)?;
    let site = only(&parts.headers, "sec-fetch-site");
    let origin = only(&parts.headers, header::ORIGIN.as_str());
    let site_fits = site.map_or(Ok(()), |site| if site == "same-origin" { Ok(()) } else { Err(()) });
    let origin_fits = origin.map_or(Ok(()), |origin| if host.is_own(origin) { Ok(()) } else { Err(()) });
    // Every browser sends at least one of the two headers with a form.
    if (site.is_some() || origin.is_some()) && site_fits.is_ok() && origin_fits.is_ok() {
        return Ok(());
    }
    Err(ApiProblem::new(
        Code::CrossSiteRequest,
        "the form was not sent by a page of this server",
        "open the page on this server and send its form again",
    )
    .into())
}

/// Returns the value of a header. A header that occurs twice or is not ASCII has a value that fits nothing.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => None,
        (Some(value), None) => Some(value.to_str().unwrap_or_default()),
        (Some(_), Some(_)) => Some(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, fields: &[(&str, &str)]) -> bool {
        let mut request = axum::http::Request::post("/logout").header("host", host);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        check_same_origin(&request.body(()).expect("a request").into_parts().0).is_ok()
    }

    #[test]
    fn only_pages_of_the_same_scheme_host_and_port_send_forms() {
        let (site, origin) = ("sec-fetch-site", "origin");
        let host = "yoi.example.com";
        let own = "https://yoi.example.com";
        assert!(check(host, &[(site, "same-origin")]) && check(host, &[(origin, own)]));
        assert!(check(host, &[(site, "same-origin"), (origin, own)]));
        assert!(!check(host, &[]));
        for refused in ["same-site", "cross-site", "none", ""] {
            assert!(!check(host, &[(site, refused), (origin, own)]), "{refused}");
        }
        for refused in ["null", "http://yoi.example.com", "https://yoi.example.com:8443", "https://example.com", ""] {
            assert!(!check(host, &[(site, "same-origin"), (origin, refused)]), "{refused}");
            assert!(!check(host, &[(origin, refused)]), "{refused}");
        }
        assert!(!check(host, &[(origin, own), (origin, own)]));
        for host in ["127.0.0.1:8090", "[::1]:8090", "localhost:8090", "LOCALHOST:8090"] {
            assert!(check(host, &[(origin, &format!("http://{}", host.to_lowercase()))]), "{host}");
            assert!(!check(host, &[(origin, "http://127.0.0.1:8091")]), "{host}");
        }
    }
}
