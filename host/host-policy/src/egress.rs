//! Whether a plugin's request may leave this host: a decision about values, made in two steps.
//!
//! [`decide`] asks for two keys, a target that the manifest declares and a grant of this host. Then,
//! once the name is resolved, [`judge_addresses`] says whether those addresses may be dialled, and
//! only what it hands back should be. Nothing here resolves, dials, waits or follows a redirect:
//! each hop is a new request.

use std::net::{IpAddr, SocketAddr};

use bundles::{AddressReach, UrlPermission, is_loopback_name};
use url::Host;

mod address;
#[cfg(test)]
mod corpus;
mod header;
mod path;
mod refusal;
mod request;

pub use address::{AddressKind, AddressPolicy};
pub use header::{HeaderClass, MAX_HEADER_BYTES, MAX_HEADER_NAME_BYTES, MAX_HEADER_VALUE_BYTES, MAX_HEADERS};
pub use refusal::{EgressRefusal, Key, Part};
pub use request::{Call, EgressRequest, MAX_SUBPROTOCOLS};

/// A request that both keys cover, and which ones they are. Only [`decide`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permitted {
    request: EgressRequest,
    target: UrlPermission,
    grant: UrlPermission,
}

impl Permitted {
    /// What may be sent.
    pub fn request(&self) -> &EgressRequest {
        &self.request
    }

    /// The declared target that covers it.
    pub fn target(&self) -> &UrlPermission {
        &self.target
    }

    /// The grant that covers it.
    pub fn grant(&self) -> &UrlPermission {
        &self.grant
    }

    /// The name that is to be resolved, or none when the URL names an address.
    pub fn name(&self) -> Option<&str> {
        match self.request.host() {
            Host::Domain(name) => Some(name),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
    }
}

/// Addresses that a permitted request may be sent to. Only [`judge_addresses`] makes one; a
/// connection goes to one of these, without another look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedAddresses(Vec<SocketAddr>);

impl CheckedAddresses {
    /// The addresses with the port, in the order of the answer; at least one.
    pub fn as_slice(&self) -> &[SocketAddr] {
        &self.0
    }
}

/// Looks for one target and one grant that cover the request. Where several do, the one that
/// reaches farthest is the evidence, so that a narrow permission beside it takes nothing away.
pub fn decide(
    targets: &[UrlPermission],
    grants: &[UrlPermission],
    request: EgressRequest,
) -> Result<Permitted, EgressRefusal> {
    let (key, nearest) = match (covering(targets, &request), covering(grants, &request)) {
        (Ok(target), Ok(grant)) => {
            return Ok(Permitted { target: target.clone(), grant: grant.clone(), request });
        }
        (Err(nearest), Ok(_)) => (Key::Manifest, nearest),
        (Ok(_), Err(nearest)) => (Key::Grant, nearest),
        (Err(nearest), Err(_)) => (Key::Both, nearest),
    };
    Err(EgressRefusal::not_covered(key, nearest, &request))
}

/// Says whether what a name resolved to may be dialled. One address that may not be refuses the
/// whole answer: a name that mixes public and special addresses is not to be trusted with either.
/// For a URL that names an address, that address is judged and `resolved` is not looked at.
pub fn judge_addresses(
    policy: &AddressPolicy,
    permitted: &Permitted,
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
        judge(policy, permitted, *address)?;
    }
    Ok(CheckedAddresses(addresses.iter().map(|address| SocketAddr::new(*address, request.port())).collect()))
}

fn judge(policy: &AddressPolicy, permitted: &Permitted, address: IpAddr) -> Result<(), EgressRefusal> {
    let host = permitted.request.host().to_string();
    // A resolver that answers otherwise is wrong or hostile, whatever the permissions say (RFC 6761, section 6.3).
    let elsewhere = permitted.name().is_some_and(is_loopback_name) && !address.is_loopback();
    let not_loopback = || EgressRefusal::NotLoopback { host: host.clone(), address };
    let Some(kind) = policy.special(address) else {
        return if elsewhere { Err(not_loopback()) } else { Ok(()) };
    };
    let needed = match kind {
        // None of these is one peer, and Linux takes `0.0.0.0` for loopback.
        AddressKind::Unspecified | AddressKind::Multicast | AddressKind::Broadcast => {
            return Err(EgressRefusal::NeverDialled { host, address, kind });
        }
        AddressKind::Loopback => AddressReach::Loopback,
        _ => AddressReach::Special,
    };
    let key = match (permitted.target.reach() >= needed, permitted.grant.reach() >= needed) {
        (true, true) if elsewhere => return Err(not_loopback()),
        (true, true) => return Ok(()),
        (false, true) => Key::Manifest,
        (true, false) => Key::Grant,
        (false, false) => Key::Both,
    };
    Err(EgressRefusal::SpecialAddress { key, host, address, kind })
}

