//! Valid inputs for every fuzz body, made by code: what is mutated from here reaches deep.
//!
//! [`folder`] uses every field that the authoring form has, so it is also what the tests of
//! bundles break on purpose.

use std::sync::{Arc, OnceLock};

use bundles::signature::{Envelope, Posture, Signers, SigningKey};
use bundles::{BuildOptions, Bundle, BundleLimits, Contents, Folder, build};

const BUNDLE: &str = r#"schema = "yoi.config-bundle/1"
revision = 7
created_at = "2026-06-25T15:49:30Z"
language = "en"

[workspace]
id = "acme"
name = "Acme engineering"
labels = { team = "platform", tier = "production" }

[provenance]
source = "agents of the platform team"
repository = "https://git.example.com/acme/agents"
commit = "7d1f0c3a9b5e8264d0f1a7c3e5b9280d4f6a1c37"
builder = "yoi 0.1.0"

[models.large]
provider = "anthropic"
model = "claude-opus-4-5"
secret = "anthropic-api-key"
parameters = { max_tokens = 16384, temperature = 0.25, stop = ["END"] }

[models.local]
provider = "ollama"
model = "qwen3:8b"

[tools."fs.read"]
source = "host"
effect = "read"
description = "Reads a text file of a mount."
input = "schemas/fs.read.input.json"
output = "schemas/fs.read.output.json"
policy = { confirm = "once", max_calls = 40, paths = ["src/**/*.rs", "docs/*.md"] }

[tools."shell.run"]
source = "host"
effect = "external"

[tools."issues.search"]
source = "plugin:issues"
effect = "none"

[workflows."release/checks"]
reference = "workflow://release/checks"

[policy.authorities]
allow = ["secret:anthropic-api-key", "mount:repo:write", "egress:https://api.example.com/v1", "shell", "git:write"]
deny = ["git:write"]

[policy.tools]
allow = ["fs.read", "shell.run", "issues.search"]
deny = ["shell.run"]

[policy.plugins]
allow = ["issues"]
deny = ["alerts"]

[[accept]]
rule = "host_path.home"
field = "/profiles/coder/description"
reason = "The folder is the one of a book that everybody knows."
"#;

const BASE: &str = r#"description = "What every worker of the team begins with."
models = ["local"]
instructions = ["base/conduct"]
"#;

const CODER: &str = r#"description = "Writes code, as in ~/book."
extends = ["base"]
models = { replace = ["large", "local"] }
instructions = ["coder/system"]
tools_allow = ["fs.read", "issues.search"]
tools_deny = { append = ["shell.run"] }
plugins = ["issues"]
workflows = ["release/checks", "change"]
language = "de-CH"
requires = ["secret:anthropic-api-key", "mount:repo:read"]
wants = ["egress:https://api.example.com/v1", "shell"]
unset = ["/verbose", "/editor/tabs"]

[settings]
limit = 10
ratio = 0.5
name = "calm"
on = true
list = [1, "two", { three = 3 }]
editor = { width = 120 }

[[layer]]
when = ["has:shell", "lacks:tool:browser", "os:linux", "arch:x86_64"]
tools_allow = ["shell.run"]
wants = ["mount:repo:write", "git:read"]
drops = ["mount:repo:read", "secret:anthropic-api-key"]
settings = { limit = 20 }
"#;

const ISSUES: &str = r#"version = "1.4.0"
package = { digest = "sha256:174efe13f006c1a7203bffaeac82171ecaf76d485302b133f79ba73c3e2ad71d", size = 148213 }
world = "yoi:runtime/tool@1.0.0"
description = "Searches and opens tickets."
surfaces = ["tools", "ingress"]
ingress = ["webhook"]
tools = { "issues.search" = "none", "issues.open" = "external" }

[[requests]]
scheme = "https"
host = "issues.example.com"
port = 8443
methods = ["GET", "POST"]
path_prefixes = ["/v2/issues", "/v2/search"]
local = true
reason = "Reads issues and opens new ones."

