//! Names, each with a closed grammar: those in bundles, and those of Runtimes.
//!
//! A name cannot contain a path, the value of a secret or a control character. Longer texts have no grammar and are
//! scanned for leaks instead.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use leak_scan::Place;

use crate::plugin::PluginWorld;

/// Error returned when a text does not match the grammar of a name.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {kind} `{}`: expected {grammar}{hint}", shown(.text))]
pub struct InvalidName {
    /// Kind of name, for example `profile name`.
    pub kind: &'static str,
    /// The grammar in words.
    pub grammar: &'static str,
    text: String,
    /// Suggested replacement in the form `; …`, or empty.
    hint: String,
}

/// Like `Display`, because the text may be a misplaced secret.
impl fmt::Debug for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InvalidName({self})")
    }
}

impl InvalidName {
    /// Returns the message without the grammar, which is in [`InvalidName::remedy`].
    pub fn problem(&self) -> String {
        format!("invalid {} `{}`", self.kind, shown(&self.text))
    }

    /// Returns the recommended action.
    pub fn remedy(&self) -> String {
        let article = if self.kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        format!("write {article} {}: {}{}", self.kind, self.grammar, self.hint)
    }

    /// Returns the message of an invalid name without the name, or `None` if it is another message.
    ///
    /// Messages of serde start with "invalid type: " or "invalid value: ", followed by the value. They are not of the
    /// form "invalid KIND `NAME`: expected GRAMMAR". A name may contain the same words, so the last occurrence counts.
    pub fn redact(message: &str) -> Option<String> {
        let (kind, _) = message.strip_prefix("invalid ")?.split_once(" `")?;
        let (_, grammar) = message.rsplit_once("`: expected ")?;
        (!kind.contains([':', '"'])).then(|| format!("invalid {kind}: expected {grammar}"))
    }

    pub(crate) fn new(kind: &'static str, grammar: &'static str, text: &str) -> Self {
        // In place of a secret reference, the text may be the secret itself, and a weak secret has no recognisable
        // shape.
        let may_be_secret = kind == SECRET_REFERENCE || text.to_ascii_lowercase().contains("secret:");
        let text = if may_be_secret { WITHHELD } else { text }.to_owned();
        Self { kind, grammar, text, hint: String::new() }
    }

    /// Adds a suggested replacement, which must not repeat the text.
    pub(crate) fn with_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        self
    }
}

/// Name of a [`SecretRef`] in messages.
const SECRET_REFERENCE: &str = "secret reference";

/// Replacement for text that a message must not repeat.
pub(crate) const WITHHELD: &str = "(withheld)";

/// Returns a text in a form that a message may repeat: at most 40 characters, on one line, and withheld if it looks
/// like a leak.
pub fn shown(text: &str) -> String {
    const MOST: usize = 40;
    if may_leak(text) {
        return WITHHELD.to_owned();
    }
    let mut short: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}

/// `true` if a message must not repeat the text because it looks like a token or a leak.
pub fn may_leak(text: &str) -> bool {
    is_token_like(text) || !leak_scan::scan(Place::Text, text).is_empty()
}

/// `true` if a word of the text is as long and mixed as a token.
pub(crate) fn is_token_like(text: &str) -> bool {
    let looks_like_a_token = |word: &str| word.len() >= 16 && word.bytes().any(|byte| byte.is_ascii_digit());
    let has = |word: &str, is: fn(&u8) -> bool| word.as_bytes().iter().any(is);
    let looks_drawn = |word: &str| {
        word.len() >= 20
            && has(word, u8::is_ascii_uppercase)
            && has(word, u8::is_ascii_lowercase)
            && has(word, u8::is_ascii_digit)
    };
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(looks_like_a_token)
        || text.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_')).any(looks_drawn)
}

