//! Plugin packages in the folder of a bundle: omitted fields of descriptors and tools are taken from the package.

use bundles::manifest::Effect;
use bundles::plugin::{COMPONENT, MANIFEST, pack};
use bundles::{BuildOptions, BuildOutput, BundleLimits, Diagnostic, Diagnostics, Digest, Folder, build};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use yoi_tests::fuzz::seeds::EMPTY_COMPONENT;

const PLUGIN: &str = include_str!("../bundles/src/plugin/sample.toml");

const BUNDLE: &str = r#"schema = "yoi.config-bundle/1"
revision = 1
created_at = "2026-06-25T15:49:30Z"
language = "en"

[workspace]
id = "acme"

[tools."issues.search"]
source = "plugin:issue-tracker"
policy = { max_calls = 10 }

[tools."issues.create"]
source = "plugin:issue-tracker"
description = "Open a ticket. Ask first."
"#;

const PROFILE: &str = "plugins = [\"issue-tracker\"]\ntools_allow = [\"issues.search\", \"issues.create\"]\n";

const DESCRIPTOR: &str = "plugins/issue-tracker.toml";

/// Returns the files of a bundle whose descriptor names a package.
fn files(package: &str) -> Vec<(String, Vec<u8>)> {
    let text = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
    vec![
        text("bundle.toml", BUNDLE),
        text("profiles/helper.toml", PROFILE),
        text(DESCRIPTOR, &format!("package = \"{package}\"\n")),
    ]
}

fn in_folder(manifest: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = files("tracker");
    files.push((format!("plugins/tracker/{MANIFEST}"), manifest.as_bytes().to_vec()));
    files.push((format!("plugins/tracker/{COMPONENT}"), EMPTY_COMPONENT.to_vec()));
    files
}

fn packed(manifest: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = files("tracker.tar");
    files.push(("plugins/tracker.tar".to_owned(), pack(manifest.as_bytes(), EMPTY_COMPONENT)));
    files
}

fn edit(mut files: Vec<(String, Vec<u8>)>, file: &str, from: &str, to: &str) -> Vec<(String, Vec<u8>)> {
    let (_, bytes) = files.iter_mut().find(|(name, _)| name == file).expect("a file");
    let text = String::from_utf8(bytes.clone()).expect("text");
    assert!(text.contains(from), "`{from}` is not in {file}");
    *bytes = text.replacen(from, to, 1).into_bytes();
    files
}

fn built(files: Vec<(String, Vec<u8>)>) -> Result<BuildOutput, Diagnostics> {
    build(&Folder::from_files(files), &BuildOptions::default(), &BundleLimits::default())
}

#[track_caller]
fn passes(files: Vec<(String, Vec<u8>)>) -> BuildOutput {
    built(files).unwrap_or_else(|told| panic!("{:#?}", told.list))
}

#[track_caller]
fn refused(files: Vec<(String, Vec<u8>)>, code: &str) -> Diagnostic {
    let told = built(files).expect_err(code);
    let [one] = told.list.as_slice() else { panic!("{code}: {:#?}", told.list) };
    assert!(one.code == code && !one.help.is_empty(), "{one:#?}");
    one.clone()
}

#[test]
fn descriptor_and_tools_are_derived_from_a_folder_or_a_packed_file() {
    let output = passes(in_folder(PLUGIN));
    assert_eq!(output.diagnostics.list, []);
    let manifest = output.bundle.manifest();
    let plugin = &manifest.plugins["issue-tracker"];
    assert_eq!(plugin.version.to_string(), "1.4.0");
    assert_eq!(plugin.package.digest, Digest::of(pack(PLUGIN.as_bytes(), EMPTY_COMPONENT)));
    assert_eq!((plugin.tools.len(), plugin.ingress.len(), plugin.permissions.requests.len()), (2, 1, 2));
    let [search, create] = ["issues.search", "issues.create"].map(|name| &manifest.tools[name]);
    assert_eq!((search.effect, create.effect), (Effect::Read, Effect::External));
    assert_eq!((search.description.as_str(), search.policy.max_calls), ("Search tickets by words.", Some(10)));
    assert_eq!(create.description, "Open a ticket. Ask first.");
    assert!(search.input.is_some() && search.output.is_some());
    let [package] = output.packages.as_slice() else { panic!("{:?}", output.packages) };
    assert_eq!(package.digest(), plugin.package.digest);
    assert!(output.bundle.blob(&package.digest()).is_none(), "a package travels beside the bundle");
    // A packed file gives the same bundle.
    assert_eq!(passes(packed(PLUGIN)).bundle.digest(), output.bundle.digest());
}

