//! Verification of an untrusted manifest: each refusal with its code. No error repeats text of the manifest.

use std::sync::Arc;

use bundles::canonical::{read_canonical, to_canonical};
use bundles::{
    Acceptances, Admission, Blob, Bundle, BundleError, BundleLimits, Digest, Manifest, VerifiedManifest, open_manifest,
};
use serde_json::{Value, json};
use yoi_tests::fuzz::seeds;

use crate::bundle_fixture::{Files, says_nothing_of};

fn open(bytes: &[u8]) -> Result<Manifest, BundleError> {
    open_manifest(bytes, &BundleLimits::default(), Acceptances::Honour)
}

fn full() -> String {
    String::from_utf8(seeds::bundle().manifest_bytes().to_vec()).expect("text")
}

fn full_value() -> Value {
    serde_json::from_str(&full()).expect("json")
}

/// Returns the canonical bytes of the full manifest with another value at one place.
fn with(pointer: &str, other: Value) -> Vec<u8> {
    let mut value = full_value();
    *value.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = other;
    to_canonical(&value).expect("json")
}

/// Asserts that an error has a code, a message and a remedy.
#[track_caller]
fn refused<T: std::fmt::Debug>(opened: Result<T, BundleError>, code: &str) -> BundleError {
    let error = opened.expect_err(code);
    assert_eq!(error.code(), code, "{error}");
    assert!(!error.help().is_empty() && !error.to_string().ends_with('.'), "{error}");
    error
}

/// A manifest and its blobs, which tests change.
struct Parts {
    manifest: Value,
    blobs: Vec<Arc<[u8]>>,
}

impl Parts {
    fn full() -> Self {
        let blobs = seeds::bundle().blobs().map(|(_, bytes)| Arc::clone(bytes)).collect();
        Self { manifest: full_value(), blobs }
    }

    /// Replaces the bytes of the blob that is named at this place.
    fn blob(mut self, pointer: &str, bytes: &[u8]) -> Self {
        let named = self.manifest.pointer_mut(pointer).expect("a blob");
        let before: Digest = named["digest"].as_str().expect("text").parse().expect("a digest");
        *named = json!({ "digest": Digest::of(bytes), "size": bytes.len() });
        self.blobs.retain(|blob| Digest::of(blob) != before);
        self.blobs.push(bytes.into());
        self
    }

    fn open(&self) -> Result<Bundle, BundleError> {
        self.open_as(&BundleLimits::default(), Acceptances::Honour)
    }

    fn open_as(&self, limits: &BundleLimits, acceptances: Acceptances) -> Result<Bundle, BundleError> {
        Bundle::open(to_canonical(&self.manifest).expect("json").into(), self.blobs.clone(), limits, acceptances)
    }

    /// Opens the bundle like a Runtime that stored it before some rules existed.
    fn open_stored(&self, acceptances: Acceptances) -> Result<Bundle, BundleError> {
        let limits = BundleLimits::default();
        let manifest = Blob::new(to_canonical(&self.manifest).expect("json"));
        VerifiedManifest::admit(manifest, &limits, acceptances, Admission::Stored)?
            .complete(self.blobs.clone(), &limits)
    }
}

#[test]
fn valid_canonical_manifest_is_opened() {
    assert!(open(full().as_bytes()).is_ok());
    assert!(Parts::full().open().is_ok());
}

