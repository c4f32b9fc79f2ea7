//! Provokes each error code of the Runtime through the public API. Codes that cannot be provoked here are listed with a
//! reason.

#[cfg(target_os = "linux")]
mod apart;

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bundles::canonical::to_canonical;
use bundles::{Authority, Digest, ToolName};
use component_host::compile::Compiler;
use component_host::{Sandbox, SandboxConfig};
use host_policy::RuntimeConfig;
use host_tools::fs;
use runtime_api::Code;
use runtime_api::call::{CallResult, ToolCall};
use runtime_api::comparison::ActivateRequest;
use serde_json::{Value, json};
use worker_runtime::blob_store::source_from;
use worker_runtime::metadata::{Batch, Key, MetadataStore, SqliteMetadata};
use worker_runtime::secret::SecretDirectory;
use worker_runtime::token::{Scope, TokenGrant};
use worker_runtime::tool::{HostTool, ToolContext, ToolError};
use worker_runtime::{CallError, DataFolder, Record, Runtime, RuntimeLimits};

use crate::problems::workers::resolver;
use crate::problems::{self, Later, run, told_by_the_library};
use crate::support::faulty::Fault;
use crate::support::hostile::{self, Expect};
use crate::support::provoked::{ErrorReport, provoked};
use crate::support::scene::{MovedFolder, Scene};
use crate::support::{CONFIG, World, acme, bundle, bundle_of, compile_cache, id, name, store_faulty_schema, variant};

