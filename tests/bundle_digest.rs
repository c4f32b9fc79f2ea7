//! The digest of a bundle covers exactly its bytes, and every value of the bundle affects its bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bundles::canonical::{from_value, to_canonical};
use bundles::manifest::{
    Acceptance, Amend, BlobRef, Ceiling, Confirm, Effect, Layer, ManifestSchema, Model, PermissionRequest, Permissions,
    Plugin, Policy, Profile, Prompt, Provenance, SecretRequest, Tool, ToolPolicy, Workflow, Workspace,
};
use bundles::{
    Acceptances, Authority, Bundle, BundleLimits, Digest, Manifest, Need, SecretPlacement, SecretRef, ToolName, Wish,
    WrittenUrlPermission, archive, layout, open_manifest,
};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use yoi_tests::fuzz::seeds;

use crate::bundle_fixture::Files;

fn open(bytes: &[u8]) -> Result<Manifest, bundles::BundleError> {
    open_manifest(bytes, &BundleLimits::default(), Acceptances::Honour)
}

fn unpack(bytes: &[u8]) -> Result<Bundle, archive::ArchiveError> {
    archive::unpack(bytes, &BundleLimits::default(), Acceptances::Honour)
}

/// Returns the fields or variants of a type, from the error for an unknown one.
fn fields_of<T: DeserializeOwned>() -> BTreeSet<String> {
    let said = match serde_json::from_value::<T>(json!({"?": 0})).err() {
        Some(error) if error.to_string().starts_with("unknown") => error.to_string(),
        _ => serde_json::from_value::<T>(json!("?")).err().expect("an unknown case").to_string(),
    };
    let (_, list) = said.split_once("expected ").expect("a list of what is known");
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Kind of an object in a manifest: a struct with these fields, a map by name, or a free value.
enum Kind {
    Fields(BTreeSet<String>),
    Named,
    Free,
}

/// Places of the objects in a manifest. `*` stands for any name or index.
fn kinds() -> Vec<(&'static str, Kind)> {
    let amend = || Kind::Fields(fields_of::<Amend<ToolName>>());
    let blob = || Kind::Fields(fields_of::<BlobRef>());
    let asked = || Kind::Fields(fields_of::<PermissionRequest<SecretRef>>());
    let permission = || Kind::Fields(fields_of::<WrittenUrlPermission>());
    vec![
        ("", Kind::Fields(fields_of::<Manifest>())),
        ("/workspace", Kind::Fields(fields_of::<Workspace>())),
        ("/workspace/labels", Kind::Named),
        ("/provenance", Kind::Fields(fields_of::<Provenance>())),
        ("/profiles", Kind::Named),
        ("/profiles/*", Kind::Fields(fields_of::<Profile>())),
        ("/profiles/*/layers/*", Kind::Fields(fields_of::<Layer>())),
        ("/profiles/*/layers/*/models", amend()),
        ("/profiles/*/layers/*/instructions", amend()),
        ("/profiles/*/layers/*/tools_allow", amend()),
        ("/profiles/*/layers/*/tools_deny", amend()),
        ("/profiles/*/layers/*/plugins", amend()),
        ("/profiles/*/layers/*/workflows", amend()),
        ("/profiles/*/layers/*/wishes/*", Kind::Fields(fields_of::<Wish>())),
        ("/profiles/*/layers/*/settings", Kind::Free),
        ("/prompts", Kind::Named),
        ("/prompts/*", Kind::Fields(fields_of::<Prompt>())),
        ("/prompts/*/text", blob()),
        ("/workflows", Kind::Named),
        ("/workflows/*", Kind::Fields(fields_of::<Workflow>())),
        ("/workflows/*/definition", blob()),
        ("/tools", Kind::Named),
        ("/tools/*", Kind::Fields(fields_of::<Tool>())),
        ("/tools/*/input", blob()),
        ("/tools/*/output", blob()),
        ("/tools/*/policy", Kind::Fields(fields_of::<ToolPolicy>())),
        ("/plugins", Kind::Named),
        ("/plugins/*", Kind::Fields(fields_of::<Plugin>())),
        ("/plugins/*/package", blob()),
        ("/plugins/*/tools", Kind::Named),
        ("/plugins/*/permissions", Kind::Fields(fields_of::<Permissions>())),
        ("/plugins/*/permissions/requests/*", asked()),
        ("/plugins/*/permissions/requests/*/what", permission()),
        ("/plugins/*/permissions/websockets/*", asked()),
        ("/plugins/*/permissions/websockets/*/what", permission()),
        ("/plugins/*/permissions/secrets/*", Kind::Fields(fields_of::<SecretRequest>())),
        ("/plugins/*/permissions/secrets/*/placement", Kind::Fields(fields_of::<SecretPlacement>())),
        ("/models", Kind::Named),
        ("/models/*", Kind::Fields(fields_of::<Model>())),
        ("/models/*/parameters", Kind::Free),
        ("/policy", Kind::Fields(fields_of::<Policy>())),
        ("/policy/authorities", Kind::Fields(fields_of::<Ceiling<Authority>>())),
        ("/policy/tools", Kind::Fields(fields_of::<Ceiling<Authority>>())),
        ("/policy/plugins", Kind::Fields(fields_of::<Ceiling<Authority>>())),
        ("/accepted/*", Kind::Fields(fields_of::<Acceptance>())),
    ]
}

fn matches(pattern: &str, pointer: &str) -> bool {
    let (pattern, pointer): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), pointer.split('/').collect());
    pattern.len() == pointer.len() && pattern.iter().zip(pointer).all(|(one, two)| *one == "*" || *one == two)
}

