//! URL permissions, which plugins request in their manifest and hosts grant, in the same form.
//!
//! The host is stored as parsed by the WHATWG rules, and paths are compared by segment. One meaning has one spelling:
//! another spelling is refused with the correct one, and [`WrittenUrlPermission::normal`] corrects it for authors.
//! Names are not resolved, and addresses are not classified here as public or private.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::url_prefix::{UrlPrefix, path_covers};

mod host_pattern;
mod invalid;
mod words;

pub use host_pattern::{HostPattern, is_host_name, is_loopback_name};
pub use invalid::InvalidUrlPermission;
pub use words::{AddressReach, Method, Scheme, Wildcard};

/// Permission to reach hosts by URL. A request is allowed only if one declared and one granted permission both cover
/// it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "WrittenUrlPermission", into = "WrittenUrlPermission")]
pub struct UrlPermission {
    scheme: Scheme,
    host: HostPattern,
    port: Option<u16>,
    methods: Vec<Method>,
    path_prefixes: Vec<Box<str>>,
    subprotocols: Vec<Box<str>>,
    local: bool,
    metadata: bool,
}

/// Limit on the number of subprotocols in a permission, and in a request for a WebSocket.
pub const MAX_SUBPROTOCOLS: usize = 16;

/// Limit on the bytes of one subprotocol.
const MAX_SUBPROTOCOL_BYTES: usize = 64;

/// `true` if the text is a subprotocol name: a `token` of RFC 9110 of at most 64 bytes.
pub fn is_subprotocol(text: &str) -> bool {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.len() <= MAX_SUBPROTOCOL_BYTES && text.bytes().all(is_token_byte)
}