#[test]
fn every_other_spelling_is_refused_with_its_code() {
    let full = full();
    let language = "\"language\":\"en\"";
    assert!(full.contains(language));
    let spelled = |other: &str| full.replace(language, other).into_bytes();
    for (code, bytes) in [
        ("not_canonical", format!("{full}\n").into_bytes()),
        ("not_canonical", format!(" {full}").into_bytes()),
        ("not_canonical", spelled("\"language\": \"en\"")),
        ("not_canonical", spelled("\"language\":\"\\u0065n\"")),
        ("not_canonical", spelled("\"langu\\u0061ge\":\"en\"")),
        ("not_canonical", full.replace("\"limit\":10", "\"limit\":10.0").into_bytes()),
        ("not_canonical", full.replace("\"limit\":10", "\"limit\":1e1").into_bytes()),
        ("not_canonical", full.replace("\"ratio\":0.5", "\"ratio\":0.50").into_bytes()),
        ("not_canonical", full.replace("{\"accepted\"", "{\"zaccepted\"").into_bytes()),
        ("not_canonical", serde_json::to_vec_pretty(&full_value()).expect("json")),
        ("duplicate_key", spelled("\"language\":\"en\",\"language\":\"en\"")),
        ("duplicate_key", spelled("\"language\":\"en\",\"langu\\u0061ge\":\"en\"")),
        ("unsafe_number", full.replace("\"limit\":10", "\"limit\":9007199254740993").into_bytes()),
        ("unsafe_number", full.replace("\"limit\":10", "\"limit\":1e999").into_bytes()),
        ("invalid_json", [b"\xef\xbb\xbf", full.as_bytes()].concat()),
        ("invalid_json", spelled("\"language\":\"\\ud800\"")),
        ("invalid_json", [full.as_bytes(), b"{}"].concat()),
        ("invalid_json", full.replace("\"limit\":10", "\"limit\":010").into_bytes()),
        ("invalid_json", full.replace("\"limit\":10", "\"limit\":NaN").into_bytes()),
        ("invalid_json", full.replace(":10,", ":10,,").into_bytes()),
        ("invalid_json", full.replace("Acme", "Ac\u{1}me").into_bytes()),
        ("invalid_json", [&full.as_bytes()[..20], b"\xff\"}"].concat()),
        ("invalid_json", Vec::new()),
    ] {
        refused(open(&bytes), code);
    }
    // UTF-16 and other encodings.
    let wide: Vec<u8> = full.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(open(&wide).is_err());
}

#[test]
fn explicit_empty_field_is_not_canonical() {
    for (pointer, empty) in [
        ("/accepted", json!([])),
        ("/prompts", json!({})),
        ("/workspace/name", json!("")),
        ("/workspace/description", json!("")),
        ("/workspace/repository", json!("")),
        ("/workspace/labels", json!({})),
        ("/provenance/source", Value::Null),
        ("/profiles/base/description", json!("")),
        ("/profiles/coder/extends", json!([])),
        ("/profiles/coder/layers", json!([])),
        ("/profiles/coder/layers/0/models", Value::Null),
        ("/profiles/coder/layers/0/settings", json!({})),
        ("/profiles/coder/layers/1/when", json!([])),
        ("/tools/fs.read/policy", json!({})),
        ("/tools/fs.read/input", Value::Null),
        ("/plugins/issues/permissions", json!({})),
        ("/plugins/issues/permissions/requests/0/what/local", json!(false)),
        ("/plugins/issues/permissions/requests/0/what/port", Value::Null),
        ("/policy", json!({})),
        ("/policy/tools", json!({})),
        ("/policy/tools/allow", Value::Null),
        ("/models/large/secret", Value::Null),
    ] {
        refused(open(&with(pointer, empty)), "not_canonical");
    }
    // An empty allow list has a meaning: nothing is allowed.
    assert!(open(&with("/policy/tools/allow", json!([]))).is_ok());
    assert!(open(&with("/profiles/coder/layers/0/models/replace", json!([]))).is_ok());
    assert!(open(&with("/profiles/coder/layers/1", json!({}))).is_ok());
}

/// Returns the pointers of all objects and of all other values of the full manifest.
fn places() -> (Vec<String>, Vec<String>) {
    fn walk(pointer: String, value: &Value, objects: &mut Vec<String>, leaves: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                objects.push(pointer.clone());
                for (key, value) in map {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    walk(format!("{pointer}/{key}"), value, objects, leaves);
                }
            }
            Value::Array(list) => {
                for (index, value) in list.iter().enumerate() {
                    walk(format!("{pointer}/{index}"), value, objects, leaves);
                }
            }
            _ => leaves.push(pointer),
        }
    }
    let (mut objects, mut leaves) = (Vec::new(), Vec::new());
    walk(String::new(), &full_value(), &mut objects, &mut leaves);
    (objects, leaves)
}

fn is_free(pointer: &str) -> bool {
    pointer.contains("/settings") || pointer.contains("/parameters")
}