/// Collects all values inside `value` with their pointers, `value` itself first.
fn walk(pointer: String, value: &Value, found: &mut Vec<(String, Value)>) {
    found.push((pointer.clone(), value.clone()));
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                walk(format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")), value, found);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                walk(format!("{pointer}/{index}"), value, found);
            }
        }
        _ => {}
    }
}

fn places(value: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    walk(String::new(), value, &mut found);
    found
}

fn full() -> Value {
    serde_json::to_value(seeds::bundle().manifest()).expect("json")
}

#[test]
fn the_full_bundle_has_every_field_that_a_bundle_can_have() {
    let kinds = kinds();
    let mut seen: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (pointer, value) in places(&full()) {
        let Value::Object(map) = value else { continue };
        let free = |(pattern, kind): &&(&str, Kind)| {
            matches!(kind, Kind::Free) && pointer.split('/').count() > pattern.split('/').count() && {
                let start: Vec<_> = pointer.split('/').take(pattern.split('/').count()).collect();
                matches(pattern, &start.join("/"))
            }
        };
        if kinds.iter().any(|kind| free(&kind)) {
            continue;
        }
        let (pattern, _) = kinds
            .iter()
            .find(|(pattern, _)| matches(pattern, &pointer))
            .unwrap_or_else(|| panic!("{pointer} is an object of a kind that this test does not know"));
        seen.entry(pattern).or_default().extend(map.keys().cloned());
    }
    let mut amends = BTreeSet::new();
    let mut permissions = BTreeSet::new();
    for (pattern, kind) in &kinds {
        let seen = seen.get(pattern).cloned().unwrap_or_default();
        match kind {
            // Each of the two amendments and of the two kinds of target occurs.
            Kind::Fields(fields) if *fields == fields_of::<Amend<ToolName>>() => amends.extend(seen),
            Kind::Fields(fields) if *fields == fields_of::<WrittenUrlPermission>() => permissions.extend(seen),
            Kind::Fields(fields) => assert_eq!(&seen, fields, "fields of {pattern:?} that are not in the full bundle"),
            Kind::Named | Kind::Free => assert!(!seen.is_empty(), "{pattern} is empty"),
        }
    }
    assert_eq!(amends, fields_of::<Amend<ToolName>>());
    assert_eq!(permissions, fields_of::<WrittenUrlPermission>());
}

