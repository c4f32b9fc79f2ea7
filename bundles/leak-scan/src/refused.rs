//! Credentials that must be refused, one line for each kind, as issued by providers and as hidden by people. Every
//! value is drawn at run time. `{b62:36}` stands for 36 characters of an alphabet.

use std::ops::Range;

use crate::samples::{Dice, fill, to_base64, to_base64url};
use crate::{Kind, Place, scan};

#[rustfmt::skip]
const TOKENS: &[&str] = &[
    // Clouds.
    "AKIA{b32:16}", "ASIA{b32:16}", "aws_secret_access_key = {b64:40}", "\"SecretAccessKey\": \"{b64:40}\"",
    "aws_access_key_id=AKIA{b32:16}", "AWS_SESSION_TOKEN={b64:200}", "AIza{url:35}", "ya29.{url:120}", "1//0{url:90}",
    "GOCSPX-{url:28}", "{\"private_key_id\": \"{hex:40}\", \"private_key\": \"-----BEGIN {private} KEY-----\\n{b64:64}\\n{b64:64}\"}",
    "AccountName=acct;AccountKey={b64:86}==;EndpointSuffix=core.windows.net",
    "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey={b64:43}=",
    "{b62:3}8Q~{url:34}", "AZURE_CLIENT_SECRET={url:40}", "https://a.blob.core.windows.net/c?sv=2024&sig={b64:43}%3D",
    "alibaba_secret={b62:30}", "LTAI{b62:20}", "dop_v1_{hex:64}", "doo_v1_{hex:64}", "CLOUDFLARE_API_KEY={hex:37}",
    "HEROKU_API_KEY={uuid}", "fo1_{url:43}", "fm2_{b64:120}", "VULTR_API_KEY={up:36}", "hcloud_token: {b62:64}",
    "AKID{b62:32}", "scw_secret_key = {uuid}",
    // Code and packages.
    "ghp_{b62:36}", "gho_{b62:36}", "ghu_{b62:36}", "ghs_{b62:36}", "ghr_{b62:36}", "github_pat_{b62:22}_{b62:59}",
    "glpat-{url:20}", "gldt-{url:20}", "glrt-{url:20}", "glcbt-{url:20}", "glptt-{hex:40}", "glft-{url:20}",
    "glsoat-{url:20}", "glimt-{url:25}", "glagent-{url:50}", "GR1348941{url:20}", "ATBB{b62:32}", "ATATT3xFfGF0{url:180}",
    "ATCTT3xFfGN0{url:180}", "npm_{b62:36}", "//registry.npmjs.org/:_authToken={uuid}", "pypi-AgEIcHlwaS5vcmc{url:150}",
    "[pypi]\nusername = __token__\npassword = pypi-AgEIcHlwaS5vcmc{url:150}", "rubygems_{hex:48}", "cio{b62:32}",
    "dckr_pat_{url:27}", "oy2{lower:43}", "CLOJARS_{hex:60}", "{\"auths\":{\"ghcr.io\":{\"auth\":\"{basic}\"}}}",
    // Models.
    "sk-{b62:48}", "sk-{b62:20}T3BlbkFJ{b62:20}", "sk-proj-{url:120}", "sk-svcacct-{url:120}", "sk-ant-api03-{url:93}AA",
    "sk-ant-admin01-{url:93}AA", "sk-or-v1-{hex:64}", "gsk_{b62:52}", "xai-{b62:80}", "pplx-{b62:48}", "r8_{b62:37}",
    "hf_{b62:34}", "MISTRAL_API_KEY={b62:32}", "COHERE_API_KEY={b62:40}", "TOGETHER_API_KEY={hex:64}",
    "OPENAI_API_KEY=sk-{b62:48}", "ANTHROPIC_API_KEY: sk-ant-api03-{url:95}", "DEEPGRAM_API_KEY={hex:40}", "nvapi-{url:64}",
    "sk_{hex:48}", "xi-api-key: {hex:32}", "REPLICATE_API_TOKEN=r8_{b62:37}", "sk-{hex:32}",
    // Chat.
    "xoxb-{dig:12}-{dig:12}-{b62:24}", "xoxp-{dig:12}-{dig:12}-{dig:12}-{hex:32}", "xoxe.xoxp-1-{b62:146}", "xoxc-{dig:12}-{hex:64}",
    "xapp-1-A{up:10}-{dig:13}-{hex:64}", "https://hooks.slack.com/services/T{up:8}/B{up:10}/{b62:24}",
    "https://discord.com/api/webhooks/{dig:18}/{url:68}", "M{discord}.{url:6}.{url:38}", "{dig:10}:AA{url:33}", "{dig:9}:{url:35}",
    "https://api.telegram.org/bot{dig:10}:AA{url:33}/sendMessage",
    "https://x.webhook.office.com/webhookb2/{uuid}@{uuid}/IncomingWebhook/{hex:32}/{uuid}",
    // Payment and mail.
    "sk_live_{b62:24}", "sk_test_{b62:24}", "rk_live_{b62:99}", "whsec_{b62:32}", "SK{hex:32}",
    "SG.{url:22}.{url:43}", "key-{hex:32}", "{hex:32}-{hex:8}-{hex:8}", "{hex:32}-us12", "X-Postmark-Server-Token: {uuid}",
    "shpat_{hex:32}", "shpss_{hex:32}", "shpca_{hex:32}", "sq0atp-{url:22}", "sq0csp-{url:43}", "EAAA{url:60}",
    "access_token$production${lower:16}${hex:32}", "xkeysib-{hex:64}-{b62:16}", "re_{b62:8}_{b62:24}",
    // Monitoring and office services.
    "DD_API_KEY={hex:32}", "DD_APP_KEY={hex:40}", "NRAK-{up:27}", "{hex:36}NRAL", "sntrys_{b64:150}_{b64:43}", "sntryu_{hex:64}",
    "glsa_{b62:32}_{hex:8}", "glc_{b64:80}", "PAGERDUTY_TOKEN=u+{b62:18}", "secret_{b62:43}", "ntn_{b62:46}", "lin_api_{b62:40}",
    "2/{dig:16}/{dig:16}:{hex:32}", "pat{b62:14}.{hex:64}", "figd_{url:40}", "sl.{url:130}", "sl.u.{url:130}", "CCIPAT_{b62:22}_{hex:40}",
    "bkua_{hex:40}", "dapi{hex:32}", "sbp_{hex:40}", "sb_secret_{url:31}", "pscale_tkn_{url:43}", "pscale_pw_{url:43}", "squ_{hex:40}",
    "sqp_{hex:40}", "SONAR_TOKEN={hex:40}", "SNYK_TOKEN={uuid}", "pat-na1-{uuid}", "TRAVIS_TOKEN={b62:22}", "okta_token: 00{url:40}",
    "Authorization: SSWS 00{url:40}", "AUTH0_CLIENT_SECRET={url:64}", "snowflake_password = \"{b62:18}\"", "PMAK-{hex:24}-{hex:34}",
    // Infrastructure.
    "hvs.{b62:24}", "hvs.CAES{url:90}", "hvb.{url:140}", "s.{b62:24}", "{b62:14}.atlasv1.{url:67}", "pul-{hex:40}", "dp.pt.{b62:43}",
    "dp.st.dev.{b62:43}", "tskey-auth-{b62:16}-{b62:32}", "tskey-api-{b62:16}-{b62:32}", "ops_eyJ{url:200}", "sha256~{url:43}",
    // Web tokens and headers.
    "{jwt}", "{jwt-none}", "token={jwt}", "Authorization: Bearer {b62:40}", "authorization: bearer {hex:40}", "Bearer {url:43}",
    "Authorization: Basic {basic}", "Authorization: Token {hex:40}", "Proxy-Authorization: Basic {basic}", "X-API-Key: {b62:32}",
    "X-Auth-Token: {hex:32}", "PRIVATE-TOKEN: {url:20}", "Cookie: session={url:64}", "Cookie: theme=dark; sid={b62:32}; x=1",
    "Set-Cookie: JSESSIONID={up:32}; Path=/x", "curl -H \"Authorization: Bearer {b62:40}\" https://api.example.com", "curl -u admin:{b62:16} https://api.example.com",
    // Key blocks.
    "-----BEGIN {private} KEY-----\n{b64:64}\n{b64:64}\n-----END {private} KEY-----", "-----BEGIN EC {private} KEY-----\n{b64:64}\n{b64:30}==\n",
    "-----BEGIN OPENSSH {private} KEY-----\n{b64:70}\n{b64:70}\n", "-----BEGIN DSA {private} KEY-----\\n{b64:64}\\n",
    "-----BEGIN RSA {private} KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,{HEX:32}\n\n{b64:64}\n",
    "-----BEGIN PGP {private} KEY BLOCK-----\nVersion: x 1.0\n\n{b64:64}\n", "---- BEGIN SSH2 ENCRYPTED {private} KEY ----\nComment: \"x\"\n{b64:70}\n",
    "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPrivate-Lines: 1\n{b64:47}=\n", "AGE-SECRET-KEY-1{up:58}",
    "yoi-signing-key-ed25519:{b64:43}=", "seed:yoi-signing-key-ed25519:{b64:43}=\n",
    "[Interface]\nPrivateKey = {b64:43}=\nAddress = x", "PresharedKey = {b64:43}=", "b3BlbnNzaC1rZXktdjEAAAAA{b64:100}", "nsec1{lower:58}",
    "client-key-data: {b64-key}", "{b64-key}", "-----BEGIN OpenVPN Static key V1-----\n{hex:32}\n{hex:32}\n",
    "private_key=0x{hex:64}", "PRIVATE_KEY={hex:64}", "mnemonic = \"{words}\"", "xprv9s21ZrQH143K{b62:96}",
    // Addresses with a login.
    "postgres://app:{b62:16}@db.example.com:5432/app", "postgresql+asyncpg://app:{b62:12}@db/app", "mongodb+srv://u:{b62:16}@c.mongodb.net/x",
    "redis://:{b62:20}@cache.example.com:6379/0", "amqp://guest:{b62:12}@mq.example.com//", "https://oauth2:{b62:20}@gitlab.com/o/r.git",
    "https://{b62:40}@github.com/o/r.git", "ftp://u:{b62:10}@ftp.example.com/x", "ldap://cn:{b62:10}@ldap.example.com",
    "jdbc:postgresql://db.example.com/x?user=app&password={b62:16}", "jdbc:oracle:thin:app/{b62:12}@db.example.com:1521:x",
    "Server=db;Database=x;User Id=sa;Password={b62:14};", "Server=tcp:db,1433;Uid=sa;Pwd={b62:14};", "proxy: user:{b62:16}@proxy.example.com:8080",
    // Login files.
    "machine api.example.com login me password {b62:14}", "machine x\n  login me\n  password {b62:14}", "db.example.com:5432:app:me:{b62:16}",
    "me:$apr1${b62:8}${b62:22}", "me:$2y$10${b62:53}", "$2b$12${b62:53}", "$argon2id$v=19$m=65536,t=3,p=4${b64:22}${b64:43}", "me:$5${b62:16}${b62:43}:1:",
    "me:$y$j9T${b62:22}${b62:43}:1:", "pbkdf2_sha256$600000${b62:22}${b64:43}=", "{SSHA}{b64:38}==",
    // Names.
    "API_KEY={b62:32}", "DB_PASSWORD={b62:16}", "DATABASE_PASSWORD: \"{b62:12}!x\"", "client_secret: {b62:40}", "\"apiKey\": \"{b62:32}\"", "secret = '{b62:24}'",
    "password={b62:14}", "<password>{b62:14}</password>", "<add key=\"ApiKey\" value=\"{b62:32}\" />", "- name: API_TOKEN\n  value: {b62:32}", "export TOKEN={hex:40}",
    "SECRET_KEY_BASE={hex:128}", "RAILS_MASTER_KEY={hex:32}", "app.config['SECRET_KEY'] = '{hex:48}'", "JWT_SECRET={b64:43}=", "signing_key = \"{hex:64}\"",
    "encryption_key: {b64:43}=", "access_token: {b62:40}", "refreshToken=\"{url:64}\"", "SLACK_SIGNING_SECRET={hex:32}", "consumer_secret={b62:45}",
    "--password {b62:14}", "--token={b62:30}", "psk={b62:20}", "the password is {b62:14}.", "Use the API key: {b62:32}", "storage_key={b64:86}==",
    "app:{b62:16}@tcp(db.example.com:3306)/x", "define('AUTH_KEY', '{b62:64}');", "headers.set(\"X-API-Key\", \"{b62:32}\")", "requirepass {b62:24}",
    "CREATE USER me IDENTIFIED BY '{b62:16}'", "PGPASSWORD={b62:16}", "APP_KEY=base64:{b64:43}=", "{jwe}", "ATTA{b62:72}",
    "https://api.example.com/x?access_token={b62:40}", "https://api.example.com/x?api_key={hex:32}&y=1", "s3://b?X-Amz-Signature={hex:64}",
    "https://s3.example.com/b?X-Amz-Credential=x&X-Amz-Signature={hex:64}",
];