/// The permission that covers the request and reaches farthest, or how near the others came.
fn covering<'a>(permissions: &'a [UrlPermission], request: &EgressRequest) -> Result<&'a UrlPermission, Option<Part>> {
    let covering = permissions.iter().rev().filter(|permission| mismatch(permission, request).is_none());
    let nearest = || permissions.iter().filter_map(|permission| mismatch(permission, request)).max();
    covering.max_by_key(|permission| permission.reach()).ok_or_else(nearest)
}

/// The first part of the request that the permission does not cover.
fn mismatch(permission: &UrlPermission, request: &EgressRequest) -> Option<Part> {
    if permission.scheme() != request.scheme() {
        return Some(Part::Scheme);
    }
    if !permission.host().covers(&request.host()) {
        return Some(Part::Host);
    }
    if permission.port() != request.port() {
        return Some(Part::Port);
    }
    if request.method().is_some_and(|method| !permission.methods().contains(&method)) {
        return Some(Part::Method);
    }
    (!permission.covers_path(request.url().path())).then_some(Part::Path)
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

    /// The code of the refusal, or `ok`.
    fn verdict(targets: &[UrlPermission], grants: &[UrlPermission], url: &str, resolved: &[&str]) -> &'static str {
        let resolved: Vec<IpAddr> = resolved.iter().map(|address| address.parse().expect("an address")).collect();
        decide(targets, grants, request(url))
            .and_then(|permitted| judge_addresses(&AddressPolicy::default(), &permitted, &resolved))
            .map_or_else(|refusal| refusal.code(), |_| "ok")
    }

    const URL: &str = "https://api.example.com/v1/x";

    #[test]
    fn both_keys_are_needed_and_the_missing_one_is_named() {
        let api = [get("api.example.com")];
        assert_eq!(verdict(&api, &api, URL, &["8.8.8.8"]), "ok");
        assert_eq!(verdict(&[], &api, URL, &["8.8.8.8"]), "not_declared");
        assert_eq!(verdict(&api, &[], URL, &["8.8.8.8"]), "not_granted");
        assert_eq!(verdict(&[], &[], URL, &["8.8.8.8"]), "not_declared_nor_granted");
    }

    #[test]
    fn refusal_says_how_near_a_permission_came_and_what_would_allow_it() {
        let api = [get("other.example.com"), get("api.example.com")];
        for (method, url, part) in [
            (Method::Get, "http://api.example.com/v1", "another scheme"),
            (Method::Get, "https://x.api.example.com/v1", "another host"),
            (Method::Get, "https://api.example.com:8443/v1", "another port"),
            (Method::Post, "https://api.example.com/v1", "another method"),
            (Method::Get, "https://api.example.com/v10", "another path"),
        ] {
            let request = EgressRequest::request(method, url, Vec::new()).expect("a request");
            let refusal = decide(&api, &api, request.clone()).expect_err("not covered");
            assert!(refusal.to_string().contains(part), "{refusal}");
            let help = refusal.help().expect("help");
            let line = help.split('`').nth(1).expect("a line of JSON");
            let added = [permission(serde_json::from_str(line).expect("JSON"))];
            assert!(decide(&added, &added, request).is_ok(), "{help}");
        }
    }

    #[test]
    fn refusal_repeats_no_query_and_no_fragment() {
        let refusal = decide(&[], &[], request("https://api.example.com/v1?key=s3cr3t#frag")).expect_err("not covered");
        let text = format!("{refusal} {:?}", refusal.help());
        assert!(!text.contains("s3cr3t") && !text.contains("frag"), "{text}");
        assert!(text.contains("GET https://api.example.com/v1"), "{text}");
    }

    #[test]
    fn websocket_and_request_are_different_permissions() {
        let gateway = [permission(json!({"scheme": "wss", "host": "gw.example.com", "path_prefixes": ["/ws"]}))];
        let open = |url| EgressRequest::websocket(url, Vec::new()).expect("a request");
        assert!(decide(&gateway, &gateway, open("wss://gw.example.com/ws/1")).is_ok());
        assert!(decide(&gateway, &gateway, open("ws://gw.example.com/ws/1")).is_err());
        assert!(decide(&[get("gw.example.com")], &gateway, open("wss://gw.example.com/ws")).is_err());
        assert!(decide(&gateway, &gateway, request("https://gw.example.com/ws")).is_err());
    }

    #[test]
    fn special_address_needs_the_mark_in_both_keys() {
        let (plain, marked) = ([get("api.example.com")], [local("api.example.com")]);
        for address in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:8.8.8.8", "203.0.113.10"] {
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
    fn answer_is_judged_as_a_whole_and_an_empty_one_refused() {
        let (plain, marked) = ([get("api.example.com")], [local("api.example.com")]);
        assert_eq!(verdict(&plain, &plain, URL, &["8.8.8.8", "2606:4700::1"]), "ok");
        assert_eq!(verdict(&plain, &plain, URL, &["8.8.8.8", "10.0.0.1"]), "special_address_not_declared_nor_granted");
        assert_eq!(verdict(&marked, &marked, URL, &["8.8.8.8", "10.0.0.1"]), "ok");
        assert_eq!(verdict(&marked, &marked, URL, &["8.8.8.8", "0.0.0.0"]), "address_never_dialled");
        assert_eq!(verdict(&plain, &plain, URL, &[]), "no_address");
    }

    #[test]
    fn address_in_the_url_is_meant_where_it_is_named_and_judged_where_it_is_not() {
        let every = |mark: bool| {
            let mut value =
                json!({"scheme": "https", "host": "*", "methods": ["GET"], "path_prefixes": ["/"], "broad": true});
            if mark {
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
    fn localhost_is_loopback_and_nothing_else() {
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
        // A name that only looks like it is a name as any other.
        let other = [get("localhost.example.com")];
        assert_eq!(verdict(&other, &other, "https://localhost.example.com/v1", &["8.8.8.8"]), "ok");
    }

    #[test]
    fn checked_addresses_carry_the_port_of_the_url() {
        let api = [get("api.example.com")];
        let permitted = decide(&api, &api, request("https://api.example.com/v1")).expect("covered");
        assert_eq!(permitted.name(), Some("api.example.com"));
        let checked = judge_addresses(&AddressPolicy::default(), &permitted, &["8.8.8.8".parse().expect("an address")])
            .expect("public");
        assert_eq!(checked.as_slice(), ["8.8.8.8:443".parse().expect("an address")]);
    }

    /// What a careless server makes of a path: it decodes as often as it can, takes `\\` for `/`, cuts
    /// parameters off and resolves dots last.
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
            let asked = EgressRequest::request(Method::Get, &url, Vec::new());
            if let Ok(permitted) = asked.and_then(|request| decide(&api, &api, request)) {
                let rest = url.strip_prefix("https://api.example.com");
                prop_assert!(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/', '?', '#'])), "{}", url);
                let read = careless(permitted.request().url().path());
                prop_assert!(read.first().is_some_and(|first| first == "v1"), "{}: {:?}", url, read);
            }
        }

        #[test]
        fn any_text_is_answered(text in any::<String>(), name in any::<String>()) {
            let headers = vec![(name.clone(), text.clone())];
            let answers = [
                EgressRequest::request(Method::Get, &text, headers),
                EgressRequest::request(Method::Get, &format!("https://api.example.com/{text}"), Vec::new()),
                EgressRequest::websocket(&format!("wss://{text}/"), vec![name]),
            ];
            for refusal in answers.into_iter().filter_map(|answer| answer.and_then(|request| decide(&[], &[], request)).err()) {
                prop_assert!(refusal.to_string().len() < 1000);
            }
        }
    }
}
