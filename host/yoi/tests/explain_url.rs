//! `yoi plugin explain-url`.

use serde_json::{Value, json};

use crate::support::{Place, examples, snapshot};

const CONFIG: &str = "[workspaces.acme]\nsignatures = { posture = \"none\" }\n";

/// Writes the package `tracker` and a config that grants it.
fn place() -> Place {
    let place = Place::new();
    let manifest = std::fs::read_to_string(examples().join("../src/plugin/sample.toml")).expect("read");
    place.write("tracker/plugin.toml", &manifest);
    place.write("tracker/component.wasm", b"\0asm\x0d\0\x01\0");
    place.write("runtime.toml", CONFIG);
    assert_eq!(place.yoi(&["plugin", "enable", "tracker", "--config", "runtime.toml", "--all"]).code, 0);
    place
}

#[test]
fn each_key_and_each_address_is_explained() {
    let place = place();
    let mut said = String::new();
    for (arguments, code) in [
        ("tracker GET https://Tracker.example.com/api/v2/search?q=disk#top", 0),
        ("tracker GET https://tracker.example.com/api/v2/search --resolve tracker.example.com=8.8.8.8,2606:4700::1", 0),
        ("tracker GET https://tracker.example.com/api/v3", 4),
        ("tracker DELETE https://tracker.example.com/api/v2/search", 4),
        ("tracker GET https://tracker.example.com/api/v2/search --resolve tracker.example.com=10.0.0.7", 4),
        ("tracker GET https://tracker.example.com/api/v2/search --resolve tracker.example.com=169.254.169.254", 4),
        ("tracker GET https://tracker.example.com/api/v2/search --resolve tracker.example.com=", 4),
        ("tracker GET http://169.254.169.254/latest", 4),
        ("tracker GET https://localhost/", 4),
        ("tracker GET https://user@tracker.example.com/", 4),
        ("tracker GET https://tracker.example.com/api/v2/search --header cookie:a=b", 4),
        ("tracker --websocket wss://stream.example.com/live", 0),
        ("tracker --websocket wss://stream.example.com/live --subprotocol chat", 4),
        ("tracker --websocket https://tracker.example.com/api/v2/search", 4),
        ("tracker https://tracker.example.com/api/v2/search", 2),
        ("tracker GET https://tracker.example.com/ --resolve tracker", 2),
    ] {
        let words: Vec<&str> = arguments.split(' ').collect();
        let ended = place.yoi(&[&["plugin", "explain-url", "--config", "runtime.toml"], &words[..]].concat());
        assert_eq!(ended.code, code, "{arguments}: {}", ended.stderr);
        said.push_str(&format!("$ yoi plugin explain-url {arguments}\n{}{}\n", ended.stdout, ended.stderr));
    }
    snapshot!("plugin_explain_url", said);
}

#[test]
fn without_a_grant_of_the_package_the_request_is_refused() {
    let place = place();
    let explain = ["plugin", "explain-url", "tracker", "GET", "https://tracker.example.com/api/v2/search"];
    let (explained, code) = place.json(&explain);
    assert_eq!((code, &explained["verdict"], &explained["code"]), (4, &json!("deny"), &json!("not_granted")));
    let (explained, code) = place.json(&[&explain[..], &["--config", "runtime.toml"]].concat());
    assert_eq!((code, &explained["verdict"], &explained["code"]), (0, &json!("allow_unresolved"), &Value::Null));
}

#[test]
fn cases_of_a_file_are_judged_without_a_network() {
    let place = Place::new();
    let permission = json!({"scheme": "https", "host": "a.example", "methods": ["GET"], "path_prefixes": ["/"]});
    let case = |id: &str, address: &str| {
        json!({
            "id": id, "api": "request", "method": "GET", "url": "https://a.example/x",
            "targets": [permission], "grants": [permission], "dns": { "a.example": [address] },
        })
    };
    let cases = [case("public", "8.8.8.8"), case("private", "10.0.0.1"), case("test", "203.0.113.1")];
    place.write("lines.jsonl", cases.map(|case| case.to_string() + "\n").concat());
    let said = place.yoi(&["plugin", "explain-url", "--batch", "lines.jsonl"]);
    let verdicts = |text: &str| {
        let answers = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        answers.map(|answer| answer["verdict"].as_str().expect("a verdict").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((said.code, verdicts(&said.stdout)), (0, ["allow", "deny", "deny"].map(str::to_owned).to_vec()));

    let cases = [case("public", "8.8.8.8"), case("private", "10.0.0.1"), case("test", "203.0.113.1")];
    place.write("cases.json", json!({ "cases": cases, "public_stand_ins": ["203.0.113.0/24"] }).to_string());
    let said = place.yoi(&["plugin", "explain-url", "--batch", "cases.json"]);
    assert_eq!(verdicts(&said.stdout), ["allow", "deny", "allow"]);
    let (document, code) = place.json(&["plugin", "explain-url", "--batch", "cases.json"]);
    assert_eq!((code, document["cases"].as_array().map(Vec::len)), (0, Some(3)));
    assert_eq!(document["cases"][1]["code"], "special_address_not_declared_nor_granted");

    for (text, line) in [("{\"a\":1}\n[]\n", 2), ("x", 1), ("{\"cases\":7}", 1)] {
        place.write("bad.json", text);
        let (error, code) = place.json(&["plugin", "explain-url", "--batch", "bad.json"]);
        assert_eq!((code, &error["code"]), (3, &json!("invalid_json")), "{error}");
        assert!(error["message"].as_str().is_some_and(|message| message.contains(&format!("line {line}"))), "{error}");
    }
}
