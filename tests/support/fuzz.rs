//! Bodies of the fuzz targets. Each takes any bytes and panics if an invariant is violated.
//!
//! `tests/fuzz` passes them to libFuzzer; `tests/fuzz_bodies.rs` runs them on mutated [`seeds`] in every test run. The
//! invariants: no code panics, accepted input round-trips, and no error is longer than a screen or contains characters that
//! a terminal interprets.

#[path = "fuzz/mutate.rs"]
pub mod mutate;
#[path = "fuzz/seeds.rs"]
pub mod seeds;

use std::fmt::{Debug, Display};
use std::str::FromStr;

use bundles::canonical::{JsonBounds, parse, parse_canonical, to_canonical};
use bundles::plugin::{self, Package, PluginManifest};
use bundles::signature::{Envelope, KeyId, Posture, PublicKey, Signers, SigningKey, judge};
use bundles::{
    Acceptances, Authority, BuildOptions, Bundle, BundleLimits, Capability, CommitId, Condition, Diagnostics, Digest,
    Folder, LabelKey, LanguageTag, Manifest, ModelName, MountLabel, Platform, PluginName, ProfileName, PromptName,
    ProviderName, ResourceUri, Revision, SecretRef, Severity, Surface, Timestamp, ToolName, ToolSource, UrlPermission,
    UrlPrefix, WorkflowName, WorkspaceGlob, WorkspaceId, WorldName, WrittenUrlPermission, archive, build, encoding,
    nearest, open_manifest, shown,
};
use component_host::structure::{Budget, ItemKind, Structure, check};
use host_policy::explain::Question;
use host_policy::{Facts, ProfileSelector, RuntimeConfig};

/// Maximum size of an error message in bytes. A place alone may have a dozen escaped keys of 128 bytes.
const MOST_SAID: usize = 8192;

/// Asserts that an error message is short and contains no control characters.
fn can_be_shown(said: &str) {
    assert!(said.len() <= MOST_SAID, "an error of {} bytes", said.len());
    assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "an error with control characters: {said:?}");
}

fn error(code: impl Display, said: &dyn Display, help: &str) {
    let code = code.to_string();
    can_be_shown(&said.to_string());
    can_be_shown(help);
    assert!(
        !help.is_empty()
            && !code.is_empty()
            && code.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_' | b'0'..=b'9'))
    );
}

/// Returns limits under which one input takes microseconds.
fn limits() -> BundleLimits {
    BundleLimits { manifest_bytes: 1 << 16, blob_bytes: 1 << 16, bundle_bytes: 1 << 18, ..BundleLimits::default() }
}

/// A manifest, a bundle as one file, and the JSON below both.
pub fn manifest(data: &[u8]) {
    const BOUNDS: JsonBounds = JsonBounds { bytes: ("bytes", 1 << 16), depth: ("depth", 32) };
    match parse(data, BOUNDS) {
        Ok(value) => {
            let canonical = to_canonical(&value).expect("what was read can be written");
            let again = parse_canonical(&canonical, BOUNDS).expect("what is canonical can be read");
            assert_eq!(to_canonical(&again).as_ref(), Ok(&canonical), "one value has one spelling");
            assert_eq!(parse_canonical(data, BOUNDS).is_ok(), canonical == data, "only that spelling is canonical");
        }
        Err(refused) => error(refused.code(), &refused, refused.help()),
    }
    match open_manifest(data, &limits(), Acceptances::Honour) {
        Ok(read) => is_written_as_read(&read, data),
        Err(refused) => error(refused.code(), &refused, &refused.help()),
    }
    match archive::unpack_contents(data, &limits(), Acceptances::Refuse) {
        Ok(contents) => {
            assert_eq!(archive::pack_contents(&contents), data, "one bundle with one envelope is one file");
            let bundle = contents.bundle();
            assert_eq!(archive::pack(bundle) == data, contents.envelope().is_none());
            is_written_as_read(bundle.manifest(), bundle.manifest_bytes());
        }
        Err(refused) => error(refused.code(), &refused, &refused.help()),
    }
    if let Ok(facts) = Facts::from_json(data) {
        assert_eq!(Facts::from_json(&facts.to_json()).as_ref(), Ok(&facts));
    }
}

fn is_written_as_read(manifest: &Manifest, bytes: &[u8]) {
    let written = to_canonical(manifest).expect("what was read can be written");
    assert_eq!(written, bytes, "a digest covers exactly what is said");
}