impl UrlPermission {
    /// Fields of the JSON form.
    pub const FIELDS: &'static [&'static str] = &[
        "scheme",
        "host",
        "port",
        "methods",
        "path_prefixes",
        "subprotocols",
        "local",
        "metadata",
        "broad",
        "wildcard",
    ];

    /// Returns the scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the pattern of the host.
    pub fn host(&self) -> &HostPattern {
        &self.host
    }

    /// Returns the port, which defaults to that of the scheme.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or_else(|| self.scheme.default_port())
    }

    /// Returns the methods, sorted. Empty for WebSockets.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// Returns the path prefixes, sorted, at least one.
    pub fn path_prefixes(&self) -> impl Iterator<Item = &str> {
        self.path_prefixes.iter().map(|prefix| &**prefix)
    }

    /// Returns the subprotocols of WebSockets, sorted. Empty for requests. A WebSocket without a subprotocol needs none.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        self.subprotocols.iter().map(|name| &**name)
    }

    /// `true` if the permission covers a subprotocol.
    pub fn covers_subprotocol(&self, name: &str) -> bool {
        self.subprotocols.iter().any(|covered| **covered == *name)
    }

    /// `true` if the host may be a metadata service of a cloud. No [`AddressReach`] includes these addresses.
    pub fn metadata(&self) -> bool {
        self.metadata
    }

    /// Returns the addresses that the host may resolve to, apart from metadata services.
    pub fn reach(&self) -> AddressReach {
        match &self.host {
            HostPattern::Address(_) => AddressReach::Special,
            _ if self.local => AddressReach::Special,
            host if host.names_loopback() => AddressReach::Loopback,
            _ => AddressReach::Public,
        }
    }

    /// `true` if a URL path is one of the prefixes or below one.
    pub fn covers_path(&self, path: &str) -> bool {
        self.path_prefixes.iter().any(|prefix| path_covers(prefix, path))
    }

    /// `true` if this permission allows every request that `other` allows.
    ///
    /// An IP address counts as a special address, so a permission for all hosts covers it only with `local`.
    pub fn covers(&self, other: &Self) -> bool {
        self.scheme == other.scheme
            && self.port() == other.port()
            && self.reach() >= other.reach()
            && self.metadata >= other.metadata
            && self.host.covers_pattern(&other.host)
            && other.methods.iter().all(|method| self.methods.contains(method))
            && other.path_prefixes().all(|path| self.covers_path(path))
            && other.subprotocols().all(|name| self.covers_subprotocol(name))
    }

    /// Returns the permission for exactly the requests that both permissions allow, or `None` if there are none. An IP
    /// address counts as a special address.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        if self.scheme != other.scheme || self.port() != other.port() {
            return None;
        }
        let host = if self.host.covers_pattern(&other.host) { &other.host } else { &self.host };
        let host = (other.host.covers_pattern(host)).then(|| host.clone())?;
        let methods: Vec<Method> = self.methods.iter().filter(|one| other.methods.contains(one)).copied().collect();
        let inside = |one: &Self, all: &Self| {
            one.path_prefixes.iter().filter(|path| all.covers_path(path)).cloned().collect::<Vec<_>>()
        };
        let mut path_prefixes = inside(self, other);
        path_prefixes.extend(inside(other, self));
        path_prefixes.sort();
        path_prefixes.dedup();
        let subprotocols = self.subprotocols.iter().filter(|name| other.covers_subprotocol(name)).cloned().collect();
        let (local, metadata) = (self.local && other.local, self.metadata && other.metadata);
        let (scheme, port) = (self.scheme, self.port);
        let both = Self { scheme, host, port, methods, path_prefixes, subprotocols, local, metadata };
        // A host that is special by itself needs a permission that reaches special addresses on both sides.
        let is_reached = both.reach() <= self.reach().min(other.reach());
        let is_empty = both.path_prefixes.is_empty() || both.methods.is_empty() && !both.scheme.is_websocket();
        (is_reached && !is_empty).then_some(both)
    }

    /// Returns the permission for each path and method of this one. A permission that covers such a part covers it by one
    /// path and one method, so lists of permissions can be compared by their parts.
    pub fn parts(&self) -> impl Iterator<Item = Self> {
        let of_path = move |path: &str| {
            let part = Self { path_prefixes: vec![path.into()], methods: Vec::new(), ..self.clone() };
            let methods: Vec<Vec<Method>> = match self.methods.as_slice() {
                [] => vec![Vec::new()],
                methods => methods.iter().map(|method| vec![*method]).collect(),
            };
            methods.into_iter().map(move |methods| Self { methods, ..part.clone() })
        };
        self.path_prefixes().flat_map(of_path)
    }

    /// Returns the parts of this permission that none of `others` covers, in as few permissions as there are different
    /// methods.
    pub fn without(&self, others: &[&Self]) -> Vec<Self> {
        let mut left: BTreeMap<Box<str>, Vec<Method>> = BTreeMap::new();
        for part in self.parts().filter(|part| !others.iter().any(|other| other.covers(part))) {
            for path in part.path_prefixes {
                left.entry(path).or_default().extend(&part.methods);
            }
        }
        let mut by_methods: BTreeMap<Vec<Method>, Vec<Box<str>>> = BTreeMap::new();
        for (path, methods) in left {
            by_methods.entry(methods).or_default().push(path);
        }
        let rest = by_methods.into_iter();
        rest.map(|(methods, path_prefixes)| Self { methods, path_prefixes, ..self.clone() }).collect()
    }

    /// `true` if every URL below `prefix` is covered, with at least one method.
    pub fn covers_prefix(&self, prefix: &UrlPrefix) -> bool {
        let Ok(url) = url::Url::parse(prefix.as_str()) else {
            return false;
        };
        url.scheme() == self.scheme.as_str()
            && url.host().is_some_and(|host| self.host.covers(&host))
            && url.port_or_known_default() == Some(self.port())
            && self.covers_path(prefix.path())
    }
}

impl TryFrom<WrittenUrlPermission> for UrlPermission {
    type Error = InvalidUrlPermission;