/// Returns the name of a file in a form that a message may repeat. Each segment that looks like a leak is withheld.
pub fn shown_file(file: &str) -> String {
    let segment = |segment: &str| match segment.rsplit_once('.') {
        _ if !may_leak(segment) => segment.to_owned(),
        Some((_, extension @ ("json" | "md" | "toml"))) => format!("{WITHHELD}.{extension}"),
        _ => WITHHELD.to_owned(),
    };
    let shown = file.split('/').map(segment).collect::<Vec<_>>().join("/");
    if shown == file && may_leak(file) { WITHHELD.to_owned() } else { shown }
}

/// Grammar of a name: first and further characters of a segment, separator of segments, and maximum length.
struct Grammar {
    first: fn(u8) -> bool,
    rest: fn(u8) -> bool,
    joint: Option<u8>,
    most_bytes: usize,
}

impl Grammar {
    fn matches(&self, text: &str) -> bool {
        if text.len() > self.most_bytes {
            return false;
        }
        text.as_bytes().split(|byte| Some(*byte) == self.joint).all(|segment| {
            segment
                .split_first()
                .is_some_and(|(first, rest)| (self.first)(*first) && rest.iter().all(|byte| (self.rest)(*byte)))
                && segment.last().is_some_and(u8::is_ascii_alphanumeric)
        })
    }
}

#[cfg(feature = "openapi")]
impl Grammar {
    /// Returns the grammar as a regular expression.
    pub(crate) fn pattern(&self) -> String {
        let class = |allowed: fn(u8) -> bool| {
            let chars = (0x21..0x7f_u8).filter(|byte| allowed(*byte)).map(char::from);
            chars
                .map(|c| if matches!(c, '-' | '/' | '.') { format!("\\{c}") } else { c.to_string() })
                .collect::<String>()
        };
        let (first, rest) = (class(self.first), class(self.rest));
        let segment = format!("[{first}]([{rest}]*[0-9A-Za-z])?");
        match self.joint {
            Some(joint) => format!("^{segment}({0}{segment})*$", char::from(joint)),
            None => format!("^{segment}$"),
        }
    }

    pub(crate) fn most_bytes(&self) -> usize {
        self.most_bytes
    }
}

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase()
}
fn lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}
fn slug(byte: u8) -> bool {
    lower_or_digit(byte) || byte == b'-'
}
fn word(byte: u8) -> bool {
    slug(byte) || byte == b'.' || byte == b'_'
}
fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}
fn label(byte: u8) -> bool {
    alphanumeric(byte) || matches!(byte, b'-' | b'.' | b'_')
}
fn capability(byte: u8) -> bool {
    word(byte) || matches!(byte, b':' | b'/' | b'@')
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $kind:literal, $words:literal, $grammar:expr;)*) => {$(
        $(#[$doc])*
        #[doc = concat!("\n\nGrammar: ", $words, ".")]
        // Shared, because layers, facts, resolutions and specs hold copies.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        /// The text, shared with the name.
        impl From<&$name> for Arc<str> {
            fn from(name: &$name) -> Self {
                name.0.clone()
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if $grammar.matches(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidName::new($kind, $words, text))
                }
            }
        }

        text_value!($name);

        #[cfg(feature = "openapi")]
        crate::openapi::text_schema!($name, $words, $grammar);
    )*};
}

/// Implements `Display`, `Debug`, `Borrow<str>` and serde for a type with one checked text form.
macro_rules! text_value {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::text::read(deserializer)
            }
        }
    };
}
pub(crate) use text_value;