/// An envelope, a key of either kind, and a signature posture.
pub fn signature(data: &[u8]) {
    match Envelope::parse(data, &limits()) {
        Ok(envelope) => {
            let json = envelope.to_json();
            let again = Envelope::parse(&json, &limits()).expect("what was read can be written");
            assert_eq!((again.to_json(), &again), (json, &envelope), "one envelope has one canonical spelling");
            for manifest in [envelope.payload(), b"{}"] {
                let judged = judge(&seeds::posture(), manifest, Some(&envelope));
                assert!(judged.is_err() || manifest == seeds::SIGNED.as_bytes(), "nothing else is signed");
                if let Err(refused) = judged {
                    error(refused.code(), &refused, refused.help());
                }
            }
        }
        Err(refused) => error(refused.code(), &refused, refused.help()),
    }
    match SigningKey::from_file(data) {
        Ok(key) => assert!(key.to_file().trim_end() == encoding::key_line(&String::from_utf8_lossy(data))),
        Err(refused) => error(refused.code(), &refused, refused.help()),
    }
    if let Ok(key) = String::from_utf8_lossy(data).parse::<PublicKey>() {
        assert!(Signers::new([key], None).map(Posture::Required).is_ok());
    }
}

/// Separator of two files of a folder in one input.
pub const FILE_MARK: &str = "\u{0}";

/// Splits an input into the files of a folder: name, line end, text, then [`FILE_MARK`] and the next file. A text without a
/// name is `bundle.toml`.
pub fn folder_of(data: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mark = FILE_MARK.as_bytes();
    let parts = data.split(|byte| mark.contains(byte));
    let named = |part: &[u8]| {
        let line = part.iter().position(|byte| *byte == b'\n').unwrap_or(part.len());
        let (name, text) = part.split_at(line);
        (String::from_utf8_lossy(name).into_owned(), text.get(1..).unwrap_or_default().to_vec())
    };
    parts.map(named).collect()
}

/// Returns the input that [`folder_of`] splits into these files.
pub fn folder_as_input(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = files.iter().map(|(name, text)| [name.as_bytes(), b"\n", text].concat()).collect();
    parts.join(FILE_MARK.as_bytes())
}

/// The TOML that authors write, and the one that operators write.
pub fn toml_front(data: &[u8]) {
    let folder = Folder::from_files(folder_of(data));
    match build(&folder, &BuildOptions::default(), &limits()) {
        Ok(built) => {
            is_told(&folder, &built.diagnostics);
            assert!(built.diagnostics.is_ok());
            is_received_everywhere(&built.bundle);
        }
        Err(told) => {
            assert!(!told.is_ok(), "refused without a reason");
            is_told(&folder, &told);
        }
    }
    let data = encoding::without_mark(data);
    if let Ok(text) = std::str::from_utf8(data)
        && !data.starts_with(encoding::MARK)
        && let Err(refused) = RuntimeConfig::from_toml(text)
    {
        error(refused.code(), &refused, &refused.help());
        is_told(&Folder::from_files([("config".to_owned(), data.to_vec())]), &refused.diagnostics("config"));
    }
}

/// A plugin package, and a `plugin.toml`.
pub fn plugin(data: &[u8]) {
    match Package::open(data.to_vec(), &limits()) {
        Ok(package) => {
            assert_eq!(package.digest(), Digest::of(data));
            assert_eq!(package.reference().size as usize, data.len());
            assert!(data.windows(package.component().len()).any(|part| part == package.component()));
        }
        Err(refused) => error(refused.code(), &refused, &refused.help()),
    }
    match PluginManifest::parse(data, &limits()) {
        Ok(manifest) => {
            let packed = plugin::pack(data, seeds::EMPTY_COMPONENT);
            let package = Package::open(packed, &limits()).expect("a manifest and a component are a package");
            assert_eq!(package.manifest(), &manifest, "a manifest means the same in a package");
        }
        Err(refused) => {
            assert!(!refused.is_ok(), "refused without an error");
            is_told(&Folder::from_files([(plugin::MANIFEST.to_owned(), data.to_vec())]), &refused);
        }
    }
}

