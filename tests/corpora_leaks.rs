//! Credentials, host paths and look-alikes of the corpora, in every field of a folder and of a manifest that a case names.
//! Only ids of the corpora are printed.

use std::fmt::Write;
use std::sync::Arc;

use bundles::canonical::to_canonical;
use bundles::{
    Acceptances, Authority, Bundle, BundleLimits, Digest, MountLabel, ResourceUri, SecretRef, UrlPermission,
    WorkspaceGlob, WrittenUrlPermission,
};
use leak_scan::{Kind, Place, scan};
use serde_json::{Value, json};
use yoi_tests::corpus;

use crate::bundle_fixture::{Files, says_nothing_of};

/// A text of a bundle, with its place in the folder and in the manifest.
struct Field {
    name: &'static str,
    file: &'static str,
    /// The original value.
    plain: &'static str,
    pointer: &'static str,
    kind: Text,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    /// A string.
    Value,
    /// The key of a free object.
    Key,
    /// A whole file.
    File,
    /// A string in a JSON file.
    Json,
}

const fn field(
    name: &'static str,
    file: &'static str,
    plain: &'static str,
    pointer: &'static str,
    kind: Text,
) -> Field {
    Field { name, file, plain, pointer, kind }
}

const BUNDLE: &str = "bundle.toml";
const PROFILE: &str = "profiles/worker.toml";
const PLUGIN: &str = "plugins/issues.toml";

/// Every kind of field with free text.
const FIELDS: [Field; 23] = [
    field("workspace name", BUNDLE, "plain-a", "/workspace/name", Text::Value),
    field("workspace description", BUNDLE, "plain-v", "/workspace/description", Text::Value),
    field("workspace repository", BUNDLE, "plain-w", "/workspace/repository", Text::Value),
    field("label", BUNDLE, "plain-b", "/workspace/labels/team", Text::Value),
    field("provenance source", BUNDLE, "plain-c", "/provenance/source", Text::Value),
    field("provenance repository", BUNDLE, "plain-d", "/provenance/repository", Text::Value),
    field("provenance builder", BUNDLE, "plain-e", "/provenance/builder", Text::Value),
    field("model", BUNDLE, "plain-f", "/models/large/model", Text::Value),
    field("model parameter", BUNDLE, "plain-g", "/models/large/parameters/effort", Text::Value),
    field("model parameter key", BUNDLE, "plain-h", "/models/large/parameters/plain-h", Text::Key),
    field("tool description", BUNDLE, "plain-i", "/tools/read/description", Text::Value),
    field("profile description", PROFILE, "plain-j", "/profiles/worker/description", Text::Value),
    field("setting", PROFILE, "plain-k", "/profiles/worker/layers/0/settings/style", Text::Value),
    field("setting in a list", PROFILE, "plain-l", "/profiles/worker/layers/0/settings/list/1/deep", Text::Value),
    field("setting key", PROFILE, "plain-m", "/profiles/worker/layers/0/settings/plain-m", Text::Key),
    field("setting key inside", PROFILE, "plain-n", "/profiles/worker/layers/0/settings/list/1/plain-n", Text::Key),
    field("plugin description", PLUGIN, "plain-o", "/plugins/issues/description", Text::Value),
    field("reason of a secret", PLUGIN, "plain-p", "/plugins/issues/permissions/secrets/0/reason", Text::Value),
    field("reason of a request", PLUGIN, "plain-q", "/plugins/issues/permissions/requests/0/reason", Text::Value),
    field("prompt", "prompts/system.md", "plain-r", "/prompts/system/text", Text::File),
    field("workflow", "workflows/change.md", "plain-s", "/workflows/change/definition", Text::File),
    field("schema", "schemas/in.json", "plain-t", "/tools/read/input", Text::Json),
    field("acceptance reason", BUNDLE, "plain-u", "/accepted/0/reason", Text::Value),
];

