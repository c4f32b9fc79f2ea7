//! The package: a canonical tar of `plugin.toml` and `component.wasm`, in this order.
//!
//! A folder with these two files and its archive are the same package with the same digest. A [`Package`] can only be
//! created by verifying its bytes. The component is not compiled and not examined beyond its first eight bytes.

use error_code::Code;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use cap_std::fs::Dir;

use super::manifest::{MANIFEST, PluginManifest};
use crate::blob::Blob;
use crate::canonical_tar::{self, TarProblem, packed_bytes};
use crate::diagnostic::Diagnostics;
use crate::digest::Digest;
use crate::folder::{FolderError, read_file};
use crate::limits::BundleLimits;
use crate::manifest::BlobRef;
use crate::names::shown_file;

/// Name of the component in every form of a package.
pub const COMPONENT: &str = "component.wasm";

/// First bytes of a component: magic number, version and layer.
const COMPONENT_HEADER: &[u8; 8] = b"\0asm\x0d\0\x01\0";

/// First bytes of a core module.
const MODULE_HEADER: &[u8; 8] = b"\0asm\x01\0\0\0";

/// Error returned when bytes or a folder are not a valid package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The package or one of its files is larger than allowed.
    #[error("{what} exceeds limit `{limit}` ({actual} > {allowed} bytes)")]
    TooLarge {
        /// The package, or the name of the file.
        what: &'static str,
        /// Name of the limit.
        limit: &'static str,
        /// Size in bytes.
        actual: usize,
        /// Maximum size in bytes.
        allowed: usize,
    },
    /// The bytes are not a tar.
    #[error("file is not a plugin package")]
    NotAPackage,
    /// An entry is not a regular file.
    #[error("`{name}` in the package is not a regular file")]
    NotAFile {
        /// Name of the entry, in a form that can be shown.
        name: String,
    },
    /// An entry has another name than the two files of a package.
    #[error("unexpected file `{name}` in the package")]
    UnexpectedFile {
        /// Name of the entry, in a form that can be shown.
        name: String,
    },
    /// Two entries have the same name.
    #[error("duplicate file `{name}` in the package")]
    DuplicateFile {
        /// Name of the entry.
        name: &'static str,
    },
    /// A file of the package is missing.
    #[error("`{name}` not found in the package")]
    MissingFile {
        /// Name of the file.
        name: &'static str,
    },
    /// The archive has another spelling than the one that packing its files gives.
    #[error("package is not in canonical form")]
    NotCanonical,
    /// The component is a core module.
    #[error("`{COMPONENT}` is a core module, not a component")]
    CoreModule,
    /// The component is not WebAssembly.
    #[error("`{COMPONENT}` is not a WebAssembly component")]
    NotAComponent,
    /// The folder of the package cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The `plugin.toml` has errors.
    #[error("{}", first(.0))]
    Manifest(Diagnostics),
}

fn first(diagnostics: &Diagnostics) -> String {
    match diagnostics.list.as_slice() {
        [] => format!("invalid `{MANIFEST}`"),
        [one] => one.message.clone(),
        [one, rest @ ..] => format!("{} (and {} more)", one.message, rest.len()),
    }
}

impl PackageError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => Code::TooLarge,
            Self::NotAPackage => Code::NotAPackage,
            Self::NotAFile { .. } => Code::NotAFile,
            Self::UnexpectedFile { .. } => Code::UnexpectedFile,
            Self::DuplicateFile { .. } => Code::DuplicateName,
            Self::MissingFile { .. } => Code::MissingFile,
            Self::NotCanonical => Code::NotCanonical,
            Self::CoreModule => Code::CoreModule,
            Self::NotAComponent => Code::NotWasm,
            Self::Folder(error) => error.code(),
            Self::Manifest(diagnostics) => diagnostics.list.first().map_or(Code::NotAPackage, |one| one.code),
        }
    }

    /// Returns the recommended action.
    pub fn help(&self) -> String {
        let help = match self {
            Self::TooLarge { limit, .. } => return format!("make the plugin smaller, or raise `{limit}`"),
            Self::NotAPackage => "name a folder with a `plugin.toml`, or pack one again",
            Self::NotAFile { .. } | Self::UnexpectedFile { .. } | Self::DuplicateFile { .. } | Self::NotCanonical => {
                "pack the folder of the plugin again: a package has exactly two files"
            }
            Self::MissingFile { name } if *name == COMPONENT => "build the component, and copy it beside `plugin.toml`",
            Self::MissingFile { .. } => "name a folder with a `plugin.toml` and a `component.wasm`",
            Self::CoreModule => "turn the module into a component, for example with `wasm-tools component new`",
            Self::NotAComponent => "build a component for a world of `yoi:runtime`, in the binary format",
            Self::Folder(error) => error.help(),
            Self::Manifest(diagnostics) => {
                return diagnostics.list.first().map(|one| one.help.clone()).unwrap_or_default();
            }
        };
        help.to_owned()
    }
}

