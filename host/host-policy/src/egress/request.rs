//! Requests of plugins, parsed once.
//!
//! An [`EgressRequest`] has a URL that all parsers interpret in the same way, and headers that a plugin
//! may write. It is not yet permitted: see [`permit_request`](super::permit_request). Bodies and
//! credentials are not part of it.

use bundles::{MAX_SUBPROTOCOLS, MAX_URL_BYTES, Method, Scheme, is_host_name, is_subprotocol, shown};
use url::{Host, ParseError, Url};

use super::header::check_headers;
use super::path::ambiguity;
use super::refusal::EgressRefusal;

/// An HTTP request or a WebSocket that a plugin wants to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressRequest {
    kind: RequestKind,
    scheme: Scheme,
    host: Host<String>,
    url: Url,
}

/// The kind of a request, with its fields other than the URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestKind {
    /// A request over `http` or `https`.
    Request {
        /// The method.
        method: Method,
        /// The headers, in their order.
        headers: Vec<(String, String)>,
    },
    /// A connection over `ws` or `wss`.
    Websocket {
        /// The subprotocols, the preferred first.
        subprotocols: Vec<String>,
    },
}

impl EgressRequest {
    /// Creates an HTTP request. The URL is at most [`MAX_URL_BYTES`] long.
    pub fn request(method: Method, url: &str, headers: Vec<(String, String)>) -> Result<Self, EgressRefusal> {
        check_headers(&headers)?;
        Self::new(RequestKind::Request { method, headers }, url)
    }

    /// Creates a WebSocket request. The URL is at most [`MAX_URL_BYTES`] long; the subprotocols are at most
    /// [`MAX_SUBPROTOCOLS`] different tokens of at most 64 bytes.
    pub fn websocket(url: &str, subprotocols: Vec<String>) -> Result<Self, EgressRefusal> {
        // Checked first, because the comparison below takes the square of the number.
        if subprotocols.len() > MAX_SUBPROTOCOLS {
            return Err(EgressRefusal::Subprotocols);
        }
        let tokens = subprotocols.iter().all(|name| is_subprotocol(name));
        let twice = subprotocols
            .iter()
            .enumerate()
            .any(|(place, name)| subprotocols.iter().skip(place + 1).any(|other| other == name));
        if !tokens || twice {
            return Err(EgressRefusal::Subprotocols);
        }
        Self::new(RequestKind::Websocket { subprotocols }, url)
    }

    fn new(kind: RequestKind, text: &str) -> Result<Self, EgressRefusal> {
        if text.len() > MAX_URL_BYTES {
            return Err(EgressRefusal::UrlTooLong);
        }
        let mut url = Url::parse(text).map_err(EgressRefusal::MalformedUrl)?;
        let (websocket, kind_name) = match kind {
            RequestKind::Request { .. } => (false, "requests"),
            RequestKind::Websocket { .. } => (true, "WebSockets"),
        };
        let scheme = url.scheme().parse().ok().filter(|scheme: &Scheme| scheme.is_websocket() == websocket);
        let scheme =
            scheme.ok_or_else(|| EgressRefusal::Scheme { scheme: url.scheme().to_owned(), kind: kind_name })?;
        check_spelling(text, &url)?;
        let host = match url.host().ok_or(EgressRefusal::MalformedUrl(ParseError::EmptyHost))? {
            Host::Domain(name) if !is_host_name(name) => return Err(EgressRefusal::HostName),
            host => host.to_owned(),
        };
        if url.port() == Some(0) {
            return Err(EgressRefusal::PortZero);
        }
        if let Some(reason) = ambiguity(url.path()) {
            return Err(EgressRefusal::AmbiguousUrl { reason });
        }
        url.set_fragment(None);
        Ok(Self { kind, scheme, host, url })
    }

    /// Returns the kind of the request, with its fields other than the URL.
    pub fn kind(&self) -> &RequestKind {
        &self.kind
    }

    /// Returns the normalised URL, without a fragment.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the scheme, which fits the kind of the request.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the host: a lower-case ASCII name, or an IP address.
    pub fn host(&self) -> Host<&str> {
        match &self.host {
            Host::Domain(name) => Host::Domain(name),
            Host::Ipv4(address) => Host::Ipv4(*address),
            Host::Ipv6(address) => Host::Ipv6(*address),
        }
    }

    /// Returns the port of the URL, or else the default port of the scheme.
    pub fn port(&self) -> u16 {
        self.url.port().unwrap_or_else(|| self.scheme.default_port())
    }

    /// Returns the method; `None` for a WebSocket.
    pub fn method(&self) -> Option<Method> {
        match self.kind {
            RequestKind::Request { method, .. } => Some(method),
            RequestKind::Websocket { .. } => None,
        }
    }

    /// Returns the method and the normalised URL with its query, for the person who wrote it.
    pub fn line(&self) -> String {
        match self.method() {
            Some(method) => format!("{method} {}", self.url),
            None => self.url.to_string(),
        }
    }

    /// Returns the method, origin and masked path, for messages.
    pub(super) fn summary(&self) -> String {
        let method = self.method().map_or_else(String::new, |method| format!("{method} "));
        let port = self.url.port().map_or_else(String::new, |port| format!(":{port}"));
        format!("{method}{}://{}{port}{}", self.scheme, self.host, shown(self.url.path()))
    }
}