#[test]
fn unknown_field_is_refused_in_every_object() {
    let named = ["/profiles", "/prompts", "/workflows", "/tools", "/plugins", "/models", "/workspace/labels"];
    let (objects, _) = places();
    let mut refusals = 0;
    for pointer in objects.iter().filter(|pointer| !is_free(pointer) && !named.contains(&pointer.as_str())) {
        let mut object = full_value().pointer(pointer).expect("an object").clone();
        object["zzz"] = json!({});
        let bytes = if pointer.is_empty() { to_canonical(&object).expect("json") } else { with(pointer, object) };
        let error = open(&bytes).expect_err(pointer);
        // An enum has one of its variants instead of fields.
        let cases = error.to_string().contains("single key");
        assert_eq!(error.code(), if cases { "invalid_field" } else { "unknown_field" }, "{pointer}: {error}");
        refusals += 1;
        says_nothing_of("zzz", &format!("{error}{error:?}"));
    }
    assert!(refusals > 30, "{refusals}");
}

#[test]
fn missing_required_field_is_reported() {
    for (object, fields) in [
        ("", &["schema", "workspace", "revision", "created_at", "language"][..]),
        ("/workspace", &["id"]),
        ("/prompts/base~1conduct", &["text"]),
        ("/prompts/base~1conduct/text", &["digest", "size"]),
        ("/tools/fs.read", &["source", "effect"]),
        ("/plugins/issues", &["version", "package", "world"]),
        ("/plugins/issues/permissions/secrets/0", &["what", "reason"]),
        ("/plugins/issues/permissions/secrets/0/placement", &["header"]),
        ("/plugins/issues/permissions/websockets/0/what", &["scheme", "host"]),
        ("/models/local", &["provider", "model"]),
        ("/accepted/0", &["rule", "field", "reason"]),
        ("/profiles/coder/layers/0/wishes/0", &["authority", "need"]),
    ] {
        for field in fields {
            let mut value = full_value();
            let place = value.pointer_mut(object).expect("an object");
            place.as_object_mut().expect("an object").remove(*field).expect("a field");
            let error = refused(open(&to_canonical(&value).expect("json")), "invalid_field");
            assert!(error.to_string().contains(&format!("`{field}`")), "{error}");
        }
    }
}

#[test]
fn value_of_a_wrong_type_is_refused_at_every_place() {
    let (objects, leaves) = places();
    let others =
        [json!(null), json!(true), json!(-1), json!(1.5), json!(""), json!("A\u{0}"), json!([[]]), json!({"?": 1})];
    let mut refusals = 0;
    for pointer in objects.iter().chain(&leaves).filter(|pointer| !pointer.is_empty() && !is_free(pointer)) {
        for other in &others {
            // If the manifest is still accepted, it contains exactly this value.
            let bytes = with(pointer, other.clone());
            match read_canonical::<Manifest>(&bytes, BundleLimits::default().manifest()) {
                Ok(manifest) => assert_eq!(to_canonical(&manifest).expect("json"), bytes, "{pointer}"),
                Err(error) => {
                    assert!(!error.help().is_empty(), "{pointer}: {error}");
                    refusals += 1;
                }
            }
        }
    }
    assert!(refusals > 1000, "{refusals}");
}

#[test]
fn no_error_repeats_text_of_the_manifest() {
    let secret = ["AKIA", "IOSFODNN7", "ABCDEFG"].concat();
    let small = "sk-ant-api03-ab3def8hij4lmno9qrst2vwx";
    let (objects, leaves) = places();
    for value in [secret.as_str(), small, ", expected Canary-Of-Mine", "Canary-Of-Mine`: expected Canary-Of-Mine"] {
        // Words of the message are not content of the manifest.
        let content = value.trim_start_matches(", expected ").split("`: expected ").next().unwrap_or_default();
        for pointer in &leaves {
            if let Err(error) = open(&with(pointer, json!(value))) {
                says_nothing_of("Canary-Of-Mine", &format!("{error}{error:?}"));
                says_nothing_of(content, &all_of(&error));
            } else {
                assert!(value.contains("Canary"), "{pointer} has room for a secret");
            }
        }
        for pointer in objects.iter().filter(|pointer| !pointer.is_empty()) {
            let mut object = full_value().pointer(pointer).expect("an object").clone();
            let first = object.as_object().and_then(|map| map.values().next()).cloned().unwrap_or_default();
            object[value] = first;
            if let Err(error) = open(&with(pointer, object)) {
                says_nothing_of(content, &all_of(&error));
            } else {
                assert!(value.contains("Canary"), "{pointer} has room for a secret in a key");
            }
        }
    }
}

/// Returns the text of an error in every form.
fn all_of(error: &BundleError) -> String {
    format!("{error} {error:?} {} {:?}", error.help(), error.pointer())
}

