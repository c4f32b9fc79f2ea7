//! Tests of the leak scan in the parts of a bundle: values under keys for secrets, marked-up prompts, keys that are
//! paths, strings of schemas. Errors never contain the value, and similar honest values pass.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice, reason = "tests")]

use std::collections::BTreeMap;

use bundles::{BuildOptions, BuildOutput, BundleLimits, Diagnostics, Folder, build};
use leak_scan::Kind;
use serde_json::{Value, json};

const BUNDLE: &str = "bundle.toml";
const PROFILE: &str = "profiles/coder.toml";

/// An authoring folder that tests modify.
#[derive(Clone)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    fn small() -> Self {
        let bundle = "schema = \"yoi.config-bundle/1\"\nrevision = 1\ncreated_at = \"2026-06-25T15:49:30Z\"\n\
                      language = \"en\"\n[workspace]\nid = \"acme\"\n";
        Self(BTreeMap::new()).put(BUNDLE, bundle)
    }

    fn put(mut self, file: &str, text: &str) -> Self {
        self.0.insert(file.to_owned(), text.as_bytes().to_vec());
        self
    }

    fn append(self, file: &str, more: &str) -> Self {
        let text = String::from_utf8(self.0[file].clone()).expect("text");
        self.put(file, &(text + more))
    }

    fn build(&self) -> Result<BuildOutput, Diagnostics> {
        build(&Folder::from_files(self.0.clone()), &BuildOptions::default(), &BundleLimits::default())
    }

    #[track_caller]
    fn passes(&self) -> BuildOutput {
        self.build().unwrap_or_else(|diagnostics| panic!("{:#?}", diagnostics.list))
    }
}

/// Asserts that `output` contains no eight consecutive characters of `value`.
#[track_caller]
fn shows_nothing_of(value: &str, output: &str) {
    let letters: Vec<char> = value.chars().collect();
    for window in letters.windows(8) {
        let window: String = window.iter().collect();
        assert!(!output.contains(&window), "something says a part of a value that it must not");
    }
}

/// Generator of deterministic values, so that none is in the source.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits")
    }

    fn of(&mut self, letters: &[u8], length: usize) -> String {
        (0..length).map(|_| char::from(letters[self.next() % letters.len()])).collect()
    }

    /// Returns a value like those of providers and password generators.
    fn secret(&mut self) -> String {
        let letters: Vec<u8> = (b'0'..=b'9').chain(b'a'..=b'z').chain(b'A'..=b'Z').collect();
        match self.next() % 4 {
            0 => self.of(&letters, 24),
            1 => self.of(&letters, 40),
            2 => self.of(b"0123456789abcdef", 32),
            _ => self.of(&[&letters[..], b"-_"].concat(), 43),
        }
    }
}

const PLACEHOLDERS: [&str; 16] = [
    "",
    "${API_KEY}",
    "$OPENAI_API_KEY",
    "<your key>",
    "<your-api-key>",
    "secret:github-token",
    "changeme",
    "YOUR_TOKEN_HERE",
    "xxxxxxxxxxxxxxxx",
    "********",
    "{{ token }}",
    "env:TOKEN",
    "https://auth.example.com/oauth/token",
    "required",
    "[redacted]",
    "REPLACE_ME",
];

/// Returns the codes and all text of the diagnostics, or `None` if the folder is valid.
fn refusal(files: &Files) -> Option<(Vec<&'static str>, String)> {
    let diagnostics = files.build().err()?;
    let sources: Vec<&str> = diagnostics.sources.iter().map(|source| source.masked.as_str()).collect();
    let output = format!("{:?}\n{}", diagnostics.list, sources.join("\n"));
    Some((diagnostics.list.iter().map(|one| one.code.as_str()).collect(), output))
}

#[track_caller]
fn is_secret(files: &Files, value: &str) -> bool {
    let Some((codes, output)) = refusal(files) else { return false };
    shows_nothing_of(value, &output);
    assert!(codes.iter().all(|code| *code == "secret_in_bundle"), "{output}");
    true
}

fn settings(text: &str) -> Files {
    Files::small().put(PROFILE, text)
}

fn parameters(text: &str) -> Files {
    Files::small().append(BUNDLE, &format!("[models.large]\nprovider = \"anthropic\"\nmodel = \"m\"\n{text}"))
}

