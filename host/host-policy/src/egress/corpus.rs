//! Tests of the egress checks against shared corpora, which lie beside the project and may be missing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use bundles::{Method, UrlPermission, WrittenUrlPermission};
use serde_json::{Map, Value, json};

use super::{AddressPolicy, EgressRefusal, EgressRequest, PermissionSet, check_addresses, permit_request};

fn corpus(name: &str) -> Option<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora/url").join(name);
    match std::fs::read(path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).expect("the corpus is JSON")),
        Err(_) => {
            println!("skipped: the corpus `{name}` is missing");
            None
        }
    }
}

/// A case of the corpus. Its permissions are translated to this project's fields.
///
/// The corpus has no field for a permission of the host `*`; `broad` adds this project's field for it.
struct Case<'a> {
    fields: &'a Map<String, Value>,
    broad: bool,
}

impl Case<'_> {
    fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns the permissions that parse. The others would match nothing.
    fn permissions(&self, field: &str) -> PermissionSet {
        let list = self.fields.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        PermissionSet::new(list.iter().filter_map(|value| self.permission(value.as_object()?.clone())))
    }

    fn permission(&self, mut fields: Map<String, Value>) -> Option<UrlPermission> {
        for (mark, ours) in [("local", json!(true)), ("broad", json!(true)), ("wildcard", json!("subdomain"))] {
            if fields.remove(mark).is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false))) {
                fields.insert(mark.to_owned(), ours);
            }
        }
        if self.broad && fields.get("host") == Some(&json!("*")) {
            fields.insert("broad".to_owned(), json!(true));
        }
        let written: WrittenUrlPermission = serde_json::from_value(Value::Object(fields)).ok()?;
        written.normal().try_into().ok()
    }

    fn request(&self) -> Result<EgressRequest, String> {
        let refused = |refusal: EgressRefusal| describe(&refusal);
        if self.text("api") == "websocket" {
            return EgressRequest::websocket(self.text("url"), Vec::new()).map_err(refused);
        }
        let method: Method = self.text("method").parse().map_err(|_| "invalid_method".to_owned())?;
        let pair = |header: &Value| Some((header.get(0)?.as_str()?.to_owned(), header.get(1)?.as_str()?.to_owned()));
        let headers = self.fields.get("headers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        EgressRequest::request(method, self.text("url"), headers.iter().filter_map(pair).collect()).map_err(refused)
    }

    /// Returns the answer to the first look-up of a name.
    fn look_up(&self, name: &str) -> Vec<IpAddr> {
        let answer = |field: &str| self.fields.get(field).and_then(|names| names.get(name));
        let first = answer("dns_sequence").and_then(|answers| answers.get(0)).or_else(|| answer("dns"));
        let addresses = first.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        addresses.iter().filter_map(|address| address.as_str()?.parse().ok()).collect()
    }

    /// Returns the refusal's code, message and help as the error.
    fn verdict(&self) -> Result<(), String> {
        let permitted = permit_request(&self.permissions("targets"), &self.permissions("grants"), self.request()?)
            .map_err(|refusal| describe(&refusal))?;
        let resolved = permitted.name().map(|name| self.look_up(name)).unwrap_or_default();
        let checked = check_addresses(&AddressPolicy::with_test_net_3(), &permitted, &resolved)
            .map_err(|refusal| describe(&refusal))?;
        let never = self.fields.get("never_connect").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for address in checked.as_slice() {
            assert!(
                !never.contains(&json!(address.ip().to_string())),
                "{}: {address} would be dialled",
                self.text("id")
            );
        }
        Ok(())
    }

    fn hangs(&self) -> bool {
        self.fields
            .get("dns")
            .and_then(Value::as_object)
            .is_some_and(|names| names.values().any(|answer| answer == "hang"))
    }

    /// `true` if the case also needs a connection, which this test does not open.
    fn needs_connection(&self) -> bool {
        self.hangs() || self.fields.contains_key("server") || self.fields.contains_key("dns_sequence")
    }
}

fn describe(refusal: &EgressRefusal) -> String {
    format!("{}: {refusal} {}", refusal.code(), refusal.help().unwrap_or_default())
}

/// Returns the user info, query and fragment of a URL, each if it is longer than two bytes and occurs only
/// once in the URL.
fn private_parts(url: &str) -> impl Iterator<Item = &str> {
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = rest.split_once("://").map_or(rest, |(_, rest)| rest).split('/').next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    [fragment, query, user].into_iter().filter(move |part| part.len() > 2 && url.matches(part).count() == 1)
}

#[test]
fn corpus_of_permissions_agrees() {
    let Some(corpus) = corpus("permission_cases.json") else { return };
    let cases = corpus.get("cases").and_then(Value::as_array).expect("a list of cases");
    let (mut judged, mut connections, mut either) = (0, 0, 0);
    let mut wrong = Vec::new();
    let mut codes: BTreeMap<String, usize> = BTreeMap::new();
    for fields in cases.iter().filter_map(Value::as_object) {
        connections += usize::from(Case { fields, broad: false }.needs_connection());
        if (Case { fields, broad: false }).hangs() {
            continue;
        }
        judged += 1;
        for broad in [false, true] {
            let case = Case { fields, broad };
            let verdict = case.verdict();
            if let Err(words) = &verdict {
                *codes.entry(words.split(':').next().unwrap_or_default().to_owned()).or_default() += 1;
                for part in private_parts(case.text("url")) {
                    assert!(!words.contains(part), "{}: {words}", case.text("id"));
                }
            }
            let agrees = match case.text("expect") {
                "allow" => verdict.is_ok() || (case.text("level") == "if-supported" && !broad),
                "deny" => verdict.is_err(),
                _ => {
                    either += usize::from(!broad);
                    true
                }
            };
            if !agrees {
                wrong.push(format!("{} {} {}: {verdict:?}", case.text("level"), case.text("id"), case.text("reason")));
            }
        }
    }
    println!(
        "{} cases: {judged} judged purely ({either} of them either way), {connections} need a connection as well",
        cases.len()
    );
    println!("refusals, with and without `broad` for `*`: {codes:?}");
    wrong.iter().for_each(|line| println!("differs: {line}"));
    assert!(judged > 0 && wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn url_that_the_standard_refuses_is_refused() {
    let Some(corpus) = corpus("urltestdata.json") else { return };
    let mut refused = 0;
    for case in corpus.as_array().expect("a list of cases") {
        let fails = case.get("failure") == Some(&json!(true)) && case.get("base").is_none_or(Value::is_null);
        let Some(input) = case.get("input").and_then(Value::as_str).filter(|_| fails) else { continue };
        assert!(EgressRequest::request(Method::Get, input, Vec::new()).is_err(), "{input:?}");
        assert!(EgressRequest::websocket(input, Vec::new()).is_err(), "{input:?}");
        refused += 1;
    }
    println!("{refused} URLs that the standard refuses");
    assert!(refused > 0);
}