names! {
    /// A tenant: the workspace that a bundle configures.
    WorkspaceId: "workspace id",
        "lower-case letters, digits and `-`, beginning with a letter and ending with a letter or digit, at most 63 bytes",
        Grammar { first: lower, rest: slug, joint: None, most_bytes: 63 };
    /// A profile of a bundle.
    ProfileName: "profile name",
        "lower-case letters, digits and `-`, beginning with a letter and ending with a letter or digit, at most 63 bytes",
        Grammar { first: lower, rest: slug, joint: None, most_bytes: 63 };
    /// A prompt, by its place among the prompts: `coder/system`.
    PromptName: "prompt name",
        "segments of lower-case letters, digits, `-`, `.` and `_` joined by `/`, each beginning and ending with a letter or digit, at most 127 bytes",
        Grammar { first: lower_or_digit, rest: word, joint: Some(b'/'), most_bytes: 127 };
    /// A workflow.
    WorkflowName: "workflow name",
        "segments of lower-case letters, digits, `-`, `.` and `_` joined by `/`, each beginning and ending with a letter or digit, at most 127 bytes",
        Grammar { first: lower_or_digit, rest: word, joint: Some(b'/'), most_bytes: 127 };
    /// A tool that a model may call: `fs.read`.
    ToolName: "tool name",
        "lower-case letters, digits, `-`, `.` and `_`, beginning with a letter and ending with a letter or digit, at most 63 bytes",
        Grammar { first: lower, rest: word, joint: None, most_bytes: 63 };
    /// A plugin, by its name in a bundle.
    PluginName: "plugin name",
        "lower-case letters, digits and `-`, beginning with a letter and ending with a letter or digit, at most 63 bytes",
        Grammar { first: lower, rest: slug, joint: None, most_bytes: 63 };
    /// A model, by its name in bundles and facts.
    ModelName: "model name",
        "lower-case letters, digits, `-`, `.` and `_`, beginning with a letter and ending with a letter or digit, at most 63 bytes",
        Grammar { first: lower, rest: word, joint: None, most_bytes: 63 };
    /// A provider of models.
    ProviderName: "provider name",
        "lower-case letters, digits, `-`, `.` and `_`, beginning with a letter and ending with a letter or digit, at most 63 bytes",
        Grammar { first: lower, rest: word, joint: None, most_bytes: 63 };
    /// Reference to a secret of a host. It cannot contain the value.
    SecretRef: "secret reference",
        "lower-case letters, digits and `-`, beginning with a letter and ending with a letter or digit, at most 48 bytes",
        Grammar { first: lower, rest: slug, joint: None, most_bytes: 48 };
    /// A mount by label. Only the host's config maps it to a folder.
    MountLabel: "mount label",
        "lower-case letters, digits and `-`, beginning with a letter and ending with a letter or digit, at most 48 bytes",
        Grammar { first: lower, rest: slug, joint: None, most_bytes: 48 };
    /// Capability of a host, as used in conditions and requests: `shell`, `tool:fs.read`.
    Capability: "capability",
        "lower-case letters, digits, `-`, `.`, `_`, `:`, `/` and `@`, beginning with a letter and ending with a letter or digit, at most 127 bytes",
        Grammar { first: lower, rest: capability, joint: None, most_bytes: 127 };
    /// An operating system or processor architecture, in the spelling of Rust: `linux`, `x86_64`.
    Platform: "platform",
        "lower-case letters, digits and `_`, beginning with a letter, at most 32 bytes",
        Grammar { first: lower, rest: word, joint: None, most_bytes: 32 };
    /// Surface that a plugin offers: `tools`, `service`, `ingress`.
    Surface: "plugin surface",
        "lower-case letters, digits and `-`, beginning with a letter and ending with a letter or digit, at most 48 bytes",
        Grammar { first: lower, rest: slug, joint: None, most_bytes: 48 };
    /// Ingress of a plugin, by which events from outside are delivered to it.
    IngressName: "ingress name",
        "lower-case letters, digits and `-`, beginning with a letter and ending with a letter or digit, at most 63 bytes",
        Grammar { first: lower, rest: slug, joint: None, most_bytes: 63 };
    /// A WIT world with its version: `yoi:runtime/tool@1.0.0`.
    WorldName: "world",
        "lower-case letters, digits, `-`, `.`, `:`, `/` and `@`, beginning with a letter and ending with a letter or digit, at most 127 bytes",
        Grammar { first: lower, rest: capability, joint: None, most_bytes: 127 };
    /// Key of a label.
    LabelKey: "label key",
        "lower-case letters, digits, `-`, `.` and `_`, beginning with a letter and ending with a letter or digit, at most 63 bytes",
        Grammar { first: lower, rest: word, joint: None, most_bytes: 63 };
    /// Value of a label of a workspace or Runtime in the config of a Backend.
    LabelValue: "label value",
        "letters, digits, `-`, `.` and `_`, beginning and ending with a letter or digit, at most 63 bytes",
        Grammar { first: alphanumeric, rest: label, joint: None, most_bytes: 63 };
    /// A Runtime, by its name in a Backend.
    RuntimeName: "Runtime name",
        "lower-case letters, digits and `-`, beginning with a letter and ending with a letter or digit, at most 63 bytes",
        Grammar { first: lower, rest: slug, joint: None, most_bytes: 63 };
}

