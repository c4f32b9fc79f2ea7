//! Permission checks for the requests of plugins, in two steps.
//!
//! [`permit_request`] needs two permissions: a target in the plugin's manifest and a grant of this host.
//! After the name is resolved, [`check_addresses`] decides whether its addresses may be dialled. Callers
//! dial only the addresses that it returns. This module performs no input or output. A redirect is a
//! new request.

use std::net::{IpAddr, SocketAddr};

use bundles::{AddressReach, UrlPermission, is_loopback_name};
use url::Host;

use permission_set::Coverage;

mod address;
mod case;
#[cfg(test)]
mod corpus;
mod explanation;
mod header;
mod path;
mod permission_set;
mod refusal;
mod request;

pub use address::{AddressKind, AddressPolicy};
pub use case::{CaseError, EgressCase};
pub use explanation::{AddressExplanation, EgressExplanation, KeyExplanation, explain_request};
pub use header::{HeaderClass, MAX_HEADER_BYTES, MAX_HEADER_NAME_BYTES, MAX_HEADER_VALUE_BYTES, MAX_HEADERS};
pub use permission_set::PermissionSet;
pub use refusal::{EgressRefusal, MissingPermission, RequestPart};
pub use request::{EgressRequest, RequestKind};

/// A request that a declared target and a grant cover. Created only by [`permit_request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermittedRequest {
    request: EgressRequest,
    target: Coverage,
    grant: Coverage,
}

impl PermittedRequest {
    /// Returns the permitted request.
    pub fn request(&self) -> &EgressRequest {
        &self.request
    }

    /// Returns the declared target that covers the request.
    pub fn target(&self) -> &UrlPermission {
        &self.target.permission
    }

    /// Returns the grant that covers the request.
    pub fn grant(&self) -> &UrlPermission {
        &self.grant.permission
    }