fn schema(schema: &Value) -> Files {
    let tool = "[tools.read]\nsource = \"host\"\neffect = \"read\"\ninput = \"schemas/in.json\"\n";
    Files::small().append(BUNDLE, tool).put("schemas/in.json", &schema.to_string())
}

#[test]
fn secret_under_a_name_for_secrets_is_refused_in_settings_parameters_and_labels() {
    let mut draws = Draws(1);
    let templates = [
        "[settings]\napi_key = '¤'\n",
        "[settings]\npassword = '¤'\n",
        "[settings]\nToken = '¤'\n",
        "[settings]\nclientSecret = '¤'\n",
        "[settings.http.auth]\nX-Api-Key = '¤'\n",
        "[settings]\npasswords = ['changeme', '¤']\n",
        "[settings]\ncredentials = { user = 'alice', pass = '¤' }\n",
        "[settings]\nservers = [{ host = 'a', db_password = '¤' }]\n",
        "[settings]\ntokens = { staging = '¤' }\n",
        "[settings]\nenv = [{ name = 'OPENAI_API_KEY', value = '¤' }]\n",
        "[settings]\nenv = [{ Name = 'OPENAI_API_KEY', Value = '¤' }]\n",
        "[settings]\nheaders = [['X-API-Key', '¤']]\n",
        "[settings]\nargs = ['--verbose', '--password', '¤']\n",
        "[settings]\nopenai = { key = '¤' }\n",
        "[settings]\nauthorization = 'Bearer ¤'\n",
        "[[layer]]\nwhen = ['has:shell']\nsettings = { db = { PRIVATE_KEY = '¤' } }\n",
    ];
    for template in templates {
        let missed = (0..40).filter(|_| {
            let value = draws.secret();
            !is_secret(&settings(&template.replace('¤', &value)), &value)
        });
        assert!(missed.count() <= 1, "{template}");
        for plain in PLACEHOLDERS {
            settings(&template.replace('¤', plain)).passes();
        }
    }
    for template in ["parameters = { api_key = '¤' }\n", "[models.large.parameters.extra]\naccess-token = ['¤']\n"] {
        for _ in 0..20 {
            let value = draws.secret() + "a7";
            assert!(is_secret(&parameters(&template.replace('¤', &value)), &value), "{template}");
        }
        parameters(&template.replace('¤', "${TOKEN}")).passes();
    }
    let value = draws.secret();
    assert!(is_secret(&Files::small().append(BUNDLE, &format!("labels = {{ api-token = '{value}' }}\n")), &value));
}

#[test]
fn secret_inside_placeholder_signs_is_found() {
    let mut draws = Draws(9);
    for around in ["<¤>", "${¤}", "{¤}", "%¤%", "{{¤}}"] {
        for _ in 0..20 {
            let value = draws.of(b"0123456789abcdef", 32);
            let files = settings(&format!("[settings]\npassword = '{}'\n", around.replace('¤', &value)));
            assert!(is_secret(&files, &value), "{around}");
        }
        for name in ["TOKEN", "OPENAI_API_KEY_2", "your-api-key-1234", "secrets.GITHUB_TOKEN", "db.password:-none"] {
            settings(&format!("[settings]\npassword = '{}'\n", around.replace('¤', name))).passes();
        }
    }
}

#[test]
fn secret_key_below_a_name_for_secrets_is_withheld() {
    let mut draws = Draws(7);
    let in_settings = [
        "[settings]\ntokens = { '¤' = 1 }\n",
        "[settings]\ntokens = { '¤' = { on = true } }\n",
        "[settings]\ncredentials = { a = { '¤' = [1] } }\n",
        "[settings]\ncredentials = [{ '¤' = 1 }]\n",
        "[settings]\nargs = ['--password', { '¤' = 1 }]\n",
        "[settings.tokens.'¤']\npath = '../x'\n",
        "unset = ['/tokens/¤']\n",
        "unset = ['/credentials/a/¤/b']\n",
    ];
    let withheld = |files: &Files, value: &str, template: &str| {
        let (codes, output) = refusal(files).unwrap_or_else(|| panic!("{template} passes"));
        shows_nothing_of(value, &output);
        assert!(codes.contains(&"secret_in_bundle") && output.contains("/(withheld)"), "{output}");
    };
    for _ in 0..20 {
        let value = draws.secret() + "a7";
        for template in in_settings {
            withheld(&settings(&template.replace('¤', &value)), &value, template);
        }
        withheld(&parameters(&format!("parameters = {{ api_keys = {{ '{value}' = 1 }} }}\n")), &value, "parameters");
        let tokens = json!({ "properties": { "tokens": { "default": { value.as_str(): 1 } } } });
        withheld(&schema(&tokens), &value, "default");
        let examples = json!({ "examples": [{ "credentials": { "a": { value.as_str(): [1] } } }] });
        withheld(&schema(&examples), &value, "examples");
    }
    // The keys beside the secret are shown.
    let (_, output) = refusal(&settings("[settings]\ntokens = { staging = '../x' }\n")).expect("refused");
    assert!(output.contains("/settings/tokens/staging"), "{output}");
    settings("unset = ['/tokens/staging']\n[settings]\ncredentials = { github = { read = true } }\n").passes();
    let commit = draws.of(b"0123456789abcdef", 40);
    settings(&format!("unset = ['/commits/{commit}']\n")).passes();
}