/// Codes that no case provokes, with the area to which they belong or another reason.
#[rustfmt::skip]
const NOT_PROVOKED: &[(&str, &[Code])] = &[
    ("commands, whose tests are in `yoi`", &[
        Code::AddressUnavailable, Code::AlreadyThere, Code::EarlierTime, Code::Failed, Code::GrantWidens, Code::InvalidKey,
        Code::NoCommit, Code::NoToken, Code::NotCommitted, Code::RestartNeeded, Code::SecretExposed, Code::TlsMissing,
        Code::UnknownFieldAsked, Code::Unreadable, Code::Unwritable, Code::Usage,
    ]),
    ("the client, in `client.rs`, `client_tls.rs` and its own tests", &[
        Code::BlobsVanished, Code::InsecureUrl, Code::Interrupted, Code::InvalidToken, Code::InvalidUrl, Code::NoTls,
        Code::TimedOut, Code::UnexpectedAnswer, Code::Unreachable,
    ]),
    ("the content of a bundle, in the tests of `bundles` and of the workspace", &[
        Code::ControlCharacter, Code::DanglingName, Code::DuplicateName, Code::HostPathInBundle,
        Code::InheritanceConflict, Code::InheritanceCycle, Code::InvalidDigest, Code::InvalidJson, Code::InvalidName,
        Code::InvalidPermission, Code::InvalidPointer, Code::InvalidToml, Code::InvalidType, Code::InvalidValue,
        Code::InvalidVersion, Code::MissingBlobs, Code::MissingField, Code::MissingFile, Code::MissingSchema,
        Code::NoBundle, Code::NotABundle, Code::NotAFile, Code::NotCanonical, Code::NotUtf8, Code::SecretInBundle,
        Code::TooDeep, Code::UnexpectedFile, Code::UnknownCondition, Code::UnknownField, Code::UnknownRule,
        Code::UnknownSurface, Code::UnlistedBlob, Code::UnsafeNumber, Code::UnsetIntoValue, Code::UnsetNothing,
        Code::UnsupportedSchema, Code::UnusedAcceptance, Code::UnusedDeclaration, Code::WrongSize,
    ]),
    ("URL permissions, in the tests of `bundles`", &[
        Code::DefaultPortWritten, Code::HostNotNormal, Code::InvalidHost, Code::InvalidMethod, Code::InvalidPath,
        Code::InvalidScheme, Code::InvalidSubprotocol, Code::ListNotNormal, Code::MarkMissing, Code::MarkWithoutMeaning,
        Code::MethodMissing, Code::MethodOnWebsocket, Code::PathMissing, Code::PortZero, Code::SubprotocolOnRequest,
        Code::WildcardTooWide,
    ]),
    ("signatures, in the tests of `bundles`", &[Code::InvalidEnvelope, Code::InvalidPublicKey, Code::InvalidSigningKey]),
    ("the config of a host, in the tests of `host-policy`", &[Code::InvalidConfig, Code::InvalidLimits]),
    ("the compile cache, in the tests of `component-host`", &[Code::CacheDamaged, Code::CacheNotPrivate, Code::CacheUnavailable]),
    ("the rules in `details.refusals` of `denied`, in the tests of `host-policy`", &[
        Code::BundlePolicyDenied, Code::BundleRequired, Code::EgressNotGranted, Code::GitNotGranted,
        Code::GitReadOnly, Code::ModelNotGranted, Code::MountNotGranted, Code::MountReadOnly, Code::PluginNotGranted,
        Code::SecretNotGranted, Code::ShellNotGranted, Code::ToolWithoutAuthority, Code::ToolWithoutPlugin,
    ]),
    ("the rules that refuse a plugin, in `plugins.rs` and the tests of the workspace", &[
        Code::ComponentNotLoaded, Code::ComponentRefused, Code::DescriptorMismatch, Code::EffectNotGranted,
        Code::ExternalEffectNotGranted, Code::ImportNotAllowed, Code::PackageDamaged, Code::PackageInvalid,
        Code::PackageMissing, Code::PluginConfigInvalid, Code::PluginGrantOutdated, Code::SurfaceNotGranted, Code::ToolNotGranted,
        Code::UnsupportedWorld,
    ]),
    ("the Backend, in the tests of `yoi-workspace-server`", &[
        Code::NoEarlierBundle, Code::NoRollout, Code::NoRuntime, Code::NothingDesired, Code::PullSuperseded,
        Code::RolloutHalted, Code::RuntimeInConfig, Code::RuntimeNotAllowed, Code::RuntimeNotFound, Code::RuntimeNotPulled, Code::RuntimeTimedOut,
        Code::RuntimeUnauthorized, Code::RuntimeUnreachable, Code::RuntimeUnsupported, Code::WorkspaceNotFound,
    ]),
    ("the pages of the Backend, in the tests of `yoi-workspace-server`", &[
        Code::CrossSiteRequest, Code::FormOutdated, Code::LoginLinkInvalid, Code::SessionEnded, Code::SessionNotFound,
    ]),
    ("deliveries of events, in `services.rs`", &[Code::EventDeferred, Code::EventRefused]),
    ("plugins and their packages, in the tests of `bundles` and of the workspace", &[
        Code::EgressUnavailable, Code::NotAPackage, Code::ServiceFailed,
    ]),
    ("requests that the policy refuses, in the tests of `host-policy`", &[
        Code::AddressNeverDialled, Code::AmbiguousUrl, Code::HeaderNameTooLong, Code::HeaderNotAllowed,
        Code::HeaderValueTooLong, Code::HeadersTooLarge, Code::InvalidHeaderName, Code::InvalidHeaderValue,
        Code::InvalidSubprotocols, Code::LocalhostNotLoopback, Code::MalformedUrl, Code::NoAddress, Code::NotDeclared,
        Code::NotDeclaredNorGranted, Code::SchemeNotAllowed, Code::SpecialAddressNotDeclared,
        Code::SpecialAddressNotDeclaredNorGranted, Code::SpecialAddressNotGranted, Code::TooManyHeaders,
        Code::UrlTooLong, Code::UserInfo,
    ]),
    ("exchanges of plugins, in the tests of `egress`", &[
        Code::EffectNotDeclared, Code::EventStreamRefused, Code::SecretEchoed, Code::SecretNeedsTls, Code::SecretNotDeclared,
    ]),
    ("the built-in bundle is part of this build, and its own test verifies it", &[Code::InvalidBundle]),
];

/// An enum, a variant, its code, and the operation that causes it.
struct Case {
    of: (&'static str, &'static str),
    code: &'static str,
    provoke: fn() -> Later<ErrorReport>,
}

macro_rules! case {
    ($enum:literal, $variant:literal, $code:literal, $provoke:expr $(,)?) => {
        Case { of: ($enum, $variant), code: $code, provoke: || Box::pin($provoke) }
    };
}

/// Creates a scene with a bundle and a failing store.
async fn failing(blobs: Option<Fault>, metadata: Option<Fault>) -> Scene {
    let (scene, _) = Scene::with_bundle().await;
    scene.blobs.fails(blobs);
    scene.metadata.fails(metadata);
    scene
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
}

fn config(text: &str) -> RuntimeConfig {
    RuntimeConfig::from_toml(text).expect("a config")
}

