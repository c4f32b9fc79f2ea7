use bundles::{BundleLimits, UrlPermission};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::egress::{AddressPolicy, EgressRequest, PermissionSet, check_addresses, permit_request};
use crate::plugin::Standing;

const SAMPLE: &str = include_str!("../../../../../bundles/src/plugin/sample.toml");

fn manifest(text: &str) -> PluginManifest {
    PluginManifest::parse(text.as_bytes(), &BundleLimits::default()).unwrap_or_else(|error| panic!("{:#?}", error.list))
}

fn sample() -> PluginManifest {
    manifest(SAMPLE)
}

/// Returns the sample with other request targets.
fn with_requests(targets: &[UrlPermission]) -> PluginManifest {
    let (head, tail) = SAMPLE.split_once("[[requests]]").expect("requests");
    let (_, tail) = tail.split_once("[[websockets]]").expect("websockets");
    let mut list = String::new();
    for (index, target) in targets.iter().enumerate() {
        if !targets[..index].contains(target) {
            let value = serde_json::to_value(target).expect("JSON");
            list.push_str("[[requests]]\nreason = \"Tests.\"\n");
            for (key, value) in value.as_object().expect("an object") {
                list.push_str(&format!("{key} = {value}\n"));
            }
        }
    }
    manifest(&format!("{head}{list}[[websockets]]{tail}"))
}

fn target(value: Value) -> UrlPermission {
    serde_json::from_value(value).expect("a permission")
}

fn everything(manifest: &PluginManifest) -> PluginGrant {
    PluginGrant::of_requests(manifest, &manifest.tools().keys().cloned().collect())
}

#[test]
fn everything_is_missing_without_a_grant_and_nothing_with_a_grant_of_all_requests() {
    let manifest = sample();
    let review = PluginReview::new(&manifest, None);
    assert_eq!(review.missing(), review.requested());
    assert!(review.granted().is_empty() && review.grant_only().is_empty());
    assert!(review.statements().iter().all(|one| one.standing == Standing::Missing));
    let review = PluginReview::new(&manifest, Some(&everything(&manifest)));
    assert_eq!(review.granted(), review.requested());
    assert!(review.missing().is_empty() && review.grant_only().is_empty());
    assert!(review.statements().iter().all(|one| one.standing == Standing::Granted));
    insta::assert_snapshot!(serde_json::to_string_pretty(&review).expect("JSON"));
}

#[test]
fn each_part_of_a_grant_that_is_left_out_is_missing() {
    let manifest = sample();
    let all = serde_json::to_value(everything(&manifest)).expect("JSON");
    for list in ["surfaces", "tools", "effects", "requests", "websockets", "secrets"] {
        let items = all[list].as_array().expect("a list");
        assert!(!items.is_empty(), "{list}");
        for index in 0..items.len() {
            let mut grant = all.clone();
            let removed = grant[list].as_array_mut().expect("a list").remove(index);
            let grant: PluginGrant = serde_json::from_value(grant).expect("a grant");
            let review = PluginReview::new(&manifest, Some(&grant));
            let missing = serde_json::to_value(review.missing()).expect("JSON");
            assert_eq!(missing[list], json!([removed]), "{list}");
            assert!(review.grant_only().is_empty());
        }
    }
}