#[test]
fn dangling_reference_is_refused_with_its_place() {
    for (pointer, other, code) in [
        ("/profiles/coder/extends/0", json!("nobody"), "dangling_name"),
        ("/profiles/coder/layers/0/models/replace/0", json!("nothing"), "dangling_name"),
        ("/profiles/coder/layers/0/instructions/append/0", json!("nothing"), "dangling_name"),
        ("/profiles/coder/layers/0/tools_deny/append/0", json!("nothing"), "dangling_name"),
        ("/profiles/coder/layers/0/plugins/append/0", json!("nothing"), "dangling_name"),
        ("/profiles/coder/layers/0/workflows/append/1", json!("nothing"), "dangling_name"),
        ("/tools/issues.search/source", json!("plugin:nothing"), "dangling_name"),
        ("/tools/issues.search/effect", json!("external"), "invalid_field"),
        ("/policy/tools/deny/0", json!("nothing"), "dangling_name"),
        ("/policy/plugins/allow/0", json!("nothing"), "dangling_name"),
        ("/accepted/0/field", json!("/profiles/nobody/description"), "dangling_name"),
        ("/accepted/0/rule", json!("host_path.nothing"), "unknown_rule"),
        ("/accepted/0/reason", json!(" "), "invalid_field"),
        ("/models/local/model", json!(""), "invalid_field"),
        ("/plugins/issues/permissions/secrets/0/reason", json!(""), "invalid_field"),
        ("/workspace/name", json!("\u{1b}[2J"), "control_character"),
        ("/workspace/description", json!("\u{1b}[2J"), "control_character"),
        ("/workspace/repository", json!("\u{202e}"), "control_character"),
    ] {
        // Without this, the finding that is not accepted any more would be reported first.
        let mut value = full_value();
        value["profiles"]["coder"]["description"] = json!("Writes code, as in ~/book.");
        *value.pointer_mut(pointer).expect("a place") = other;
        if pointer.starts_with("/accepted/0/") && code != "invalid_field" {
            value["profiles"]["coder"]["description"] = json!("Writes code.");
        }
        let error = refused(open(&to_canonical(&value).expect("json")), code);
        assert_eq!(error.pointer().map(|at| at.as_str()), Some(pointer), "{error}");
    }
    for (parents, code) in [(json!(["coder"]), "inheritance_cycle"), (json!(["base", "base"]), "duplicate_name")] {
        refused(open(&with("/profiles/coder/extends", parents)), code);
    }
}

#[test]
fn blobs_are_exactly_those_that_the_manifest_names() {
    let count = Parts::full().blobs.len();
    for left_out in 0..count {
        let mut parts = Parts::full();
        let gone = Digest::of(parts.blobs.remove(left_out));
        let error = refused(parts.open(), "missing_blobs");
        assert!(matches!(&error, BundleError::MissingBlobs(missing) if *missing == [gone]), "{error}");
    }
    let mut parts = Parts::full();
    parts.blobs.clear();
    let error = refused(parts.open(), "missing_blobs");
    assert!(matches!(&error, BundleError::MissingBlobs(missing) if missing.len() == count), "{error}");
    let mut parts = Parts::full();
    parts.blobs.push(Arc::from(*b"a stowaway"));
    refused(parts.open(), "unlisted_blob");
    for size in [0, 18, 20, u32::MAX] {
        let mut parts = Parts::full();
        parts.manifest["prompts"]["base/conduct"]["text"]["size"] = json!(size);
        let code = if size == u32::MAX { "too_large" } else { "wrong_size" };
        let error = refused(parts.open(), code);
        assert_eq!(error.pointer().map(|at| at.as_str()), Some("/prompts/base~1conduct/text"));
    }
    // A blob that is named twice is stored once and must have the same size in both places.
    let mut parts = Parts::full();
    parts.blobs.extend(parts.blobs.clone());
    assert!(parts.open().is_ok());
    let mut parts = Parts::full();
    let text = parts.manifest["prompts"]["base/conduct"].clone();
    parts.manifest["prompts"]["copy"] = text;
    assert!(parts.open().is_ok());
    parts.manifest["prompts"]["copy"]["text"]["size"] = json!(7);
    refused(parts.open(), "wrong_size");
}