/// Returns other values of the same type. At least one of them is valid for the field.
fn other_values(pointer: &str, value: &Value) -> Vec<Value> {
    match value {
        Value::Bool(flag) => vec![json!(!flag)],
        Value::Number(number) => {
            vec![json!(number.as_f64().expect("a number") + 1.0), json!(number.as_u64().unwrap_or(7) + 1)]
        }
        Value::Null => vec![json!(0)],
        Value::String(text) => {
            let words = [
                "required", "optional", "none", "read", "always", "never", "host", "plugin:a", "http", "https", "ws",
                "DELETE", "PUT", "shell",
            ];
            let names =
                ["de", "a", "has:a", "os:a", "secret:a", "workflow://a", "/a", "1.0.0", "2026-06-25T15:49:31Z", "8"];
            let flipped: String = match text
                .strip_suffix(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'])
            {
                Some(start) if text.ends_with('0') => format!("{start}1"),
                Some(start) => format!("{start}0"),
                None => format!("{text}x"),
            };
            let more = [flipped, format!("{text}x"), format!("{text}/x")];
            more.into_iter().chain(words.iter().chain(&names).map(|word| (*word).to_owned())).map(Value::from).collect()
        }
        Value::Array(list) => {
            let mut more = vec![Value::Array(list[1..].to_vec()), json!([])];
            if list.len() > 1 {
                more.push(list.iter().rev().cloned().collect());
            }
            more.push(list.iter().chain(list.first()).cloned().collect());
            more
        }
        Value::Object(map) => {
            let renamed = |from: &str| {
                let key = |key: &String| if key == from { format!("{key}x") } else { key.clone() };
                Value::Object(map.iter().map(|(name, value)| (key(name), value.clone())).collect())
            };
            let without = |from: &str| {
                Value::Object(
                    map.iter()
                        .filter(|(name, _)| *name != from)
                        .map(|(name, value)| (name.clone(), value.clone()))
                        .collect(),
                )
            };
            let mut more: Vec<Value> = map.keys().flat_map(|key| [renamed(key), without(key)]).collect();
            more.push(json!({}));
            // The other variant of an enum.
            for (one, two) in [("append", "replace"), ("replace", "append")] {
                more.extend(map.get(one).map(|value| json!({ two: value })));
            }
            if pointer.ends_with("/settings") || pointer.ends_with("/parameters") {
                let mut wider: Map<String, Value> = map.clone();
                wider.insert("another".to_owned(), Value::Null);
                more.push(wider.into());
            }
            more
        }
    }
}

#[test]
fn two_bundles_differ_in_digest_whenever_any_field_differs() {
    let bundle = seeds::bundle();
    let (manifest, full) = (bundle.manifest(), full());
    let mut unchanged = Vec::new();
    let mut digests = BTreeMap::from([(bundle.digest(), full.clone())]);
    for (pointer, value) in places(&full) {
        let mut another = false;
        for other in other_values(&pointer, &value) {
            if other == value {
                continue;
            }
            let mut changed = full.clone();
            *changed.pointer_mut(&pointer).expect("a place") = other;
            // A number is compared in its canonical form.
            let changed: Value = serde_json::from_slice(&to_canonical(&changed).expect("json")).expect("json");
            let Ok(read) = from_value::<Manifest>(changed.clone()) else { continue };
            let bytes = to_canonical(&read).expect("json");
            if read == *manifest {
                // Another spelling of the same value is refused, so it cannot have another digest.
                let spelled = to_canonical(&changed).expect("json");
                assert!(open(&spelled).is_err(), "{pointer}: two spellings of one meaning");
                continue;
            }
            another = true;
            let again: Manifest = from_value(serde_json::from_slice(&bytes).expect("json")).expect("a manifest");
            assert!(again == read, "{pointer}: something is lost when it is written");
            let before = digests.insert(Digest::of(&bytes), serde_json::to_value(&read).expect("json"));
            assert!(before.is_none_or(|before| before == serde_json::to_value(&read).expect("json")), "{pointer}");
            assert_ne!(Digest::of(&bytes), bundle.digest(), "{pointer}");
        }
        if !another && !value.is_array() && !value.is_object() {
            unchanged.push(pointer);
        }
    }
    // There is only one schema, and only one mark for a host that begins with `*`.
    let requests = "/plugins/issues/permissions/requests";
    let marks =
        [format!("{requests}/1/what/wildcard"), format!("{requests}/2/what/broad"), format!("{requests}/2/what/host")];
    assert_eq!(unchanged, [&marks[..], &["/schema".to_owned()]].concat());
    assert!(digests.len() > 400, "{}", digests.len());
}

#[test]
fn every_enum_value_gives_another_digest() {
    assert_eq!(fields_of::<Effect>().len(), 4);
    assert_eq!(fields_of::<Confirm>().len(), 3);
    assert_eq!(fields_of::<Need>().len(), 2);
    assert_eq!(fields_of::<ManifestSchema>().len(), 1);
    for (pointer, words) in [
        ("/tools/shell.run/effect", fields_of::<Effect>()),
        ("/tools/fs.read/policy/confirm", fields_of::<Confirm>()),
        ("/profiles/coder/layers/0/wishes/0/need", fields_of::<Need>()),
    ] {
        let digests: BTreeSet<Digest> = words
            .iter()
            .map(|word| {
                let mut value = full();
                *value.pointer_mut(pointer).expect("a place") = json!(word);
                let manifest: Manifest = from_value(value).expect("a manifest");
                Digest::of(to_canonical(&manifest).expect("json"))
            })
            .collect();
        assert_eq!(digests.len(), words.len(), "{pointer}");
    }
}

#[test]
fn the_digest_is_the_sha_256_of_exactly_the_stored_bytes() {
    let bundle = seeds::bundle();
    assert_eq!(bundle.digest(), Digest::of(bundle.manifest_bytes()));
    assert_eq!(to_canonical(bundle.manifest()).expect("json"), bundle.manifest_bytes().to_vec());
    for (digest, bytes) in bundle.blobs() {
        assert_eq!(*digest, Digest::of(bytes));
    }
    // The bytes of an author are stored unchanged.
    let schema = &Files::full().text("schemas/fs.read.input.json");
    let named = bundle.manifest().tools["fs.read"].input.expect("a schema");
    assert_eq!(bundle.blob(&named.digest).map(|bytes| bytes.to_vec()), Some(schema.clone().into_bytes()));
    assert_eq!(usize::try_from(named.size), Ok(schema.len()));
}

#[test]
fn any_changed_byte_of_a_bundle_file_changes_the_digest() {
    let digest = Files::full().passes().bundle.digest();
    for file in Files::full().names() {
        if file.ends_with(".toml") {
            continue;
        }
        let text = Files::full().text(&file);
        let space = text.find(' ').expect("a space");
        let changed = format!("{}\t{}", &text[..space], &text[space + 1..]);
        assert_ne!(Files::full().put(&file, &changed).passes().bundle.digest(), digest, "{file}");
        assert_ne!(Files::full().append(&file, " ").passes().bundle.digest(), digest, "{file}");
    }
    for (from, to) in
        [("prompts/base/conduct.md", "prompts/base/behaviour.md"), ("workflows/change.md", "workflows/a.md")]
    {
        let text = Files::full().text(from);
        let moved = Files::full().without(from).put(to, &text).edit(
            "profiles/base.toml",
            "instructions = [\"base/conduct\"]",
            "",
        );
        let moved = moved.edit("profiles/coder.toml", ", \"change\"", "");
        assert_ne!(moved.passes().bundle.digest(), digest, "{from}");
    }
}

#[test]
fn every_line_of_a_profile_changes_the_digest() {
    let digest = Files::full().passes().bundle.digest();
    let mut counted = 0;
    for file in Files::full().names().iter().filter(|name| name.ends_with(".toml")) {
        let text = Files::full().text(file);
        for index in 0..text.lines().count() {
            if text.lines().nth(index).is_some_and(|line| line.trim().is_empty()) {
                continue;
            }
            let without: Vec<&str> =
                text.lines().enumerate().filter(|(at, _)| *at != index).map(|(_, line)| line).collect();
            if let Ok(built) = Files::full().put(file, &without.join("\n")).build() {
                assert_ne!(built.bundle.digest(), digest, "{file}: line {}", index + 1);
                counted += 1;
            }
        }
    }
    assert!(counted > 40, "{counted} lines");
}

#[test]
fn comments_and_spelling_of_the_folder_do_not_change_the_digest() {
    let digest = Files::full().passes().bundle.digest();
    for (file, from, to) in [
        ("bundle.toml", "language = \"en\"", "language    = 'en' # a comment"),
        ("bundle.toml", "revision = 7", "revision = 0x7"),
        (
            "bundle.toml",
            "labels = { team = \"platform\", tier = \"production\" }",
            "labels = { tier = \"production\", team = \"platform\" }",
        ),
        ("profiles/coder.toml", "tools_deny = { append = [\"shell.run\"] }", "tools_deny = [\"shell.run\"]"),
        ("profiles/coder.toml", "ratio = 0.5", "ratio = 5e-1"),
        ("profiles/coder.toml", "limit = 10", "limit = 1_0.0"),
        ("profiles/coder.toml", "{ limit = 20 }", "{ limit = 2e1 }"),
        ("plugins/issues.toml", "methods = [\"GET\", \"POST\"]", "methods = [\"POST\", \"GET\", \"GET\"]"),
        ("plugins/issues.toml", "host = \"issues.example.com\"", "host = \"ISSUES.example.com\""),
        ("bundle.toml", "provider = \"ollama\"\nmodel = \"qwen3:8b\"", "model = \"qwen3:8b\"\nprovider = \"ollama\""),
    ] {
        assert_eq!(Files::full().edit(file, from, to).passes().bundle.digest(), digest, "{to}");
    }
    assert_eq!(Files::full().put("schemas/unused.json", "{}").passes().bundle.digest(), digest);
}

mod on_disk {
    //! Place, time and order of the files of a folder do not affect the digest.

    use super::*;
    use bundles::{BuildOptions, Folder, build};

    fn write(place: &std::path::Path, names: impl Iterator<Item = String>) -> Dir {
        let dir = Dir::open_ambient_dir(place, ambient_authority()).expect("a folder");
        let folder = Files::full().folder();
        for name in names {
            if let Some((parent, _)) = name.rsplit_once('/') {
                dir.create_dir_all(parent).expect("a folder");
            }
            dir.write(&name, folder.get(&name).expect("a file")).expect("a file");
        }
        dir
    }

    fn digest(dir: &Dir) -> Digest {
        let folder = Folder::read(dir, &BundleLimits::default()).expect("a folder");
        build(&folder, &BuildOptions::default(), &BundleLimits::default()).expect("a bundle").bundle.digest()
    }

    #[test]
    fn digest_does_not_depend_on_place_and_time_of_the_folder() {
        let digest_in_memory = Files::full().passes().bundle.digest();
        let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let deeper = two.path().join("a folder/ünusual");
        std::fs::create_dir_all(&deeper).expect("a folder");
        let written = write(one.path(), Files::full().names().into_iter());
        let backwards = write(&deeper, Files::full().names().into_iter().rev());
        let past = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        for name in Files::full().names() {
            let file = std::fs::File::options().write(true).open(deeper.join(&name)).expect("a file");
            file.set_modified(past).expect("a time");
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::Permissions::from_mode(0o400);
            std::fs::set_permissions(deeper.join("bundle.toml"), mode).expect("a mode");
        }
        assert_eq!(digest(&written), digest_in_memory);
        assert_eq!(digest(&backwards), digest_in_memory);
    }

    #[test]
    fn bundle_in_folder_form_round_trips() {
        let bundle = seeds::bundle();
        let place = tempfile::tempdir().expect("a folder");
        let dir = Dir::open_ambient_dir(place.path(), ambient_authority()).expect("a folder");
        layout::write(&dir, &bundle).expect("written");
        let read = |dir: &Dir| layout::read(dir, &BundleLimits::default(), Acceptances::Honour);
        let again = read(&dir).expect("a bundle");
        assert_eq!(again.digest(), bundle.digest());
        assert!(again.blobs().eq(bundle.blobs()));
        // Only files that the manifest names are opened.
        dir.write("blobs/sha256/beside", "x").expect("a file");
        assert!(read(&dir).is_ok());

        let (name, bytes) = bundle.blobs().next().expect("a blob");
        let file = format!("blobs/sha256/{}", name.hex());
        dir.write(&file, [bytes.as_ref(), b"x"].concat()).expect("a file");
        assert_eq!(read(&dir).expect_err("another blob").code(), "unlisted_blob");
        dir.remove_file(&file).expect("gone");
        assert_eq!(read(&dir).expect_err("no blob").code(), "missing_blobs");
        dir.create_dir(&file).expect("a folder");
        assert_eq!(read(&dir).expect_err("a folder").code(), "not_a_file");
        dir.remove_file("manifest.json").expect("gone");
        assert_eq!(read(&dir).expect_err("no manifest").code(), "unreadable");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_folder_form_is_refused() {
        let bundle = seeds::bundle();
        for linked in
            ["manifest.json".to_owned(), format!("blobs/sha256/{}", bundle.blobs().next().expect("a blob").0.hex())]
        {
            let place = tempfile::tempdir().expect("a folder");
            let dir = Dir::open_ambient_dir(place.path(), ambient_authority()).expect("a folder");
            layout::write(&dir, &bundle).expect("written");
            dir.rename(&linked, &dir, "moved").expect("moved");
            let above = "../".repeat(linked.matches('/').count());
            dir.symlink(format!("{above}moved"), &linked).expect("a link");
            let error = layout::read(&dir, &BundleLimits::default(), Acceptances::Honour).expect_err("a link");
            assert_eq!(error.code(), "not_a_file", "{linked}");
        }
    }
}

pub(crate) mod single_file {
    //! The single-file form has one spelling. Any other archive is refused.

    use super::*;

    pub(crate) const BLOCK: usize = 512;

    /// Returns a small bundle.
    pub(crate) fn small() -> Bundle {
        Files::small().put("prompts/a.md", "Be brief.\n").put("prompts/b.md", "Be kind.\n").passes().bundle
    }

    /// Splits an archive into its files, each with header and padding.
    pub(crate) fn entries(packed: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut rest = packed;
        while rest[0] != 0 {
            let size = std::str::from_utf8(&rest[124..135]).expect("octal");
            let size = usize::from_str_radix(size, 8).expect("octal");
            let (entry, after) = rest.split_at(BLOCK + size.next_multiple_of(BLOCK));
            found.push(entry.to_vec());
            rest = after;
        }
        assert!(rest.iter().all(|byte| *byte == 0) && rest.len() == 2 * BLOCK);
        found
    }

    pub(crate) fn packed_from(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut packed = entries.concat();
        packed.extend([0; 2 * BLOCK]);
        packed
    }

    /// Returns the header with a recomputed checksum.
    pub(crate) fn summed(mut entry: Vec<u8>) -> Vec<u8> {
        entry[148..156].fill(b' ');
        let sum: u32 = entry[..BLOCK].iter().map(|byte| u32::from(*byte)).sum();
        entry[148..156].copy_from_slice(format!("{sum:07o}\0").as_bytes());
        entry
    }

    #[test]
    fn packed_bundle_round_trips() {
        for bundle in [small(), seeds::bundle(), Files::small().passes().bundle] {
            let packed = archive::pack(&bundle);
            let again = unpack(&packed).expect("a bundle");
            assert_eq!(again.digest(), bundle.digest());
            assert!(again.blobs().eq(bundle.blobs()));
            assert_eq!(archive::pack(&again), packed);
            let limits = BundleLimits { bundle_bytes: packed.len(), ..BundleLimits::default() };
            assert!(archive::unpack(&packed, &limits, Acceptances::Honour).is_ok());
            let limits = BundleLimits { bundle_bytes: packed.len() - 1, ..BundleLimits::default() };
            let error = archive::unpack(&packed, &limits, Acceptances::Honour).expect_err("too large");
            assert_eq!(error.code(), "too_large");
            let blobs = bundle.blobs().map(|(_, bytes)| Arc::clone(bytes));
            let error = Bundle::open(Arc::clone(bundle.manifest_bytes()), blobs, &limits, Acceptances::Honour);
            assert_eq!(error.expect_err("too large").code(), "too_large", "what is opened can be carried");
        }
        // The package of a plugin may be included.
        let files = Files::full();
        let package = "\"sha256:11e7e3095c2fa7deec9addd821a2366e8e5612b28afe8c088edbd81631326248\", size = 2";
        let files = files.edit("plugins/alerts.toml", package, &format!("\"{}\", size = 5", Digest::of(b"\0asm\xff")));
        let built = files.passes().bundle;
        let blobs = built.blobs().map(|(_, bytes)| Arc::clone(bytes)).chain([Arc::from(*b"\0asm\xff")]);
        let open =
            Bundle::open(Arc::clone(built.manifest_bytes()), blobs, &BundleLimits::default(), Acceptances::Honour);
        let with_package = open.expect("a bundle");
        assert_eq!(unpack(&archive::pack(&with_package)).expect("a bundle").blobs().count(), built.blobs().count() + 1);
    }

    #[test]
    fn a_bundle_with_one_flipped_byte_is_refused() {
        let packed = archive::pack(&small());
        for at in 0..packed.len() {
            let mut flipped = packed.clone();
            flipped[at] ^= 1 << (at % 8);
            match unpack(&flipped) {
                Err(error) => assert!(!error.help().is_empty()),
                // A changed manifest can be another valid bundle. Its digest then differs.
                Ok(other) => assert_ne!(other.digest(), small().digest(), "byte {at}"),
            }
        }
        let bytes = seeds::bundle().manifest_bytes().to_vec();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            let blobs = seeds_blobs();
            let opened = Bundle::open(flipped.into(), blobs, &BundleLimits::default(), Acceptances::Honour);
            match opened {
                Err(error) => assert!(!error.help().is_empty()),
                Ok(other) => assert_ne!(other.digest(), Digest::of(&bytes), "byte {at}"),
            }
        }
    }

    fn seeds_blobs() -> Vec<Arc<[u8]>> {
        use std::sync::OnceLock;
        static BLOBS: OnceLock<Vec<Arc<[u8]>>> = OnceLock::new();
        BLOBS.get_or_init(|| seeds::bundle().blobs().map(|(_, bytes)| Arc::clone(bytes)).collect()).clone()
    }

    #[test]
    fn a_blob_with_one_flipped_byte_is_refused() {
        let bundle = seeds::bundle();
        for which in 0..bundle.blobs().count() {
            for bit in 0..8 {
                let flip = |(index, bytes): (usize, &Arc<[u8]>)| {
                    let mut bytes = bytes.to_vec();
                    if index == which {
                        let at = bit % bytes.len();
                        bytes[at] ^= 1 << bit;
                    }
                    bytes
                };
                let blobs = bundle.blobs().map(|(_, bytes)| bytes).enumerate().map(flip);
                let opened = Bundle::open(
                    Arc::clone(bundle.manifest_bytes()),
                    blobs,
                    &BundleLimits::default(),
                    Acceptances::Honour,
                );
                assert_eq!(opened.expect_err("another blob").code(), "unlisted_blob");
            }
        }
    }

    #[test]
    fn truncated_or_extended_bundle_is_refused() {
        let packed = archive::pack(&small());
        for length in 0..packed.len() {
            let error = unpack(&packed[..length]).expect_err("cut short");
            assert!(
                matches!(error.code().as_str(), "not_a_bundle" | "missing_blobs" | "invalid_json"),
                "{length}: {error}"
            );
        }
        for more in [vec![0], vec![0; BLOCK], vec![b'x'], packed.clone()] {
            assert_eq!(unpack(&[packed.clone(), more].concat()).expect_err("it goes on").code(), "not_a_bundle");
        }
        let bytes = seeds::bundle().manifest_bytes().to_vec();
        for length in 0..bytes.len() {
            assert!(open(&bytes[..length]).is_err(), "{length}");
        }
        for more in [" ", "\n", "\0", "{}", "1"] {
            assert!(open(&[&bytes, more.as_bytes()].concat()).is_err(), "{more:?}");
        }
    }

    #[test]
    fn recomputed_checksum_equals_that_of_the_packed_header() {
        for entry in entries(&archive::pack(&small())) {
            assert_eq!(summed(entry.clone()), entry, "or the tests below would refuse for the sum alone");
        }
    }

    #[test]
    fn reordered_repeated_or_additional_files_are_refused() {
        let entries = entries(&archive::pack(&small()));
        let [manifest, one, two] = entries.as_slice() else { panic!("three files") };
        let other = summed({
            let mut other = one.clone();
            other[0..6].copy_from_slice(b"others");
            other
        });
        for wrong in [
            vec![manifest, two, one],
            vec![one, manifest, two],
            vec![manifest, manifest, one, two],
            vec![manifest, one, one, two],
            vec![manifest, one, two, &other],
            vec![manifest, one, two, two],
        ] {
            let packed = packed_from(&wrong.into_iter().cloned().collect::<Vec<_>>());
            assert_eq!(unpack(&packed).expect_err("another order").code(), "not_a_bundle");
        }
        let without = |left: &[&Vec<u8>]| packed_from(&left.iter().map(|entry| (*entry).clone()).collect::<Vec<_>>());
        assert_eq!(unpack(&without(&[manifest, one])).expect_err("one is missing").code(), "missing_blobs");
        assert_eq!(unpack(&without(&[])).expect_err("nothing").code(), "not_a_bundle");
        assert!(unpack(&without(&[manifest, one, two])).is_ok());
        // A valid file that the manifest does not name is refused.
        let more = Files::small()
            .put("prompts/a.md", "Be brief.\n")
            .put("prompts/b.md", "Be kind.\n")
            .put("prompts/c.md", "c")
            .passes();
        let more = super::single_file::entries(&archive::pack(&more.bundle));
        let mut carried = vec![manifest.clone()];
        carried.extend(more[1..].iter().cloned());
        assert_eq!(unpack(&packed_from(&carried)).expect_err("one too many").code(), "unlisted_blob");
    }

    #[test]
    fn headers_with_any_other_metadata_are_refused() {
        let entries = entries(&archive::pack(&small()));
        // Header fields with the user, the time and the program of the packing.
        let fields: [(&str, usize, &[u8]); 9] = [
            ("mode", 100, b"0000755"),
            ("uid", 108, b"0001750"),
            ("gid", 116, b"0001750"),
            ("mtime", 136, b"14720000000"),
            ("link name", 157, b"x"),
            ("magic", 257, b"ustar  \0"),
            ("owner", 265, b"alice"),
            ("group", 297, b"users"),
            ("prefix", 345, b"x"),
        ];
        for (what, at, bytes) in fields {
            for index in 0..entries.len() {
                let mut changed = entries.clone();
                changed[index][at..at + bytes.len()].copy_from_slice(bytes);
                changed[index] = summed(changed[index].clone());
                assert_eq!(unpack(&packed_from(&changed)).expect_err(what).code(), "not_a_bundle", "{what}");
            }
        }
        // Other kinds of entries: links, devices, folders, extensions with their own names and sizes, and the other type byte
        // of a regular file.
        for kind in *b"0123456789xgLKSVD" {
            for index in 0..entries.len() {
                let mut changed = entries.clone();
                changed[index][156] = kind;
                changed[index] = summed(changed[index].clone());
                assert_eq!(
                    unpack(&packed_from(&changed)).expect_err("kind").code(),
                    "not_a_bundle",
                    "{}",
                    char::from(kind)
                );
            }
        }
        // An extended header before a file.
        let mut pax = entries[0].clone();
        pax.truncate(2 * BLOCK);
        pax[156] = b'x';
        pax[124..136].copy_from_slice(b"00000000022\0");
        pax[BLOCK..].fill(0);
        pax[BLOCK..BLOCK + 18].copy_from_slice(b"18 path=evil.json\n");
        let pax = summed(pax);
        for index in 0..=entries.len() {
            let mut changed = entries.clone();
            changed.insert(index, pax.clone());
            assert_eq!(unpack(&packed_from(&changed)).expect_err("an extension").code(), "not_a_bundle");
        }
    }

    #[test]
    fn claimed_size_allocates_no_memory() {
        let entries = entries(&archive::pack(&small()));
        let sizes: [&[u8; 12]; 5] = [
            b"77777777777\0",
            b"10000000000\0",
            b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"-0000000001\0",
        ];
        for size in sizes {
            for index in 0..entries.len() {
                let mut changed = entries.clone();
                changed[index][124..136].copy_from_slice(size);
                changed[index] = summed(changed[index].clone());
                let error = unpack(&packed_from(&changed)).expect_err("a claim");
                assert!(matches!(error.code().as_str(), "not_a_bundle" | "missing_blobs"), "{error}");
            }
        }
    }

    #[test]
    fn other_formats_are_refused() {
        for other in
            [&b""[..], b"PK\x03\x04", b"\x1f\x8b\x08\0", b"{}", b"\0asm\x0d\0\x01\0", &[0; 1024], &[0xff; 4096]]
        {
            assert_eq!(unpack(other).expect_err("another format").code(), "not_a_bundle");
        }
    }
}
