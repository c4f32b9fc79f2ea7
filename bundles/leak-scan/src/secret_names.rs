//! Names that denote a secret: `API_KEY`, `db-password`, `clientSecret`.
//!
//! A name is judged by its last noun, so `password_min_length`, `api_key_ref` and `public_key` denote no secret.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

/// Kind of secret that a name denotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum SecretKind {
    /// Chosen by a person or a generator, and possibly short.
    Password,
    /// Issued by a machine.
    Token,
    /// `name:password` in base64.
    BasicAuth,
    /// Signature of a signed URL.
    Signature,
    /// A sequence of words.
    Words,
    /// Normally the id of a public key. A secret key there is a finding.
    KeyId,
}

/// Endings of names whose values are secrets, in lower case and without separators.
#[rustfmt::skip]
const TOKEN_NAMES: &[&str] = &[
    "secret", "token", "apikey", "secretkey", "secretaccesskey", "accesskey", "privatekey", "privkey", "authkey",
    "masterkey", "signingkey", "signkey", "encryptionkey", "encryptkey", "decryptionkey", "sharedkey", "presharedkey",
    "psk", "accountkey", "sharedaccesskey", "sessionkey", "servicekey", "servicerolekey", "clientkey", "appkey",
    "applicationkey", "consumerkey", "adminkey", "rootkey", "deploykey", "licensekey", "licencekey", "hmackey", "jwtkey",
    "aeskey", "cipherkey", "cryptokey", "subscriptionkey", "storagekey", "ingestkey", "integrationkey", "routingkey",
    "webhookkey", "authorization", "xapikey", "credential", "credentials", "cookiesecret", "secretkeybase", "salt",
    "pepper", "blockkey", "keybase", "phpsessid", "jsessionid", "connectsid",
    "keymaterial", "userkey", "serverkey", "apitoken", "pat", "jwt", "bearer", "writekey", "passkey", "sshkey", "seed",
    "seedhex", "privatekeyhex", "instrumentationkey", "xprv", "wif", "cookievalue", "functionkey", "botkey", "datakey", "kek", "dek", "tlskey", "oauthkey", "otpauth", "totp", "mfasecret",
    "openaikey", "anthropickey", "claudekey", "mistralkey", "geminikey", "googlekey", "groqkey", "coherekey",
    "huggingfacekey", "openrouterkey", "azurekey", "awskey", "githubkey", "gitlabkey", "stripekey", "slackkey",
    "twiliokey", "sendgridkey", "providerkey", "llmkey", "cookie", "connectionstring", "connectionstr", "connstring", "connstr",
];

#[rustfmt::skip]
const PASSWORD_NAMES: &[&str] =
    &[
        "password", "passwd", "passphrase", "passcode", "pwd", "passwort", "userpass", "dbpass", "apppass", "authpass",
        "kennwort", "motdepasse", "contrasena", "wachtwoord", "senha", "parola",
    ];

/// Names that are too short to be matched as an ending.
#[rustfmt::skip]
const WHOLE_NAMES: &[&str] = &[
    "pass", "auth", "psk", "pat", "jwt", "pw", "salt", "seed", "kek", "dek", "wif", "sid", "cred", "creds", "dsn", "otp", "hmac",
];

/// Words that follow the noun in longer names without changing its meaning.
#[rustfmt::skip]
const TRAILING_WORDS: &[&str] = &[
    "value", "val", "base", "prod", "production", "dev", "staging", "live", "test", "plain", "plaintext", "old", "new",
    "current", "previous", "b64", "base64", "hex", "primary", "secondary", "data", "string", "default", "env", "main",
];

/// Words that introduce the purpose of a secret in longer names: `password_for_prod`.
const PREPOSITIONS: &[&str] = &["at", "for", "from", "of"];

/// Names that look similar but denote public values.
#[rustfmt::skip]
const OPEN_NAMES: &[&str] = &[
    "public", "publishable", "pubkey", "pagetoken", "nexttoken", "continuationtoken", "synctoken", "cursortoken", "example",
    "placeholder", "sample", "dummy", "fake", "anon", "sitekey", "cachekey", "primarykey", "foreignkey", "sortkey",
    "partitionkey", "idempotency", "objectkey", "tokenizer", "tokenid", "monkey", "turkey", "hotkey", "keyref",
    "secretref", "tokenref", "cancellationtoken", "stoptoken", "padtoken", "eostoken", "bostoken", "unktoken", "masktoken",
    "septoken", "clstoken", "maxtoken", "mintoken", "prompttoken", "completiontoken", "inputtoken", "outputtoken",
    "specialtoken", "addedtoken", "accountsid", "messagesid", "servicesid", "callsid",
];