#[test]
fn declared_fields_must_equal_those_of_the_package() {
    let same = "surfaces = [\"ingress\", \"service\", \"tools\"]\nversion = \"1.4.0\"\n";
    passes(edit(in_folder(PLUGIN), DESCRIPTOR, "package", &format!("{same}package")));
    let schema = "{ \"properties\": { \"title\": { \"type\": \"string\" } }, \"type\": \"object\" }";
    let tool = "description = \"Open a ticket. Ask first.\"";
    let with_schema = |schema: &str| {
        let mut files = edit(in_folder(PLUGIN), "bundle.toml", tool, &format!("{tool}\ninput = \"schemas/a.json\""));
        files.push(("schemas/a.json".to_owned(), schema.as_bytes().to_vec()));
        files
    };
    passes(with_schema(schema));

    let version =
        refused(edit(in_folder(PLUGIN), DESCRIPTOR, "package", "version = \"1.3.0\"\npackage"), "descriptor_mismatch");
    assert_eq!((version.file.as_str(), version.line, version.column), (DESCRIPTOR, 1, 11));
    assert!(version.message.contains("expected `\"1.4.0\"`, found `\"1.3.0\"`"), "{}", version.message);
    let schema = refused(with_schema(&schema.replace("string", "number")), "descriptor_mismatch");
    assert_eq!((schema.file.as_str(), schema.line), ("bundle.toml", 16));
    assert!(schema.message.contains("`/tools/issues.create/input/properties/title/type`"), "{}", schema.message);
    let name = refused(in_folder(&PLUGIN.replacen("issue-tracker", "tracker", 1)), "descriptor_mismatch");
    assert_eq!(name.file, DESCRIPTOR);
    refused(edit(in_folder(PLUGIN), "bundle.toml", tool, &format!("{tool}\neffect = \"none\"")), "invalid_field");
    let other =
        "[tools.\"issues.close\"]\nsource = \"plugin:issue-tracker\"\neffect = \"none\"\n[tools.\"issues.create\"]";
    refused(edit(in_folder(PLUGIN), "bundle.toml", "[tools.\"issues.create\"]", other), "dangling_name");
}

#[test]
fn error_in_a_package_is_reported_once_and_at_its_place() {
    let wrong = PLUGIN.replace("\"read\"", "\"reads\"");
    let one = refused(in_folder(&wrong), "invalid_value");
    assert_eq!((one.file.as_str(), one.line), ("plugins/tracker/plugin.toml", 11));
    let one = refused(packed(&wrong), "invalid_value");
    assert_eq!((one.file.as_str(), one.line, one.column), (DESCRIPTOR, 1, 11));
    assert!(one.message.ends_with("at line 11 of `plugin.toml`"), "{}", one.message);
    let without = |name: &str| in_folder(PLUGIN).into_iter().filter(|(file, _)| !file.ends_with(name)).collect();
    assert_eq!(refused(without(COMPONENT), "missing_file").file, DESCRIPTOR);
    assert_eq!(refused(without(MANIFEST), "missing_file").file, DESCRIPTOR);
    assert!(refused(files("tracker.tar"), "dangling_name").help.contains("NAME.tar"));
    let mut damaged = packed(PLUGIN);
    damaged.last_mut().expect("a package").1.pop();
    refused(damaged, "not_canonical");
    // A value that only its key makes a secret is masked in the shown line.
    let weak =
        PLUGIN.replace("properties.limit", "properties.password = { default = \"kq7Rz2mWp9xT\" }\nproperties.limit");
    let told = built(in_folder(&weak)).expect_err("a secret");
    assert!(told.list.iter().any(|one| one.code == "secret_in_bundle"), "{:#?}", told.list);
    assert!(!format!("{told:?}").contains("kq7Rz2"), "{told:?}");
}

#[test]
fn package_that_no_plugin_names_is_a_warning() {
    let mut files = in_folder(PLUGIN);
    files.push(("plugins/old.tar".to_owned(), b"anything".to_vec()));
    files.push(("plugins/older/plugin.toml".to_owned(), PLUGIN.into()));
    files.push(("plugins/older/component.wasm".to_owned(), EMPTY_COMPONENT.to_vec()));
    let warnings = passes(files).diagnostics.list;
    let warned: Vec<_> = warnings.iter().map(|one| (one.code.as_str(), one.file.as_str())).collect();
    assert_eq!(
        warned,
        [("unused_declaration", "plugins/old.tar"), ("unused_declaration", "plugins/older/plugin.toml")]
    );
}

#[test]
fn folder_of_a_package_is_read_without_its_sources() {
    let place = tempfile::tempdir().expect("a folder");
    let large = vec![b'x'; 3 << 20];
    for (name, bytes) in in_folder(PLUGIN).into_iter().chain([
        ("plugins/tracker/target/debug/plugin.wasm".to_owned(), large),
        ("plugins/tracker/src/lib.rs".to_owned(), b"// No secret.".to_vec()),
    ]) {
        let path = place.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }
    let dir = Dir::open_ambient_dir(place.path(), ambient_authority()).expect("opened");
    let limits = BundleLimits::default();
    let folder = Folder::read(&dir, &limits).expect("a folder");
    assert_eq!(folder, Folder::from_files(in_folder(PLUGIN)));
    assert!(folder.iter().all(|(name, _)| Folder::is_read(name)));
    assert!(!Folder::is_read("plugins/tracker/src/lib.rs"));
    // A component may be larger than other files of the folder, within its own limits.
    let component = [EMPTY_COMPONENT, &vec![0; 2 << 20]].concat();
    std::fs::write(place.path().join("plugins/tracker/component.wasm"), &component).expect("written");
    let small = BundleLimits { bundle_bytes: 1 << 20, ..limits.clone() };
    assert!(Folder::read(&dir, &small).expect("a folder").is_complete());
    for (name, limits) in [
        ("component_bytes", BundleLimits { component_bytes: component.len() - 1, ..limits.clone() }),
        ("plugin_toml_bytes", BundleLimits { plugin_toml_bytes: 100, ..limits.clone() }),
    ] {
        let folder = Folder::read(&dir, &limits).expect("a folder");
        let told = build(&folder, &BuildOptions::default(), &limits).expect_err(name);
        let [one] = told.list.as_slice() else { panic!("{name}: {:#?}", told.list) };
        assert!(one.code == "too_large" && one.message.contains(&format!("`{name}`")), "{one:#?}");
    }
    let none = BundleLimits { packages_bytes: 1 << 20, ..limits };
    assert!(Folder::read(&dir, &none).expect_err("too large").to_string().contains("`packages_bytes`"));
}
