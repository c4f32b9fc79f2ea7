//! Strings that must pass. Many of them resemble a credential or a path. Digests, ids and public keys are drawn at run
//! time.

use crate::samples::{Dice, fill};
use crate::{Place, scan};

/// Pass everywhere.
#[rustfmt::skip]
const STRINGS: &[&str] = &[
    // Digests and ids.
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "d41d8cd98f00b204e9800998ecf8427e", "sha384-{b64:64}",
    "sha512-{b64:86}==", "blake3:{hex:64}",
    "{uuid}", "01{b32:24}", "{url:21}", "{hex:24}", "c{lower:24}",
    "00-{hex:32}-{hex:16}-01", "traceparent: 00-{hex:32}-{hex:16}-01",
    "request-id: {uuid}", "etag: \"{hex:40}\"", "W/\"67ab43\"", "cache_key: {hex:32}",
    "commit {hex:40}", "git+https://github.com/o/r?rev={hex:40}",
    "nixpkgs/{hex:40}", "oci:ghcr.io/org/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    // Public keys and publishable ids.
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{b64:43} user", "age1{lower:58}",
    "pk_live_publishable", "publishable_key: pk_test_{b62:24}", "G-ABCDEF1234", "UA-12345678-1", "GTM-ABC1234",
    "AC{hex:32}", "account_sid = \"AC{hex:32}\"", "\0plain words", "\0",
    "123456789012-{lower:32}.apps.googleusercontent.com", "recaptcha_site_key=6L{url:38}",
    "public_key = \"RWQ{b64:53}\"", "keys = [\"ed25519:{b64:43}=\"]", "-----BEGIN CERTIFICATE-----", "kid: k1-2024-signing",
    // References and placeholders.
    "secret:openai", "keyring:openai", "secret_ref = \"secret:anthropic-key\"", "api_key = \"${OPENAI_API_KEY}\"", "api_key = \"$OPENAI_API_KEY\"",
    "OPENAI_API_KEY=<your key>", "OPENAI_API_KEY=your_api_key_here", "token: {{ secrets.GITHUB_TOKEN }}", "password: ********", "password = changeme", "password: \"\"",
    "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "ghp_XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX", "sk-ant-...", "sk-your-key-goes-here-and-nowhere-else",
    "AKIAIOSFODNN7EXAMPLE", "Bearer <token>", "Authorization: Bearer ${TOKEN}", "Authorization: Bearer YOUR_TOKEN_HERE", "token = os.environ[\"TOKEN\"]",
    "const token = process.env.GITHUB_TOKEN;", "apiKey: config.get(\"api.key\")", "op://vault/item/password", "vault:kv/data/app#password", "arn:aws:iam::123456789012:role/deploy",
    "projects/my-project/secrets/db-password/versions/3", "ssm:parameter/prod/db", "xoxb-your-token-here", "postgres://user:password@db.example.com/app",
    "https://user@example.com/", "mailto:someone@example.com", "git@github.com:o/r.git", "https://medium.com/@someone/a-title-with-words-{hex:12}", "npm:@scope/name@1.2.3",
    // Settings whose names contain the words.
    "max_tokens = 4096", "token_limit: 128000", "tokens_per_minute = 40000", "password_min_length = 12", "session_timeout = 3600", "key_prefix = \"user-preferences\"",
    "auth_method: oauth2-device-code", "auth: required", "secret_name: production-database", "next_page_token", "tokenizer = cl100k_base", "stop_token: <|endoftext|>",
    "primary_key = customer_identifier", "sort_key: created_at_descending", "api_key_env = OPENAI_API_KEY", "token_type: bearer", "pass: true", "private_key_path = keys", "passes: 12",
    "password: string", "password: oauth2", "hugs-and-xoxo-from-all-of-us-here-in-town", "client_id: Iv1.{hex:16}", "code_challenge: {url:43}", "[\"token\", \"secret\", \"password\"]",
    "os.environ.get(\"API_TOKEN\", \"missing\")", "price_1{b62:23}", "acct_1{b62:15}", "token: the token that the caller was given", "secret: prevent-disclosure", "credential_provider = workload-identity-federation", "keyboard=us-international",
    // Models and packages.
    "claude-sonnet-4-20250514", "gpt-4o-mini-2024-07-18", "meta-llama/Llama-3.1-405B-Instruct-FP8", "Qwen/Qwen2.5-Coder-32B-Instruct-AWQ", "mistral-large-2411",
    "gemini-2.0-flash-thinking-exp-01-21", "text-embedding-3-large", "deepseek-r1-distill-qwen-32b", "whisper-large-v3-turbo", "stabilityai/stable-diffusion-xl-base-1.0",
    "anthropic.claude-3-5-sonnet-20241022-v2:0", "@cf/meta/llama-3-8b-instruct", "nomic-embed-text-v1.5.Q4_K_M.gguf", "wasi:http/proxy@0.2.3", "yoi:host/request@1.0.0",
    "pkg:npm/%40angular/core@16.0.0", "serde_json_canonicalizer = \"0.4\"", "python:3.12-slim-bookworm", "docker.io/library/alpine:3.20", "github:NixOS/nixpkgs/nixos-24.05",
    "ghcr.io/org/pkg:1", "https://registry.npmjs.org/left-pad/-/left-pad-1.3.0.tgz", "crates.io:aho-corasick", "org.apache.commons:commons-lang3:3.14.0",
    // Names, routes, numbers.
    "prompts/reviewer/system", "profiles/reviewer.toml", "docs/design.md", "src/**/*.rs", "!target/**", "*.md", ".github/workflows/ci.yml", ".gitignore", ".editorconfig",
    "./src/main.rs", "workspace://src/lib.rs", "workflow://release/checks", "bundle:prompts/system.md", "mount:workspace", "user:default", "team/reviewers",
    "application/vnd.yoi.bundle+json", "text/plain; charset=utf-8", "multipart/form-data", "image/svg+xml", "en-US", "Europe/Berlin", "America/Argentina/Buenos_Aires",
    "2026-06-25T15:49:30Z", "2026/06/25", "15:49", "P1Y2M10DT2H30M", "~> 1.2", "~1.2.3", "^1.2.3", ">=1.2, <2", "1.2.x || 2.x", "24/7", "1/2", "3.5 km/h", "50 %", "100%",
    "I/O", "TCP/IP", "and/or", "yes/no/maybe", "client/server", "n/a", "w/o", "C: the language", "a.k.a. \"home\"", "e.g. ...", "foo...bar", "1..10", "main..feature",
    "sock_puppet_detector", "unix_timestamp", ".sockeye", "socket.io-client", "websocket.events", "dev.to", "homepage", "rooted", "etcetera", "optimal", "tmpl", "sk-learn",
    "disk_live_monitor", "task-based-scheduling-of-long-running-background-work", "pk_test naming convention", "whsec is short for webhook secret", "hf_hub_download",
    "npm_config_registry", "shpat is a prefix", "dapi", "key-value-store", "pul-request", "secret_santa_generator_for_large_teams", "sl.no", "s.split", "r.json",
    "ThisIsAVeryLongCamelCaseIdentifierThatIsNotASecretAtAll", "SKILLS_AND_TOOLS", "internationalisation-and-localisation-guidelines", "pneumonoultramicroscopicsilicovolcanoconiosis",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", "0123456789abcdefghijklmnopqrstuvwxyz", "1234567890123456789012345678901234567890",
    // Base64 that is not secret.
    "AGFzbQ0AAQA=", "aGVsbG8gd29ybGQsIHRoaXMgaXMgYSBwcm9tcHQ=", "eyJ0eXBlIjogIm9iamVjdCJ9", "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "data:image/jpeg;base64,/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEB", "{b64:44}", "5pel5pys6Kqe44Gn57Ch5r2U44Gr562U44GI44KL44CC",
    // Addresses of public hosts.
    "https://example.com", "https://api.example.com/v1/chat?stream=true&n=2", "https://example.com/home/feed", "https://example.com/etc/passwd", "https://example.com/~user/feed",
    "https://example.com/a/../b", "https://en.wikipedia.org/wiki/Root_(Unix)", "wss://gateway.example.com/?v=10&encoding=json", "https://example.com:8443/tmp/x", "https://o123.ingest.sentry.io/456",
    "http://203.0.113.7:8080/x", "https://docs.example.com/#/home/start", "https://example.com/search?q=%2Fhome%2Falice", "https://xn--bcher-kva.example/",
    // Other languages.
    "日本語で簡潔に答える。", "Réponds en français, s’il te plaît.", "Ответь по-русски, пожалуйста.", "Απάντησε στα ελληνικά.", "أجب باللغة العربية", "בעברית בבקשה", "한국어로 대답해 주세요", "👍🏽 👩‍💻",
    "…", "“quoted” — and so on…", "naïve café", "x² + y² = z²", "½", "→",
];