impl From<PluginWorld> for WorldName {
    fn from(world: PluginWorld) -> Self {
        Self(world.as_str().into())
    }
}

/// A BCP 47 language tag: `en`, `de-CH`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LanguageTag(Box<str>);

impl LanguageTag {
    /// Returns the tag in its original spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LanguageTag {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        // 35 bytes hold every registered tag (RFC 5646, section 4.4.1).
        if text.len() <= 35 && oxilangtag::LanguageTag::parse(text).is_ok() {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName::new(
                "language tag",
                "a well-formed BCP 47 tag such as `en` or `de-CH`, at most 35 bytes",
                text,
            ))
        }
    }
}

text_value!(LanguageTag);

/// A time in UTC in RFC 3339 format with `Z`: `2026-06-25T15:49:30Z`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(Box<str>);

impl Timestamp {
    /// Returns the time in its only spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Timestamp {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let parsed = text.parse::<jiff::Timestamp>().ok();
        // An offset or a trailing zero would give one time two digests.
        if parsed.is_some_and(|time| time.as_second() >= 0 && time.to_string() == text) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName::new(
                "time",
                "RFC 3339 in UTC and in its shortest form, such as `2026-06-25T15:49:30Z`",
                text,
            ))
        }
    }
}

text_value!(Timestamp);

/// A commit of a version control system: 40 or 64 lowercase hex digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(Box<str>);

impl CommitId {
    /// Returns the hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CommitId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex && matches!(text.len(), 40 | 64) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName::new("commit", "40 or 64 lowercase hex digits", text))
        }
    }
}

text_value!(CommitId);

/// A number that grows with every change of a workspace's bundle. Serialized as a decimal string, because JSON numbers
/// lose integers above 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    /// Creates a revision.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Returns the next revision, or `None` after the last.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Revision {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let number = text.parse::<u64>().ok().filter(|number| number.to_string() == text);
        number
            .map(Self)
            .ok_or_else(|| InvalidName::new("revision", "a decimal number below 2^64 without leading zeros", text))
    }
}