/// Returns a bundle in which each of [`FIELDS`] occurs once.
fn files() -> Files {
    let digest = "sha256:174efe13f006c1a7203bffaeac82171ecaf76d485302b133f79ba73c3e2ad71d";
    let bundle = r#"schema = "yoi.config-bundle/1"
revision = 1
created_at = "2026-06-25T15:49:30Z"
language = "en"
[workspace]
id = "acme"
name = "plain-a"
description = "plain-v"
repository = "plain-w"
labels = { team = "plain-b" }
[provenance]
source = "plain-c"
repository = "plain-d"
builder = "plain-e"
[models.large]
provider = "anthropic"
model = "plain-f"
secret = "plain-secret"
parameters = { effort = "plain-g", "plain-h" = 1 }
[tools.read]
source = "host"
effect = "read"
description = "plain-i"
input = "schemas/in.json"
policy = { paths = ["plain-glob"] }
[workflows.named]
reference = "workflow://plain-reference"
[[accept]]
rule = "host_path.home"
field = "/workspace/id"
reason = "plain-u"
"#;
    let plugin = format!(
        "version = \"1.0.0\"\npackage = {{ digest = \"{digest}\", size = 9 }}\nworld = \"yoi:runtime/tool@1.0.0\"\n\
         description = \"plain-o\"\n[[secrets]]\nname = \"plain-ref\"\nheader = \"plain-header\"\n\
         prefix = \"plain-prefix\"\nreason = \"plain-p\"\n[[requests]]\nscheme = \"https\"\nhost = \"plain.net\"\n\
         methods = [\"GET\"]\npath_prefixes = [\"/plain-path\"]\nreason = \"plain-q\"\n"
    );
    let profile = "description = \"plain-j\"\nrequires = [\"secret:plain-wish\", \"mount:plain-mount:read\"]\n\
                   [settings]\nstyle = \"plain-k\"\nlist = [1, { deep = \"plain-l\", \"plain-n\" = 2 }]\n\"plain-m\" = 1\n";
    Files::small()
        .put(BUNDLE, bundle)
        .put(PLUGIN, &plugin)
        .put(PROFILE, profile)
        .put("prompts/system.md", "plain-r")
        .put("workflows/change.md", "plain-s")
        .put("schemas/in.json", "{\"title\":\"plain-t\"}")
}

fn quoted(value: &str) -> String {
    // Except for one character, every JSON string is a TOML string.
    serde_json::to_string(value).expect("json").replace('\u{7f}', "\\u007f")
}

impl Field {
    /// Returns the folder with a value in this field.
    fn written(&self, files: &Files, value: &str) -> Files {
        match self.kind {
            Text::File => files.clone().put_bytes(self.file, value.as_bytes()),
            _ => files.clone().edit(self.file, &format!("\"{}\"", self.plain), &quoted(value)),
        }
    }

    /// Returns the manifest and its blobs with a value in this field, without the checks of the builder.
    fn sent(&self, parts: &Parts, value: &str) -> Parts {
        let mut parts = parts.clone();
        let (above, last) = self.pointer.rsplit_once('/').expect("a pointer");
        match self.kind {
            Text::Value => *parts.manifest.pointer_mut(self.pointer).expect("a place") = json!(value),
            Text::Key => {
                let object = parts.manifest.pointer_mut(above).and_then(Value::as_object_mut).expect("an object");
                let before = object.remove(last).expect("a key");
                object.insert(value.to_owned(), before);
            }
            Text::File => parts.blob(self.pointer, value.as_bytes()),
            Text::Json => parts.blob(self.pointer, json!({ "title": value }).to_string().as_bytes()),
        }
        parts
    }
}

#[derive(Clone)]
struct Parts {
    manifest: Value,
    blobs: Vec<Arc<[u8]>>,
}

impl Parts {
    fn of(bundle: &Bundle) -> Self {
        Self {
            manifest: serde_json::to_value(bundle.manifest()).expect("json"),
            blobs: bundle.blobs().map(|(_, bytes)| Arc::clone(bytes)).collect(),
        }
    }

    fn blob(&mut self, pointer: &str, bytes: &[u8]) {
        let named = self.manifest.pointer_mut(pointer).expect("a blob");
        let before: Digest = named["digest"].as_str().and_then(|text| text.parse().ok()).expect("a digest");
        *named = json!({ "digest": Digest::of(bytes), "size": bytes.len() });
        self.blobs.retain(|blob| Digest::of(blob) != before);
        self.blobs.push(bytes.into());
    }