#[test]
fn key_that_resembles_a_name_for_secrets_passes() {
    let mut draws = Draws(2);
    for template in [
        "[settings]\nmax_tokens = 4096\npassword = 12345678\ntoken = true\n",
        "[settings]\ntoken_url = 'https://auth.example.com/¤'\n",
        "[settings]\napi_key_header = 'X-¤'\n",
        "[settings]\npassword_policy = { pattern = '¤', min = 12 }\n",
        "[settings]\ntokenizer = '¤'\n",
        "[settings]\nsecret_name = '¤'\n",
        "[settings]\ncache_key = '¤'\n",
        "[settings]\npublic_key = '¤'\n",
        "[settings]\ncredentials = { id = '¤', provider = '¤' }\n",
        "[settings]\nenv = [{ name = 'BUILD_ID', value = '¤' }]\nmore = [{ Name = 'BUILD_ID', Value = '¤' }]\n",
        "[settings]\nkinds = ['token', 'password', 'secret']\n",
        "[settings]\nauth = { type = 'oauth2', method = 'client_secret_basic' }\n",
        "[settings]\ncommit = '¤'\n",
        "[settings]\nsid = 'AC¤'\nGPG_KEY = '¤'\npassword = 'base64'\n",
    ] {
        let value = draws.of(b"0123456789abcdef", 40);
        settings(&template.replace("AC¤", &format!("AC{}", &value[..32])).replace('¤', &value)).passes();
    }
}

#[test]
fn accepted_secret_under_a_key_is_accepted() {
    let value = Draws(3).secret();
    let files = settings(&format!("[settings]\napi_key = '{value}'\n"));
    assert!(is_secret(&files, &value));
    let accept = "[[accept]]\nrule = \"secret.assignment\"\nfield = \"/profiles/coder/layers/0/settings/api_key\"\n\
                  reason = \"a key for tests\"\n";
    let built = files.append(BUNDLE, accept).passes();
    assert!(built.diagnostics.list.is_empty());
    assert_eq!(built.accepted.iter().map(|one| one.leak.rule.kind()).collect::<Vec<_>>(), [Kind::Secret]);
}

#[test]
fn name_of_a_property_applies_to_its_values_only() {
    let mut draws = Draws(4);
    for keyword in ["default", "const", "enum", "examples"] {
        for name in ["password", "apiKey", "client_secret", "access-token"] {
            let value = draws.secret() + "a7";
            let written = if matches!(keyword, "enum" | "examples") { json!(["x", value]) } else { json!(value) };
            let property = json!({ "type": "string", keyword: written });
            assert!(is_secret(&schema(&json!({ "properties": { name: property } })), &value), "{name} {keyword}");
            let items = json!({ "type": "array", "items": { "anyOf": [property] } });
            assert!(is_secret(&schema(&json!({ "$defs": { "a": { "properties": { name: items } } } })), &value));
            schema(&json!({ "properties": { "commit": property } })).passes();
        }
        let value = draws.secret() + "a7";
        let object = json!({ "user": "alice", "password": value });
        let written = if matches!(keyword, "enum" | "examples") { json!([object]) } else { object };
        assert!(is_secret(&schema(&json!({ "type": "object", keyword: written })), &value), "{keyword}");
    }
    let hex = draws.of(b"0123456789abcdef", 40);
    schema(&json!({
        "required": ["token", "password"],
        "properties": {
            "token": {
                "type": "string", "description": format!("such as {hex}"), "pattern": format!("^{hex}$"), "title": hex,
                "$comment": hex, "default": "${TOKEN}", "examples": ["<your token>", "changeme"],
                "properties": { "commit": { "default": hex } },
            },
            "max_tokens": { "type": "integer", "default": 4096 },
        },
    }))
    .passes();
}

