//! Checks of the request headers that a plugin writes.
//!
//! Only the host writes headers for routing, framing and credentials. A credential comes from a secret
//! that is both declared and granted. A header of these classes is refused, not silently removed. The
//! value of a header must be one line of ASCII; of `Accept` it also decides the class.

use std::fmt;

use super::refusal::EgressRefusal;

/// Limit on the number of headers in a request.
pub const MAX_HEADERS: usize = 64;

/// Limit on the bytes of all header names and values in a request together.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Limit on the bytes of one header name. The longest registered name has 44.
pub const MAX_HEADER_NAME_BYTES: usize = 256;

/// Limit on the bytes of one header value. Common servers refuse a header line of more than 8 KiB.
pub const MAX_HEADER_VALUE_BYTES: usize = 8 * 1024;

/// A class of headers that plugins may not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HeaderClass {
    /// The header frames the message or belongs to the connection.
    Connection,
    /// The header overrides the host, path, method or sender of the request.
    Routing,
    /// The header carries a credential.
    Credential,
    /// The header requests an endless response.
    Stream,
}

impl fmt::Display for HeaderClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "it belongs to the connection, which the host manages",
            Self::Routing => "it overrides the host, path, method or sender of the request",
            Self::Credential => "it carries a credential, which the host adds from a granted secret",
            Self::Stream => "it requests a stream, but a request has a single response",
        })
    }
}

const CONNECTION_NAMES: &[&str] = &[
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
const CONNECTION_PREFIXES: &[&str] = &["proxy-", "sec-"];

const ROUTING_NAMES: &[&str] = &[
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
const ROUTING_PREFIXES: &[&str] = &["x-forward", "x-original-", "x-envoy-", "x-accel-"];

/// Words that make a header a credential.
const CREDENTIAL_WORDS: &[&str] = &[
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

/// Words that make a header a credential if `key` follows. `idempotency-key` is no credential.
const KEY_QUALIFIERS: &[&str] = &[
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

/// Checks that a plugin may send these headers.
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

/// `true` if the text is a `token` of RFC 9110, section 5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn class(name: &str, value: &str) -> Option<HeaderClass> {
    // Servers that pass headers to CGI programs do not distinguish `_` and `-`.
    let name = name.to_ascii_lowercase().replace('_', "-");
    let is = |names: &[&str], prefixes: &[&str]| {
        names.contains(&name.as_str()) || prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    let mut before = "";
    let credential = name.split(['-', '.']).any(|word| {
        let found = CREDENTIAL_WORDS.contains(&word) || (word == "key" && KEY_QUALIFIERS.contains(&before));
        before = word;
        found
    });
    if is(CONNECTION_NAMES, CONNECTION_PREFIXES) {
        Some(HeaderClass::Connection)
    } else if is(ROUTING_NAMES, ROUTING_PREFIXES) {
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
        check_headers(&[(name.to_owned(), value.to_owned())]).map_or_else(|refusal| refusal.code().as_str(), |()| "ok")
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
    fn header_that_only_the_host_may_write_is_refused() {
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
    fn header_name_that_is_not_a_token_is_refused() {
        for name in
            ["", " ", "X-A:", ":authority", "X A", "X-A\r\nHost", "Auth\u{200b}orization", "Ä", "X-A\0", "(a)", "X-A "]
        {
            assert_eq!(code(name, "x"), "invalid_header_name", "{name:?}");
        }
    }

    #[test]
    fn header_value_that_is_not_one_line_of_ascii_is_refused_and_not_repeated() {
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
        // All headers are checked, not only the first one.
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