/// Returns the token with `between` inserted at `at`.
fn insert(token: &str, at: usize, between: &str) -> String {
    let (head, tail) = token.split_at(at);
    format!("{head}{between}{tail}")
}

type Hide = fn(&str) -> String;

/// Ways to hide a token in a text.
const DISGUISES: &[(&str, Hide)] = &[
    ("in a sentence", |token| format!("please use {token} for the API")),
    ("in markdown", |token| format!("- **key**: `{token}`")),
    ("in parentheses", |token| format!("(see {token})")),
    ("after a colon of a reference", |token| format!("secret:{token}")),
    ("with zero widths", |token| token.chars().map(|letter| format!("{letter}\u{200b}")).collect()),
    ("with a joiner", |token| token.replacen('_', "_\u{2060}", 1)),
    ("with a soft hyphen", |token| insert(token, 9, "\u{ad}")),
    ("with a byte order mark", |token| insert(token, 2, "\u{feff}")),
    ("escaped for markdown", |token| token.replace('_', "\\_").replace('-', "\\-")),
    ("with a direction", |token| format!("\u{202e}{token}\u{202c}")),
    ("in full width", |token| token.chars().filter_map(|letter| char::from_u32(u32::from(letter) + 0xfee0)).collect()),
    ("with a homoglyph", |token| token.replacen('p', "р", 1)),
    ("in mathematical letters", |token| {
        token
            .chars()
            .map(|letter| match letter {
                'a'..='z' => char::from_u32(0x1d5ba + u32::from(letter) - 97).unwrap(),
                'A'..='Z' => char::from_u32(0x1d5a0 + u32::from(letter) - 65).unwrap(),
                other => other,
            })
            .collect()
    }),
    ("split by a line that goes on", |token| insert(token, 12, "\\\n  ")),
    ("split by a line end", |token| insert(token, 12, "\n")),
    ("split in a quotation", |token| format!("> {}", insert(token, 12, "\n> "))),
    ("put together by a program", |token| format!("\"{}\"", insert(token, 4, "\" + \""))),
    ("spaced out", |token| token.chars().map(|letter| format!("{letter} ")).collect()),
    ("percent-encoded", |token| token.bytes().map(|byte| format!("%{byte:02X}")).collect()),
    ("twice percent-encoded", |token| token.bytes().map(|byte| format!("%25{byte:02x}")).collect()),
    ("in JSON escapes", |token| token.bytes().map(|byte| format!("\\u{byte:04x}")).collect()),
    ("in hexadecimal escapes", |token| token.bytes().map(|byte| format!("\\x{byte:02x}")).collect()),
    ("in entities", |token| token.bytes().map(|byte| format!("&#{byte};")).collect()),
    ("in base64", |token| to_base64(token.as_bytes())),
    ("in base64url behind a name", |token| format!("data={}", to_base64url(token.as_bytes()))),
    ("in base64 of a sentence", |token| to_base64(format!("the key is {token}, keep it").as_bytes())),
    ("in hexadecimal", |token| token.bytes().map(|byte| format!("{byte:02x}")).collect()),
    ("in a JSON text", |token| format!("{{\\\"token\\\":\\\"{token}\\\"}}")),
    ("in an address", |token| format!("https://api.example.com/{token}/x")),
    ("in a query", |token| format!("https://api.example.com/?q={token}")),
    ("in a data address", |token| format!("data:text/plain;base64,{}", to_base64(token.as_bytes()))),
];