#[test]
fn name_of_a_property_applies_to_the_target_of_its_reference() {
    let mut draws = Draws(8);
    for reference in ["#/$defs/x", "#/%24defs/x", "#/$defs/y", "#/$defs/list/items", "#/$defs/either/anyOf/0"] {
        let value = draws.secret() + "a7";
        let hold = |name: &str, property: Value| {
            schema(&json!({
                "properties": { name: property, "commit": { "$ref": "#/$defs/commit" } },
                "$defs": {
                    "x": { "default": value }, "y": { "$ref": "#/$defs/x" }, "commit": { "default": value },
                    "list": { "items": { "const": value } }, "either": { "anyOf": [{ "enum": [value] }] },
                },
            }))
        };
        for property in [
            json!({ "$ref": reference }),
            json!({ "items": { "$ref": reference } }),
            json!({ "anyOf": [{ "type": "null" }, { "$ref": reference }] }),
        ] {
            assert!(is_secret(&hold("password", property.clone()), &value), "{reference}");
            assert_eq!(refusal(&hold("apiKey", property.clone())).expect("refused").0.len(), 1, "{reference}");
            hold("digest", property.clone()).passes();
            hold("token_url", property).passes();
        }
    }
    // Circular references end, and each finding is reported once.
    let value = draws.secret() + "a7";
    let circle = json!({
        "properties": { "token": { "$ref": "#" }, "secret": { "$ref": "#/properties/secret" }, "password": { "$ref": "#/$defs/a" } },
        "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a", "examples": ["${TOKEN}", value] } },
    });
    assert!(refusal(&schema(&circle)).is_some_and(|(codes, _)| codes.contains(&"secret_in_bundle")));
    assert!(is_secret(
        &schema(&json!({
            "properties": { "credentials": { "$ref": "#/$defs/a" } },
            "$defs": { "a": { "properties": { "password": { "default": value } } } },
        })),
        &value
    ));
    schema(&json!({
        "properties": { "password": { "$ref": "#/$defs/a" } },
        "$defs": { "a": { "type": "string", "default": "changeme", "title": value } },
    }))
    .passes();
}

#[test]
fn path_is_refused_as_a_key_and_in_every_string_of_a_schema() {
    let paths = [".aws/credentials", ".ssh/config", "../sibling", "~", "//server/share", "..", "C:repo", "`pwd`/x"];
    for path in paths {
        let is_path = |files: &Files, shown: &[&str]| {
            let (codes, output) = refusal(files).unwrap_or_else(|| panic!("{path} passes"));
            assert_eq!(codes, vec!["host_path_in_bundle"; codes.len()], "{output}");
            assert!(shown.iter().all(|shown| output.contains(shown)), "{path}: {output}");
        };
        is_path(&settings(&format!("[settings]\n'{path}' = 1\n")), &[]);
        is_path(
            &settings(&format!("[settings]\nallowed = [{{ '{path}' = true }}]\n")),
            &["/settings/allowed/0/(withheld)"],
        );
        is_path(&settings(&format!("[settings]\nroot = '{path}'\n")), &["/settings/root"]);
        is_path(&parameters(&format!("parameters = {{ '{path}' = 1 }}\n")), &[]);
        is_path(&schema(&json!({ "properties": { "path": { "default": path } } })), &["/properties/path/default"]);
        is_path(&schema(&json!({ "properties": { "path": { "enum": ["src", path] } } })), &["/properties/path/enum/1"]);
        is_path(&schema(&json!({ "properties": { path: { "type": "string" } } })), &["/properties/(withheld)"]);
        is_path(&schema(&json!({ "examples": [{ "cwd": path }] })), &["/examples/0/cwd"]);
    }
    settings("[settings]\n'/v1/users' = 1\n'H:mm' = 1\n'.github/workflows' = 1\n'a..b' = 1\nratio = 'C:D'\n").passes();
    schema(&json!({ "$ref": "#/$defs/a", "$defs": { "a": { "pattern": "^~?[a-z/]+$", "default": ".", "enum": ["-", "."] } } }))
        .passes();
}