/// Last nouns of names for descriptions of a secret, which hold no secret.
#[rustfmt::skip]
const DESCRIBING_NOUNS: &[&str] = &[
    "account", "address", "alg", "algorithm", "audience", "branch", "checksum", "comment", "commit", "count", "created",
    "description", "digest", "domain", "email", "endpoint", "env", "etag", "example", "expires", "expiry", "file",
    "fingerprint", "format", "hash", "header", "headers", "help", "hint", "host", "id", "ids", "image", "issuer", "kind",
    "label", "length", "level", "limit", "login", "mail", "md5", "method", "mode", "model", "name", "names", "note",
    "origin", "owner", "path", "pattern", "policy", "prefix", "project", "provider", "public", "ref", "reference", "regex",
    "region", "repository", "revision", "rule", "schema", "scheme", "scope", "scopes", "sha", "sha1", "sha256", "sha512",
    "size", "source", "status", "store", "strategy", "subject", "suffix", "tenant", "thumbprint", "title", "trace", "ttl",
    "type", "uri", "url", "urls", "user", "username", "users", "variable", "version",
];

/// Parts of nouns for secrets. Every name for a secret contains one.
#[rustfmt::skip]
const NAME_STEMS: &[&str] = &[
    "key", "secret", "token", "pass", "pwd", "pw", "auth", "cred", "salt", "seed", "sess", "psk", "pat", "jwt", "bearer",
    "kek", "dek", "wif", "sid", "sig", "mnemonic", "phrase", "pepper", "prv", "cookie", "otp",
    "dsn", "hmac", "connection", "connstr", "kennwort", "motdepasse", "contrasena", "wachtwoord", "senha", "parola",
];

static STEMS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| automaton(NAME_STEMS));
static OPEN: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| automaton(OPEN_NAMES));

/// `true` if a name contains part of a noun for a secret. Rejects most names early.
pub(crate) fn may_name_secret(name: &[u8]) -> bool {
    STEMS.as_ref().is_some_and(|stems| stems.is_match(name))
}

fn automaton(words: &[&str]) -> Option<AhoCorasick> {
    AhoCorasick::builder().ascii_case_insensitive(true).build(words).ok()
}

/// `true` if the word follows a noun without changing its meaning. A letter or a number distinguishes several secrets
/// of a kind.
pub(crate) fn is_trailing(word: &[u8]) -> bool {
    let word = word.strip_prefix(b"#").unwrap_or(word);
    let is_counter = word.len() == 1 || word.iter().all(u8::is_ascii_digit);
    is_counter || TRAILING_WORDS.iter().any(|trailing| trailing.as_bytes().eq_ignore_ascii_case(word))
}

/// `true` if the word introduces the purpose of the secret.
pub(crate) fn is_preposition(word: &[u8]) -> bool {
    PREPOSITIONS.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(word))
}

/// Returns the kind of secret that a name denotes. `in_query` is `true` for names in the query of a URL.
pub(crate) fn secret_kind_of(name: &[u8], in_query: bool) -> Option<SecretKind> {
    let words = words_of(name);
    let head = words.iter().skip(1).position(|word| is_preposition(word)).map_or(words.len(), |position| position + 1);
    let words = words.get(..head)?;
    let is_connection = words.len() >= 2 && words.ends_with(&[b"connection".to_vec(), b"string".to_vec()]);
    let trailing = words.iter().rev().take_while(|word| !is_connection && is_trailing(word)).count();
    let words = words.get(..words.len() - trailing.min(words.len().saturating_sub(1)))?;
    let last = words.last()?;
    let joined = words.concat();
    if OPEN.as_ref().is_some_and(|open| open.is_match(&joined)) {
        return None;
    }
    // The split above does not remove a counter after a camel-case name (`secretKey2`).
    let counter = joined.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let joined = joined.get(..joined.len() - counter)?;
    let singular = joined.strip_suffix(b"s").unwrap_or(joined);
    let ends = |names: &[&str]| {
        let mut long = names.iter().filter(|name| name.len() > 3).map(|name| name.as_bytes());
        long.any(|name| joined.ends_with(name) || singular.ends_with(name))
    };
    let is_whole = |word: &[u8]| WHOLE_NAMES.iter().any(|name| name.as_bytes() == word);
    if joined.ends_with(b"mnemonic")
        || joined.ends_with(b"seedphrase")
        || joined.ends_with(b"recoveryphrase")
        || joined.ends_with(b"seedwords")
    {
        return Some(SecretKind::Words);
    }
    if in_query && matches!(joined, b"sig" | b"signature" | b"xamzsignature" | b"xgoogsignature" | b"xossignature") {
        return Some(SecretKind::Signature);
    }
    if singular.ends_with(b"gpgkey") || singular.ends_with(b"pgpkey") {
        return Some(SecretKind::KeyId);
    }
    if matches!(joined, b"auth" | b"basicauth" | b"httpauth") {
        return Some(SecretKind::BasicAuth);
    }
    if ends(PASSWORD_NAMES) || matches!(last.as_slice(), b"pass" | b"pw" | b"pwd") {
        return Some(SecretKind::Password);
    }
    // In `OPENAI_KEY`, an environment variable, `KEY` is not the key of a map.
    let is_constant_key = last == b"key" && words.len() >= 2 && name.iter().all(|byte| !byte.is_ascii_lowercase());
    (ends(TOKEN_NAMES) || is_whole(last) || is_constant_key).then_some(SecretKind::Token)
}

