//! Which request headers a plugin may write.
//!
//! The host writes where a request goes and how it is framed, and it alone adds credentials, from a
//! secret that both keys name. A plugin's header that would do one of these is refused, never
//! dropped in silence. Values are looked at only to see that they are one line of ASCII.

use std::fmt;

use super::refusal::EgressRefusal;

/// Most headers of a request.
pub const MAX_HEADERS: usize = 64;

/// Most bytes of a request's headers, names and values together.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Limit on the bytes of one header's name. The longest registered name has 44.
pub const MAX_HEADER_NAME_BYTES: usize = 256;

/// Limit on the bytes of one header's value. Common servers refuse a header line of more than 8 KiB.
pub const MAX_HEADER_VALUE_BYTES: usize = 8 * 1024;

/// Why a header is the host's to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HeaderClass {
    /// It frames the message or belongs to the connection.
    Connection,
    /// It names another host, path, method or sender than the request has.
    Routing,
    /// It carries a credential.
    Credential,
    /// It asks for an answer without an end.
    Stream,
}

impl fmt::Display for HeaderClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "it belongs to the connection, which the host owns",
            Self::Routing => "it names another host, path, method or sender than the request has",
            Self::Credential => "it carries a credential, which the host adds from a granted secret",
            Self::Stream => "it asks for a stream, and an exchange has one answer",
        })
    }
}

const CONNECTION: &[&str] = &[
    "alt-used",
    "connection",
    "content-length",
    "early-data",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
];
const CONNECTION_FIRST: &[&str] = &["proxy-", "sec-websocket-"];

const ROUTING: &[&str] = &[
    "base-url",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-ip",
    "destination",
    "fastly-client-ip",
    "forwarded",
    "forwarded-for",
    "max-forwards",
    "request-uri",
    "true-client-ip",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-host",
    "x-http-destinationurl",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-originating-ip",
    "x-proxy-url",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-rewrite-url",
];
const ROUTING_FIRST: &[&str] = &["x-forward", "x-original-", "x-envoy-", "x-accel-"];

/// A name with one of these words is a credential's.
const CREDENTIAL: &[&str] = &[
    "accesstoken",
    "apikey",
    "auth",
    "authentication",
    "authkey",
    "authorization",
    "authtoken",
    "cookie",
    "cookie2",
    "credential",
    "credentials",
    "jwt",
    "passphrase",
    "passwd",
    "password",
    "secret",
    "token",
];

/// A name with `key` after one of these words is a credential's; `idempotency-key` is not.
const KEY: &[&str] = &[
    "access",
    "account",
    "admin",
    "api",
    "app",
    "application",
    "client",
    "functions",
    "license",
    "master",
    "private",
    "service",
    "subscription",
    "user",
];

/// Says whether a plugin may send these headers.
pub(super) fn check_headers(headers: &[(String, String)]) -> Result<(), EgressRefusal> {
    if headers.len() > MAX_HEADERS {
        return Err(EgressRefusal::TooManyHeaders);
    }
    if headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MAX_HEADER_BYTES {
        return Err(EgressRefusal::HeadersTooLarge);
    }
    for (name, value) in headers {
        if name.len() > MAX_HEADER_NAME_BYTES {
            return Err(EgressRefusal::HeaderNameTooLong);
        }
        if value.len() > MAX_HEADER_VALUE_BYTES {
            return Err(EgressRefusal::HeaderValueTooLong { name: name.clone() });
        }
        if !is_token(name) {
            return Err(EgressRefusal::HeaderName { name: name.clone() });
        }
        if !value.bytes().all(|byte| byte == b'\t' || byte == b' ' || byte.is_ascii_graphic()) {
            return Err(EgressRefusal::HeaderValue { name: name.clone() });
        }
        if let Some(class) = class(name, value) {
            return Err(EgressRefusal::HeaderClass { name: name.clone(), class });
        }
    }
    Ok(())
}