impl From<TarProblem> for PackageError {
    fn from(problem: TarProblem) -> Self {
        match problem {
            TarProblem::NotATar => Self::NotAPackage,
            TarProblem::NotAFile { name } => Self::NotAFile { name: shown_name(&name) },
        }
    }
}

fn shown_name(name: &[u8]) -> String {
    crate::names::shown(&shown_file(&String::from_utf8_lossy(name)))
}

/// A verified package. Cheap to clone.
#[derive(Clone)]
pub struct Package {
    blob: Blob,
    manifest: Arc<PluginManifest>,
    /// Bytes of the component in the package.
    component: Range<usize>,
}

/// Packs the two files of a package. The bytes are the same on every machine. [`Package::open`] verifies them.
pub fn pack(manifest: &[u8], component: &[u8]) -> Vec<u8> {
    canonical_tar::pack([(MANIFEST, manifest), (COMPONENT, component)].into_iter())
}

impl Package {
    /// Verifies the bytes of a package.
    pub fn open(package: impl Into<Blob>, limits: &BundleLimits) -> Result<Self, PackageError> {
        let blob = package.into();
        let bytes: &[u8] = blob.bytes();
        within("package", ("package_bytes", limits.package_bytes), bytes.len())?;
        let (mut manifest, mut component) = (None, None);
        canonical_tar::entries(bytes, |entry| {
            let (name, file) = match entry.name.as_slice() {
                name if name == MANIFEST.as_bytes() => (MANIFEST, &mut manifest),
                name if name == COMPONENT.as_bytes() => (COMPONENT, &mut component),
                other => return Err(PackageError::UnexpectedFile { name: shown_name(other) }),
            };
            within(name, limit_of(name, limits), entry.content.len())?;
            match file.replace(entry.content) {
                Some(_) => Err(PackageError::DuplicateFile { name }),
                None => Ok(()),
            }
        })?;
        let manifest: &[u8] = manifest.ok_or(PackageError::MissingFile { name: MANIFEST })?;
        let component: &[u8] = component.ok_or(PackageError::MissingFile { name: COMPONENT })?;
        if pack(manifest, component) != bytes {
            return Err(PackageError::NotCanonical);
        }
        check_component(component)?;
        let manifest = PluginManifest::parse(manifest, limits).map_err(PackageError::Manifest)?;
        // The component is the last file, and the archive is canonical.
        let end = bytes.len() - packed_bytes(std::iter::empty());
        let start = end - component.len().next_multiple_of(512);
        let component = start..start + component.len();
        Ok(Self { blob, manifest: manifest.into(), component })
    }