fn stores() -> Vec<Case> {
    vec![
        case!("BlobError", "NotFound", "blob_not_found", async {
            let (scene, digest) = Scene::with_bundle().await;
            scene.world.blobs.remove(digest).await.expect("removed");
            provoked(scene.content().blob(digest).await)
        }),
        case!("BlobError", "TooLarge", "too_large", async {
            provoked(Scene::new().await.content().put_blob(Digest::of("xy"), source_from("xy"), Some(1)).await)
        }),
        case!("BlobError", "Moved", "data_folder_moved", async {
            let moved = MovedFolder::new().await;
            provoked(moved.scene.world.blobs.remove(Digest::of("x")).await)
        }),
        case!("MetadataError", "Moved", "data_folder_moved", async {
            provoked(MovedFolder::new().await.scene.management().check_metadata().await)
        }),
        case!("CommitError", "Conflict", "-", async {
            let scene = failing(None, Some(Fault::Conflict)).await;
            provoked(scene.world.metadata.commit(Batch::default().put(&Key::new("k"), Vec::new())).await)
        }),
        case!("CommitError", "Store", "-", async {
            let scene = failing(None, Some(Fault::Full)).await;
            provoked(scene.world.metadata.commit(Batch::default().put(&Key::new("k"), Vec::new())).await)
        }),
        case!("MetadataError", "InUse", "store_in_use", async {
            let place = folder();
            let _held = SqliteMetadata::open(place.path().join("m")).await.expect("opened");
            provoked(SqliteMetadata::open(place.path().join("m")).await)
        }),
        case!("MetadataError", "LogDamaged", "metadata_damaged", async {
            let place = tempfile::tempdir().expect("a folder");
            let (path, mark) = (place.path().join("m"), place.path().join("m-mark"));
            let store = SqliteMetadata::open(&path).await.expect("opened");
            store.commit(Batch::default().put(&Key::new("k"), Vec::new())).await.expect("committed");
            let elsewhere = tempfile::tempdir().expect("a folder");
            // The files as a killed process leaves them, without the log.
            for file in [&path, &mark] {
                std::fs::copy(file, elsewhere.path().join(file.file_name().expect("a name"))).expect("copied");
            }
            provoked(SqliteMetadata::open(elsewhere.path().join("m")).await)
        }),
        case!("MetadataError", "NewerVersion", "store_newer", changed(63, 9)),
        case!("MetadataError", "Foreign", "metadata_foreign", changed(70, 1)),
        case!("DataFolderError", "InUse", "store_in_use", async {
            let place = folder();
            let _held = DataFolder::open(place.path().join("data")).await.expect("opened");
            provoked(DataFolder::open(place.path().join("data")).await)
        }),
        case!("DataFolderError", "NotAFolder", "data_folder_not_a_folder", async {
            let place = folder();
            std::fs::write(place.path().join("data"), "a file").expect("written");
            provoked(DataFolder::open(place.path().join("data")).await)
        }),
        case!("DataFolderError", "NotPrivate", "data_folder_not_private", async {
            let place = folder();
            std::fs::write(place.path().join("work"), "somebody's").expect("written");
            mode(place.path(), 0o755);
            provoked(DataFolder::open(place.path()).await)
        }),
        case!("DataFolderError", "Unavailable", "store_unavailable", async {
            provoked(DataFolder::open(folder().path().join("x".repeat(300))).await)
        }),
        case!("DataFolderError", "Blobs", "store_unavailable", async {
            let place = folder();
            drop(DataFolder::open(place.path()).await.expect("opened"));
            std::fs::rename(place.path().join("blobs"), place.path().join("elsewhere")).expect("moved");
            symlink("elsewhere", place.path().join("blobs")).expect("a link");
            provoked(DataFolder::open(place.path()).await)
        }),
    ]
}

/// Opens a metadata store whose file has one changed byte.
async fn changed(at: usize, byte: u8) -> ErrorReport {
    let place = folder();
    let path = place.path().join("m");
    drop(SqliteMetadata::open(&path).await.expect("opened"));
    let mut content = std::fs::read(&path).expect("read");
    content[at] ^= byte;
    std::fs::write(&path, content).expect("written");
    provoked(SqliteMetadata::open(&path).await)
}