/// Asserts that each diagnostic points into its file and that sources are as long as their files.
fn is_told(folder: &Folder, told: &Diagnostics) {
    for one in &told.list {
        error(one.code, &one.message, &one.help);
        let warnings = [
            "missing_schema",
            "unknown_condition",
            "unset_into_value",
            "unset_nothing",
            "unused_acceptance",
            "unused_declaration",
        ];
        assert!(one.severity == Severity::Error || warnings.contains(&one.code.as_str()), "{one:?}");
        let text = folder.get(&one.file).map(String::from_utf8_lossy).unwrap_or_default();
        if is_withheld(&one.file) {
            continue;
        }
        if let Some(span) = &one.span {
            assert!(span.start <= span.end && span.end <= text.len().max(1), "{one:?} of {} bytes", text.len());
            assert!(one.line >= 1 && one.column >= 1, "{one:?}");
            assert!(one.line <= text.lines().count() + 1, "{one:?}");
        } else {
            assert_eq!((one.line, one.column), (0, 0), "{one:?}");
        }
    }
    for source in &told.sources {
        if is_withheld(&source.file) {
            continue;
        }
        let text = folder.get(&source.file).unwrap_or_default();
        assert_eq!(source.masked.len(), text.len(), "a caret would point elsewhere");
        let same = |(shown, there): (u8, &u8)| shown == *there || shown == b'*';
        assert!(source.masked.bytes().zip(text).all(same), "a source shows what is not there");
    }
}

/// `true` for a file name that is withheld, because it may be a leak.
fn is_withheld(file: &str) -> bool {
    file.contains("(withheld)")
}

/// Asserts that a built bundle is unchanged after it is opened, packed and unpacked.
fn is_received_everywhere(bundle: &Bundle) {
    is_written_as_read(bundle.manifest(), bundle.manifest_bytes());
    let again =
        archive::unpack(&archive::pack(bundle), &limits(), Acceptances::Honour).expect("what is built is received");
    assert_eq!(again.digest(), bundle.digest());
}

/// Parses a text by one grammar. A valid text round-trips, and an invalid one gives an error of one line.
fn goes_both_ways<T: FromStr + Display + PartialEq + Debug>(text: &str)
where
    T::Err: Display,
{
    match text.parse::<T>() {
        Ok(value) => {
            assert_eq!(value.to_string(), text, "one meaning has one spelling");
            assert_eq!(value.to_string().parse::<T>().ok().as_ref(), Some(&value));
        }
        Err(refused) => {
            let said = refused.to_string();
            can_be_shown(&said);
            assert!(!said.contains('\n'), "{said:?}");
        }
    }
}

/// Selectors of profiles and subjects of explanations.
pub fn selector(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    goes_both_ways::<ProfileSelector>(&text);
    if let Ok(selector) = text.parse::<ProfileSelector>() {
        goes_both_ways::<ProfileName>(selector.profile().as_str());
    }
    match text.parse::<Question>() {
        Ok(Question::Subject(subject)) => {
            assert!(!subject.to_string().is_empty());
            assert!(subject.to_string().len() <= text.len() * 12 + 64);
        }
        Ok(_) => {}
        Err(refused) => can_be_shown(&refused.to_string()),
    }
}

/// Every grammar of names and references.
pub fn refs(data: &[u8]) {
    let text = &*String::from_utf8_lossy(data);
    goes_both_ways::<Authority>(text);
    goes_both_ways::<Capability>(text);
    goes_both_ways::<CommitId>(text);
    goes_both_ways::<Condition>(text);
    goes_both_ways::<Digest>(text);
    goes_both_ways::<KeyId>(text);
    goes_both_ways::<LabelKey>(text);
    goes_both_ways::<LanguageTag>(text);
    goes_both_ways::<ModelName>(text);
    goes_both_ways::<MountLabel>(text);
    goes_both_ways::<Platform>(text);
    goes_both_ways::<PluginName>(text);
    goes_both_ways::<ProfileName>(text);
    goes_both_ways::<PromptName>(text);
    goes_both_ways::<ProviderName>(text);
    goes_both_ways::<PublicKey>(text);
    goes_both_ways::<ResourceUri>(text);
    goes_both_ways::<Revision>(text);
    goes_both_ways::<SecretRef>(text);
    goes_both_ways::<Surface>(text);
    goes_both_ways::<Timestamp>(text);
    goes_both_ways::<ToolName>(text);
    goes_both_ways::<ToolSource>(text);
    goes_both_ways::<UrlPrefix>(text);
    goes_both_ways::<WorkflowName>(text);
    goes_both_ways::<WorkspaceGlob>(text);
    goes_both_ways::<WorkspaceId>(text);
    goes_both_ways::<WorldName>(text);
    has_no_room_for_a_path(text);
    permission(data);

    let short = shown(text);
    assert!(short.chars().count() <= 40 * 10 + 1, "{short}");
    can_be_shown(&short);
    assert!(nearest(text, ["coder", "reviewer"].into_iter()).is_none_or(|near| ["coder", "reviewer"].contains(&near)));
}