    /// Reads a package from a folder with its two files. Other files in the folder are not read.
    pub fn read(dir: &Dir, limits: &BundleLimits) -> Result<Self, PackageError> {
        let file = |name: &'static str| {
            let (limit, allowed) = limit_of(name, limits);
            read_file(dir, name, allowed, limit).map_err(|error| match error {
                FolderError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                    PackageError::MissingFile { name }
                }
                error => error.into(),
            })
        };
        Self::of_files(&file(MANIFEST)?, || file(COMPONENT), limits)
    }

    /// Packs and verifies two files. An error in the manifest is reported before a component that is not built yet.
    pub(crate) fn of_files(
        manifest: &[u8],
        component: impl FnOnce() -> Result<Arc<[u8]>, PackageError>,
        limits: &BundleLimits,
    ) -> Result<Self, PackageError> {
        PluginManifest::parse(manifest, limits).map_err(PackageError::Manifest)?;
        Self::open(pack(manifest, &component()?), limits)
    }

    /// Returns the digest of the bytes.
    pub fn digest(&self) -> Digest {
        self.blob.digest()
    }

    /// Returns the reference that a bundle has to this package.
    pub fn reference(&self) -> BlobRef {
        // The size of every package is below `package_bytes`.
        BlobRef { digest: self.digest(), size: u32::try_from(self.blob.bytes().len()).unwrap_or(u32::MAX) }
    }

    /// Returns the bytes of the package.
    pub fn blob(&self) -> &Blob {
        &self.blob
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &PluginManifest {
        &self.manifest
    }

    /// Returns the bytes of the component.
    pub fn component(&self) -> &[u8] {
        self.blob.bytes().get(self.component.clone()).unwrap_or_default()
    }
}

impl fmt::Debug for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Package").field("digest", &self.digest()).field("name", self.manifest.name()).finish()
    }
}

fn limit_of(file: &str, limits: &BundleLimits) -> (&'static str, usize) {
    match file {
        COMPONENT => ("component_bytes", limits.component_bytes),
        _ => ("plugin_toml_bytes", limits.plugin_toml_bytes),
    }
}

fn within(what: &'static str, (limit, allowed): (&'static str, usize), actual: usize) -> Result<(), PackageError> {
    if actual > allowed { Err(PackageError::TooLarge { what, limit, actual, allowed }) } else { Ok(()) }
}

/// Checks the first bytes only. A host examines the component before it compiles it.
fn check_component(component: &[u8]) -> Result<(), PackageError> {
    match component.first_chunk::<8>() {
        Some(COMPONENT_HEADER) => Ok(()),
        Some(MODULE_HEADER) => Err(PackageError::CoreModule),
        _ => Err(PackageError::NotAComponent),
    }
}

#[cfg(test)]
mod tests {
    use cap_std::ambient_authority;
    use proptest::prelude::*;

    use super::*;
    use crate::plugin::tests::SAMPLE;

    /// Returns an empty component.
    fn component() -> Vec<u8> {
        COMPONENT_HEADER.to_vec()
    }

    fn sample() -> Vec<u8> {
        pack(SAMPLE.as_bytes(), &component())
    }

    fn open(bytes: Vec<u8>) -> Result<Package, PackageError> {
        Package::open(bytes, &BundleLimits::default())
    }

    #[track_caller]
    fn code(bytes: Vec<u8>) -> Code {
        let error = open(bytes).expect_err("not a package");
        assert!(!error.help().is_empty() && !error.to_string().is_empty());
        error.code()
    }

    /// Returns a tar of these entries in deterministic form, whatever they are.
    fn tar_of(entries: &[(&[u8], tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_ustar();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name);
            if *kind != tar::EntryType::Regular {
                header.set_entry_type(*kind);
            }
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_cksum();
            tar.append(&header, *content).expect("appended");
        }
        tar.into_inner().expect("bytes")
    }

    #[test]
    fn package_has_its_manifest_component_and_digest() {
        let large: Vec<u8> = component().into_iter().chain([7; 1000]).collect();
        for component in [component(), large] {
            let bytes = pack(SAMPLE.as_bytes(), &component);
            let package = open(bytes.clone()).expect("a package");
            assert!(package.component() == component);
            assert_eq!(package.manifest().name().as_str(), "issue-tracker");
            assert_eq!(package.digest(), Digest::of(&bytes));
            assert_eq!(package.reference().size as usize, bytes.len());
            assert_eq!(format!("{package:?}").matches("sha256:").count(), 1);
        }
    }

    #[test]
    fn packing_has_one_result() {
        assert!(sample() == sample());
        // The form is fixed: a bundle names a package by this digest.
        insta::assert_snapshot!(Digest::of(pack(b"a", b"b")), @"sha256:c5396a226de1429580ab52dcab3085aaf70e86ea2a019581f29e5d9a2bbaf27d");
    }