[[requests]]
scheme = "https"
host = "*.mirror.example.com"
wildcard = "subdomain"
methods = ["GET"]
path_prefixes = ["/"]
reason = "Reads attachments from whichever mirror is near."

[[requests]]
scheme = "http"
host = "*"
broad = true
methods = ["HEAD"]
path_prefixes = ["/"]
reason = "Sees whether a link in an issue still works."

[[websockets]]
scheme = "wss"
host = "stream.example.com"
path_prefixes = ["/live"]
reason = "Receives new issues as they are raised."

[[secrets]]
name = "issues-token"
header = "authorization"
prefix = "Bearer "
reason = "Signs in to the issue tracker."
"#;

const ALERTS: &str = r#"version = "0.9.2-rc.1"
package = { digest = "sha256:11e7e3095c2fa7deec9addd821a2366e8e5612b28afe8c088edbd81631326248", size = 2 }
world = "yoi:runtime/service@1.0.0"
"#;

const SCHEMA: &str =
    r#"{ "type": "object", "properties": { "file": { "type": "string" } }, "additionalProperties": false }"#;

/// The files of a bundle in which every field of the authoring form stands at least once.
pub fn folder() -> Vec<(String, Vec<u8>)> {
    [
        ("bundle.toml", BUNDLE),
        ("plugins/alerts.toml", ALERTS),
        ("plugins/issues.toml", ISSUES),
        ("profiles/base.toml", BASE),
        ("profiles/coder.toml", CODER),
        ("prompts/base/conduct.md", "Be kind and brief.\n"),
        ("prompts/coder/system.md", "You write code.\n\nRun the tests first. Grüße.\n"),
        ("schemas/fs.read.input.json", SCHEMA),
        ("schemas/fs.read.output.json", r#"{ "type": "string" }"#),
        ("workflows/change.md", "1. Read.\n2. Write.\n3. Test.\n"),
    ]
    .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
    .to_vec()
}

/// The bundle that [`folder`] makes.
pub fn bundle() -> Bundle {
    static BUNDLE: OnceLock<Bundle> = OnceLock::new();
    let build = || {
        build(&Folder::from_files(folder()), &BuildOptions::default(), &BundleLimits::default())
            .unwrap_or_else(|told| panic!("{:#?}", told.list))
            .bundle
    };
    BUNDLE.get_or_init(build).clone()
}

fn bytes(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// The smallest folder that is a bundle.
fn small() -> Vec<(String, Vec<u8>)> {
    let text = "schema = \"yoi.config-bundle/1\"\nrevision = 1\ncreated_at = \"2026-06-25T15:49:30Z\"\nlanguage = \"en\"\n[workspace]\nid = \"acme\"\n";
    vec![("bundle.toml".to_owned(), text.as_bytes().to_vec()), ("prompts/a.md".to_owned(), b"Be brief.\n".to_vec())]
}

/// What the envelopes among the seeds sign.
pub const SIGNED: &str = r#"{"a":[1,"x"]}"#;

fn signing_key(number: u8) -> SigningKey {
    let made = SigningKey::generate(|seed| {
        seed.fill(number);
        Ok::<_, std::convert::Infallible>(())
    });
    let Ok(key) = made;
    key
}

/// What the envelopes among the seeds are held against.
pub fn posture() -> Posture {
    let keys = [1, 2].map(|number| signing_key(number).public_key());
    Posture::Required(Signers::new(keys, Some(1)).expect("two keys"))
}

/// Envelopes by trusted and other keys, and keys.
pub fn signatures() -> Vec<Vec<u8>> {
    let mut envelope = Envelope::sign(Arc::from(SIGNED.as_bytes()), &signing_key(1));
    let one = envelope.to_json();
    envelope.add(&signing_key(3)).expect("room");
    let foreign = Envelope::sign(Arc::from(SIGNED.as_bytes()), &signing_key(3));
    let key = signing_key(4);
    let keys = [key.to_file().as_bytes().to_vec(), key.public_key().to_string().into_bytes()];
    [one, envelope.to_json(), foreign.to_json()].into_iter().chain(keys).collect()
}

/// Manifests, single files signed or not, facts and plain JSON.
pub fn manifests() -> Vec<Vec<u8>> {
    let small = build(&Folder::from_files(small()), &BuildOptions::default(), &BundleLimits::default())
        .unwrap_or_else(|told| panic!("{:#?}", told.list))
        .bundle;
    let mut seeds = vec![
        bundle().manifest_bytes().to_vec(),
        small.manifest_bytes().to_vec(),
        bundles::archive::pack(&small),
        bundles::archive::pack(&bundle()),
        bundles::archive::pack_contents(&signed(small)),
    ];
    seeds.extend(bytes(&[
        r#"{"arch":"x86_64","capabilities":["git","shell"],"models":["large"],"mounts":["repo"],"os":"linux","secrets":["a"]}"#,
        r#"{"":[],"a":{"b":[null,true,false,1,-1,0.5,1e-7,1e+21,"\u0001é€😂"]}}"#,
    ]));
    seeds
}

fn signed(bundle: Bundle) -> Contents {
    let envelope = Envelope::sign(Arc::clone(bundle.manifest_bytes()), &signing_key(1));
    Contents::new(bundle, Some(envelope)).expect("an envelope for this bundle")
}

/// Folders as one input, and an operator's config.
pub fn folders() -> Vec<Vec<u8>> {
    let config = "[host]\ncapabilities = [\"shell\"]\nmodels = [\"large\"]\n[workspaces.acme]\ngit = \"read\"\nsecrets = [\"a\"]\n\
                  [workspaces.acme.mounts.repo]\npath = \"/srv/repo\"\naccess = \"write\"\n\
                  [[workspaces.acme.egress]]\nscheme = \"https\"\nhost = \"a.example\"\nmethods = [\"GET\"]\npath_prefixes = [\"/\"]\n";
    vec![super::folder_as_input(&folder()), super::folder_as_input(&small()), config.as_bytes().to_vec()]
}

/// What names a profile or asks about a resolution.
pub fn selectors() -> Vec<Vec<u8>> {
    bytes(&[
        "coder",
        "builtin:coder",
        "a-b-2",
        "model",
        "/model",
        "language",
        "tool:fs.read",
        "prompt:coder/system",
        "instruction:a",
        "plugin:issues",
        "workflow:release/checks",
        "model:large",
        "mount:repo:write",
        "shell",
        "egress:https://api.example.com/v1",
        "/tools/0",
        "/instructions/12",
        "/wishes/3",
        "/settings/a/b",
        "settings.a.b",
        "/settings/a~1b/c~0d",
    ])
}

/// A text in each grammar, and URL permissions as JSON.
pub fn refs() -> Vec<Vec<u8>> {
    let mut seeds = bytes(&[
        "secret:github-token",
        "mount:repo:read",
        "mount:repo:write",
        "egress:https://api.example.com/v1",
        "shell",
        "git:read",
        "git:write",
        "has:shell",
        "lacks:tool:browser",
        "os:linux",
        "arch:x86_64",
        "host",
        "plugin:issues",
        "7d1f0c3a9b5e8264d0f1a7c3e5b9280d4f6a1c37",
        "de-CH",
        "zh-Hant-TW-x-a",
        "2026-06-25T15:49:30Z",
        "2026-06-25T15:49:30.123456789Z",
        "18446744073709551615",
        "0",
        "coder",
        "coder/system",
        "fs.read",
        "claude-opus-4.5",
        "yoi:runtime/tool@1.0.0",
        "workflow://release/checks",
        "workspace://src/lib.rs",
        "src/**/*.rs",
        "tests/?.json",
        "https://api.example.com/",
        "http://127.0.0.1:8080/a/b",
        "wss://[::1]/live",
        "https://xn--bcher-kva.example/%C3%BC",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "world:yoi:runtime/tool@1.0.0",
        "acme",
    ]);
    seeds.extend(bytes(&[
        r#"{"scheme":"https","host":"issues.example.com","port":8443,"methods":["GET","POST"],"path_prefixes":["/v2/issues"],"local":true}"#,
        r#"{"scheme":"https","host":"*.mirror.example.com","wildcard":"subdomain","methods":["GET"],"path_prefixes":["/"]}"#,
        r#"{"scheme":"http","host":"*","broad":true,"methods":["HEAD"],"path_prefixes":["/a","/b/"]}"#,
        r#"{"scheme":"wss","host":"::1","path_prefixes":["/live"]}"#,
        r#"{"scheme":"https","host":"bücher.example","port":443,"methods":["POST","GET"],"path_prefixes":["/b","/a"]}"#,
    ]));
    seeds
}

/// A component with something of everything that is read.
const COMPONENT: &str = r#"
    (component
        (import "yoi:resolver/types@1.0.0" (instance $types
            (type $access (enum "read" "write"))
            (export "access" (type (eq $access)))))
        (alias export $types "access" (type $access))
        (import "yoi:resolver/bundle@1.0.0" (instance
            (export "handle" (type $handle (sub resource)))
            (export "[method]handle.look" (func (param "self" (borrow $handle)) (result (list string))))))
        (core module $m
            (type $t (func (param i32 i32) (result i32)))
            (import "host" "f" (func (param i32)))
            (memory (export "memory") 2)
            (table 3 funcref)
            (global i32 (i32.const 7))
            (func $realloc (export "realloc") (param i32 i32 i32 i32) (result i32) (local i64 i64 f32) i32.const 16)
            (func (export "run") (result i32)
                (block (loop (br_if 1 (i32.const 1)) (br_table 0 1 0 (i32.const 2)))) i32.const 0)
            (func $start)
            (start $start)
            (elem (i32.const 0) func $realloc)
            (data (i32.const 8) "some data"))
        (core module $shim (func (export "f") (param i32)))
        (core instance $shim (instantiate $shim))
        (core instance $i (instantiate $m (with "host" (instance $shim))))
        (type $list (list (record (field "a" string) (field "b" $access))))
        (func $run (result $list)
            (canon lift (core func $i "run") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
        (component $inner (import "run" (func $run (result (list string)))) (export "again" (func $run)))
        (instance $out (export "run" (func $run)))
        (export "yoi:resolver/resolve@1.0.0" (instance $out)))
"#;

/// The smallest component.
pub const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// Packages, and the text of their manifests.
pub fn plugins() -> Vec<Vec<u8>> {
    let full = include_str!("../../../bundles/src/plugin/sample.toml");
    let small = "schema = \"yoi.plugin/1\"\nname = \"a\"\nversion = \"1.0.0\"\n\
                 world = \"yoi:runtime/tool@1.0.0\"\ndescription = \"Does nothing.\"\n";
    let packed = |text: &str| bundles::plugin::pack(text.as_bytes(), EMPTY_COMPONENT);
    vec![packed(full), packed(small), full.as_bytes().to_vec(), small.as_bytes().to_vec()]
}

/// Components and core modules.
pub fn components() -> Vec<Vec<u8>> {
    let text = |text: &str| wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    vec![
        text(COMPONENT),
        text("(component)"),
        text("(module (memory 1) (func (export \"f\") (param i64) (result i64) local.get 0))"),
        text(
            r#"(component (component $a (component $b) (instance (instantiate $b)) (instance (instantiate $b)))
                  (instance (instantiate $a)) (instance (instantiate $a)))"#,
        ),
        text(
            r#"(component (type $a (tuple u8 u8)) (type $b (tuple $a $a)) (type $c (tuple $b $b)) (type $d (variant
                  (case "x" $c) (case "y"))) (type (func (param "p" $d) (result (option $d)))))"#,
        ),
        COMPONENT.as_bytes().to_vec(),
    ]
}
