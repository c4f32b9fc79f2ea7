//! External corpora: a suite of invalid and unusual JSON texts, and the test data of RFC 8785.

use std::path::PathBuf;
use std::sync::Arc;

use bundles::canonical::{JsonBounds, parse, to_canonical};
use bundles::{Acceptances, Bundle, BundleLimits, Digest, open_manifest};
use serde_json::{Value, json};
use yoi_tests::corpus;
use yoi_tests::fuzz::seeds;

use crate::bundle_fixture::Files;

const BOUNDS: JsonBounds = JsonBounds { bytes: ("bytes", 1 << 20), depth: ("depth", 32) };

/// Reasons to refuse a text that the suite calls valid: JSON parsers do not agree on its meaning.
const STRICT: [&str; 3] = ["duplicate_key", "unsafe_number", "too_deep"];

/// Returns name and content of all files of a corpus, in order.
fn files(name: &str) -> Vec<(String, Vec<u8>)> {
    let Some(folder) = corpus(name) else { return Vec::new() };
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let named = |path: PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        (name, std::fs::read(&path).expect("a file"))
    };
    paths.into_iter().map(named).collect()
}

fn is_bad(name: &str) -> bool {
    name.starts_with("n_")
}

#[test]
fn every_text_of_the_suite_is_a_value_or_a_typed_error() {
    for (name, bytes) in files("json-parsing") {
        match parse(&bytes, BOUNDS) {
            Ok(value) => {
                assert!(!is_bad(&name), "{name} was accepted");
                let canonical = to_canonical(&value).expect("json");
                assert!(parse(&canonical, BOUNDS).is_ok(), "{name}");
            }
            Err(error) => {
                assert!(!error.help().is_empty(), "{name}");
                assert!(!name.starts_with("y_") || STRICT.contains(&error.code().as_str()), "{name}: {error}");
            }
        }
    }
}

#[test]
fn every_text_of_the_suite_is_refused_as_a_manifest_with_help() {
    for (name, bytes) in files("json-parsing") {
        let error = open_manifest(&bytes, &BundleLimits::default(), Acceptances::Honour).expect_err(&name);
        assert!(!error.help().is_empty(), "{name}");
        assert!(error.to_string().len() < 400, "{name}: {error}");
    }
}

#[test]
fn every_text_of_the_suite_inside_a_manifest_is_kept_or_refused() {
    let manifest = Files::small().put("profiles/a.toml", "settings.value = 1\n").passes().bundle;
    let manifest = String::from_utf8(manifest.manifest_bytes().to_vec()).expect("text");
    let (before, after) = manifest.split_once("\"value\":1").expect("a setting");
    for (name, bytes) in files("json-parsing") {
        let text = [before.as_bytes(), b"\"value\":", &bytes, after.as_bytes()].concat();
        match open_manifest(&text, &BundleLimits::default(), Acceptances::Honour) {
            Ok(opened) => assert_eq!(to_canonical(&opened).expect("json"), text, "{name}"),
            Err(error) => assert!(!error.help().is_empty(), "{name}"),
        }
    }
}

#[test]
fn every_text_of_the_suite_is_accepted_as_a_tool_schema_or_refused_with_a_code() {
    let bundle = seeds::bundle();
    let mut manifest: Value = serde_json::from_slice(bundle.manifest_bytes()).expect("json");
    let before = bundle.manifest().tools["fs.read"].output.expect("a schema").digest;
    let others: Vec<Arc<[u8]>> =
        bundle.blobs().filter(|(digest, _)| **digest != before).map(|(_, bytes)| Arc::clone(bytes)).collect();
    let mut accepted = 0;
    for (name, bytes) in files("json-parsing") {
        let wrapped = [b"{\"default\":", &bytes[..], b"}"].concat();
        for (schema, bad) in [(&bytes, is_bad(&name)), (&wrapped, false)] {
            manifest["tools"]["fs.read"]["output"] = json!({ "digest": Digest::of(schema), "size": schema.len() });
            let blobs = others.iter().cloned().chain([Arc::from(schema.as_slice())]);
            let manifest = to_canonical(&manifest).expect("json");
            match Bundle::open(manifest.into(), blobs, &BundleLimits::default(), Acceptances::Honour) {
                Ok(_) if bad => panic!("{name} was accepted"),
                Ok(opened) => {
                    let stored = opened.blob(&Digest::of(schema)).map(|bytes| bytes.to_vec());
                    assert_eq!(stored.as_ref(), Some(schema), "{name}: stored as it came");
                    accepted += 1;
                }
                Err(error) => {
                    let code = error.code().as_str();
                    assert!(matches!(code, "invalid_schema" | "not_utf8"), "{name}: {code}: {error}");
                }
            }
            // The builder reports the same error, with its place.
            if let Ok(text) = std::str::from_utf8(schema)
                && bad
            {
                let told = Files::full().put("schemas/fs.read.output.json", text).build().expect_err(&name);
                assert!(told.list.iter().any(|one| one.file == "schemas/fs.read.output.json"), "{name}");
            }
        }
    }
    assert!(accepted > 80 || corpus("json-parsing").is_none(), "{accepted}");
}

#[test]
fn canonicalising_each_input_of_the_published_data_gives_exactly_the_output() {
    let outputs = files("jcs/output");
    for (name, input) in files("jcs/input") {
        let (_, output) = outputs.iter().find(|(other, _)| *other == name).expect("an output");
        let value = parse(&input, BOUNDS).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            String::from_utf8_lossy(&to_canonical(&value).expect("json")),
            String::from_utf8_lossy(output),
            "{name}"
        );
        assert!(bundles::canonical::parse_canonical(output, BOUNDS).is_ok(), "{name}");
        assert!(input == *output || bundles::canonical::parse_canonical(&input, BOUNDS).is_err(), "{name}");
    }
    for (name, hex) in files("jcs/outhex") {
        let hex = String::from_utf8(hex).expect("text");
        let bytes: Vec<u8> = hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect();
        let name = name.replace(".txt", ".json");
        let (_, output) = outputs.iter().find(|(other, _)| *other == name).expect("an output");
        assert_eq!(&bytes, output, "{name}");
    }
}