    #[test]
    fn folder_and_archive_have_one_digest_and_other_files_do_not_count() {
        let place = tempfile::tempdir().expect("a folder");
        std::fs::write(place.path().join(MANIFEST), SAMPLE).expect("written");
        let dir = Dir::open_ambient_dir(place.path(), ambient_authority()).expect("opened");
        let limits = BundleLimits::default();
        assert_eq!(Package::read(&dir, &limits).expect_err("no component").code(), "missing_file");
        std::fs::write(place.path().join(COMPONENT), component()).expect("written");
        std::fs::write(place.path().join("README.md"), "Sources are elsewhere.").expect("written");
        let package = Package::read(&dir, &limits).expect("a package");
        assert_eq!(package.digest(), Digest::of(sample()));
        assert!(package.blob().bytes().as_ref() == sample());
        let small = BundleLimits { component_bytes: 7, ..limits.clone() };
        let error = Package::read(&dir, &small).expect_err("too large");
        assert!(error.to_string().contains("`component_bytes`"), "{error}");
        std::fs::write(place.path().join(MANIFEST), SAMPLE.replace("1.4.0", "1.4")).expect("written");
        assert_eq!(Package::read(&dir, &limits).expect_err("a version").code(), "invalid_version");
        std::fs::remove_file(place.path().join(MANIFEST)).expect("removed");
        assert_eq!(Package::read(&dir, &limits).expect_err("no manifest").code(), "missing_file");
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(place.path().join("README.md"), place.path().join(MANIFEST)).expect("linked");
            assert_eq!(Package::read(&dir, &limits).expect_err("a link").code(), "not_a_file");
        }
    }

    #[test]
    fn archive_with_anything_but_the_two_files_is_refused() {
        use tar::EntryType::{Directory, Link, Regular, Symlink, XHeader};
        let (manifest, wasm) = (SAMPLE.as_bytes(), component());
        let both: [(&[u8], _, &[u8]); 2] =
            [(MANIFEST.as_bytes(), Regular, manifest), (COMPONENT.as_bytes(), Regular, &wasm)];
        assert!(tar_of(&both) == sample());
        open(tar_of(&both)).expect("a package");
        for (name, kind, expected) in [
            (&b"plugin.toml"[..], Symlink, "not_a_file"),
            (b"plugin.toml", Link, "not_a_file"),
            (b"plugin.toml", Directory, "not_a_file"),
            (b"plugin.toml", XHeader, "not_a_file"),
            (b"../plugin.toml", Regular, "unexpected_file"),
            (b"/plugin.toml", Regular, "unexpected_file"),
            (b"./plugin.toml", Regular, "unexpected_file"),
            (b"a/../plugin.toml", Regular, "unexpected_file"),
            (b"PLUGIN.TOML", Regular, "unexpected_file"),
            (b"README.md", Regular, "unexpected_file"),
            (b"\xff\x1b[2J", Regular, "unexpected_file"),
            (b"", Regular, "unexpected_file"),
            (b"plugin.toml", Regular, "duplicate_name"),
            (b"component.wasm", Regular, "duplicate_name"),
        ] {
            for place in 0..=2 {
                let mut entries = both.to_vec();
                entries.insert(place, (name, kind, b""));
                let error = open(tar_of(&entries)).expect_err("another entry");
                assert_eq!(error.code(), expected, "{name:?} {kind:?} at {place}");
                assert!(!error.to_string().chars().any(char::is_control), "{error}");
            }
        }
        assert_eq!(code(tar_of(&both[..1])), "missing_file");
        assert_eq!(code(tar_of(&both[1..])), "missing_file");
        let mut swapped = both;
        swapped.reverse();
        assert_eq!(code(tar_of(&swapped)), "not_canonical");
    }

    #[test]
    fn other_bytes_of_the_same_files_are_refused() {
        let longer = [sample(), vec![0; 512]].concat();
        assert_eq!(code(longer), "not_canonical");
        assert_eq!(code([sample(), b"more".to_vec()].concat()), "not_canonical");
        assert_eq!(code([sample(), sample()].concat()), "not_canonical");
        let mut padded = sample();
        let last = padded.len() - 1024 - 1;
        padded[last] = 1;
        assert_eq!(code(padded), "not_canonical");
        for bytes in [&b""[..], b"\0asm", &[0; 512], &[b'x'; 2048]] {
            assert!(matches!(code(bytes.to_vec()), Code::NotAPackage | Code::MissingFile), "{bytes:?}");
        }
    }

    #[test]
    fn file_that_is_not_a_component_is_refused() {
        let with = |component: &[u8]| pack(SAMPLE.as_bytes(), component);
        assert_eq!(code(with(MODULE_HEADER)), "core_module");
        for other in
            [&b""[..], b"\0asm", b"(component)", b"\0asm\x0c\0\x01\0", b"\0asm\x0d\0\0\0", b"\0elf\x0d\0\x01\0"]
        {
            assert_eq!(code(with(other)), "not_wasm", "{other:?}");
        }
        open(with(COMPONENT_HEADER)).expect("a package");
    }

    #[test]
    fn every_limit_is_named_in_its_error() {
        let bytes = sample();
        let exact = BundleLimits {
            package_bytes: bytes.len(),
            plugin_toml_bytes: SAMPLE.len(),
            component_bytes: 8,
            ..BundleLimits::default()
        };
        Package::open(bytes.clone(), &exact).expect("a package");
        for (name, limits) in [
            ("package_bytes", BundleLimits { package_bytes: bytes.len() - 1, ..exact.clone() }),
            ("plugin_toml_bytes", BundleLimits { plugin_toml_bytes: SAMPLE.len() - 1, ..exact.clone() }),
            ("component_bytes", BundleLimits { component_bytes: 7, ..exact.clone() }),
        ] {
            let error = Package::open(bytes.clone(), &limits).expect_err(name);
            assert_eq!(error.code(), "too_large");
            assert!(error.to_string().contains(&format!("`{name}`")) && error.help().contains(name), "{error}");
        }
    }

    #[test]
    fn error_in_the_manifest_has_its_place() {
        let error =
            open(pack(SAMPLE.replace("\"read\"", "\"write\"").as_bytes(), &component())).expect_err("an effect");
        let PackageError::Manifest(diagnostics) = &error else { panic!("{error:?}") };
        assert_eq!((error.code(), diagnostics.list[0].line), (Code::InvalidValue, 11));
    }

    /// Asserts that bytes are refused, or are a package that is packed to the same bytes.
    fn refused_or_same(bytes: Vec<u8>) -> bool {
        match open(bytes.clone()) {
            Ok(package) => {
                assert_eq!(package.digest(), Digest::of(&bytes));
                let start = 512;
                let manifest = &bytes[start..start + SAMPLE.len()];
                assert!(pack(manifest, package.component()) == bytes || bytes.len() != sample().len());
                true
            }
            Err(error) => {
                assert!(!error.help().is_empty());
                false
            }
        }
    }

    #[test]
    fn flipped_byte_outside_of_the_files_is_refused() {
        let bytes = sample();
        let component_header = 512 + SAMPLE.len().next_multiple_of(512);
        let files = [512..512 + SAMPLE.len(), component_header + 512..component_header + 520];
        for place in (0..bytes.len()).filter(|place| !files.iter().any(|file| file.contains(place))) {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert!(!refused_or_same(changed), "byte {place}");
        }
    }

    proptest! {
        #[test]
        fn changed_archive_is_refused_or_has_its_own_digest(
            place in any::<prop::sample::Index>(),
            end in any::<prop::sample::Index>(),
            byte: u8,
            inserted in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let bytes = sample();
            let place = place.index(bytes.len());
            let mut flipped = bytes.clone();
            flipped[place] = byte;
            refused_or_same(flipped);
            prop_assert!(!refused_or_same(bytes[..place].to_vec()));
            let mut longer = bytes.clone();
            longer.splice(place..place, inserted.iter().copied());
            refused_or_same(longer);
            let end = place + end.index(bytes.len() - place);
            let mut shorter = bytes.clone();
            shorter.drain(place..end);
            refused_or_same(shorter);
        }

        #[test]
        fn packed_files_are_opened_again(more in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let component = [component(), more].concat();
            let bytes = pack(SAMPLE.as_bytes(), &component);
            let package = open(bytes.clone()).expect("a package");
            prop_assert!(package.component() == component);
            prop_assert_eq!(bytes.len(), packed_bytes([SAMPLE.len(), component.len()].into_iter()));
        }
    }
}