#[test]
fn narrower_grant_is_granted_in_part_and_wider_grant_is_shown_as_grant_only() {
    let asked = json!({"scheme": "https", "host": "a.example", "methods": ["GET", "POST"], "path_prefixes": ["/v1"]});
    let plugin = with_requests(&[target(asked)]);
    let review = |granted: Value| {
        let grant = PluginGrant { requests: vec![target(granted)], ..everything(&plugin) };
        let review = PluginReview::new(&plugin, Some(&grant));
        let shown =
            |list: &PermissionLists| list.requests.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let statement = review.statements().iter().find(|one| one.text.contains("a.example")).expect("a statement");
        (statement.standing, shown(review.granted()), shown(review.missing()), shown(review.grant_only()))
    };
    let is = |granted: Value, standing, lists: [&str; 3]| {
        let [one, two, three] = lists.map(str::to_owned);
        assert_eq!(review(granted), (standing, one, two, three));
    };
    let whole = "GET, POST https://a.example/v1/…";
    let get = |path: &str| json!({"scheme": "https", "host": "a.example", "methods": ["GET"], "path_prefixes": [path]});
    is(get("/v1"), Standing::Partial, ["GET https://a.example/v1/…", "POST https://a.example/v1/…", ""]);
    is(get("/v1/x"), Standing::Partial, ["GET https://a.example/v1/x/…", whole, ""]);
    is(
        get("/"),
        Standing::Partial,
        ["GET https://a.example/v1/…", "POST https://a.example/v1/…", "GET https://a.example/…"],
    );
    is(get("/v10"), Standing::Missing, ["", whole, "GET https://a.example/v10/…"]);
    let every =
        json!({"scheme": "https", "host": "*", "methods": ["GET", "POST"], "path_prefixes": ["/v1"], "broad": true});
    is(every, Standing::Granted, [whole, "", "GET, POST https://*/v1/… (every host)"]);
    // Neither covers the other: the grant is wider in its host and narrower in its path.
    let across = json!({"scheme": "https", "host": "*", "methods": ["GET"], "path_prefixes": ["/v1/x"], "broad": true});
    is(across, Standing::Partial, ["GET https://a.example/v1/x/…", whole, "GET https://*/v1/x/… (every host)"]);
}

#[test]
fn sentences_name_the_reach_of_a_target_and_the_most_dangerous_one_comes_first() {
    let get = |host: &str, more: Value| {
        let mut value = json!({"scheme": "https", "host": host, "methods": ["GET"], "path_prefixes": ["/"]});
        value.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        target(value)
    };
    let plugin = with_requests(&[
        get("api.example.com", json!({"methods": ["GET", "POST", "PUT"], "path_prefixes": ["/v1", "/v2"]})),
        get("*.example.com", json!({"wildcard": "subdomain", "port": 8443})),
        get("intranet.example.com", json!({"local": true, "path_prefixes": ["/a", "/b", "/c", "/d", "/e", "/f"]})),
        get("localhost", json!({"scheme": "http", "port": 3000})),
        get("192.168.0.1", json!({})),
        get("8.8.8.8", json!({})),
        get("*", json!({"broad": true})),
        get("*", json!({"broad": true, "local": true, "port": 8080})),
        get("169.254.169.254", json!({"scheme": "http"})),
    ]);
    let review = PluginReview::new(&plugin, None);
    let text: Vec<String> = review.statements().iter().map(|one| format!("{:?}: {}", one.danger, one.text)).collect();
    insta::assert_snapshot!(text.join("\n"));
    assert_eq!(review.broad().requests.len(), 7);
    assert_eq!(review.broad().effects.len(), 1);
}

#[test]
fn change_reports_a_tool_whose_effect_grows_although_the_effect_is_not_new() {
    let old = sample();
    let new = manifest(&SAMPLE.replace("effect = \"read\"", "effect = \"external\""));
    let change = PluginChange::new(&old, &new);
    let shown = |list: &PermissionLists| serde_json::to_value(list).expect("JSON");
    assert_eq!(shown(change.widened())["tools"], json!(["issues.search"]));
    assert_eq!(shown(change.narrowed())["effects"], json!(["read"]));
    let back = PluginChange::new(&new, &old);
    assert_eq!((back.widened(), back.narrowed()), (change.narrowed(), change.widened()));
}

/// Permissions that differ from each other in few parts, so that many pairs overlap.
fn permissions() -> impl Strategy<Value = UrlPermission> {
    let hosts = ["a.example.com", "b.a.example.com", "*.example.com", "*.a.example.com", "*", "10.0.0.1", "localhost"];
    let paths = ["/", "/v1", "/v1/", "/v1/x", "/v10"];
    (
        proptest::sample::select(hosts.to_vec()),
        proptest::sample::subsequence(paths.to_vec(), 1..=3),
        proptest::sample::subsequence(vec!["DELETE", "GET", "POST"], 1..=3),
        any::<bool>(),
        proptest::bool::weighted(0.2),
    )
        .prop_map(|(host, paths, methods, local, port)| {
            let mut value = json!({"scheme": "https", "host": host, "methods": methods, "path_prefixes": paths});
            let fields = value.as_object_mut().expect("an object");
            if port {
                fields.insert("port".to_owned(), json!(8443));
            }
            if host == "*" {
                fields.insert("broad".to_owned(), json!(true));
            } else if host.starts_with('*') {
                fields.insert("wildcard".to_owned(), json!("subdomain"));
            }
            if local && !matches!(host, "10.0.0.1" | "localhost") {
                fields.insert("local".to_owned(), json!(true));
            }
            target(value)
        })
}