#[test]
fn finding_in_a_schema_points_at_the_string() {
    let text = "{\n  \"properties\": {\n    \"path\": { \"default\": \"see ../x\" },\n    \"a\": { \"default\": \"\\u007e\" }\n  }\n}\n";
    let tool = "[tools.read]\nsource = \"host\"\neffect = \"read\"\ninput = \"schemas/in.json\"\n";
    let files = Files::small().append(BUNDLE, tool).put("schemas/in.json", text);
    let diagnostics = files.build().expect_err("refused");
    let places: Vec<_> =
        diagnostics.list.iter().map(|one| (one.file.as_str(), one.line, one.column, one.span.clone())).collect();
    assert_eq!(places.len(), 2, "{:#?}", diagnostics.list);
    assert_eq!((places[0].0, places[0].1, places[0].2), ("schemas/in.json", 3, 31));
    assert_eq!((places[1].0, places[1].1, places[1].2), ("schemas/in.json", 4, 24));
    let marked = places.iter().map(|place| &text[place.3.clone().expect("a span")]);
    assert_eq!(marked.collect::<Vec<_>>(), ["../x", "\\u007e"]);
    // A finding is accepted by the field of the manifest, as before.
    let accept = "[[accept]]\nrule = \"host_path.escape\"\nfield = \"/tools/read/input\"\nreason = \"x\"\n\
                  [[accept]]\nrule = \"host_path.home\"\nfield = \"/tools/read/input\"\nreason = \"x\"\n";
    assert_eq!(files.append(BUNDLE, accept).passes().accepted.len(), 2);
}

#[test]
fn value_that_is_a_file_name_is_withheld_wherever_the_file_is_named() {
    let mut draws = Draws(5);
    for _ in 0..10 {
        let key = ["AKIA", &draws.of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16)].concat();
        let hex = draws.of(b"0123456789abcdef", 40);
        let token = ["ghp_", &draws.secret()].concat();
        for name in [
            format!("profiles/{key}.toml"),
            format!("prompts/{key}.md"),
            format!("prompts/{key}/system.md"),
            format!("workflows/{key}.md"),
            format!("plugins/{key}.toml"),
            format!("profiles/{key}.txt"),
            format!("prompts/{token}.md"),
            format!("profiles/{hex}.toml"),
        ] {
            let files = Files::small().put(&name, "extends = [\"nothing\"]\n\"unknown\" = 1\n");
            let Err(diagnostics) = files.build() else { continue };
            let output: String = diagnostics.list.iter().map(|one| format!("{one:?}")).collect();
            let sources = diagnostics.sources.iter().map(|source| format!("{}\n{}", source.file, source.masked));
            let json = serde_json::to_string(&diagnostics.list).expect("json");
            let output = format!("{output}{json}{}", sources.collect::<String>());
            for value in [&key, &hex, &token] {
                shows_nothing_of(value, &output);
            }
            assert!(output.contains("(withheld)"), "{output}");
        }
        // Two such files stay distinct, and each line is shown from its own file.
        let files = Files::small()
            .put(&format!("profiles/a{hex}.toml"), "unknown-a = 1\n")
            .put(&format!("profiles/b{hex}.toml"), "unknown-b = 1\n");
        let diagnostics = files.build().expect_err("refused");
        let shown = diagnostics.list.iter().filter(|one| one.code == "unknown_field").map(|one| {
            let source = diagnostics.source_of(one).expect("a source");
            (
                one.file.clone(),
                source.masked.contains(if one.message.contains("unknown-a") { "unknown-a" } else { "unknown-b" }),
            )
        });
        let expected =
            [("profiles/(withheld).toml".to_owned(), true), ("profiles/(withheld).toml (2)".to_owned(), true)];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }
    let diagnostics = Files::small().put("profiles/Coder.toml", "").build().expect_err("refused");
    assert_eq!(diagnostics.list[0].file, "profiles/Coder.toml");
}