    fn open(&self) -> Result<Bundle, bundles::BundleError> {
        let bytes = to_canonical(&self.manifest).expect("json");
        Bundle::open(bytes.into(), self.blobs.clone(), &BundleLimits::default(), Acceptances::Honour)
    }
}

/// `true` if both the builder and a Runtime refuse a value in a field. Asserts that neither repeats the value and that both
/// name the field and the rule.
fn is_refused(id: &str, field: &Field, files: &Files, parts: &Parts, value: &str, code: &str) -> bool {
    let built = match field.written(files, value).build() {
        Ok(_) => false,
        Err(told) => {
            let mut said = String::new();
            for one in &told.list {
                writeln!(said, "{one:?} {} {}", one.message, one.help).expect("memory");
            }
            for source in &told.sources {
                writeln!(said, "{}", source.masked).expect("memory");
            }
            // The field is named, and a value may begin like a name that every folder has.
            said = said.replace(field.pointer, "").replace("workspace", "");
            says_nothing_of(value, &said);
            let found = told.list.iter().find(|one| one.code == code);
            if let Some(found) = found {
                assert_eq!(found.file, field.file, "{id} in {}", field.name);
                assert!(found.message.contains("(rule `"), "{id} in {}", field.name);
            }
            found.is_some()
        }
    };
    let opened = match field.sent(parts, value).open() {
        Ok(_) => false,
        Err(error) => {
            let said = format!("{error} {error:?} {} {:?}", error.help(), error.pointer());
            says_nothing_of(value, &said.replace(field.pointer, ""));
            let above = field.pointer.rsplit_once('/').map_or("", |(above, _)| above);
            let at = error.pointer().map(|at| at.as_str().to_owned()).unwrap_or_default();
            assert!(at.starts_with(above), "{id} in {}: told at {at}", field.name);
            // Only one finding is reported here, and a value may break two rules.
            matches!(error.code().as_str(), "secret_in_bundle" | "host_path_in_bundle")
        }
    };
    assert_eq!(built, opened, "{id} in {}: builder and Runtime disagree", field.name);
    built
}

struct Case {
    id: String,
    tier: u64,
    place: String,
    value: String,
}

fn cases(file: &str, list: &str) -> Vec<Case> {
    let Some(folder) = corpus("leaks") else { return Vec::new() };
    let text = std::fs::read_to_string(folder.join(file)).expect("a corpus");
    let corpus: Value = serde_json::from_str(&text).expect("json");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let case = |case: &Value| Case {
        id: text(&case["id"]),
        tier: case["tier"].as_u64().unwrap_or(0),
        place: text(&case["where"]),
        value: match case["pieces"].as_array() {
            Some(pieces) => pieces.iter().map(text).collect::<String>().chars().rev().collect(),
            None => text(&case["value"]),
        },
    };
    corpus[list].as_array().expect("a list").iter().map(case).collect()
}

/// Asserts that at least this share of the cases passes, and names the other cases.
fn assert_share(what: &str, total: usize, wrong: &[String], share: f64) {
    #[expect(clippy::cast_precision_loss, reason = "some dozens")]
    let enough = (total - wrong.len()) as f64 >= share * total as f64;
    assert!(enough, "{what}: {} of {total} are not: {}", wrong.len(), wrong.join(", "));
}

/// Returns the fields with free text that a `where` means.
fn fields_of(place: &str) -> Vec<&'static Field> {
    let is_meant = |field: &&Field| match place {
        "prompt" => field.kind == Text::File,
        "object-key" => field.kind == Text::Key,
        "provenance-source" => field.pointer == "/provenance/source",
        // Keys have their own `where`.
        "any" => field.kind != Text::Key,
        // Prose may contain `.git/config` and `../x`.
        "structural" | "not-url-permission" => matches!(field.kind, Text::Value | Text::Json),
        other => panic!("no field is meant by `{other}`"),
    };
    FIELDS.iter().filter(is_meant).collect()
}

#[test]
fn every_field_of_the_bundle_exists_and_accepts_plain_words() {
    let built = files().passes();
    let parts = Parts::of(&built.bundle);
    assert!(parts.open().is_ok());
    for field in &FIELDS {
        assert!(parts.manifest.pointer(field.pointer).is_some(), "{}", field.name);
        field.written(&files(), "other words").passes();
        assert!(field.sent(&parts, "other words").open().is_ok(), "{}", field.name);
    }
}