fn secrets() -> Vec<Case> {
    vec![
        case!("SecretDirectoryError", "NotAFolder", "secrets_not_a_folder", async {
            let place = folder();
            std::fs::write(place.path().join("secrets"), "a file").expect("written");
            provoked(SecretDirectory::open(&place.path().join("secrets")))
        }),
        case!("SecretDirectoryError", "NotPrivate", "secrets_not_private", async {
            let place = folder();
            mode(place.path(), 0o755);
            provoked(SecretDirectory::open(place.path()))
        }),
        case!("SecretDirectoryError", "Credentials", "secrets_read_only", async {
            let place = folder();
            let credentials = SecretDirectory::credentials(place.path()).expect("opened");
            provoked(credentials.set(&name("token"), &secrecy::SecretString::from("value".to_owned())))
        }),
        case!("SecretDirectoryError", "Secret", "secret_not_found", async {
            let place = folder();
            provoked(SecretDirectory::open(&place.path().join("new")).expect("opened").remove(&name("token")))
        }),
        case!("SecretDirectoryError", "Unavailable", "secrets_unavailable", async {
            provoked(SecretDirectory::credentials(&folder().path().join("nowhere")))
        }),
    ]
}

/// Opens a folder in which a file has the name of a folder that the Runtime needs.
async fn open_over(name: &str) -> Result<Runtime, worker_runtime::OpenError> {
    let place = folder();
    mode(place.path(), 0o700);
    std::fs::write(place.path().join(name), "x").expect("written");
    // Uses the compile cache of the other tests, because compilation is not under test.
    let builder = Runtime::builder().clock(Arc::new(worker_runtime::SystemClock)).data_folder(place.path());
    builder.open().await
}