#[test]
fn prompts_workflows_and_schemas_are_text_and_schemas_are_json_objects() {
    let (prompt, workflow, schema) =
        ("/prompts/base~1conduct/text", "/workflows/change/definition", "/tools/fs.read/input");
    for place in [prompt, workflow, schema] {
        for bytes in [&b"\xff"[..], b"{}\xc3", b"\xed\xa0\x80", b"\xc0\x80"] {
            let error = refused(Parts::full().blob(place, bytes).open(), "not_utf8");
            assert_eq!(error.pointer().map(|at| at.as_str()), Some(place));
        }
        assert!(Parts::full().blob(place, "{ \"title\": \"ü\" }\n".as_bytes()).open().is_ok(), "{place}");
    }
    for bytes in [
        "",
        "{",
        "[]",
        "true",
        "\"x\"",
        "{}{}",
        "{\"a\":1,\"a\":1}",
        "{\"a\":1e400}",
        "{\"a\":9007199254740993}",
        "\u{feff}{}",
    ] {
        let error = refused(Parts::full().blob(schema, bytes.as_bytes()).open(), "invalid_schema");
        assert_eq!(error.pointer().map(|at| at.as_str()), Some(schema));
        assert!(bytes.is_empty() || Parts::full().blob(prompt, bytes.as_bytes()).open().is_ok(), "{bytes}");
    }
    let deep = |levels: usize| format!("{}{}", "{\"a\":".repeat(levels), "1".to_owned() + &"}".repeat(levels));
    refused(Parts::full().blob(schema, deep(33).as_bytes()).open(), "invalid_schema");
    refused(Parts::full().blob(schema, deep(100_000).as_bytes()).open(), "invalid_schema");
    assert!(Parts::full().blob(schema, deep(32).as_bytes()).open().is_ok());
}

#[test]
fn error_names_the_exceeded_limit() {
    type Change = fn(&mut BundleLimits);
    let parts = Parts::full().blob("/tools/fs.read/input", br#"{"pattern":"^[a-z]+$"}"#);
    let changes: [(&str, Change, &str); 17] = [
        ("manifest_bytes", |limits| limits.manifest_bytes = 1000, "too_large"),
        ("json_depth", |limits| limits.json_depth = 7, "too_deep"),
        ("blob_bytes", |limits| limits.blob_bytes = 20, "too_large"),
        ("pattern_bytes", |limits| limits.pattern_bytes = 100, "invalid_schema"),
        ("package_bytes", |limits| limits.package_bytes = 1, "too_large"),
        ("packages_bytes", |limits| limits.packages_bytes = 1, "too_large"),
        ("plugin_tools", |limits| limits.plugin_tools = 1, "too_large"),
        ("blobs", |limits| limits.blobs = 6, "too_large"),
        ("bundle_bytes", |limits| limits.bundle_bytes = 1000, "too_large"),
        ("profiles", |limits| limits.profiles = 1, "too_large"),
        ("lineage", |limits| limits.lineage = 1, "too_deep"),
        ("parents", |limits| limits.parents = 0, "too_large"),
        ("layers", |limits| limits.layers = 1, "too_large"),
        ("list_items", |limits| limits.list_items = 1, "too_large"),
        ("text_bytes", |limits| limits.text_bytes = 5, "too_large"),
        ("key_bytes", |limits| limits.key_bytes = 5, "too_large"),
        ("settings_bytes", |limits| limits.settings_bytes = 5, "too_large"),
    ];
    for (name, change, code) in changes {
        let mut limits = BundleLimits::default();
        change(&mut limits);
        let error = refused(parts.open_as(&limits, Acceptances::Honour), code);
        assert!(error.to_string().contains(&format!("`{name}`")), "{name}: {error}");
    }
    // All limits are tested. `files` limits folders, and two limits apply to packages.
    let fields = serde_json::to_value(BundleLimits::default()).expect("json");
    assert_eq!(fields.as_object().map(serde_json::Map::len), Some(changes.len() + 3));
}

#[test]
fn deeply_nested_manifest_is_refused_before_parsing() {
    for text in
        ["[".repeat(1 << 20), "{\"a\":".repeat(1 << 18), format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20))]
    {
        refused(open(text.as_bytes()), "too_deep");
    }
    let limits = BundleLimits::default();
    refused(open(&vec![b' '; limits.manifest_bytes + 1]), "too_large");
    refused(open(&vec![b' '; limits.manifest_bytes]), "invalid_json");
}