    fn try_from(written: WrittenUrlPermission) -> Result<Self, InvalidUrlPermission> {
        let scheme: Scheme = written.scheme.parse()?;
        let host: HostPattern = written.host.parse()?;
        check_marks(&host, &written)?;
        match written.port {
            Some(0) => return Err(InvalidUrlPermission::PortZero),
            Some(port) if port == scheme.default_port() => {
                return Err(InvalidUrlPermission::DefaultPort { scheme, port });
            }
            _ => {}
        }
        match (scheme.is_websocket(), written.methods.is_empty()) {
            (true, false) => return Err(InvalidUrlPermission::WebsocketMethod { scheme }),
            (false, true) => return Err(InvalidUrlPermission::NoMethod { scheme }),
            _ => {}
        }
        let methods = written.methods.iter().map(|method| method.parse()).collect::<Result<Vec<Method>, _>>()?;
        if !methods.is_sorted_by(|one, next| one < next) {
            return Err(InvalidUrlPermission::Order { list: "methods" });
        }
        if written.path_prefixes.is_empty() {
            return Err(InvalidUrlPermission::NoPath);
        }
        if let Some(text) = written.path_prefixes.iter().find(|path| !is_path_prefix(path)) {
            return Err(InvalidUrlPermission::Path { text: text.clone() });
        }
        if !written.path_prefixes.is_sorted_by(|one, next| one < next) {
            return Err(InvalidUrlPermission::Order { list: "path_prefixes" });
        }
        if !scheme.is_websocket() && !written.subprotocols.is_empty() {
            return Err(InvalidUrlPermission::RequestSubprotocol { scheme });
        }
        if written.subprotocols.len() > MAX_SUBPROTOCOLS
            || !written.subprotocols.iter().all(|name| is_subprotocol(name))
        {
            return Err(InvalidUrlPermission::Subprotocols);
        }
        if !written.subprotocols.is_sorted_by(|one, next| one < next) {
            return Err(InvalidUrlPermission::Order { list: "subprotocols" });
        }
        let boxed = |list: Vec<String>| list.into_iter().map(String::into_boxed_str).collect();
        let (path_prefixes, subprotocols) = (boxed(written.path_prefixes), boxed(written.subprotocols));
        let (port, local, metadata) = (written.port, written.local, written.metadata);
        Ok(Self { scheme, host, port, methods, path_prefixes, subprotocols, local, metadata })
    }
}

impl From<UrlPermission> for WrittenUrlPermission {
    fn from(permission: UrlPermission) -> Self {
        Self {
            scheme: permission.scheme.as_str().to_owned(),
            host: permission.host.written(),
            port: permission.port,
            methods: permission.methods.iter().map(|method| method.as_str().to_owned()).collect(),
            path_prefixes: permission.path_prefixes.into_iter().map(String::from).collect(),
            subprotocols: permission.subprotocols.into_iter().map(String::from).collect(),
            local: permission.local,
            metadata: permission.metadata,
            broad: permission.host == HostPattern::Any,
            wildcard: matches!(permission.host, HostPattern::Subdomains(_)).then_some(Wildcard::Subdomain),
        }
    }
}

/// `GET, POST https://api.example.com/v1/…`, with special fields in brackets.
impl fmt::Display for UrlPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods: Vec<&str> = self.methods.iter().map(|method| method.as_str()).collect();
        if !methods.is_empty() {
            write!(f, "{} ", methods.join(", "))?;
        }
        write!(f, "{}://{}", self.scheme, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        let paths: Vec<String> = self.path_prefixes().map(|path| format!("{}/…", path.trim_end_matches('/'))).collect();
        f.write_str(&paths.join(", "))?;
        if self.host == HostPattern::Any {
            f.write_str(" (every host)")?;
        }
        if !self.subprotocols.is_empty() {
            write!(f, " (subprotocols {})", self.subprotocols.join(", "))?;
        }
        if self.local {
            f.write_str(" (local addresses too)")?;
        }
        if self.metadata {
            f.write_str(" (metadata services too)")?;
        }
        Ok(())
    }
}

/// A permission as written, before it is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenUrlPermission {
    /// One of [`Scheme`].
    pub scheme: String,
    /// A name, `*.` and a name, `*`, or an address without brackets.
    pub host: String,
    /// The port, unless it is the scheme's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// At least one of [`Method`] for requests, none for WebSockets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// At least one path. Paths below it, by segment, are covered too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path_prefixes: Vec<String>,
    /// Subprotocols of WebSockets; none for requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subprotocols: Vec<String>,
    /// Marks a name that may resolve to a special address, other than that of a metadata service.
    #[serde(default, skip_serializing_if = "is_false")]
    pub local: bool,
    /// Marks a host that may be a metadata service of a cloud.
    #[serde(default, skip_serializing_if = "is_false")]
    pub metadata: bool,
    /// Marks the host `*`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub broad: bool,
    /// Marks a host that starts with `*.`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wildcard: Option<Wildcard>,
}