fn opening() -> Vec<Case> {
    vec![
        case!("CallError", "TooManyValues", "too_large", async {
            let scene = Scene::with_worker().await;
            let call = format!("{{\"input\":[{}0]}}", "0,".repeat(65_536));
            provoked(scene.interaction().call_json(&id("w"), &name("echo"), call.as_bytes()).await)
        }),
        case!("CallError", "DuplicateKey", "duplicate_key", async {
            let scene = Scene::with_worker().await;
            provoked(scene.interaction().call_json(&id("w"), &name("echo"), br#"{"input":{},"input":{}}"#).await)
        }),
        case!("CallError", "InvalidSchema", "invalid_schema", async {
            let world = World::default();
            store_faulty_schema(&world).await;
            let interaction = world.open().await.interaction(&acme());
            let call = ToolCall { input: json!({}), confirmed: true };
            provoked(interaction.call(&id("w"), &name("echo"), call).await)
        }),
        case!("CallError", "ValidationLimit", "limit_exceeded", async {
            let limits = RuntimeLimits { schema_work: 1, ..RuntimeLimits::default() };
            let scene = Scene::with_worker_in(World { limits, ..World::default() }, &bundle(1)).await;
            provoked(scene.interaction().call_json(&id("w"), &name("echo"), br#"{"input":{}}"#).await)
        }),
        case!("CallError", "InvalidCall", "invalid_request", async {
            let scene = Scene::with_worker().await;
            provoked(scene.interaction().call_json(&id("w"), &name("echo"), b"{").await)
        }),
        case!("ResolverError", "Full", "store_full", async {
            let limits = RuntimeLimits { resolvers: 0, ..RuntimeLimits::default() };
            let scene = Scene::of(World { limits, ..World::default() }).await;
            let (digest, component) = variant(1);
            provoked(scene.management().admit_resolver(digest, component.into()).await)
        }),
        case!("OpenError", "NoClock", "no_clock", async { provoked(Runtime::builder().open().await) }),
        case!("OpenError", "Config", "no_signature_posture", async {
            let clock = Arc::new(worker_runtime::SystemClock);
            provoked(Runtime::builder().clock(clock).config(config("[workspaces.acme]\n")).open().await)
        }),
        case!("OpenError", "DuplicateTool", "duplicate_tool", async {
            let mut builder = Runtime::builder().clock(Arc::new(worker_runtime::SystemClock));
            for tool in fs::tools().expect("three").into_iter().chain(fs::tools().expect("three")) {
                builder = builder.tool(tool);
            }
            provoked(builder.open().await)
        }),
        case!("OpenError", "Shipped", "compiler_failed", async {
            let compiler = Compiler::Child { program: "/nowhere".into(), arguments: Vec::new() };
            let sandbox = Sandbox::new(SandboxConfig { compiler, ..SandboxConfig::default() }).expect("a sandbox");
            let builder = Runtime::builder().clock(Arc::new(worker_runtime::SystemClock));
            provoked(builder.sandbox(sandbox).open().await)
        }),
        case!("OpenError", "DataFolder", "data_folder_not_a_folder", async {
            let place = folder();
            std::fs::write(place.path().join("file"), "x").expect("written");
            provoked(Runtime::open_folder(place.path().join("file"), config("")).await)
        }),
        case!("OpenError", "Cache", "cache_not_a_folder", async { provoked(open_over("compiled").await) }),
        case!("OpenError", "Secrets", "secrets_not_a_folder", async { provoked(open_over("secrets").await) }),
        case!("OpenError", "Metadata", "metadata_damaged", async {
            let scene = failing(None, Some(Fault::Damaged)).await;
            let builder = Runtime::builder().clock(scene.world.clock.clone());
            provoked(builder.metadata(scene.world.metadata.clone()).open().await)
        }),
        case!("ReloadError", "Config", "no_signature_posture", async {
            provoked(Scene::new().await.management().reload(config("[workspaces.acme]\n")).await)
        }),
        case!("ReloadError", "Worker", "store_unavailable", async {
            let scene = failing(None, Some(Fault::Unavailable)).await;
            let narrower = config(&CONFIG.replace("secrets = [\"token\"]", ""));
            provoked(scene.management().reload(narrower).await)
        }),
    ]
}

fn content() -> Vec<Case> {
    vec![
        case!("ContentError", "Bundle", "invalid_field", async {
            provoked(Scene::new().await.content().put_manifest(Digest::of("{}"), "{}".into()).await)
        }),
        case!("ContentError", "Envelope", "invalid_field", async {
            provoked(Scene::new().await.content().put_signed_bundle(Digest::of("x"), "{}".into()).await)
        }),
        case!("CallError", "Worker", "worker_not_found", async {
            provoked(Scene::new().await.call("echo", json!({})).await)
        }),
        case!("RestoreError", "Misbehaved", "-", restored(false)),
        case!("RestoreError", "OtherResolution", "-", restored(true)),
        case!("RestoreError", "Failed", "-", async {
            let (scene, bundle) = Scene::with_bundle().await;
            let request = worker_runtime::worker::CreateWorkerRequest::of_bundle(name("nobody"), bundle);
            scene.catalogue().create(id("w"), request).await.expect_err("an unknown profile");
            let failures = scene.catalogue().failed_resolutions().await.expect("a list");
            let record = scene.content().blob(failures[0].record).await.expect("a record");
            let record = Record::from_json(&record).expect("a record");
            provoked(record.restore(self::bundle(1).manifest(), &bundles::BundleLimits::default()))
        }),
        case!("TokenError", "InvalidLimit", "invalid_request", async {
            let scene = Scene::new().await;
            let grant = TokenGrant {
                name: name("none"),
                scopes: std::iter::once(Scope::Read).collect(),
                workspaces: std::iter::once(acme()).collect(),
                expires_at: None,
                connections: None,
                event_streams: Some(0),
            };
            provoked(scene.management().issue_token(grant, &scene.api.entropy).await)
        }),
        case!("TokenError", "Metadata", "store_unavailable", async {
            provoked(failing(None, Some(Fault::Unavailable)).await.management().tokens().await)
        }),
        case!("TokenError", "Contended", "contended", async {
            let (scene, _) = Scene::with_bundle().await;
            let tokens = scene.management().tokens().await.expect("tokens");
            scene.metadata.fails(Fault::Conflict);
            provoked(scene.management().revoke_token(&tokens[0].id).await)
        }),
    ]
}

/// Restores the record of a worker for another bundle, or with the digest of another resolution.
async fn restored(right_bundle: bool) -> ErrorReport {
    let scene = Scene::with_worker().await;
    let record = scene.catalogue().get(&id("w")).await.expect("a worker").record;
    let json = scene.content().blob(record).await.expect("a record");
    let mut json: Value = serde_json::from_slice(&json).expect("JSON");
    let manifest = if right_bundle {
        json["digests"]["resolution"] = json!(Digest::of("another"));
        bundle(1).manifest().clone()
    } else {
        worker_runtime::shipped::bundle().expect("a bundle").manifest().clone()
    };
    let record = Record::from_json(&to_canonical(&json).expect("canonical")).expect("a record");
    provoked(record.restore(&manifest, &bundles::BundleLimits::default()))
}

fn resolvers() -> Vec<Case> {
    vec![
        case!("ResolverError", "Blob", "digest_mismatch", async {
            provoked(Scene::new().await.management().admit_resolver(Digest::of("x"), "y".into()).await)
        }),
        case!("ResolverError", "Metadata", "metadata_damaged", async {
            let scene = failing(None, Some(Fault::Damaged)).await;
            provoked(scene.management().resolver(Digest::of("x")).await)
        }),
        case!("ResolverError", "Load", "not_wasm", async {
            provoked(Scene::new().await.management().admit_resolver(Digest::of("x"), "x".into()).await)
        }),
        case!("ResolverError", "Contended", "contended", async {
            let scene = Scene::new().await;
            let (digest, component) = variant(1);
            scene.management().admit_resolver(digest, component.into()).await.expect("admitted");
            scene.metadata.fails(Some(Fault::Conflict));
            provoked(scene.management().activate_resolver(digest, ActivateRequest::UNCHECKED).await)
        }),
        case!("ResolverError", "Active", "resolver_active", async {
            let shipped = Digest::of(worker_runtime::shipped::RESOLVER);
            provoked(Scene::new().await.management().revoke_resolver(shipped).await)
        }),
        case!("ResolverError", "NoEarlier", "resolver_not_found", async {
            provoked(Scene::new().await.management().rollback_resolver().await)
        }),
        case!("ResolverError", "InUse", "in_use", async {
            let (digest, component) = variant(1);
            let config = CONFIG.replace("[workspaces.acme]", &format!("[workspaces.acme]\nresolver = \"{digest}\""));
            let scene = Scene::of(World { config, ..World::default() }).await;
            scene.management().admit_resolver(digest, component.into()).await.expect("admitted");
            provoked(scene.management().remove_resolver(digest).await)
        }),
        case!("LoadError", "Exceeds", "limit_exceeded", admits("many_tables")),
        case!("LoadError", "Invalid", "invalid_component", async {
            // All parts of this component are well-formed, but one function returns a wrong result.
            let component = "(component (core module (func (result i32))) (instance $none) \
                             (export \"yoi:resolver/resolve@1.0.0\" (instance $none)))";
            let component = wat::parse_str(component).expect("a component");
            provoked(Scene::new().await.management().admit_resolver(Digest::of(&component), component.into()).await)
        }),
        case!("LoadError", "CompileLimit", "compile_limit_exceeded", async {
            let mut limits = component_host::Limits::default();
            limits.compile.compile_memory_bytes = 20 << 20;
            // The built-in resolver is in the compile cache; a component with an additional section is not.
            let config = SandboxConfig {
                limits,
                compiler: compiling_child(),
                cache: Some(compile_cache()),
                ..SandboxConfig::default()
            };
            let sandbox = Sandbox::new(config).expect("a sandbox");
            let scene = Scene::of(World { sandbox, ..World::default() }).await;
            let mut other = worker_runtime::shipped::RESOLVER.to_vec();
            other.extend([0, 3, 2, b'n', b'o']);
            provoked(scene.management().admit_resolver(Digest::of(&other), other.into()).await)
        }),
    ]
}

/// Returns a compiler that runs this binary as its child.
pub(crate) fn compiling_child() -> Compiler {
    let arguments = ["--exact", "errors::compiling_child_process", "--ignored", "--nocapture"];
    let program = std::env::current_exe().expect("this binary");
    Compiler::Child { program, arguments: arguments.map(Into::into).to_vec() }
}

/// Run as a child process by another test: compiles a component.
#[test]
#[ignore = "is run by another test, to compile"]
fn compiling_child_process() {
    std::process::exit(component_host::compile::child::main().into());
}

async fn admits(hostile: &'static str) -> ErrorReport {
    let component = resolver(hostile);
    provoked(Scene::new().await.management().admit_resolver(Digest::of(&component), component.into()).await)
}

/// Creates a worker with the file tools and three mounts: `repo`, the terminals, and this process. The bundle allows
/// all paths except `forbidden`.
async fn with_files(prepare: fn(&Path), tools: Vec<Arc<dyn HostTool>>) -> (tempfile::TempDir, Scene) {
    let place = folder();
    prepare(place.path());
    let mount = |label: &str, path: &str, access: &str| {
        format!("mounts.{label} = {{ path = '{path}', access = '{access}' }}\n")
    };
    let config = format!(
        "[host]\ncapabilities = ['tool:fs.list', 'tool:fs.read', 'tool:fs.write']\n[workspaces.acme]\n\
         signatures = {{ posture = \"none\" }}\n{}{}{}",
        mount("repo", &place.path().display().to_string(), "write"),
        mount("terminals", "/dev/pts", "write"),
        mount("process", &format!("/proc/{}", std::process::id()), "read"),
    );
    let declared: String = ["list", "read", "write"]
        .map(|tool| {
            let policy = "policy = { paths = [\"*\", \"open/**\"] }";
            format!("[tools.\"fs.{tool}\"]\nsource = \"host\"\neffect = \"write\"\n{policy}\n")
        })
        .concat();
    let manifest = format!(
        "schema = \"yoi.config-bundle/1\"\nrevision = 1\ncreated_at = \"2026-06-25T15:49:30Z\"\nlanguage = \"en\"\n\
         [workspace]\nid = \"acme\"\n{declared}"
    );
    let profile = "tools_allow = [\"fs.list\", \"fs.read\", \"fs.write\"]\nrequires = [\"mount:repo:write\", \
                   \"mount:terminals:write\", \"mount:process:read\"]";
    let files = [
        ("bundle.toml", manifest.as_str()),
        ("profiles/plain.toml", "instructions = [\"hello\"]"),
        ("profiles/trusted.toml", profile),
    ];
    let limits = RuntimeLimits { call_bytes: 4 << 20, ..RuntimeLimits::default() };
    let world = World { config, limits, tools, ..World::default() };
    (place, Scene::with_worker_in(world, &bundle_of("acme", 1, &files)).await)
}

fn file_tools() -> Vec<Arc<dyn HostTool>> {
    fs::tools().expect("three").into()
}

/// A tool whose threads have ended, because the embedding program shut its runtime down.
#[derive(Debug)]
struct Threadless(Arc<dyn HostTool>);

#[async_trait]
impl HostTool for Threadless {
    fn name(&self) -> &ToolName {
        self.0.name()
    }

    fn needs(&self) -> &[Authority] {
        self.0.needs()
    }

    async fn call(&self, context: ToolContext, input: Value) -> Result<Value, ToolError> {
        let ended = tokio::runtime::Builder::new_current_thread().build().expect("started");
        let there = ended.handle().clone();
        ended.shutdown_background();
        let mut call = self.0.call(context, input);
        std::future::poll_fn(|context| {
            let _there = there.enter();
            call.as_mut().poll(context)
        })
        .await
    }
}

/// Returns the code of a file tool in a prepared mount.
async fn touches(prepare: fn(&Path), tool: &'static str, mut input: Value) -> ErrorReport {
    let (place, scene) = with_files(prepare, file_tools()).await;
    // Another process holds the lock during the attempts of the call.
    let locked = std::fs::File::open(place.path()).expect("opened");
    if input["locked"] == json!(true) {
        input.as_object_mut().expect("an object").remove("locked");
        locked.lock().expect("locked");
    }
    input.as_object_mut().expect("an object").entry("mount").or_insert(json!("repo"));
    refused_by_tool(scene.call(tool, input).await)
}

/// Returns the error of a call with the code of the tool.
fn refused_by_tool(result: Result<CallResult, CallError>) -> ErrorReport {
    let code = result.as_ref().map_or_else(CallError::recorded_code, |_| "ok").to_owned();
    ErrorReport { code, ..provoked(result) }
}

fn files() -> Vec<Case> {
    fn file(place: &Path) {
        std::fs::write(place.join("file"), "text").expect("written");
    }
    fn nothing(_: &Path) {}
    macro_rules! told {
        ($code:literal, $prepare:expr, $tool:literal, $input:tt) => {
            case!("ToolError", "Refused", $code, touches($prepare, $tool, json!($input)))
        };
    }
    vec![
        told!("invalid_input", nothing, "fs.read", { "path": 7 }),
        told!("invalid_path", nothing, "fs.read", { "path": "../x" }),
        told!("invalid_glob", nothing, "fs.list", { "glob": "[a" }),
        told!("text_too_large", nothing, "fs.write", { "path": "x", "text": "x".repeat((1 << 20) + 1) }),
        told!("path_not_allowed", nothing, "fs.read", { "path": "closed/x" }),
        told!("file_not_found", nothing, "fs.read", { "path": "x" }),
        told!("outside_mount", |place| symlink("..", place.join("open")).expect("a link"), "fs.list", { "path": "open" }),
        told!("link_loop", |place| symlink("x", place.join("x")).expect("a link"), "fs.read", { "path": "x" }),
        told!("not_a_file", |place| std::fs::create_dir(place.join("x")).expect("made"), "fs.read", { "path": "x" }),
        told!("not_a_folder", |place| std::fs::write(place.join("open"), "").expect("written"), "fs.list", { "path": "open" }),
        told!(
            "file_too_large",
            |place| std::fs::File::create(place.join("x")).and_then(|file| file.set_len(65 << 20)).expect("made"),
            "fs.read",
            { "path": "x" }
        ),
        told!("not_utf8", |place| std::fs::write(place.join("x"), [0xff]).expect("written"), "fs.read", { "path": "x" }),
        told!("file_exists", file, "fs.write", { "path": "file", "text": "new" }),
        told!("file_changed", file, "fs.write", { "path": "file", "text": "new", "replaces": Digest::of("other") }),
        told!(
            "file_read_only",
            |place| {
                file(place);
                mode(&place.join("file"), 0o444);
            },
            "fs.write",
            { "path": "file", "text": "new", "replaces": Digest::of("text") }
        ),
        // A call waits ten seconds for a concurrent writer.
        told!("file_in_use", nothing, "fs.write", { "path": "new", "text": "new", "locked": true }),
        // Terminals reject the creation of files, and `/proc` files reject reads from the first byte.
        told!("file_forbidden", nothing, "fs.write", { "mount": "terminals", "path": "new", "text": "new" }),
        told!("file_unavailable", nothing, "fs.read", { "mount": "process", "path": "mem" }),
        case!("ToolError", "Refused", "call_ended", async {
            let tools = file_tools().into_iter().map(|tool| Arc::new(Threadless(tool)) as Arc<dyn HostTool>);
            let (_place, scene) = with_files(|_| {}, tools.collect()).await;
            refused_by_tool(scene.call("fs.read", json!({ "mount": "repo", "path": "x" })).await)
        }),
    ]
}

fn cases() -> Vec<Case> {
    [stores(), secrets(), opening(), content(), resolvers(), files()].into_iter().flatten().collect()
}

/// Runs all cases here and in `problems`, and returns the provoked codes.
fn all_provoked() -> BTreeSet<String> {
    let mut codes: BTreeSet<String> = problems::cases().iter().map(|case| case.code.to_owned()).collect();
    let mut note = |told: ErrorReport| {
        // No message contains a path of this machine.
        assert!(!told.says.contains(&*std::env::temp_dir().to_string_lossy()), "{}", told.says);
        codes.insert(told.code);
    };
    let mut wrong = Vec::new();
    for case in cases() {
        let mut told = run((case.provoke)());
        let of = (case.of.0.to_owned(), case.of.1.to_owned());
        if !told.variants.contains(&of) || told.code != case.code {
            wrong.push(format!("{of:?} with `{}`, and it is `{}`: {}", case.code, told.code, told.says));
        }
        if case.of == ("ToolError", "Refused") {
            // The code is the tool's own, and not a code of the Runtime that has the same spelling.
            told.code = Code::ToolRefused.to_string();
        }
        note(told);
    }
    assert!(wrong.is_empty(), "not what was to be provoked: {wrong:#?}");
    told_by_the_library().into_iter().for_each(|(_, told)| note(told));
    refused_components().into_iter().for_each(&mut note);
    #[cfg(target_os = "linux")]
    apart::told().into_iter().for_each(note);
    codes
}

/// Hostile components that are refused when they are loaded.
fn refused_components() -> Vec<ErrorReport> {
    let refused =
        hostile::all().into_iter().filter(|one| matches!(one.expect, Expect::RefusedLoad(_) | Expect::RefusedLink));
    run(Box::pin(async {
        let scene = Scene::new().await;
        let mut told = Vec::new();
        for hostile in refused {
            let (digest, bytes) = (Digest::of(&hostile.bytes), hostile.bytes.into());
            let one = provoked(scene.management().admit_resolver(digest, bytes).await);
            if let Expect::RefusedLoad(code) = hostile.expect {
                assert_eq!(one.code, code, "{}", hostile.name);
            }
            told.push(one);
        }
        told
    }))
}

#[test]
fn every_error_code_is_either_provoked_or_excused() {
    let provoked = all_provoked();
    let excused: BTreeSet<Code> = NOT_PROVOKED.iter().flat_map(|(_, codes)| codes.iter().copied()).collect();
    let wrong: Vec<_> =
        Code::ALL.iter().filter(|code| provoked.contains(code.as_str()) == excused.contains(code)).collect();
    assert!(wrong.is_empty(), "neither provoked nor excused, or both: {wrong:?}");
}