#[test]
fn accepted_findings_are_honoured_only_if_the_host_allows_it() {
    let parts = Parts::full();
    assert!(parts.open_as(&BundleLimits::default(), Acceptances::Honour).is_ok());
    let error = refused(parts.open_as(&BundleLimits::default(), Acceptances::Refuse), "host_path_in_bundle");
    assert_eq!(error.pointer().map(|at| at.as_str()), Some("/profiles/coder/description"));
    assert!(error.to_string().contains("`host_path.home`"), "{error}");
    // Without findings, both settings give the same result.
    let built = Files::small().passes().bundle;
    for acceptances in [Acceptances::Honour, Acceptances::Refuse] {
        assert!(open_manifest(built.manifest_bytes(), &BundleLimits::default(), acceptances).is_ok());
    }
    // An acceptance of another rule or field has no effect.
    for (pointer, other) in
        [("/accepted/0/rule", "host_path.posix_absolute"), ("/accepted/0/field", "/profiles/base/description")]
    {
        refused(open(&with(pointer, json!(other))), "host_path_in_bundle");
    }
    // A finding in a blob is refused too.
    let noted = Parts::full().blob("/prompts/base~1conduct/text", b"Read ~/book first.");
    refused(noted.open(), "host_path_in_bundle");
    let mut accepted = Parts::full().blob("/prompts/base~1conduct/text", b"Read ~/book first.");
    let acceptance = json!({ "rule": "host_path.home", "field": "/prompts/base~1conduct/text", "reason": "A book." });
    accepted.manifest["accepted"].as_array_mut().expect("a list").push(acceptance);
    assert!(accepted.open().is_ok());
    refused(accepted.open_as(&BundleLimits::default(), Acceptances::Refuse), "host_path_in_bundle");
}

#[test]
fn a_stored_bundle_opens_although_a_newer_rule_refuses_it() {
    let mut parts = Parts::full().blob("/prompts/base~1conduct/text", b"Read ~/book first.");
    parts.manifest["profiles"]["base"]["description"] = json!("Look into ~/notes.");
    refused(parts.open(), "host_path_in_bundle");
    let bundle = parts.open_stored(Acceptances::Honour).expect("opens");
    let places: Vec<_> = bundle.findings().map(|error| error.pointer().expect("a place").as_str().to_owned()).collect();
    assert_eq!(places, ["/profiles/base/description", "/prompts/base~1conduct/text"]);
    assert!(bundle.findings().all(|error| error.code() == "host_path_in_bundle" && error.is_newer_rule()));
    // Accepted findings were known when the bundle was stored, so the host's decision about them stays in force.
    refused(parts.open_stored(Acceptances::Refuse), "host_path_in_bundle");
    // A manifest that every version refuses is still refused.
    let mut parts = Parts::full();
    parts.manifest["profiles"]["coder"]["extends"] = json!(["nobody"]);
    refused(parts.open_stored(Acceptances::Honour), "dangling_name");
    assert_eq!(Parts::full().open_stored(Acceptances::Honour).expect("opens").findings().count(), 0);
    assert_eq!(Parts::full().open().expect("opens").findings().count(), 0);
}

#[test]
fn an_unknown_plugin_surface_is_refused_and_a_stored_bundle_with_one_opens_with_a_finding() {
    let with = |surfaces: Value| {
        let mut parts = Parts::full();
        parts.manifest["plugins"]["issues"]["surfaces"] = surfaces;
        parts
    };
    let odd = with(json!(["tools", "kernel"]));
    refused(odd.open(), "unknown_surface");
    let bundle = odd.open_stored(Acceptances::Honour).expect("opens");
    let place = |error: &BundleError| error.pointer().expect("a place").as_str().to_owned();
    let findings: Vec<_> = bundle.findings().map(|error| (error.code().as_str(), place(error))).collect();
    assert_eq!(findings, [("unknown_surface", "/plugins/issues/surfaces/1".to_owned())]);
    let twice = with(json!(["tools", "ingress", "tools"]));
    refused(twice.open(), "duplicate_name");
    let bundle = twice.open_stored(Acceptances::Honour).expect("opens");
    let findings: Vec<_> = bundle.findings().map(|error| (error.code().as_str(), place(error))).collect();
    assert_eq!(findings, [("duplicate_name", "/plugins/issues/surfaces/2".to_owned())]);
    assert!(with(json!(["tools", "service", "ingress"])).open().is_ok());
}