fn is_refused(place: Place, text: &str) -> bool {
    scan(place, text).iter().any(|leak| leak.rule.kind() == Kind::Secret)
}

#[test]
fn a_credential_of_every_kind_is_refused_at_every_place() {
    let mut dice = Dice::new(3);
    let mut missed = Vec::new();
    assert!(TOKENS.len() >= 120);
    for template in TOKENS {
        let caught = (0..20)
            .filter(|_| {
                let value = fill(template, &mut dice);
                [Place::Prompt, Place::Text, Place::UrlTarget, Place::ObjectKey]
                    .iter()
                    .all(|&place| is_refused(place, &value))
            })
            .count();
        if caught < 18 {
            missed.push(format!("{template}: {caught} of 20"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn a_hidden_credential_is_refused() {
    let mut dice = Dice::new(5);
    let mut missed = Vec::new();
    for template in ["ghp_{b62:36}", "sk-ant-api03-p{url:95}"] {
        for (disguise, hide) in DISGUISES {
            let caught = (0..20).filter(|_| is_refused(Place::Prompt, &hide(&fill(template, &mut dice)))).count();
            if caught < 20 {
                missed.push(format!("{template} {disguise}: {caught} of 20"));
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn a_finding_points_to_the_credential_and_to_nothing_else() {
    let token = fill("ghp_{b62:36}", &mut Dice::new(9));
    let text = format!("é use {token} now");
    let spans: Vec<_> = scan(Place::Prompt, &text).into_iter().map(|leak| leak.span).collect();
    assert_eq!(spans, vec![Range { start: 7, end: 7 + token.len() }]);
    let hidden = format!("é {} now", insert(&token, 9, "\u{200b}"));
    let spans: Vec<_> = scan(Place::Prompt, &hidden).into_iter().map(|leak| leak.span).collect();
    assert_eq!(spans, vec![Range { start: 3, end: 3 + token.len() + 3 }]);
}

#[test]
fn findings_are_in_order_and_bounded_and_no_rule_hides_another() {
    let mut dice = Dice::new(13);
    let many: String = (0..200).map(|_| fill("ghp_{b62:36} /home/alice/x ", &mut dice)).collect();
    let hidden: String =
        fill("sk_live_{b62:32}", &mut dice).chars().map(|letter| format!("{letter}\u{200b}")).collect();
    let leaks = scan(Place::Text, &format!("{many} {hidden}"));
    assert_eq!(leaks.len(), 64);
    assert!(leaks.is_sorted_by_key(|leak| leak.span.start));
    assert_eq!(leaks.last().map(|leak| leak.rule.id()), Some("secret.stripe"));
}

#[test]
fn finding_of_two_passes_counts_once() {
    let paths: Vec<String> = (0..60).map(|number| format!("Read /etc/file-{number} first.\n")).collect();
    let text = format!("{}and %2fetc%2fpasswd\n", paths.concat());
    let leaks = scan(Place::Prompt, &text);
    assert_eq!(leaks.len(), 61);
    assert_eq!(leaks.last().and_then(|leak| text.get(leak.span.clone())), Some("%2fetc%2fpasswd"));
}

/// The line is broken inside the landmark, and nothing else nearby causes another pass.
#[test]
fn a_key_block_whose_first_line_is_broken_is_found() {
    let body = fill("MC4{b62:29}", &mut Dice::new(11));
    for first in [
        "-----BEGIN\n PRIVATE KEY-----",
        "-----BEGI\nN RSA PRIVATE KEY-----",
        "-----B\n  EGIN PRIVATE KEY-----",
        "-----BEG\n> IN PRIVATE KEY-----",
    ] {
        let text = format!("x {first}\n\n{body}\n\n-----END RSA PRIVATE KEY-----\n");
        for place in [Place::Prompt, Place::Text] {
            let rules: Vec<_> = scan(place, &text).iter().map(|leak| leak.rule.id()).collect();
            assert_eq!(rules, ["secret.key_block"], "{first:?}");
        }
    }
    // Headers are long and contain little.
    let headers = format!("{}On It\n", " ".repeat(20)).repeat(45);
    let text = format!("-----BEG\nIN RSA PRIVATE KEY-----\n{headers}\n{body}\n\n-----END RSA PRIVATE KEY-----\n");
    assert_eq!(scan(Place::Prompt, &text).len(), 1);
}

/// Only the surroundings of a possible line break are read again, which is sufficient.
#[test]
fn a_broken_credential_is_found_in_a_long_text_as_in_a_short_one() {
    let mut dice = Dice::new(17);
    let words = "What is read here has nothing in it, nor around it.\n".repeat(120);
    for template in TOKENS {
        for _ in 0..3 {
            let mut broken = fill(template, &mut dice);
            for _ in 0..2 {
                broken.insert(1 + dice.below(broken.len() - 1), '\n');
            }
            let near = format!("Words before.\n{broken}\nWords behind.\n");
            let far = format!("{words}{near}{words}");
            let found = |text: &str, first: usize| {
                let leaks = scan(Place::Prompt, text).into_iter();
                leaks.map(|leak| (leak.rule, leak.span.start - first, leak.span.end - first)).collect::<Vec<_>>()
            };
            assert_eq!(found(&far, words.len()), found(&near, 0), "{template}");
        }
    }
}

#[test]
fn key_is_named_by_the_longest_prefix_that_it_has() {
    let mut dice = Dice::new(31);
    for (template, id) in [
        ("sk-ant-api03-{url:93}AA", "secret.claude"),
        ("sk-ant-admin01-{url:93}AA", "secret.claude"),
        ("sk-or-v1-{hex:64}", "secret.router"),
        ("sk-lf-{hex:32}", "secret.monitor"),
        ("sk-proj-{url:120}", "secret.openai"),
        ("sk-{b62:48}", "secret.openai"),
        ("glptt-{hex:40}", "secret.gitlab"),
    ] {
        for place in [Place::Prompt, Place::Text, Place::ObjectKey] {
            for form in ["", "api_key = ", "the key is "] {
                let text = format!("{form}{}", fill(template, &mut dice));
                let rules: Vec<_> = scan(place, &text).iter().map(|leak| leak.rule.id()).collect();
                assert!(rules.contains(&id), "{template}: {rules:?}");
                assert!(rules.iter().all(|rule| [id, "secret.spoken"].contains(rule)), "{template}: {rules:?}");
            }
        }
    }
}

#[test]
fn login_in_an_address_is_a_credential() {
    let mut dice = Dice::new(37);
    for template in [
        "https://app:{b62:16}@example.com/home/x",
        "http://app:{b62:16}@db:8080/x",
        "postgres://app:{b62:12}@localhost:5432/x",
        "https://app:{b62:16}@10.0.0.1/x",
        "http://app:p/{b62:12}@example.com/x",
        "https://app:7{b62:8}/{b62:8}@example.com/x",
        "https://app:{b62:8}/{b62:8}@example.com/etc/x",
        "https://app:..{b62:16}@example.com/x",
        "https://app:~{b62:16}@example.com/~x",
        "https://app:$HOME{b62:16}@example.com",
        "https://{hex:32}@example.com/etc/x",
        "git+ssh://app:{b62:16}@git.example.com/x",
    ] {
        for place in [Place::Prompt, Place::Text, Place::UrlTarget, Place::ObjectKey] {
            let text = fill(template, &mut dice);
            let found = scan(place, &text);
            assert!(found.iter().any(|leak| leak.rule.id() == "secret.url_user"), "{place:?} {template}");
            // The other finding at this place is the address of the host.
            let others = found.iter().filter(|leak| leak.rule.id() != "secret.url_user");
            assert!(others.into_iter().all(|leak| leak.rule.id() == "host_path.endpoint"), "{place:?} {template}");
        }
    }
    for address in [
        "https://example.com:8443/@someone/x",
        "https://example.com:8443/x?to=a@example.com",
        "http://[2001:db8::1]/a@b",
    ] {
        assert!(scan(Place::Text, address).is_empty(), "{address}");
    }
}
