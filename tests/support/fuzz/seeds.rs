//! Valid inputs for every fuzz body, made by code: what is mutated from here reaches deep.
//!
//! [`folder`] uses every field that the authoring form has, so it is also what the tests of
//! bundles break on purpose.

use std::sync::OnceLock;

use bundles::{BuildOptions, Bundle, BundleLimits, Folder, build};

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
reason = "Signs in to the issue tracker."

[[mounts]]
name = "repo"
reason = "Reads the files that an issue names."
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