fn each_is_refused([file, list, any, code]: [&str; 4], shares: [(u64, f64); 2]) {
    let files = files();
    let parts = Parts::of(&files.passes().bundle);
    for (tier, share) in shares {
        let cases: Vec<Case> = cases(file, list).into_iter().filter(|case| case.tier == tier).collect();
        let mut missed = Vec::new();
        for Case { id, place, value, .. } in &cases {
            match place.as_str() {
                "secret-ref" | "mount-ref" => missed.extend(has_room(value).map(|name| format!("{id} ({name})"))),
                place => {
                    let place = if place == "any" { any } else { place };
                    let fields = fields_of(place).into_iter();
                    let passed = fields.filter(|field| !is_refused(id, field, &files, &parts, value, code));
                    let names: Vec<&str> = passed.map(|field| field.name).collect();
                    missed.extend((!names.is_empty()).then(|| format!("{id} ({})", names.join(", "))));
                }
            }
        }
        assert_share(&format!("{list} of tier {tier}"), cases.len(), &missed, share);
    }
}

/// Returns the first kind of reference that accepts this value, in the types of the manifest or in the folder.
fn has_room(value: &str) -> Option<&'static str> {
    let bare = value.rsplit_once(':').map_or(value, |(_, bare)| bare);
    let types = [
        ("secret reference", [value, bare].iter().any(|text| text.parse::<SecretRef>().is_ok())),
        ("mount label", [value, bare].iter().any(|text| text.parse::<MountLabel>().is_ok())),
        ("authority", value.parse::<Authority>().is_ok() || format!("mount:{value}:read").parse::<Authority>().is_ok()),
    ];
    let places = [
        (BUNDLE, "plain-secret"),
        (PLUGIN, "plain-ref"),
        (PROFILE, "secret:plain-wish"),
        (PROFILE, "mount:plain-mount:read"),
    ];
    for (file, plain) in places {
        for text in [value.to_owned(), bare.to_owned(), format!("secret:{bare}"), format!("mount:{bare}:read")] {
            match files().edit(file, &format!("\"{plain}\""), &quoted(&text)).build() {
                Ok(_) => return Some("folder"),
                Err(told) => {
                    let said: String =
                        told.list.iter().map(|one| format!("{one:?} {} {}", one.message, one.help)).collect();
                    says_nothing_of(bare, &said);
                    let sources: String = told.sources.iter().map(|source| source.masked.as_str()).collect();
                    says_nothing_of(bare, &sources);
                }
            }
        }
    }
    types.into_iter().find(|(_, fits)| *fits).map(|(name, _)| name)
}

#[test]
fn secrets_of_the_corpus_are_refused_in_their_fields() {
    each_is_refused(["secrets.json", "secrets", "any", "secret_in_bundle"], [(1, 0.98), (2, 0.85)]);
}

#[test]
fn host_paths_of_the_corpus_are_refused_in_their_fields() {
    each_is_refused(["host_paths.json", "host_local", "structural", "host_path_in_bundle"], [(1, 1.0), (2, 0.9)]);
}

