//! Tests of the egress checks against shared corpora, which lie beside the project and may be missing.

use std::collections::BTreeMap;
use std::path::Path;

use bundles::Method;
use serde_json::{Map, Value, json};

use super::{AddressPolicy, CaseError, EgressCase, EgressRefusal, EgressRequest};

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

/// `true` if a name of the case is never resolved.
fn hangs(fields: &Map<String, Value>) -> bool {
    let names = fields.get("dns").and_then(Value::as_object);
    names.is_some_and(|names| names.values().any(|answer| answer == "hang"))
}

/// `true` if the case also needs a connection, which this test does not open.
fn needs_connection(fields: &Map<String, Value>) -> bool {
    hangs(fields) || fields.contains_key("server") || fields.contains_key("dns_sequence")
}

/// Returns the refusal's code, message and help as the error.
fn verdict(case: &EgressCase<'_>) -> Result<(), String> {
    let checked = case.check(&AddressPolicy::with_test_net_3()).map_err(|error| match &error {
        CaseError::Refused(refusal) => describe(refusal),
        CaseError::Method => error.code().to_owned(),
    })?;
    for address in checked.as_slice() {
        let is_forbidden = case.list("never_connect").contains(&json!(address.ip().to_string()));
        assert!(!is_forbidden, "{}: {address} would be dialled", case.text("id"));
    }
    Ok(())
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
        connections += usize::from(needs_connection(fields));
        if hangs(fields) {
            continue;
        }
        judged += 1;
        for broad in [false, true] {
            let case = EgressCase::new(fields, broad);
            let verdict = verdict(&case);
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