#[test]
fn invalid_secret_reference_is_repeated_neither_in_words_nor_above_the_caret() {
    for value in ["Tr0ub4dor!x", "hunter_Two_2", "Correct horse", "KEY!abcdefg"] {
        for (files, what) in [
            (settings(&format!("requires = [\"secret:{value}\"]\n")), "secret reference"),
            (settings(&format!("wants = [\"Secret:{value}\"]\n")), "authority"),
            (settings(&format!("drops = [\"sceret:{value}\"]\n")), "authority"),
            (settings(&format!("when = [\"has:secret:{value}\"]\n")), "capability"),
            (settings(&format!("requires = [\"egress:https://me:{value}@a.example/\"]\n")), "URL prefix"),
            (parameters(&format!("secret = \"{value}\"\n")), "secret reference"),
            (parameters(&format!("secret = \"secret:{value}\"\n")), "secret reference"),
        ] {
            let (codes, output) = refusal(&files).expect("refused");
            assert!(
                codes.contains(&"invalid_name") && output.contains(&format!("invalid {what} `(withheld)`")),
                "{output}"
            );
            shows_nothing_of(value, &output);
        }
    }
    let (_, output) = refusal(&settings("requires = [\"mount:repo:all\"]\n")).expect("refused");
    assert!(
        output.contains("invalid authority `mount:repo:all`") && output.contains("requires = [\"mount:repo:all\"]"),
        "{output}"
    );
}

#[test]
fn credential_in_an_address_is_reported_before_the_host() {
    let mut draws = Draws(6);
    for host in ["localhost:5432", "db:8080", "10.0.0.1", "example.com/etc/x"] {
        let value = draws.secret();
        let files = settings(&format!("[settings]\nstore = 'postgres://app:{value}@{host}/x'\n"));
        let (codes, output) = refusal(&files).expect("refused");
        assert_eq!(codes[0], "secret_in_bundle", "{output}");
        shows_nothing_of(&value, &output);
    }
}

fn workflow(extension: &str, text: &str) -> Files {
    Files::small().put(&format!("workflows/change.{extension}"), text)
}

/// Definitions in which the key above the value is a name for a secret.
const DEFINITIONS: [(&str, &str); 12] = [
    ("json", "{\"tokens\": {\"staging\": \"¤\"}}"),
    (
        "json",
        "{\n  \"steps\": [\n    { \"with\": { \"credentials\": [{ \"user\": \"alice\", \"eu\": [\"¤\"] }] } }\n  ]\n}\n",
    ),
    ("json", "[\"--verbose\", {\"openai\": {\"region\": \"eu\", \"key\": \"¤\"}}]"),
    ("toml", "[steps.deploy.tokens]\nregion = 'x'\nstaging = '¤'\n"),
    ("toml", "[[steps]]\nrun = 'x'\nsecrets = { eu = { main = ['changeme', '¤'] } }\n"),
    ("yaml", "steps:\n  - run: x\n    with:\n      credentials:\n        # for the cluster\n        github: ¤\n"),
    ("yaml", "tokens:\n- changeme\n- name: eu\n  of:\n    - '¤'\n"),
    ("yml", "---\ntokens:\n  eu: &eu !str \"¤\" # why\n"),
    ("yml", "a: { tokens: { eu: ¤, us: x } }\n"),
    ("yaml", "tokens: [changeme,\n  ¤]\n"),
    (
        "yaml",
        "env:\n  - name: API_TOKEN\n    comment: a long comment about what this variable is for, so that its name is far away from the value\n    value: ¤\n",
    ),
    ("txt", "\"passwords\":\n  eu: |\n    ¤\n"),
];

#[test]
fn values_of_a_workflow_are_judged_by_their_keys() {
    let mut draws = Draws(10);
    for (extension, template) in DEFINITIONS {
        let write = |value: &str| workflow(extension, &template.replace('¤', value));
        for _ in 0..20 {
            let value = draws.secret() + "a7";
            assert!(is_secret(&write(&value), &value), "{template}");
        }
        for plain in PLACEHOLDERS.iter().filter(|plain| !plain.starts_with(['{', '*', '[']) && !plain.is_empty()) {
            write(plain).passes();
        }
        // The finding is reported once, at the line of the value.
        let value = draws.secret() + "a7";
        let diagnostics = write(&value).build().expect_err("refused");
        let text = template.replace('¤', &value);
        let line = text.lines().position(|line| line.contains(&value)).expect("a line") + 1;
        let diagnostics: Vec<_> = diagnostics.list.iter().map(|one| (one.code.as_str(), one.line)).collect();
        assert_eq!(diagnostics, [("secret_in_bundle", line)], "{template}");
    }
}