#[test]
fn message_about_a_duplicate_key_is_one_sentence() {
    let twice = br#"{"a":1,"a":2}"#;
    let message = open(twice).expect_err("twice").to_string();
    assert_eq!(message, "invalid manifest: duplicate key in an object at line 1, column 10");
    let facts = host_policy::Facts::from_json(twice).expect_err("twice").to_string();
    assert_eq!(facts, "duplicate key in an object at line 1, column 10");
}

#[test]
fn acceptance_cannot_contain_a_host_path() {
    for field in [
        "/home/alice/projects/notes",
        "/etc/passwd",
        "~/notes",
        "C:\\Users\\alice",
        "file:///srv/x",
        "/(withheld)/home/alice",
    ] {
        let mut value = full_value();
        let more = json!({ "rule": "host_path.home", "field": field, "reason": "None." });
        value["accepted"].as_array_mut().expect("a list").push(more);
        let error = open(&to_canonical(&value).expect("json")).expect_err(field);
        assert!(matches!(error.code().as_str(), "dangling_name" | "host_path_in_bundle"), "{error}");
        says_nothing_of(field, &all_of(&error));
    }
}

#[test]
fn crafted_manifest_is_checked_in_bounded_time() {
    // Without a clock: a check of quadratic cost would not finish.
    let many = |count: usize, name: &str| (0..count).map(|index| format!("{name}-{index:06}")).collect::<Vec<_>>();
    let mut value = full_value();
    let near = "a-tool-with-a-name-that-is-as-long-as-a-name-may-be-and";
    for name in many(4000, near) {
        value["tools"][name] = json!({ "source": "host", "effect": "none" });
    }
    value["profiles"]["coder"]["layers"][0]["tools_allow"]["append"] =
        json!(many(20_000, "a-tool-with-a-name-that-is-none"));
    refused(open(&to_canonical(&value).expect("json")), "too_large");

    let mut value = full_value();
    let wide: serde_json::Map<_, _> = many(50_000, "k").into_iter().map(|key| (key, json!("~/a"))).collect();
    value["profiles"]["coder"]["layers"][0]["settings"] = json!({ "k".repeat(1 << 20): wide });
    refused(open(&to_canonical(&value).expect("json")), "too_large");
    value["profiles"]["coder"]["layers"][0]["settings"] = wide.into();
    refused(open(&to_canonical(&value).expect("json")), "host_path_in_bundle");

    let mut value = full_value();
    let names = many(4000, "p");
    for (index, name) in names.iter().enumerate() {
        let parents: Vec<&String> = names.iter().skip(index + 1).take(15).collect();
        value["profiles"][name] = json!({ "extends": parents });
    }
    assert_eq!(open(&to_canonical(&value).expect("json")).expect_err("too long").code(), "not_canonical");
    value["profiles"]["p-003999"] = json!({});
    refused(open(&to_canonical(&value).expect("json")), "too_deep");
}

#[test]
fn a_faulty_schema_is_refused_when_it_comes_in_and_a_finding_when_it_is_stored() {
    let with = |schema: &[u8]| Parts::full().blob("/tools/fs.read/input", schema);
    let faulty = with(b"{\"properties\":{\"path\":{\"pattern\":\"(?=a)\"}}}");
    let error = refused(faulty.open(), "invalid_schema");
    let message = "invalid schema `/tools/fs.read/input` at `/properties/path/pattern`: invalid pattern: look-around";
    assert!(error.to_string().starts_with(message), "{error}");
    let stored = faulty.open_stored(Acceptances::Honour).expect("a stored bundle opens");
    let findings: Vec<String> = stored.findings().map(ToString::to_string).collect();
    assert_eq!(findings, [error.to_string()]);
    let sound = with(b"{\"properties\":{\"path\":{\"pattern\":\"(?:a)\"}}}");
    assert_eq!(sound.open_stored(Acceptances::Honour).expect("sound").findings().count(), 0);
    assert!(sound.open().is_ok());
}

#[test]
fn leak_beside_a_schema_fault_is_reported_as_a_leak() {
    let schema = b"{\"ghp_0123456789abcdefghijABCDEFGHIJ012345\":1,\"type\":\"objekt\"}";
    let error = Parts::full().blob("/tools/fs.read/input", schema).open().expect_err("refused");
    assert!(!error.to_string().contains("ghp_0123"), "{error}");
}
