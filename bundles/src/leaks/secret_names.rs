//! Names that mean a secret: `API_KEY`, `db-password`, `clientSecret`. A name is judged by its last noun, so that
//! `password_min_length`, `api_key_ref` and `public_key` promise nothing.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

/// What kind of secret a name promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Promise {
    /// Chosen by a person or a generator, maybe short.
    Password,
    /// Issued by a machine.
    Token,
    /// `name:password` in base64.
    BasicAuth,
    /// Signs an address that is complete in itself.
    Signature,
    /// A sequence of words.
    Words,
    /// The id of a public key, unless a key stands there.
    KeyId,
}

/// Endings of names whose values are secrets; names are compared in lower case without separators.
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

/// Whole names that are too short to be an ending.
#[rustfmt::skip]
const WHOLE_NAMES: &[&str] = &[
    "pass", "auth", "psk", "pat", "jwt", "pw", "salt", "seed", "kek", "dek", "wif", "sid", "cred", "creds", "dsn", "otp", "hmac",
];

/// What follows the noun in longer names without changing what it means.
#[rustfmt::skip]
const TRAILING_WORDS: &[&str] = &[
    "value", "val", "base", "prod", "production", "dev", "staging", "live", "test", "plain", "plaintext", "old", "new",
    "current", "previous", "b64", "base64", "hex", "primary", "secondary", "data", "string", "default", "env", "main",
];

/// What says in longer names whom the noun before it is for: `password_for_prod`.
const PREPOSITIONS: &[&str] = &["at", "for", "from", "of"];

/// Names that look alike and stand for what may be seen.
#[rustfmt::skip]
const OPEN_NAMES: &[&str] = &[
    "public", "publishable", "pubkey", "pagetoken", "nexttoken", "continuationtoken", "synctoken", "cursortoken", "example",
    "placeholder", "sample", "dummy", "fake", "anon", "sitekey", "cachekey", "primarykey", "foreignkey", "sortkey",
    "partitionkey", "idempotency", "objectkey", "tokenizer", "tokenid", "monkey", "turkey", "hotkey", "keyref",
    "secretref", "tokenref", "cancellationtoken", "stoptoken", "padtoken", "eostoken", "bostoken", "unktoken", "masktoken",
    "septoken", "clstoken", "maxtoken", "mintoken", "prompttoken", "completiontoken", "inputtoken", "outputtoken",
    "specialtoken", "addedtoken", "accountsid", "messagesid", "servicesid", "callsid",
];

/// Last nouns of names that describe a secret, or what is beside it, and hold none.
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

/// What every name that promises something has in it.
#[rustfmt::skip]
const NAME_STEMS: &[&str] = &[
    "key", "secret", "token", "pass", "pwd", "pw", "auth", "cred", "salt", "seed", "sess", "psk", "pat", "jwt", "bearer",
    "kek", "dek", "wif", "sid", "sig", "mnemonic", "phrase", "pepper", "prv", "cookie", "otp",
    "dsn", "hmac", "connection", "connstr", "kennwort", "motdepasse", "contrasena", "wachtwoord", "senha", "parola",
];

static STEMS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| automaton(NAME_STEMS));
static OPEN: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| automaton(OPEN_NAMES));

/// Whether a name holds a part of any noun for a secret; most end here.
pub(super) fn is_telling(name: &[u8]) -> bool {
    STEMS.as_ref().is_some_and(|stems| stems.is_match(name))
}

fn automaton(words: &[&str]) -> Option<AhoCorasick> {
    AhoCorasick::builder().ascii_case_insensitive(true).build(words).ok()
}

/// `true` if the word follows the noun without changing what it means. A letter or a number tells several of a kind apart.
pub(super) fn is_trailing(word: &[u8]) -> bool {
    let word = word.strip_prefix(b"#").unwrap_or(word);
    let is_counter = word.len() == 1 || word.iter().all(u8::is_ascii_digit);
    is_counter || TRAILING_WORDS.iter().any(|trailing| trailing.as_bytes().eq_ignore_ascii_case(word))
}

/// `true` if what follows the word says whom the noun before it is for.
pub(super) fn is_preposition(word: &[u8]) -> bool {
    PREPOSITIONS.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(word))
}