impl Serialize for Revision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Revision {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::read(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok<T: FromStr>(text: &str) -> bool {
        text.parse::<T>().is_ok()
    }

    #[test]
    fn common_names_are_valid() {
        assert!(ok::<ProfileName>("coder") && ok::<ProfileName>("coder-2"));
        assert!(ok::<PromptName>("prompts/v2.1/base") && ok::<PromptName>("docs/design.md"));
        assert!(ok::<ToolName>("fs.read") && ok::<ModelName>("claude-opus-4.5"));
        assert!(ok::<Capability>("world:yoi:runtime/tool@1.0.0"));
        assert!(PluginWorld::ALL.iter().all(|world| ok::<WorldName>(world.as_str())));
        assert!(ok::<SecretRef>("github-token") && ok::<MountLabel>("repo"));
        assert!(ok::<LanguageTag>("de-CH") && ok::<Timestamp>("2026-06-25T15:49:30Z"));
        assert!(ok::<Revision>("18446744073709551615"));
    }

    #[test]
    fn name_cannot_contain_a_path_or_a_value() {
        for bad in ["", "-a", "a-", "A", "../a", "a/../b", "/a", "a//b", "a/", "~", "a\0", "a b", "ä", ".git/config"] {
            assert!(!ok::<ProfileName>(bad), "{bad}");
            assert!(!ok::<PromptName>(bad), "{bad}");
            assert!(!ok::<MountLabel>(bad), "{bad}");
            assert!(!ok::<SecretRef>(bad), "{bad}");
        }
        assert!(!ok::<MountLabel>("a/b") && !ok::<SecretRef>("a_B"));
        assert!(!ok::<SecretRef>(&"a".repeat(49)) && ok::<SecretRef>(&"a".repeat(48)));
        assert!(!ok::<LanguageTag>("english language") && !ok::<CommitId>("HEAD"));
    }

    #[test]
    fn a_time_or_number_has_one_spelling() {
        for bad in [
            "2026-06-25T15:49:30+00:00",
            "2026-06-25T15:49:30.0Z",
            "2026-06-25t15:49:30z",
            "2026-06-25",
            "1960-01-01T00:00:00Z",
        ] {
            assert!(!ok::<Timestamp>(bad), "{bad}");
        }
        for bad in ["01", "+1", "-1", "18446744073709551616", ""] {
            assert!(!ok::<Revision>(bad), "{bad}");
        }
    }

    #[test]
    fn a_message_never_repeats_a_long_text() {
        let error = "x".repeat(4000).parse::<ProfileName>().expect_err("too long");
        assert!(error.to_string().len() < 300, "{error}");
        assert_eq!(shown("a\nb\u{1b}"), "a\\nb\\u{1b}");
    }

    #[test]
    fn invalid_secret_reference_is_never_repeated() {
        for text in ["Tr0ub4dor!", "hunter_2", "A", "correct horse", ""] {
            let error = text.parse::<SecretRef>().expect_err("invalid");
            assert_eq!(error.problem(), "invalid secret reference `(withheld)`", "{text}");
            for authority in [format!("secret:{text}"), format!("Secret:{text}"), format!("sceret:{text}")] {
                let error = authority.parse::<crate::Authority>().expect_err("invalid");
                let output = format!("{error} {error:?}");
                assert!(output.contains(WITHHELD) && (text.len() < 8 || !output.contains(text)), "{output}");
            }
        }
        for condition in ["has:secret:Tr0ub4dor!", "has:SECRET:Tr0ub4dor!"] {
            let error = condition.parse::<crate::Condition>().expect_err("invalid");
            assert!(!error.to_string().contains("Tr0ub"), "{error}");
        }
        for url in ["egress:https://me:Tr0ub4dor!@a.example/", "egress:https://Tr0ub4dor@a.example"] {
            let error = url.parse::<crate::Authority>().expect_err("invalid");
            assert!(!error.to_string().contains("Tr0ub"), "{error}");
        }
        // Other names are repeated, so that a typing error is visible.
        assert_eq!("Coder".parse::<ProfileName>().expect_err("invalid").problem(), "invalid profile name `Coder`");
        let error = "mount:repo:all".parse::<crate::Authority>().expect_err("invalid");
        assert_eq!(error.problem(), "invalid authority `mount:repo:all`");
    }

    #[test]
    fn file_name_is_shown_without_leaks() {
        let key = ["AKIA", "IOSFODNN7ABCDEFG"].concat();
        assert_eq!(shown_file("prompts/coder/system.md"), "prompts/coder/system.md");
        assert_eq!(shown_file(&format!("profiles/{key}.toml")), "profiles/(withheld).toml");
        assert_eq!(shown_file(&format!("prompts/{key}/x.md")), "prompts/(withheld)/x.md");
        assert_eq!(shown_file(&format!("workflows/{key}.orig")), "workflows/(withheld)");
    }
}