/// `true` if a harmless value is accepted in the fields that its `where` means.
fn is_accepted(place: &str, value: &str) -> bool {
    let permission = |written: WrittenUrlPermission| UrlPermission::try_from(written.normal()).is_ok();
    let url = |path: &str| quoted(path);
    match place {
        "any" | "prompt" => {
            let mut files = files();
            let fields = fields_of(place).into_iter();
            // A text without a valid name is not a model. The other fields accept it.
            for field in fields.filter(|field| !value.is_empty() || field.pointer != "/models/large/model") {
                files = field.written(&files, value);
            }
            let accepted = files.build().is_ok();
            let bundle = self::files().passes().bundle;
            let parts = fields_of(place).into_iter().fold(Parts::of(&bundle), |parts, field| field.sent(&parts, value));
            assert_eq!(accepted, parts.open().is_ok(), "builder and Runtime disagree");
            accepted
        }
        "url-path-prefix" => files().edit(PLUGIN, "\"/plain-path\"", &url(value)).build().is_ok(),
        "url-permission" => {
            let (scheme, rest) = value.split_once("://").expect("a URL");
            let (host, path) = rest.split_once('/').expect("a path");
            // A permission ends before the query.
            let path = format!("/{}", path.split('?').next().unwrap_or_default());
            let written = WrittenUrlPermission {
                scheme: scheme.to_owned(),
                host: host.to_owned(),
                methods: if scheme.starts_with("ws") { Vec::new() } else { vec!["GET".to_owned()] },
                path_prefixes: vec![path.clone()],
                ..WrittenUrlPermission::default()
            };
            let wish = format!("\"egress:{scheme}://{host}{path}\"");
            permission(written) && files().edit(PROFILE, "\"secret:plain-wish\"", &wish).build().is_ok()
        }
        "tool-policy" => {
            value.parse::<WorkspaceGlob>().is_ok()
                && files().edit(BUNDLE, "\"plain-glob\"", &quoted(value)).build().is_ok()
        }
        // `mount:LABEL`, the label alone, or a resource in a mount.
        "mount-ref" => match value.strip_prefix("mount:").unwrap_or(value) {
            uri if uri.contains("://") => {
                let reference = "\"workflow://plain-reference\"";
                uri.parse::<ResourceUri>().is_ok() && files().edit(BUNDLE, reference, &quoted(uri)).build().is_ok()
            }
            label => {
                let wish = format!("\"mount:{label}:read\"");
                label.parse::<MountLabel>().is_ok()
                    && files().edit(PROFILE, "\"mount:plain-mount:read\"", &wish).build().is_ok()
            }
        },
        other => panic!("no field is meant by `{other}`"),
    }
}

#[test]
fn look_alikes_of_secrets_and_host_paths_are_accepted() {
    for (file, share) in [("secrets.json", 0.98), ("host_paths.json", 1.0)] {
        let cases = cases(file, "legitimate");
        let refused: Vec<String> =
            cases.iter().filter(|case| !is_accepted(&case.place, &case.value)).map(|case| case.id.clone()).collect();
        assert_share(&format!("legitimate of {file}"), cases.len(), &refused, share);
    }
}

#[test]
fn host_local_address_is_accepted_only_as_target_of_a_plugin() {
    for case in cases("host_paths.json", "host_local").iter().filter(|case| case.place == "not-url-permission") {
        let Some(rest) = case.value.strip_prefix("http://") else { continue };
        let authority = rest.split('/').next().unwrap_or_default();
        let (host, port) = authority.rsplit_once(':').expect("a port");
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let files = files().edit(PLUGIN, "scheme = \"https\"", "scheme = \"http\"").edit(
            PLUGIN,
            "host = \"plain.net\"",
            &format!("host = \"{host}\"\nport = {port}"),
        );
        let parts = Parts::of(&files.passes().bundle);
        assert!(parts.open().is_ok(), "{}", case.id);
    }
}

#[test]
fn leak_at_the_end_of_a_long_text_is_found_once() {
    // Without a clock: a scan of quadratic cost would not finish.
    let leak = ["AKIA", "IOSFODNN7", "ABCDEFG"].concat();
    let filler = "an ordinary sentence, with /v1/routes, a = b, sha256 and \"quotes\" in it.\n".repeat(14_000);
    let text = format!("{filler}{leak}\n");
    let found = scan(Place::Prompt, &text);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].rule.kind(), &found[0].span), (Kind::Secret, &(filler.len()..text.len() - 1)));
    assert!(text.len() > 1_000_000 && scan(Place::Prompt, &filler).is_empty());
    for hostile in ["a=", "/home/", "\\u0041", "%25", "AKIA", "-----BEGIN ", "ey.", "://", "&#x41;", "~/"] {
        let most = scan(Place::Prompt, &hostile.repeat((1 << 20) / hostile.len())).len();
        assert!(most <= leak_scan::MAX_FINDINGS, "{hostile}");
    }
    let limits = BundleLimits { blob_bytes: 2 << 20, ..BundleLimits::default() };
    let files = Files::small().put_bytes("prompts/long.md", text.as_bytes()).told_at("prompts/long.md", 14_001, 1);
    let told = files.refused_within(&limits, "secret_in_bundle", "revoke");
    says_nothing_of(&leak, &format!("{told:?}"));
}