/// Prose for a model. Passes in prompts.
#[rustfmt::skip]
const PROSE: &[&str] = &[
    "Never read files outside the workspace.", "Use /review to begin and /help for help.", "Call GET /v1/users/{id} and POST /api/orders.", "The endpoint /v1/config-bundles lists bundles.",
    "Explain how a JWT works: header.payload.signature.", "The Authorization header must be set by the host.", "Use a Bearer token; never print it.", "Basic authentication is not enough.",
    "Replace every password by [redacted].", "If you see AKIA followed by sixteen capitals, stop.", "GitHub tokens begin with ghp_ and OpenAI keys with sk-.", "Passwords: never store them. Tokens: rotate them.",
    "Prefer absolute imports over ../.. chains.", "Do not touch .git/ or .ssh/ directories.", "Run the server and open http://localhost:3000 in a browser.", "Split the word at / and :.",
    "Regular expression: ^/[a-z]+/\\d+$", "Write `\\alpha\\beta` in LaTeX.", "Use \\n for a line end and \\t for a tab.", "Q:\\nA:", "<system>Be brief.</system>", "<br/> and </home> are tags.",
    "Dates look like 25/06/2026.", "Add a comment such as // run this first", "Ratio 3:4, time 10:30:15, score 2-1.", "Sizes: 10 MB/s, 5 km/h.", "The key is to keep sentences short.", "The secret is practice.",
    "The password is stored by the keyring.", "Your token is valid for an hour.", "What is ~5 percent of 200?", "In C:, the language, there are pointers.", "$5 or ${amount} or $x", "{{name}} and {{ user.email }}",
    "{{home}} is the first page.", "Log in with your user name.", "login with password reset", "cookie: a small file", "Set-Cookie: name=value", "The cat ate/drank.", "Press Ctrl+/ to comment.",
    "See README.md, docs/design.md and src/lib.rs.", "Answer in JSON: {\"path\": \"src/lib.rs\", \"line\": 10}", "Weigh pros/cons.\n\n1. First\n2. Second/third", "Sockets: use the socket.io-client package.",
];