/// Splits a name into lower-case words: `clientSecret`, `client_secret` and `Client-Secret` have the same two.
fn words_of(name: &[u8]) -> Vec<Vec<u8>> {
    let humps = name.chunk_by(|before, byte| !(before.is_ascii_lowercase() && byte.is_ascii_uppercase()));
    let parts = humps.flat_map(|hump| hump.split(|byte| !byte.is_ascii_alphanumeric()));
    parts.filter(|word| !word.is_empty()).map(<[u8]>::to_ascii_lowercase).collect()
}

/// `true` if the value under this name is never a secret, even below a name for secrets.
pub(crate) fn is_descriptive(name: &[u8]) -> bool {
    let words = words_of(name);
    let is_open = || OPEN.as_ref().is_some_and(|open| open.is_match(&words.concat()));
    words.last().is_some_and(|last| DESCRIBING_NOUNS.iter().any(|noun| noun.as_bytes() == last)) || is_open()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_automata_are_built() {
        assert!(STEMS.is_some() && OPEN.is_some());
    }

    #[test]
    fn name_is_judged_by_its_last_noun() {
        for (name, secret_kind) in [
            ("password", Some(SecretKind::Password)),
            ("DB_PASSWORD_PROD", Some(SecretKind::Password)),
            ("aws_secret_access_key", Some(SecretKind::Token)),
            ("x-api-key", Some(SecretKind::Token)),
            ("clientSecret", Some(SecretKind::Token)),
            ("STRIPE_KEY", Some(SecretKind::Token)),
            ("_authToken", Some(SecretKind::Token)),
            ("SECRET_KEY_BASE", Some(SecretKind::Token)),
            ("auth", Some(SecretKind::BasicAuth)),
            ("tokens_per_minute", None),
            ("api_key_ref", None),
            ("max_tokens", None),
            ("public_key", None),
            ("next_page_token", None),
            ("key", None),
            ("keyboard", None),
            ("passenger", None),
            ("session_timeout", None),
            ("kid", None),
            ("passwords", Some(SecretKind::Password)),
            ("apiKeys", Some(SecretKind::Token)),
            ("passwordProd", Some(SecretKind::Password)),
            ("openaiApiKey", Some(SecretKind::Token)),
            ("anthropic_key", Some(SecretKind::Token)),
            ("API key", Some(SecretKind::Token)),
            ("passwordPolicy", None),
            ("api_key_header", None),
            ("token_url", None),
            ("secret_name", None),
            ("maxTokens", None),
            ("passes", None),
            ("apiKey3", Some(SecretKind::Token)),
            ("secretKey12", Some(SecretKind::Token)),
            ("api_key_a", Some(SecretKind::Token)),
            ("password_for_prod", Some(SecretKind::Password)),
            ("passwordOfDb", Some(SecretKind::Password)),
            ("token_for_github", Some(SecretKind::Token)),
            ("api-key-from-user", Some(SecretKind::Token)),
            ("session_cookie", Some(SecretKind::Token)),
            ("creds", Some(SecretKind::Token)),
            ("db_cred", Some(SecretKind::Token)),
            ("connection_string", Some(SecretKind::Token)),
            ("ConnectionString", Some(SecretKind::Token)),
            ("connectionstring", Some(SecretKind::Token)),
            ("dsn", Some(SecretKind::Token)),
            ("otp", Some(SecretKind::Token)),
            ("hmac", Some(SecretKind::Token)),
            ("Kennwort", Some(SecretKind::Password)),
            ("sacred", None),
            ("number_of_tokens", None),
            ("id_of_token", None),
            ("url_for_token", None),
            ("cookie_name", None),
            ("connection", None),
            ("string", None),
            ("hotpath", None),
            ("dsn_format", None),
            ("keyboard3", None),
            ("hmac_algorithm", None),
            ("GPG_KEY", Some(SecretKind::KeyId)),
            ("pgpKeys", Some(SecretKind::KeyId)),
            ("gpg_key_id", None),
            ("GPG_PRIVATE_KEY", Some(SecretKind::Token)),
        ] {
            assert_eq!(secret_kind_of(name.as_bytes(), false), secret_kind, "{name}");
        }
    }
}