    /// Returns the host name to resolve; `None` if the URL contains an IP address.
    pub fn name(&self) -> Option<&str> {
        match self.request.host() {
            Host::Domain(name) => Some(name),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
    }
}

/// Addresses that may be dialled for a permitted request. Created only by [`check_addresses`].
///
/// The connection must go to one of these addresses without another look-up of the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedAddresses(Vec<SocketAddr>);

impl CheckedAddresses {
    /// Returns the addresses with the port, in the order of the DNS answer. There is at least one.
    pub fn as_slice(&self) -> &[SocketAddr] {
        &self.0
    }
}

/// Finds a target and a grant that cover the request.
///
/// If several permissions of a list cover it, an address is allowed if one of them allows it.
pub fn permit_request(
    targets: &PermissionSet,
    grants: &PermissionSet,
    request: EgressRequest,
) -> Result<PermittedRequest, EgressRefusal> {
    let (missing, nearest) = match (targets.covering(&request), grants.covering(&request)) {
        (Some(target), Some(grant)) => return Ok(PermittedRequest { target, grant, request }),
        (None, Some(_)) => (MissingPermission::Target, targets.nearest(&request)),
        (Some(_), None) => (MissingPermission::Grant, grants.nearest(&request)),
        (None, None) => (MissingPermission::Both, targets.nearest(&request)),
    };
    Err(EgressRefusal::not_covered(missing, nearest, &request))
}

/// Checks the addresses of a host name.
///
/// One forbidden address refuses the whole answer, because a name that mixes public and special
/// addresses is not trustworthy. If the URL contains an IP address, that address is checked and
/// `resolved` is ignored.
pub fn check_addresses(
    policy: &AddressPolicy,
    permitted: &PermittedRequest,
    resolved: &[IpAddr],
) -> Result<CheckedAddresses, EgressRefusal> {
    let request = &permitted.request;
    let named;
    let addresses = match request.host() {
        Host::Domain(_) => resolved,
        Host::Ipv4(address) => {
            named = [IpAddr::V4(address)];
            &named
        }
        Host::Ipv6(address) => {
            named = [IpAddr::V6(address)];
            &named
        }
    };
    if addresses.is_empty() {
        return Err(EgressRefusal::NoAddress { host: request.host().to_string() });
    }
    for address in addresses {
        check_address(policy, permitted, *address)?;
    }
    Ok(CheckedAddresses(addresses.iter().map(|address| SocketAddr::new(*address, request.port())).collect()))
}

fn check_address(policy: &AddressPolicy, permitted: &PermittedRequest, address: IpAddr) -> Result<(), EgressRefusal> {
    let host = permitted.request.host().to_string();
    // RFC 6761, section 6.3: `localhost` resolves to loopback addresses only. Any other answer comes from a
    // wrong or hostile DNS server, and no permission can allow it.
    let is_false_localhost = permitted.name().is_some_and(is_loopback_name) && !address.is_loopback();
    let not_loopback = || EgressRefusal::NotLoopback { host: host.clone(), address };
    let Some(kind) = policy.special_kind(address) else {
        return if is_false_localhost { Err(not_loopback()) } else { Ok(()) };
    };
    let allows = |coverage: &Coverage| match kind {
        // Metadata services return credentials of the machine, so `local` does not include them.
        AddressKind::Metadata => coverage.metadata,
        AddressKind::Loopback => coverage.reach >= AddressReach::Loopback,
        _ => coverage.reach >= AddressReach::Special,
    };
    // None of these addresses a single peer, and Linux connects `0.0.0.0` to loopback.
    if matches!(kind, AddressKind::Unspecified | AddressKind::Multicast | AddressKind::Broadcast) {
        return Err(EgressRefusal::NeverDialled { host, address, kind });
    }
    let missing = match (allows(&permitted.target), allows(&permitted.grant)) {
        (true, true) if is_false_localhost => return Err(not_loopback()),
        (true, true) => return Ok(()),
        (false, true) => MissingPermission::Target,
        (true, false) => MissingPermission::Grant,
        (false, false) => MissingPermission::Both,
    };
    Err(EgressRefusal::SpecialAddress { missing, host, address, kind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundles::Method;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn permission(value: Value) -> UrlPermission {
        serde_json::from_value(value).expect("a permission")
    }

    fn get(host: &str) -> UrlPermission {
        permission(json!({"scheme": "https", "host": host, "methods": ["GET"], "path_prefixes": ["/v1"]}))
    }

    fn local(host: &str) -> UrlPermission {
        permission(
            json!({"scheme": "https", "host": host, "methods": ["GET"], "path_prefixes": ["/v1"], "local": true}),
        )
    }

    fn request(url: &str) -> EgressRequest {
        EgressRequest::request(Method::Get, url, Vec::new()).expect("a request")
    }

    fn set(list: &[UrlPermission]) -> PermissionSet {
        PermissionSet::new(list.iter().cloned())
    }

    /// Returns the code of the refusal, or `ok`.
    fn verdict(targets: &[UrlPermission], grants: &[UrlPermission], url: &str, resolved: &[&str]) -> &'static str {
        let resolved: Vec<IpAddr> = resolved.iter().map(|address| address.parse().expect("an address")).collect();
        permit_request(&set(targets), &set(grants), request(url))
            .and_then(|permitted| check_addresses(&AddressPolicy::default(), &permitted, &resolved))
            .map_or_else(|refusal| refusal.code().as_str(), |_| "ok")
    }

    const URL: &str = "https://api.example.com/v1/x";

    #[test]
    fn target_and_grant_are_needed_and_the_missing_one_is_named() {
        let api = [get("api.example.com")];
        assert_eq!(verdict(&api, &api, URL, &["8.8.8.8"]), "ok");
        assert_eq!(verdict(&[], &api, URL, &["8.8.8.8"]), "not_declared");
        assert_eq!(verdict(&api, &[], URL, &["8.8.8.8"]), "not_granted");
        assert_eq!(verdict(&[], &[], URL, &["8.8.8.8"]), "not_declared_nor_granted");
    }

    #[test]
    fn refusal_names_the_mismatch_and_the_permission_that_would_allow_the_request() {
        let api = [get("other.example.com"), get("api.example.com")];
        for (method, url, part) in [
            (Method::Get, "http://api.example.com/v1", "another scheme"),
            (Method::Get, "https://x.api.example.com/v1", "another host"),
            (Method::Get, "https://api.example.com:8443/v1", "another port"),
            (Method::Post, "https://api.example.com/v1", "another method"),
            (Method::Get, "https://api.example.com/v10", "another path"),
        ] {
            let request = EgressRequest::request(method, url, Vec::new()).expect("a request");
            let refusal = permit_request(&set(&api), &set(&api), request.clone()).expect_err("not covered");
            assert!(refusal.to_string().contains(part), "{refusal}");
            let help = refusal.help().expect("help");
            let line = help.split('`').nth(1).expect("a line of JSON");
            let added = [permission(serde_json::from_str(line).expect("JSON"))];
            assert!(permit_request(&set(&added), &set(&added), request).is_ok(), "{help}");
        }
    }

    #[test]
    fn refusal_repeats_no_query_and_no_fragment() {
        let refusal = permit_request(&set(&[]), &set(&[]), request("https://api.example.com/v1?key=s3cr3t#frag"))
            .expect_err("not covered");
        let text = format!("{refusal} {:?}", refusal.help());
        assert!(!text.contains("s3cr3t") && !text.contains("frag"), "{text}");
        assert!(text.contains("GET https://api.example.com/v1"), "{text}");
    }

    #[test]
    fn websocket_and_request_are_different_permissions() {
        let gateway = [permission(json!({"scheme": "wss", "host": "gw.example.com", "path_prefixes": ["/ws"]}))];
        let open = |url| EgressRequest::websocket(url, Vec::new()).expect("a request");
        assert!(permit_request(&set(&gateway), &set(&gateway), open("wss://gw.example.com/ws/1")).is_ok());
        assert!(permit_request(&set(&gateway), &set(&gateway), open("ws://gw.example.com/ws/1")).is_err());
        assert!(
            permit_request(&set(&[get("gw.example.com")]), &set(&gateway), open("wss://gw.example.com/ws")).is_err()
        );
        assert!(permit_request(&set(&gateway), &set(&gateway), request("https://gw.example.com/ws")).is_err());
    }

    #[test]
    fn special_address_needs_local_in_target_and_grant() {
        let (plain, marked) = ([get("api.example.com")], [local("api.example.com")]);
        for address in ["127.0.0.1", "10.0.0.1", "169.254.1.1", "::1", "::ffff:8.8.8.8", "203.0.113.10"] {
            assert_eq!(
                verdict(&plain, &plain, URL, &[address]),
                "special_address_not_declared_nor_granted",
                "{address}"
            );
            assert_eq!(verdict(&marked, &plain, URL, &[address]), "special_address_not_granted", "{address}");
            assert_eq!(verdict(&plain, &marked, URL, &[address]), "special_address_not_declared", "{address}");
            assert_eq!(verdict(&marked, &marked, URL, &[address]), "ok", "{address}");
        }
        let either = [get("api.example.com"), local("api.example.com"), get("api.example.com")];
        assert_eq!(verdict(&either, &either, URL, &["10.0.0.1"]), "ok");
    }

    #[test]
    fn metadata_service_needs_its_own_mark_in_target_and_grant() {
        let marked = |local: bool, metadata: bool| {
            [permission(json!({
                "scheme": "https", "host": "a.example", "methods": ["GET"], "path_prefixes": ["/"], "local": local, "metadata": metadata
            }))]
        };
        let (local, metadata) = (marked(true, false), marked(false, true));
        for address in ["169.254.169.254", "169.254.170.2", "192.0.0.192", "fd00:ec2::254"] {
            let refused = |targets, grants| verdict(targets, grants, "https://a.example/", &[address]);
            assert_eq!(refused(&local, &local), "special_address_not_declared_nor_granted", "{address}");
            assert_eq!(refused(&metadata, &local), "special_address_not_granted", "{address}");
            assert_eq!(refused(&local, &metadata), "special_address_not_declared", "{address}");
            assert_eq!(refused(&metadata, &metadata), "ok", "{address}");
            // Two permissions can allow what neither of them allows alone.
            let either = [local[0].clone(), metadata[0].clone()];
            assert_eq!(verdict(&either, &either, "https://a.example/", &[address, "10.0.0.1"]), "ok", "{address}");
        }
        assert_eq!(
            verdict(&metadata, &metadata, "https://a.example/", &["10.0.0.1"]),
            "special_address_not_declared_nor_granted"
        );
        // An address in the permission is no exception.
        let mut named =
            json!({"scheme": "http", "host": "169.254.169.254", "methods": ["GET"], "path_prefixes": ["/"]});
        let plain = [permission(named.clone())];
        named["metadata"] = json!(true);
        let marked = [permission(named)];
        let url = "http://169.254.169.254/latest";
        assert_eq!(verdict(&plain, &plain, url, &[]), "special_address_not_declared_nor_granted");
        assert_eq!(verdict(&marked, &marked, url, &[]), "ok");
    }

    #[test]
    fn every_requested_subprotocol_must_be_covered_by_one_permission() {
        let of = |subprotocols: &[&str]| {
            permission(
                json!({"scheme": "wss", "host": "a.example", "path_prefixes": ["/"], "subprotocols": subprotocols}),
            )
        };
        let code = |permissions: &[UrlPermission], subprotocols: &[&str]| {
            let subprotocols = subprotocols.iter().map(|&name| name.to_owned()).collect();
            let request = EgressRequest::websocket("wss://a.example/", subprotocols).expect("a request");
            permit_request(&set(permissions), &set(permissions), request)
                .map_or_else(|refusal| refusal.to_string(), |_| "ok".to_owned())
        };
        assert_eq!(code(&[of(&[])], &[]), "ok");
        assert_eq!(code(&[of(&["a", "b"])], &["b", "a"]), "ok");
        assert_eq!(code(&[of(&["a", "b"])], &[]), "ok");
        assert!(code(&[of(&["a"])], &["b"]).contains("another subprotocol"));
        assert!(code(&[of(&["a"]), of(&["b"])], &["a", "b"]).contains("another subprotocol"));
    }

    #[test]
    fn one_forbidden_address_refuses_the_whole_answer_and_an_empty_answer_is_refused() {
        let (plain, marked) = ([get("api.example.com")], [local("api.example.com")]);
        assert_eq!(verdict(&plain, &plain, URL, &["8.8.8.8", "2606:4700::1"]), "ok");
        assert_eq!(verdict(&plain, &plain, URL, &["8.8.8.8", "10.0.0.1"]), "special_address_not_declared_nor_granted");
        assert_eq!(verdict(&marked, &marked, URL, &["8.8.8.8", "10.0.0.1"]), "ok");
        assert_eq!(verdict(&marked, &marked, URL, &["8.8.8.8", "0.0.0.0"]), "address_never_dialled");
        assert_eq!(verdict(&plain, &plain, URL, &[]), "no_address");
    }

    #[test]
    fn special_address_in_the_url_needs_a_permission_that_names_it_or_allows_local() {
        let every = |local: bool| {
            let mut value =
                json!({"scheme": "https", "host": "*", "methods": ["GET"], "path_prefixes": ["/"], "broad": true});
            if local {
                value["local"] = json!(true);
            }
            [permission(value)]
        };
        assert_eq!(verdict(&[get("127.0.0.1")], &[get("127.0.0.1")], "https://127.0.0.1/v1", &["8.8.8.8"]), "ok");
        assert_eq!(
            verdict(&[get("127.0.0.1")], &every(false), "https://127.0.0.1/v1", &[]),
            "special_address_not_granted"
        );
        assert_eq!(verdict(&[get("127.0.0.1")], &every(true), "https://127.0.0.1/v1", &[]), "ok");
        assert_eq!(verdict(&every(false), &every(false), "https://8.8.8.8/v1", &[]), "ok");
        assert_eq!(
            verdict(&[get("127.0.0.1")], &[get("127.0.0.1")], "https://127.0.0.2/v1", &[]),
            "not_declared_nor_granted"
        );
        assert_eq!(verdict(&[get("0.0.0.0")], &[get("0.0.0.0")], "https://0.0.0.0/v1", &[]), "address_never_dialled");
    }

    #[test]
    fn localhost_may_only_resolve_to_loopback() {
        let host = [get("localhost")];
        assert_eq!(verdict(&host, &host, "https://localhost/v1", &["127.0.0.1", "::1"]), "ok");
        assert_eq!(
            verdict(&host, &host, "https://localhost/v1", &["10.0.0.1"]),
            "special_address_not_declared_nor_granted"
        );
        assert_eq!(verdict(&host, &host, "https://app.localhost/v1", &["127.0.0.1"]), "not_declared_nor_granted");
        let every = [permission(
            json!({"scheme": "https", "host": "*", "methods": ["GET"], "path_prefixes": ["/"], "broad": true, "local": true}),
        )];
        for address in ["8.8.8.8", "2606:4700::1", "10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"] {
            for name in ["localhost", "app.localhost"] {
                let url = format!("https://{name}/v1");
                for addresses in [&[address][..], &["127.0.0.1", address]] {
                    assert_eq!(verdict(&every, &every, &url, addresses), "localhost_not_loopback", "{name} {address}");
                    assert_ne!(verdict(&[get(name)], &[get(name)], &url, addresses), "ok", "{name} {address}");
                }
                assert_eq!(verdict(&every, &every, &url, &["127.0.0.1", "::1"]), "ok");
            }
        }
        assert_eq!(verdict(&host, &host, "https://localhost/v1", &["8.8.8.8"]), "localhost_not_loopback");
        // A name that only begins with `localhost.` is an ordinary name.
        let other = [get("localhost.example.com")];
        assert_eq!(verdict(&other, &other, "https://localhost.example.com/v1", &["8.8.8.8"]), "ok");
    }

    #[test]
    fn checked_addresses_carry_the_port_of_the_url() {
        let api = [get("api.example.com")];
        let permitted = permit_request(&set(&api), &set(&api), request("https://api.example.com/v1")).expect("covered");
        assert_eq!(permitted.name(), Some("api.example.com"));
        let checked = check_addresses(&AddressPolicy::default(), &permitted, &["8.8.8.8".parse().expect("an address")])
            .expect("public");
        assert_eq!(checked.as_slice(), ["8.8.8.8:443".parse().expect("an address")]);
    }

    /// Returns the path segments as a careless server computes them: it decodes repeatedly, treats `\\` as `/`,
    /// cuts parameters off and resolves dot segments last.
    fn careless(path: &str) -> Vec<String> {
        let mut text = path.to_owned();
        loop {
            let escapes = [("%2e", "."), ("%2f", "/"), ("%5c", "\\"), ("%25", "%"), ("%3b", ";")];
            let next = escapes.iter().fold(text.clone(), |text, (escape, plain)| text.replace(escape, plain));
            if next == text {
                break;
            }
            text = next;
        }
        let mut segments = Vec::new();
        for segment in text.replace('\\', "/").split('/').map(|segment| segment.split(';').next().unwrap_or_default()) {
            match segment {
                "" | "." => {}
                ".." => drop(segments.pop()),
                name => segments.push(name.to_owned()),
            }
        }
        segments
    }

    proptest! {
        #[test]
        fn no_url_gets_past_its_permission(
            parts in proptest::collection::vec(
                proptest::sample::select(vec![
                    "https:", "//", "api.example.com", "evil.example", "@", ":", "443", "/", "/v1", "/v1/", "\\", "..", "/../", "%2e", "%2f", "%5c", "%25", "2e",
                    "2f", "%3b", "?", "#", ";", "\t", " ", ".", "a", "*", "[::1]",
                ]),
                0..8,
            ),
            whole in any::<bool>(),
        ) {
            let url = format!("{}{}", if whole { "https://api.example.com/v1" } else { "" }, parts.concat());
            let api = [get("api.example.com")];
            let request = EgressRequest::request(Method::Get, &url, Vec::new());
            if let Ok(permitted) = request.and_then(|request| permit_request(&set(&api), &set(&api), request)) {
                let rest = url.strip_prefix("https://api.example.com");
                prop_assert!(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/', '?', '#'])), "{}", url);
                let read = careless(permitted.request().url().path());
                prop_assert!(read.first().is_some_and(|first| first == "v1"), "{}: {:?}", url, read);
            }
        }

        #[test]
        fn any_text_is_accepted_or_refused_without_a_panic(text in any::<String>(), name in any::<String>()) {
            let headers = vec![(name.clone(), text.clone())];
            let answers = [
                EgressRequest::request(Method::Get, &text, headers),
                EgressRequest::request(Method::Get, &format!("https://api.example.com/{text}"), Vec::new()),
                EgressRequest::websocket(&format!("wss://{text}/"), vec![name]),
            ];
            for refusal in answers.into_iter().filter_map(|answer| answer.and_then(|request| permit_request(&set(&[]), &set(&[]), request)).err()) {
                prop_assert!(refusal.to_string().len() < 1000);
            }
        }
    }
}
