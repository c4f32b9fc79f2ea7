//! Tests with the corpora beside the project: the required shares of refused and of accepted cases. Only ids of cases
//! are printed.

use serde_json::Value;

use crate::{Kind, Leak, Place, scan};

fn corpus(name: &str) -> Option<Value> {
    let path = format!("{}/../../../shared/corpora/leaks/{name}", env!("CARGO_MANIFEST_DIR"));
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap()),
        Err(_) => {
            eprintln!("skipped: the corpus `{name}` is not beside this project");
            None
        }
    }
}

struct Case {
    id: String,
    tier: u64,
    place: String,
    value: String,
}

fn cases(corpus: &Value, list: &str) -> Vec<Case> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    corpus[list]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| Case {
            id: text(&case["id"]),
            tier: case["tier"].as_u64().unwrap_or(0),
            place: text(&case["where"]),
            value: match case["pieces"].as_array() {
                Some(pieces) => pieces.iter().map(text).collect::<String>().chars().rev().collect(),
                None => text(&case["value"]),
            },
        })
        .collect()
}

fn shows_nothing_of(value: &str, output: &str) -> bool {
    let letters: Vec<char> = value.chars().collect();
    letters.windows(8).all(|window| !output.contains(&window.iter().collect::<String>()))
}

/// Returns all text about findings that an error can contain.
fn output(leaks: &[Leak]) -> String {
    leaks.iter().map(|leak| format!("{leak:?}\n{}\n{}\n", leak.rule.id(), leak.rule.description())).collect()
}

/// Asserts that at least `share` of the cases is right, and lists the wrong ones.
fn assert_share(what: &str, total: usize, wrong: &[String], share: f64) {
    let right = total - wrong.len();
    assert!(right as f64 >= share * total as f64, "{what}: {right} of {total}, not {}", wrong.join(", "));
    eprintln!("{what}: {right} of {total}");
}

#[test]
fn secrets_of_the_corpus_are_refused_and_similar_values_pass() {
    let Some(corpus) = corpus("secrets.json") else { return };
    let secrets = cases(&corpus, "secrets");
    for (tier, share) in [(1, 0.98), (2, 0.85)] {
        let of_tier: Vec<&Case> = secrets.iter().filter(|case| case.tier == tier).collect();
        let is_refused = |case: &Case| {
            let places: &[Place] = match case.place.as_str() {
                "any" => &[Place::Prompt, Place::Text],
                "prompt" => &[Place::Prompt],
                "object-key" => &[Place::ObjectKey],
                _ => &[Place::Text],
            };
            places.iter().all(|&place| {
                let leaks = scan(place, &case.value);
                assert!(shows_nothing_of(&case.value, &output(&leaks)), "{}", case.id);
                leaks.iter().any(|leak| leak.rule.kind() == Kind::Secret)
            })
        };
        let missed: Vec<String> = of_tier.iter().filter(|case| !is_refused(case)).map(|case| case.id.clone()).collect();
        assert_share(&format!("secrets of tier {tier}"), of_tier.len(), &missed, share);
    }
    let legitimate = cases(&corpus, "legitimate");
    let refused: Vec<String> = legitimate
        .iter()
        .filter_map(|case| {
            let places: &[Place] = if case.place == "prompt" {
                &[Place::Prompt]
            } else {
                &[Place::Prompt, Place::Text, Place::UrlTarget, Place::ObjectKey]
            };
            let rules: Vec<&str> =
                places.iter().flat_map(|&place| scan(place, &case.value)).map(|leak| leak.rule.id()).collect();
            (!rules.is_empty()).then(|| format!("{} ({})", case.id, rules.join(" ")))
        })
        .collect();
    assert_share("legitimate strings beside secrets", legitimate.len(), &refused, 0.98);
}

#[test]
fn host_paths_of_the_corpus_are_refused_and_similar_values_pass() {
    let Some(corpus) = corpus("host_paths.json") else { return };
    let local = cases(&corpus, "host_local");
    for (tier, share) in [(1, 1.0), (2, 0.9)] {
        let of_tier: Vec<&Case> = local.iter().filter(|case| case.tier == tier).collect();
        let is_refused = |case: &Case| {
            let place = if case.place == "prompt" { Place::Prompt } else { Place::Text };
            let leaks = scan(place, &case.value);
            assert!(shows_nothing_of(&case.value, &output(&leaks)), "{}", case.id);
            let is_allowed = case.place == "not-url-permission"
                && !scan(Place::UrlTarget, &case.value).is_empty()
                && case.value.starts_with("http");
            leaks.iter().any(|leak| leak.rule.kind() == Kind::HostPath) && !is_allowed
        };
        let missed: Vec<String> = of_tier.iter().filter(|case| !is_refused(case)).map(|case| case.id.clone()).collect();
        assert_share(&format!("host paths of tier {tier}"), of_tier.len(), &missed, share);
    }
    let legitimate = cases(&corpus, "legitimate");
    let refused: Vec<String> = legitimate
        .iter()
        .filter_map(|case| {
            let places: &[Place] = match case.place.as_str() {
                "any" => &[Place::Prompt, Place::Text, Place::ObjectKey],
                "prompt" => &[Place::Prompt],
                "url-path-prefix" | "url-permission" => &[Place::UrlTarget],
                _ => &[Place::Text],
            };
            let rules: Vec<&str> =
                places.iter().flat_map(|&place| scan(place, &case.value)).map(|leak| leak.rule.id()).collect();
            (!rules.is_empty()).then(|| format!("{} ({})", case.id, rules.join(" ")))
        })
        .collect();
    assert_share("legitimate strings beside host paths", legitimate.len(), &refused, 1.0);
}