#[test]
fn other_values_of_a_workflow_pass() {
    let mut draws = Draws(11);
    let hex = draws.of(b"0123456789abcdef", 40);
    for (extension, text) in [
        ("json", "{\"commits\": {\"staging\": \"¤\"}, \"max_tokens\": 4096}"),
        ("toml", "[token_url]\neu = 'x'\n[credentials]\nid = '¤'\ndigest = '¤'\n"),
        ("yaml", "credentials:\n  id: ¤\n  sha256: ¤\nrevision: ¤\nGPG_KEY: ¤\n"),
        ("yaml", "tokens:\n  eu: secret:github-token\n  us: ${{ secrets.TOKEN }}\n"),
        ("md", "# Tokens\n\nRead the diff. The first commit was:\n\n- ¤\n\nTokens are parts of a text, see ¤.\n"),
        ("md", "Steps:\n\n1. Read.\n2. Answer.\n"),
        ("txt", "tokens:\n\teu: {not data\n"),
    ] {
        workflow(extension, &text.replace('¤', &hex)).passes();
    }
}

#[test]
fn accepted_secret_of_a_workflow_is_accepted() {
    let value = Draws(12).secret() + "a7";
    let files = workflow("yaml", &format!("tokens:\n  eu: {value}\n"));
    assert!(is_secret(&files, &value));
    let accept = "[[accept]]\nrule = \"secret.assignment\"\nfield = \"/workflows/change/definition\"\n\
                  reason = \"a key for tests\"\n";
    assert_eq!(files.append(BUNDLE, accept).passes().accepted.len(), 1);
}

#[test]
fn only_the_id_of_a_key_passes_under_the_name_of_a_public_key() {
    let mut draws = Draws(13);
    for name in ["GPG_KEY", "PGP_KEY", "gpg_key", "gpgKey", "PGP_KEYS"] {
        for _ in 0..10 {
            for length in [8, 16, 40, 64] {
                let id = draws.of(b"0123456789ABCDEF", length);
                let groups: Vec<String> =
                    id.as_bytes().chunks(4).map(|group| String::from_utf8_lossy(group).into_owned()).collect();
                for id in [id.clone(), id.to_lowercase(), format!("0x{id}"), groups.join(" ")] {
                    settings(&format!("[settings]\n{name} = '{id}'\n")).passes();
                    Files::small().put("prompts/a.md", &format!("Use {name}={id}, and\n{name}: `{id}`\n")).passes();
                }
            }
            let value = draws.of(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", 40);
            assert!(is_secret(&settings(&format!("[settings]\n{name} = '{value}'\n")), &value), "{name}");
            assert!(is_secret(&Files::small().put("prompts/a.md", &format!("{name}={value}\n")), &value), "{name}");
        }
    }
}

#[test]
fn value_under_a_name_for_secrets_is_never_shown() {
    for value in ["staple horse battery", "hunter two", "letmein please", "p/w, quietly"] {
        for text in [
            format!("[settings]\npassword = \"{value}\" x\n"),
            format!("[settings]\ndb = {{ user = \"a\", pass = \"{value}\", }} x\n"),
            format!("[settings]\npassword = '{value}\n"),
            format!("[settings]\ntokens = [\n  'a',\n  '{value}' x\n]\n"),
            format!("[settings]\nsecret = \"\"\"\n{value}\n\"\"\" x\n"),
            format!("[settings.tokens]\nstaging = \"{value}\" x\n"),
            format!("unknown = 1\n[settings]\nclient_secret = \"{value}\"\nextends = 1\n"),
            format!("api-key: {value}\n"),
        ] {
            let (_, output) = refusal(&settings(&text)).unwrap_or_else(|| panic!("{text} passes"));
            shows_nothing_of(value, &output);
        }
        let broken = format!("{{\"properties\": {{\"password\": {{\"default\": \"{value}\"}}\n}}");
        let tool = "[tools.read]\nsource = \"host\"\neffect = \"read\"\ninput = \"schemas/in.json\"\n";
        let (_, output) =
            refusal(&Files::small().append(BUNDLE, tool).put("schemas/in.json", &broken)).expect("refused");
        shows_nothing_of(value, &output);
    }
    let (_, output) =
        refusal(&settings("requires = [\"mount:repo:read\", \"secret:github-token\"] x\n")).expect("refused");
    assert!(output.contains("secret:github-token"), "{output}");
    let (_, output) =
        refusal(&settings("[settings]\nmax_tokens = 12 x\ntoken_url = \"https://a.example\"\n")).expect("refused");
    assert!(output.contains("max_tokens = 12 x") && output.contains("https://a.example"), "{output}");
}