/// Refuses a text that the URL parser repaired, because other parsers repair it differently.
fn check_spelling(text: &str, url: &Url) -> Result<(), EgressRefusal> {
    let ambiguous = |reason| Err(EgressRefusal::AmbiguousUrl { reason });
    if text.chars().any(char::is_control) {
        return ambiguous("it has a control character");
    }
    if text.trim() != text {
        return ambiguous("it has white space around it");
    }
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(url.scheme()) => rest,
        _ => return ambiguous("its scheme is not followed by `://`"),
    };
    if rest.split(['?', '#']).next().unwrap_or_default().contains('\\') {
        return ambiguous("it has a backslash");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() {
        return ambiguous("it has more than two slashes after its scheme");
    }
    if authority.contains('@') {
        return Err(EgressRefusal::UserInfo);
    }
    if authority.contains('%') {
        return ambiguous("its host is percent-encoded");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<EgressRequest, EgressRefusal> {
        EgressRequest::request(Method::Get, url, Vec::new())
    }

    fn code(url: &str) -> &'static str {
        read(url).map_or_else(|refusal| refusal.code().as_str(), |_| "ok")
    }

    #[test]
    fn url_is_normalised() {
        for (text, normal) in [
            ("HTTPS://API.example.com:443/a/../b?q=%00#frag", "https://api.example.com/b?q=%00"),
            ("https://BÜCHER.example", "https://xn--bcher-kva.example/"),
            ("http://0x7f.1:8080/./a b", "http://127.0.0.1:8080/a%20b"),
            ("http://[0:0::1]/", "http://[::1]/"),
            ("https://a_b.example/?x=\\@/..", "https://a_b.example/?x=\\@/.."),
        ] {
            assert_eq!(read(text).map(|request| request.url().to_string()), Ok(normal.to_owned()));
        }
    }

    #[test]
    fn url_that_a_parser_has_to_repair_is_refused() {
        for text in [
            "https:a.example/",
            "https:/a.example/",
            "https:///a.example/",
            "https:\\\\a.example/",
            "https://a.example\\@b.example/",
            "https://a.example/a\\b",
            "https://a.exam\tple/",
            "https://a.example/\n",
            " https://a.example/",
            "https://a.example/ ",
            "https://a%2eexample/",
            "https://a.example/%2e%2e%2f",
        ] {
            assert_eq!(code(text), "ambiguous_url", "{text:?}");
        }
    }

    #[test]
    fn url_with_user_info_an_invalid_host_or_port_0_is_refused() {
        for text in [
            "https://u:p@a.example/",
            "https://u@a.example/",
            "https://@a.example/",
            "https://:@a.example/",
            "https://a.example:443@b.example/",
        ] {
            assert_eq!(code(text), "user_info", "{text}");
        }
        for text in
            ["https://a.example./", "https://*/", "https://*.a.example/", "https://a..example/", "https://a!b.example/"]
        {
            assert_eq!(code(text), "invalid_host", "{text}");
        }
        assert_eq!(code(&format!("https://{}.example/", "a".repeat(64))), "invalid_host");
        assert_eq!(code(&format!("https://{}.example/", "a".repeat(63))), "ok");
        assert_eq!(code("https://a.example:0/"), "port_zero");
        assert_eq!(code(&format!("https://a.example/{}", "a".repeat(MAX_URL_BYTES))), "url_too_long");
        for text in [
            "",
            "a.example",
            "//a.example/",
            "https://",
            "https://a.example:x/",
            "https://[::1%eth0]/",
            "http://1.2.3.4.5/",
        ] {
            assert_eq!(code(text), "malformed_url", "{text}");
        }
    }

    #[test]
    fn each_kind_of_request_has_its_own_schemes() {
        for (url, request, websocket) in [
            ("https://a.example/", "ok", "scheme_not_allowed"),
            ("http://a.example/", "ok", "scheme_not_allowed"),
            ("wss://a.example/", "scheme_not_allowed", "ok"),
            ("ws://a.example/", "scheme_not_allowed", "ok"),
            ("file://a.example/", "scheme_not_allowed", "scheme_not_allowed"),
            ("https+insecure://a.example/", "scheme_not_allowed", "scheme_not_allowed"),
            ("blob:https://a.example/", "scheme_not_allowed", "scheme_not_allowed"),
            ("data:,a", "scheme_not_allowed", "scheme_not_allowed"),
        ] {
            assert_eq!(code(url), request, "{url}");
            let opened =
                EgressRequest::websocket(url, Vec::new()).map_or_else(|refusal| refusal.code().as_str(), |_| "ok");
            assert_eq!(opened, websocket, "{url}");
        }
    }

    #[test]
    fn subprotocols_that_are_repeated_too_long_or_no_tokens_are_refused() {
        let open = |names: &[&str]| {
            EgressRequest::websocket("wss://a.example/", names.iter().map(|&name| name.to_owned()).collect())
        };
        assert!(open(&["chat.v1", "chat.v2"]).is_ok());
        let many: Vec<String> = (0..300_000).map(|number| number.to_string()).collect();
        assert_eq!(EgressRequest::websocket("wss://a.example/", many), Err(EgressRefusal::Subprotocols));
        for bad in [
            vec![""],
            vec!["a b"],
            vec!["a,b"],
            vec!["a\r\nb"],
            vec!["ä"],
            vec!["a", "a"],
            vec!["a".repeat(65).as_str()],
        ] {
            assert_eq!(open(&bad), Err(EgressRefusal::Subprotocols), "{bad:?}");
        }
    }

    #[test]
    fn refusal_of_an_invalid_url_does_not_repeat_its_text() {
        for text in [
            "https://user:hunter2@a.example/?q=hunter2#hunter2",
            "https://a.example:hunter2/",
            "https:hunter2@a.example",
            "https://hunter2\0/",
        ] {
            let refusal = read(text).expect_err("refused");
            assert!(!format!("{refusal} {refusal:?} {:?}", refusal.help()).contains("hunter2"), "{refusal:?}");
        }
    }
}