/// Descriptions, settings and schemas.
#[rustfmt::skip]
const FIELDS: &[&str] = &[
    "Reviews a change when asked with /review.", "Lists users (GET /v1/users).", "#/definitions/path", "/properties/path", "^[a-z][a-z0-9-]*$", "(?i)^https?://", "\\d{4}-\\d{2}-\\d{2}",
    "Reads a file below the workspace.", "[0-9]+/[0-9]+", "client.socket.on", "a/b", "/", "-", "", " ", "..." , "read-only", "tests/fixtures/?.json", "**/node_modules/**", "src/{lib,main}.rs",
    "/src/**/*.rs", "/.github/**", "std::os::unix::net", "blob/v.+\\..+\\..+/CHANGELOG.md", "(?u:\\B)", "\\\\.\\\\d+", "https://git:${{ secrets.x }}@example.com/",
    "workspace:/src/lib.rs", "repo:/docs/a/b.md", "/users/{id}/posts", "/api/orders", "/v1/config-bundles/",
];

fn rules(place: Place, text: &str) -> Vec<&'static str> {
    scan(place, text).into_iter().map(|leak| leak.rule.id()).collect()
}

#[test]
fn honest_strings_pass() {
    assert!(STRINGS.len() + PROSE.len() + FIELDS.len() >= 150);
    let mut refused = Vec::new();
    let everywhere =
        STRINGS.iter().flat_map(|text| [Place::Prompt, Place::Text, Place::ObjectKey].map(|place| (place, text)));
    let prose = PROSE.iter().map(|text| (Place::Prompt, text));
    let fields = FIELDS.iter().map(|text| (Place::Text, text));
    let mut dice = Dice::new(17);
    for (place, template) in everywhere.chain(prose).chain(fields) {
        let draws = if fill(template, &mut dice) == *template { 1 } else { 40 };
        for _ in 0..draws {
            let text = fill(template, &mut dice);
            let rules = rules(place, &text);
            if !rules.is_empty() {
                refused.push(format!("{place:?} {text}: {rules:?}"));
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn honest_strings_pass_side_by_side() {
    let prompt = fill(&[STRINGS, PROSE].concat().join("\n\n"), &mut Dice::new(19));
    assert_eq!(rules(Place::Prompt, &prompt), Vec::<&str>::new());
}

#[test]
fn every_rule_is_found_by_its_id_and_ids_are_unique() {
    let mut ids: Vec<&str> = crate::rules().map(crate::LeakRule::id).collect();
    assert!(
        ids.iter().all(|id| crate::rule(id).is_some_and(|rule| rule.id() == *id && !rule.description().is_empty()))
    );
    assert!(crate::rule("secret.unknown").is_none());
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn path_of_a_url_prefix_may_look_like_a_drive() {
    for prefix in ["/C:/x", "/c:/Users/x", "/v1/D:/x"] {
        assert_eq!(rules(Place::UrlTarget, prefix), Vec::<&str>::new(), "{prefix}");
        assert_eq!(rules(Place::Text, &format!("https://example.com{prefix}")), Vec::<&str>::new(), "{prefix}");
        assert!(!rules(Place::Text, prefix).is_empty(), "{prefix}");
    }
    assert!(!rules(Place::UrlTarget, "C:/x").is_empty() && !rules(Place::UrlTarget, "file:///C:/x").is_empty());
}

#[test]
fn key_of_data_may_be_a_route_or_a_name() {
    for key in [
        "/v1/users",
        "/users/{id}",
        "/api/orders/7",
        "GET /home/feed",
        "k:v",
        "H:mm",
        "HH:mm:ss",
        "a:b",
        "x:repo",
        "T:",
        "C:",
        "~1.2",
        "~> 1",
        ".github/workflows",
        ".gitignore",
        "a..b",
        "...",
        "//",
        "// note",
        "//cdn.example.com/x",
        "and/or",
        "C: the language",
        "`read`/`write`",
        "`pwd`",
        "`ls`/x",
        "C:12",
        "Q:A",
    ] {
        assert_eq!(rules(Place::ObjectKey, key), Vec::<&str>::new(), "{key}");
    }
}