/// Whether this is a `token` of RFC 9110, section 5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn class(name: &str, value: &str) -> Option<HeaderClass> {
    // Servers that hand headers to CGI programs make `_` and `-` the same.
    let name = name.to_ascii_lowercase().replace('_', "-");
    let is = |whole: &[&str], first: &[&str]| {
        whole.contains(&name.as_str()) || first.iter().any(|first| name.starts_with(first))
    };
    let mut before = "";
    let credential = name.split(['-', '.']).any(|word| {
        let found = CREDENTIAL.contains(&word) || (word == "key" && KEY.contains(&before));
        before = word;
        found
    });
    if is(CONNECTION, CONNECTION_FIRST) {
        Some(HeaderClass::Connection)
    } else if is(ROUTING, ROUTING_FIRST) {
        Some(HeaderClass::Routing)
    } else if credential {
        Some(HeaderClass::Credential)
    } else if name == "last-event-id" || (name == "accept" && value.to_ascii_lowercase().contains("text/event-stream"))
    {
        Some(HeaderClass::Stream)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(name: &str, value: &str) -> &'static str {
        check_headers(&[(name.to_owned(), value.to_owned())]).map_or_else(|refusal| refusal.code(), |()| "ok")
    }

    #[test]
    fn ordinary_headers_pass() {
        for (name, value) in [
            ("Accept", "application/json, text/*;q=0.5"),
            ("content-type", "application/json; charset=utf-8"),
            ("User-Agent", "plugin/1.0"),
            ("Idempotency-Key", "4f2c"),
            ("If-None-Match", "\"abc\""),
            ("Range", "bytes=0-9"),
            ("X-Request-Id", "1"),
            ("X-A", ""),
            ("Accept-Language", "de-CH,\tde"),
            ("Author", "a"),
            ("X-Keyboard", "a"),
            ("Upgrade-Insecure-Requests", "1"),
        ] {
            assert_eq!(code(name, value), "ok", "{name}");
        }
    }

    #[test]
    fn header_that_is_the_hosts_to_write_is_refused() {
        for name in [
            "Host",
            "host",
            "Content-Length",
            "Content_Length",
            "Transfer-Encoding",
            "TE",
            "Trailer",
            "Connection",
            "Keep-Alive",
            "Upgrade",
            "HTTP2-Settings",
            "Expect",
            "Proxy-Connection",
            "Proxy-Authorization",
            "Sec-WebSocket-Key",
            "Forwarded",
            "Via",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Original-URL",
            "X-Rewrite-URL",
            "X-HTTP-Method-Override",
            "X-Real-IP",
            "Authorization",
            "AUTHORIZATION",
            "Cookie",
            "X-Api-Key",
            "X_API_KEY",
            "Api-Key",
            "ApiKey",
            "X-Auth-Token",
            "Private-Token",
            "X-Vault-Token",
            "X-Amz-Security-Token",
            "X-Goog-Api-Key",
            "Ocp-Apim-Subscription-Key",
            "X-Functions-Key",
            "Last-Event-ID",
        ] {
            assert_eq!(code(name, "x"), "header_not_allowed", "{name}");
        }
        assert_eq!(code("Accept", "application/json, TEXT/event-stream"), "header_not_allowed");
        assert_eq!(code("X-Accept", "text/event-stream"), "ok");
    }

    #[test]
    fn name_that_is_no_token_is_refused() {
        for name in
            ["", " ", "X-A:", ":authority", "X A", "X-A\r\nHost", "Auth\u{200b}orization", "Ä", "X-A\0", "(a)", "X-A "]
        {
            assert_eq!(code(name, "x"), "invalid_header_name", "{name:?}");
        }
    }

    #[test]
    fn value_is_one_line_of_ascii_and_never_repeated() {
        for value in ["b\r\nHost: evil.example", "b\nc", "b\rc", "b\0c", "b\u{7f}", "ä", "\u{1b}[31m"] {
            let refusal = check_headers(&[("X-A".to_owned(), value.to_owned())]).expect_err("not one line of ASCII");
            assert_eq!(refusal.code(), "invalid_header_value", "{value:?}");
            assert!(!refusal.to_string().contains("evil"), "{refusal}");
        }
    }

    #[test]
    fn name_and_value_of_each_header_are_bounded() {
        assert_eq!(code("X-A", &"v".repeat(MAX_HEADER_VALUE_BYTES)), "ok");
        assert_eq!(code("X-A", &"v".repeat(MAX_HEADER_VALUE_BYTES + 1)), "header_value_too_long");
        assert_eq!(code("X-A", &"v".repeat(9000)), "header_value_too_long");
        assert_eq!(code(&"X".repeat(MAX_HEADER_NAME_BYTES), "v"), "ok");
        assert_eq!(code(&"X".repeat(MAX_HEADER_NAME_BYTES + 1), "v"), "header_name_too_long");
        assert_eq!(code(&"X".repeat(302), "v"), "header_name_too_long");
        // Each header counts, not the first one only.
        let second = [("X-A".to_owned(), "v".to_owned()), ("X-B".to_owned(), "v".repeat(9000))];
        assert_eq!(check_headers(&second), Err(EgressRefusal::HeaderValueTooLong { name: "X-B".to_owned() }));
    }

    #[test]
    fn headers_are_bounded_in_number_and_bytes() {
        let many = |count: usize| (0..count).map(|number| (format!("X-{number}"), "v".to_owned())).collect::<Vec<_>>();
        assert!(check_headers(&many(MAX_HEADERS)).is_ok());
        assert_eq!(check_headers(&many(MAX_HEADERS + 1)), Err(EgressRefusal::TooManyHeaders));
        let large = |bytes: usize| {
            let half = MAX_HEADER_BYTES / 2 - 3;
            [("X-A".to_owned(), "v".repeat(half)), ("X-B".to_owned(), "v".repeat(bytes - half - 6))]
        };
        assert!(check_headers(&large(MAX_HEADER_BYTES)).is_ok());
        assert_eq!(check_headers(&large(MAX_HEADER_BYTES + 1)), Err(EgressRefusal::HeadersTooLarge));
    }
}
