//! Values of structured data, judged by the keys above them: `api_key = "…"`, `credentials = { pass = "…" }`.
//!
//! The names and the rules are the same as for text (see `assignments`).

use crate::assignments::broken_rule;
use crate::secret_names::{SecretKind, is_descriptive, secret_kind_of};
use crate::views::unescaped;
use crate::{Leak, LeakRule};

/// Kind of secret that the keys above a value denote. The default denotes none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct KeyContext {
    secret_kind: Option<SecretKind>,
}

/// Longest key that is judged, in bytes. Longer keys are prose.
const MAX_KEY_BYTES: usize = 128;

/// Words before a value that name its authentication scheme: `Bearer …`.
const SCHEMES: &[&str] = &["apikey", "basic", "bearer", "digest", "key", "negotiate", "ssws", "token"];

impl KeyContext {
    /// Returns the context for a value below `key`. `parent` is the key right above `key`.
    ///
    /// A key that denotes no secret itself inherits from the keys above it, as in `tokens = { staging = "…" }`, unless
    /// it describes something else, as in `credentials = { url = "…" }`.
    #[must_use]
    pub fn with_key(self, parent: Option<&str>, key: &str) -> Self {
        if key.len() > MAX_KEY_BYTES {
            return Self::default();
        }
        let plain = unescaped(key);
        let key = plain.as_ref().map_or(key, |view| view.text()).as_bytes();
        // `openai = { key = "…" }`
        let with_parent = || {
            let parent = parent.filter(|parent| parent.len() <= MAX_KEY_BYTES && is_key(key))?;
            secret_kind_of(&[parent.as_bytes(), b"_", key].concat(), false)
        };
        let own = secret_kind_of(key, false).or_else(with_parent);
        Self { secret_kind: own.or_else(|| self.secret_kind.filter(|_| !is_descriptive(key))) }
    }

    /// Returns the context for a value that follows `text` in a list: `["--password", "…"]`.
    #[must_use]
    pub fn after_item(self, text: &str) -> Self {
        let own = Self::default().with_key(None, text);
        if own.secret_kind.is_some() { own } else { self }
    }

    /// Returns a finding if `text`, as a value below these keys, is a secret.
    pub fn find_secret(self, text: &str) -> Option<Leak> {
        let secret_kind = self.secret_kind?;
        let rule = judge(secret_kind, text).or_else(|| judge(secret_kind, unescaped(text)?.text()))?;
        Some(Leak { rule, span: 0..text.len() })
    }
}

fn is_key(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"key") || name.eq_ignore_ascii_case(b"keys")
}

fn judge(secret_kind: SecretKind, text: &str) -> Option<&'static LeakRule> {
    let text = text.trim().trim_matches(['"', '\'', '`']);
    let is_scheme = |word: &str| SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme));
    let value = match text.split_once(char::is_whitespace) {
        Some((word, rest)) if is_scheme(word) => rest.trim_start(),
        _ => text,
    };
    broken_rule(secret_kind, value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Dice, fill};

    fn with_key(path: &[&str]) -> KeyContext {
        let parents = [None].into_iter().chain(path.iter().copied().map(Some));
        path.iter().zip(parents).fold(KeyContext::default(), |keys, (key, parent)| keys.with_key(parent, key))
    }

    #[rustfmt::skip]
    const TELLING: &[&[&str]] = &[
        &["api_key"], &["apiKey"], &["api-key"], &["API_KEY"], &["x-api-key"], &["openaiApiKey"], &["db_password"],
        &["db.password"], &["password"], &["passwords"], &["passphrase"], &["Token"], &["access_token"], &["accessToken"],
        &["client_secret"], &["clientSecret"], &["private_key"], &["bearer"], &["authorization"], &["API key"],
        &["openai_key"], &["tokens", "staging"], &["credentials", "pass"], &["secrets", "github"], &["openai", "key"],
        &["api", "key"], &["passwordProd"], &["p\u{200b}assword"], &["auth", "token"], &["db", "password", "value"],
        &["apiKey3"], &["api_key_a"], &["password_for_prod"], &["passwordOfDb"], &["token_for_github"], &["session_cookie"],
        &["creds"], &["cred"], &["connection_string"], &["dsn"], &["otp"], &["hmac"], &["kennwort"], &["creds", "github"],
    ];

    #[rustfmt::skip]
    const SILENT: &[&[&str]] = &[
        &["max_tokens"], &["token_url"], &["api_key_header"], &["password_policy"], &["tokenizer"], &["secret_name"],
        &["secret_ref"], &["public_key"], &["cache_key"], &["idempotency_key"], &["next_page_token"],
        &["key"], &["keys"], &["commit"], &["credentials", "id"], &["auth", "header"], &["tokens", "digest"],
        &["auth", "publicKey"], &["token", "issuer"], &["pad_token"], &["sort_key"], &["author"], &["passenger"],
        &["number_of_tokens"], &["cookie_name"], &["connection"], &["sacred"], &["creds", "id"], &["hmac_algorithm"],
    ];

    #[test]
    fn random_value_below_a_name_for_secrets_is_a_secret() {
        let mut dice = Dice::new(23);
        for path in TELLING {
            for template in ["{b62:16}", "{b62:20}", "{b62:40}", "{hex:32}", "{url:43}", "{b64:43}=", "Bearer {b62:32}"]
            {
                let values: Vec<String> = (0..200).map(|_| fill(template, &mut dice)).collect();
                let found = values.iter().filter(|value| with_key(path).find_secret(value).is_some()).count();
                assert!(found >= 196, "{path:?} {template}: {found} of 200");
            }
        }
    }

    #[test]
    fn random_value_below_another_key_passes() {
        let mut dice = Dice::new(29);
        for path in SILENT {
            for template in ["{b62:40}", "{hex:32}", "{uuid}"] {
                assert_eq!(with_key(path).find_secret(&fill(template, &mut dice)), None, "{path:?}");
            }
        }
    }

    #[test]
    fn placeholder_or_reference_below_a_name_for_secrets_passes() {
        #[rustfmt::skip]
        let values = [
            "", "changeme", "change-me", "${TOKEN}", "$OPENAI_API_KEY", "<your key>", "<your-api-key-1234>", "{{ token }}",
            "YOUR_TOKEN_HERE", "your-api-key", "secret:github-token", "env:TOKEN", "vault:kv/data/app#password",
            "op://vault/item/password", "********", "xxxxxxxxxxxxxxxx", "REPLACE_ME", "[redacted]", "required", "optional",
            "prompt", "keyring", "oauth2", "bearer", "https://auth.example.com/token", "%PASSWORD%", "%(password)s",
            "example-token-1234", "Enter your password", "argon2id", "...", "none", "0123456789abcdef", "<|endoftext|>",
        ];
        for path in TELLING {
            for value in values {
                assert_eq!(with_key(path).find_secret(value), None, "{path:?} {value}");
            }
        }
    }
}