fn is_false(mark: &bool) -> bool {
    !mark
}

impl WrittenUrlPermission {
    /// Returns the permission in its normal spelling, as far as its meaning is certain: lists are sorted, the host is
    /// spelled as parsed, and defaults are left out. Marks are never added, and errors stay.
    pub fn normal(mut self) -> Self {
        self.methods.sort();
        self.methods.dedup();
        self.path_prefixes.sort();
        self.path_prefixes.dedup();
        self.subprotocols.sort();
        self.subprotocols.dedup();
        if self.scheme.parse().is_ok_and(|scheme: Scheme| self.port == Some(scheme.default_port())) {
            self.port = None;
        }
        if let Err(InvalidUrlPermission::HostSpelling { normal, .. }) = self.host.parse::<HostPattern>() {
            self.host = normal;
        }
        if self.host.parse().is_ok_and(|host: HostPattern| host.names_itself()) {
            self.local = false;
        }
        self
    }
}

fn check_marks(host: &HostPattern, written: &WrittenUrlPermission) -> Result<(), InvalidUrlPermission> {
    const BROAD: &str = r#""broad": true"#;
    const WILDCARD: &str = r#""wildcard": "subdomain""#;
    for (needed, present, mark) in [
        (*host == HostPattern::Any, written.broad, BROAD),
        (matches!(host, HostPattern::Subdomains(_)), written.wildcard.is_some(), WILDCARD),
    ] {
        match (needed, present) {
            (true, false) => return Err(InvalidUrlPermission::Unmarked { host: written.host.clone(), mark }),
            (false, true) => return Err(InvalidUrlPermission::EmptyMark { host: written.host.clone(), mark }),
            _ => {}
        }
    }
    // An address literal is explicit, and `localhost` is loopback by RFC 6761.
    if written.local && host.names_itself() {
        return Err(InvalidUrlPermission::EmptyMark { host: written.host.clone(), mark: r#""local": true"# });
    }
    Ok(())
}

fn is_path_prefix(path: &str) -> bool {
    path.starts_with('/') && format!("http://host{path}").parse::<UrlPrefix>().is_ok_and(|prefix| prefix.path() == path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(value: Value) -> Result<UrlPermission, InvalidUrlPermission> {
        serde_json::from_value::<WrittenUrlPermission>(value).expect("the fields are known").try_into()
    }

    fn permission(value: Value) -> UrlPermission {
        read(value).expect("a permission")
    }

    /// Returns a permission for `GET` below `/` of `https`, with `other` fields added or replaced.
    fn get(host: &str, other: Value) -> Value {
        let mut value = json!({"scheme": "https", "host": host, "methods": ["GET"], "path_prefixes": ["/"]});
        for (field, changed) in other.as_object().expect("an object") {
            value[field] = changed.clone();
        }
        value
    }

    fn code(value: Value) -> &'static str {
        read(value.clone()).map_or_else(|error| error.code().as_str(), |_| panic!("{value} is a permission"))
    }

    #[test]
    fn json_form_round_trips() {
        for (value, shown) in [
            (
                get("api.example.com", json!({"methods": ["GET", "POST"], "path_prefixes": ["/v1"]})),
                "GET, POST https://api.example.com/v1/…",
            ),
            (get("*", json!({"broad": true})), "GET https://*/… (every host)"),
            (get("*.example.com", json!({"wildcard": "subdomain"})), "GET https://*.example.com/…"),
            (
                get("::1", json!({"scheme": "http", "port": 18080, "path_prefixes": ["/a", "/b/"]})),
                "GET http://[::1]:18080/a/…, /b/…",
            ),
            (get("backend.internal", json!({"local": true})), "GET https://backend.internal/… (local addresses too)"),
            (json!({"scheme": "wss", "host": "gw.example.com", "path_prefixes": ["/ws"]}), "wss://gw.example.com/ws/…"),
        ] {
            let permission = permission(value.clone());
            assert_eq!(serde_json::to_value(&permission).expect("json"), value);
            assert_eq!(permission.to_string(), shown);
        }
        assert!(serde_json::from_value::<UrlPermission>(get("a.example", json!({"proxy": true}))).is_err());
    }

    #[test]
    fn host_is_a_name_a_marked_pattern_or_an_address() {
        for bad in [
            "",
            ".",
            "a..example",
            "a*i.example.com",
            "**",
            "a.example.",
            "a b",
            "a/b",
            "a:80",
            "u@a",
            "*.*.example",
            "a.*",
            "*.10.0.0.1",
            "1.2.3.4.5",
        ] {
            assert_eq!(code(get(bad, json!({}))), "invalid_host", "{bad}");
        }
        assert_eq!(code(get(&["a"; 128].join("."), json!({}))), "invalid_host");
        for (spelled, normal) in [
            ("A.example", "a.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("127.1", "127.0.0.1"),
            ("[::1]", "::1"),
            ("0:0::1", "::1"),
        ] {
            let error = read(get(spelled, json!({}))).expect_err("another spelling");
            assert_eq!(
                error,
                InvalidUrlPermission::HostSpelling { text: spelled.to_owned(), normal: normal.to_owned() }
            );
            assert!(read(get(normal, json!({}))).is_ok());
        }
    }

    #[test]
    fn mark_is_required_where_it_has_an_effect_and_refused_elsewhere() {
        assert_eq!(code(get("*", json!({}))), "mark_missing");
        assert_eq!(code(get("*.example.com", json!({}))), "mark_missing");
        assert_eq!(code(get("a.example", json!({"broad": true}))), "mark_without_meaning");
        assert_eq!(code(get("a.example", json!({"wildcard": "subdomain"}))), "mark_without_meaning");
        assert_eq!(code(get("127.0.0.1", json!({"local": true}))), "mark_without_meaning");
        assert_eq!(code(get("localhost", json!({"local": true}))), "mark_without_meaning");
        assert_eq!(code(get("*.com", json!({"wildcard": "subdomain"}))), "wildcard_too_wide");
        assert_eq!(permission(get("127.0.0.1", json!({}))).reach(), AddressReach::Special);
        assert_eq!(permission(get("localhost", json!({}))).reach(), AddressReach::Loopback);
        assert_eq!(permission(get("a.example", json!({}))).reach(), AddressReach::Public);
        assert_eq!(permission(get("a.example", json!({"local": true}))).reach(), AddressReach::Special);
    }

    #[test]
    fn invalid_and_duplicate_fields_are_refused() {
        for (other, expected) in [
            (json!({"scheme": "*"}), "invalid_scheme"),
            (json!({"scheme": "HTTPS"}), "invalid_scheme"),
            (json!({"methods": ["get"]}), "invalid_method"),
            (json!({"methods": ["*"]}), "invalid_method"),
            (json!({"methods": []}), "method_missing"),
            (json!({"methods": ["POST", "GET"]}), "list_not_normal"),
            (json!({"methods": ["GET", "GET"]}), "list_not_normal"),
            (json!({"scheme": "wss"}), "method_on_websocket"),
            (json!({"port": 0}), "port_zero"),
            (json!({"port": 443}), "default_port_written"),
            (json!({"path_prefixes": []}), "path_missing"),
            (json!({"path_prefixes": ["/b", "/a"]}), "list_not_normal"),
            (json!({"subprotocols": ["chat"]}), "subprotocol_on_request"),
        ] {
            assert_eq!(code(get("a.example", other.clone())), expected, "{other}");
        }
        for bad in ["", "api", "*", "/a/../b", "/./a", "/a%2fb", "/a//b", "/a?b", "/a#b", "/a b", "/ä", "//host/a"] {
            assert_eq!(code(get("a.example", json!({"path_prefixes": [bad]}))), "invalid_path", "{bad}");
        }
        assert!(read(get("a.example", json!({"port": 80, "path_prefixes": ["/a", "/b"]}))).is_ok());
    }

    #[test]
    fn subprotocols_of_websockets_are_sorted_tokens() {
        let websocket = |subprotocols: Value| json!({"scheme": "wss", "host": "a.example", "path_prefixes": ["/"], "subprotocols": subprotocols});
        let chat = permission(websocket(json!(["chat.v1", "chat.v2"])));
        assert_eq!(chat.to_string(), "wss://a.example/… (subprotocols chat.v1, chat.v2)");
        let many: Vec<String> = (0..=MAX_SUBPROTOCOLS).map(|number| format!("p{number:02}")).collect();
        assert!(read(websocket(json!(&many[1..]))).is_ok());
        for (bad, expected) in [
            (json!(many), "invalid_subprotocol"),
            (json!([""]), "invalid_subprotocol"),
            (json!(["a b"]), "invalid_subprotocol"),
            (json!(["a".repeat(65)]), "invalid_subprotocol"),
            (json!(["b", "a"]), "list_not_normal"),
            (json!(["a", "a"]), "list_not_normal"),
        ] {
            assert_eq!(code(websocket(bad.clone())), expected, "{bad}");
        }
        let (plain, one) = (permission(websocket(json!([]))), permission(websocket(json!(["chat.v1"]))));
        assert!(chat.covers(&one) && one.covers(&plain) && !one.covers(&chat));
        assert_eq!(chat.intersection(&one), Some(one.clone()));
        assert_eq!(chat.without(&[&one]), std::slice::from_ref(&chat));
    }

    #[test]
    fn metadata_services_need_a_mark_of_their_own() {
        let marked =
            |local: bool, metadata: bool| permission(get("a.example", json!({"local": local, "metadata": metadata})));
        assert_eq!(marked(false, true).to_string(), "GET https://a.example/… (metadata services too)");
        assert_eq!(marked(false, true).reach(), AddressReach::Public);
        assert!(marked(true, true).covers(&marked(true, false)) && marked(true, true).covers(&marked(false, true)));
        assert!(!marked(true, false).covers(&marked(false, true)) && !marked(false, true).covers(&marked(true, false)));
        assert_eq!(marked(true, false).intersection(&marked(false, true)), Some(marked(false, false)));
    }

    #[test]
    fn normal_spelling_is_found_and_errors_stay() {
        let spelled = get(
            "BÜCHER.example",
            json!({"port": 443, "methods": ["POST", "GET", "GET"], "path_prefixes": ["/b", "/a"]}),
        );
        let written: WrittenUrlPermission = serde_json::from_value(spelled).expect("the fields are known");
        let permission = UrlPermission::try_from(written.normal()).expect("a permission");
        assert_eq!(permission.to_string(), "GET, POST https://xn--bcher-kva.example/a/…, /b/…");
        for wrong in [get("*", json!({})), get("a.example.", json!({})), get("a.example", json!({"methods": ["get"]}))]
        {
            let written: WrittenUrlPermission = serde_json::from_value(wrong.clone()).expect("the fields are known");
            assert!(UrlPermission::try_from(written.normal()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_prefix_is_covered_by_scheme_host_port_and_segments() {
        let prefix = |text: &str| text.parse::<UrlPrefix>().expect("a prefix");
        let v1 = permission(get("api.example.com", json!({"path_prefixes": ["/v1"]})));
        assert!(v1.covers_prefix(&prefix("https://api.example.com/v1/x")));
        for other in [
            "https://api.example.com/v10",
            "https://api.example.com/",
            "http://api.example.com/v1",
            "wss://api.example.com/v1",
            "https://api.example.com:8443/v1",
            "https://x.api.example.com/v1",
        ] {
            assert!(!v1.covers_prefix(&prefix(other)), "{other}");
        }
        let tree = permission(get("*.example.com", json!({"wildcard": "subdomain"})));
        assert!(tree.covers_prefix(&prefix("https://a.example.com/")));
        for other in [
            "https://example.com/",
            "https://a.b.example.com/",
            "https://aexample.com/",
            "https://example.com.evil.example/",
        ] {
            assert!(!tree.covers_prefix(&prefix(other)), "{other}");
        }
        assert!(permission(get("::1", json!({}))).covers_prefix(&prefix("https://[::1]/a")));
    }
}