/// Asserts that a reference does not lead out of its base folder.
fn has_no_room_for_a_path(text: &str) {
    let inside = |path: &str| {
        !path.starts_with(['/', '~', '\\'])
            && !path.contains('\\')
            && path.split('/').all(|part| part != ".." && part != ".")
    };
    if text.parse::<SecretRef>().is_ok() || text.parse::<MountLabel>().is_ok() {
        assert!(text.len() <= 48 && !text.contains(['/', '.', '~']));
    }
    if text.parse::<PromptName>().is_ok() || text.parse::<WorkspaceGlob>().is_ok() {
        assert!(inside(text), "{text}");
    }
    if text.parse::<ResourceUri>().is_ok() {
        assert!(inside(text.split_once("://").expect("a scheme").1), "{text}");
    }
    if let Ok(Authority::Egress(prefix)) = text.parse() {
        assert!(prefix.covers(&prefix) && prefix.path().starts_with('/') && !prefix.origin().contains('@'), "{text}");
    }
}

/// A URL permission as JSON. A valid one round-trips, and normalising the spelling is idempotent.
fn permission(data: &[u8]) {
    let Ok(written) = serde_json::from_slice::<WrittenUrlPermission>(data) else { return };
    match UrlPermission::try_from(written.clone()) {
        Ok(permission) => {
            assert_eq!(WrittenUrlPermission::from(permission.clone()), written, "one meaning has one spelling");
            assert_eq!(written.clone().normal(), written, "the right spelling needs no mending");
            assert!(!permission.to_string().is_empty() && permission.port() != 0);
            assert!(permission.path_prefixes().all(|path| permission.covers_path(path)));
        }
        Err(refused) => error(refused.code(), &refused, "mend it"),
    }
    let normal = written.normal();
    assert_eq!(normal.clone().normal(), normal, "mended once is mended");
}

/// A component, before it is compiled.
pub fn component(data: &[u8]) {
    let read = Structure::read(data);
    for budget in [Budget::default(), Budget::without_child()] {
        match check(data, &budget) {
            Ok(structure) => {
                assert_eq!(read.as_ref().ok(), Some(&structure), "looking at it and checking it see the same");
                assert_eq!(structure.kind(), ItemKind::Component);
                assert!(structure.check(&budget).is_ok());
                let allowed = budget.entries();
                let counted = structure.counts().entries();
                assert!(
                    counted.iter().zip(&allowed).all(|((name, count), (same, most))| name == same && count <= most)
                );
            }
            Err(refused) => {
                error(refused.code(), &refused, "build it again");
                let over = read.as_ref().ok().map(|structure| structure.check(&budget));
                assert!(over.is_none_or(|over| over.is_err()), "what is refused while reading is refused when read");
            }
        }
    }
    match read {
        Ok(structure) => {
            assert_eq!(structure.bytes(), data.len() as u64);
            for item in structure.imports().iter().chain(structure.exports()) {
                can_be_shown(item.name());
                item.functions().iter().chain(item.resources()).for_each(|name| can_be_shown(name));
            }
            let told = serde_json::to_vec(&structure).expect("what is told is JSON");
            // Names are part of the bytes, so the report is not much longer than the bytes.
            assert!(told.len() <= 65_536 + 64 * data.len(), "{} bytes told of {}", told.len(), data.len());
        }
        Err(refused) => error(refused.code(), &refused, "build it again"),
    }
}

/// The body of a fuzz target.
pub type Body = fn(&[u8]);

/// All targets: name, body and valid inputs to start from.
pub fn targets() -> [(&'static str, Body, Vec<Vec<u8>>); 7] {
    [
        ("manifest", manifest, seeds::manifests()),
        ("signature", signature, seeds::signatures()),
        ("toml_front", toml_front, seeds::folders()),
        ("selector", selector, seeds::selectors()),
        ("refs", refs, seeds::refs()),
        ("component", component, seeds::components()),
        ("plugin", plugin, seeds::plugins()),
    ]
}