/// Requests at the borders of these permissions, each with a resolved address. Under each wildcard stands a host that no
/// permission names, so that a permission for one host never looks as wide as the wildcard.
fn requests() -> Vec<(EgressRequest, &'static str)> {
    let mut all = Vec::new();
    let named = ["a.example.com", "b.a.example.com", "10.0.0.1", "localhost"];
    let unnamed = ["example.com", "z.example.com", "z.a.example.com", "c.b.a.example.com"];
    for host in named.into_iter().chain(unnamed) {
        for port in ["", ":8443"] {
            for path in ["/", "/v1", "/v1/", "/v1/x", "/v1/x/y", "/v10"] {
                for method in ["DELETE", "GET", "POST"] {
                    for address in ["8.8.8.8", "10.0.0.1", "127.0.0.1"] {
                        let url = format!("https://{host}{port}{path}");
                        let method = method.parse().expect("a method");
                        all.push((EgressRequest::request(method, &url, Vec::new()).expect("a request"), address));
                    }
                }
            }
        }
    }
    all
}

fn is_allowed(targets: &[UrlPermission], grants: &[UrlPermission], (request, address): &(EgressRequest, &str)) -> bool {
    let set = |list: &[UrlPermission]| PermissionSet::new(list.iter().cloned());
    permit_request(&set(targets), &set(grants), request.clone()).is_ok_and(|permitted| {
        check_addresses(&AddressPolicy::default(), &permitted, &[address.parse().expect("an address")]).is_ok()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn covering_permission_allows_every_request_of_the_covered_one(one in permissions(), other in permissions()) {
        let (wide, narrow) = ([one], [other]);
        let exceeds = |request: &&(EgressRequest, &str)| {
            is_allowed(&narrow, &narrow, request) && !is_allowed(&wide, &wide, request)
        };
        let requests = requests();
        prop_assert!(wide[0].covers(&wide[0]));
        prop_assert_eq!(wide[0].covers(&narrow[0]), !requests.iter().any(|request| exceeds(&request)));
    }

    #[test]
    fn granted_list_allows_exactly_what_both_lists_allow(
        asked in proptest::collection::vec(permissions(), 1..4),
        granted in proptest::collection::vec(permissions(), 0..4),
    ) {
        let plugin = with_requests(&asked);
        let grant = PluginGrant { requests: granted.clone(), ..everything(&plugin) };
        let review = PluginReview::new(&plugin, Some(&grant));
        let (has, missing) = (&review.granted().requests, &review.missing().requests);
        let only = &review.grant_only().requests;
        for request in requests() {
            prop_assert_eq!(is_allowed(has, has, &request), is_allowed(&asked, &granted, &request), "{:?}", request);
            // Nothing of either side is lost.
            if is_allowed(&asked, &asked, &request) {
                prop_assert!(is_allowed(missing, missing, &request) || is_allowed(&granted, &granted, &request));
            }
            if is_allowed(&granted, &granted, &request) {
                prop_assert!(is_allowed(only, only, &request) || is_allowed(&asked, &asked, &request));
            }
        }
    }

    #[test]
    fn change_to_the_same_manifest_is_empty_and_the_way_back_is_the_inverse(
        one in proptest::collection::vec(permissions(), 1..4),
        other in proptest::collection::vec(permissions(), 1..4),
    ) {
        let (old, new) = (with_requests(&one), with_requests(&other));
        let none = PluginChange::new(&old, &old);
        prop_assert!(none.widened().is_empty() && none.narrowed().is_empty());
        let (change, back) = (PluginChange::new(&old, &new), PluginChange::new(&new, &old));
        prop_assert_eq!(change.widened(), back.narrowed());
        prop_assert_eq!(change.narrowed(), back.widened());
        // A grant of the old requests misses exactly what is widened.
        let review = PluginReview::new(&new, Some(&everything(&old)));
        prop_assert_eq!(&review.missing().requests, &change.widened().requests);
    }
}