/// What the value under this name would be. `in_query`: the name stands in the query of an address.
pub(super) fn promise_of(name: &[u8], in_query: bool) -> Option<Promise> {
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
    // A counter behind a name in camel case (`secretKey2`) is not split off above.
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
        return Some(Promise::Words);
    }
    if in_query && matches!(joined, b"sig" | b"signature" | b"xamzsignature" | b"xgoogsignature" | b"xossignature") {
        return Some(Promise::Signature);
    }
    if singular.ends_with(b"gpgkey") || singular.ends_with(b"pgpkey") {
        return Some(Promise::KeyId);
    }
    if matches!(joined, b"auth" | b"basicauth" | b"httpauth") {
        return Some(Promise::BasicAuth);
    }
    if ends(PASSWORD_NAMES) || matches!(last.as_slice(), b"pass" | b"pw" | b"pwd") {
        return Some(Promise::Password);
    }
    // `OPENAI_KEY`: a constant of an environment, which names no key of a map.
    let is_constant_key = last == b"key" && words.len() >= 2 && name.iter().all(|byte| !byte.is_ascii_lowercase());
    (ends(TOKEN_NAMES) || is_whole(last) || is_constant_key).then_some(Promise::Token)
}

/// The words of a name in lower case: `clientSecret`, `client_secret` and `Client-Secret` have the same two.
fn words_of(name: &[u8]) -> Vec<Vec<u8>> {
    let humps = name.chunk_by(|before, byte| !(before.is_ascii_lowercase() && byte.is_ascii_uppercase()));
    let parts = humps.flat_map(|hump| hump.split(|byte| !byte.is_ascii_alphanumeric()));
    parts.filter(|word| !word.is_empty()).map(<[u8]>::to_ascii_lowercase).collect()
}

/// `true` if the value under this name is no secret, whatever the names above it promise.
pub(super) fn describes(name: &[u8]) -> bool {
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
    fn a_name_promises_by_its_last_noun() {
        for (name, promise) in [
            ("password", Some(Promise::Password)),
            ("DB_PASSWORD_PROD", Some(Promise::Password)),
            ("aws_secret_access_key", Some(Promise::Token)),
            ("x-api-key", Some(Promise::Token)),
            ("clientSecret", Some(Promise::Token)),
            ("STRIPE_KEY", Some(Promise::Token)),
            ("_authToken", Some(Promise::Token)),
            ("SECRET_KEY_BASE", Some(Promise::Token)),
            ("auth", Some(Promise::BasicAuth)),
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
            ("passwords", Some(Promise::Password)),
            ("apiKeys", Some(Promise::Token)),
            ("passwordProd", Some(Promise::Password)),
            ("openaiApiKey", Some(Promise::Token)),
            ("anthropic_key", Some(Promise::Token)),
            ("API key", Some(Promise::Token)),
            ("passwordPolicy", None),
            ("api_key_header", None),
            ("token_url", None),
            ("secret_name", None),
            ("maxTokens", None),
            ("passes", None),
            ("apiKey3", Some(Promise::Token)),
            ("secretKey12", Some(Promise::Token)),
            ("api_key_a", Some(Promise::Token)),
            ("password_for_prod", Some(Promise::Password)),
            ("passwordOfDb", Some(Promise::Password)),
            ("token_for_github", Some(Promise::Token)),
            ("api-key-from-user", Some(Promise::Token)),
            ("session_cookie", Some(Promise::Token)),
            ("creds", Some(Promise::Token)),
            ("db_cred", Some(Promise::Token)),
            ("connection_string", Some(Promise::Token)),
            ("ConnectionString", Some(Promise::Token)),
            ("connectionstring", Some(Promise::Token)),
            ("dsn", Some(Promise::Token)),
            ("otp", Some(Promise::Token)),
            ("hmac", Some(Promise::Token)),
            ("Kennwort", Some(Promise::Password)),
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
            ("GPG_KEY", Some(Promise::KeyId)),
            ("pgpKeys", Some(Promise::KeyId)),
            ("gpg_key_id", None),
            ("GPG_PRIVATE_KEY", Some(Promise::Token)),
        ] {
            assert_eq!(promise_of(name.as_bytes(), false), promise, "{name}");
        }
    }
}
