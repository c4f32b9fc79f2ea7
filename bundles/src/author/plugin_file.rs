//! `plugins/NAME.toml`: the descriptor of a plugin and its requested permissions.

use error_code::Code;
use std::collections::BTreeMap;

use super::section::{Section, Spot};
use super::{Author, FileReader};
use crate::check::unknown_surface;
use crate::digest::Digest;
use crate::folder::package_of;
use crate::limits::BundleLimits;
use crate::manifest::{BlobRef, Effect, PLUGIN_SURFACES, PermissionRequest, Permissions, Plugin, SecretRequest};
use crate::names::{PluginName, Surface, ToolName, shown};
use crate::plugin::{COMPONENT, MANIFEST, Package, PackageError};
use crate::pointer::Pointer;
use crate::secret_placement::SecretPlacement;
use crate::url_permission::{UrlPermission, WrittenUrlPermission};

/// Help line for a missing package.
const PACKAGE_HELP: &str =
    "write `package = { digest = \"sha256:…\", size = … }`, or name a package in the folder `plugins`";

/// Help line for a missing world.
pub(super) const WORLD_HELP: &str = "name the world that the component implements, such as `yoi:runtime/tool@1.0.0`";

/// Replaces a value that the author left out.
fn take<T>(is_taken: bool, written: &mut T, derived: T) {
    if is_taken {
        *written = derived;
    }
}

impl Author<'_> {
    pub(super) fn plugins(&mut self, limits: &BundleLimits) -> BTreeMap<PluginName, Plugin> {
        let mut plugins = BTreeMap::new();
        for (file, inside) in self.files_of("plugins") {
            if package_of(file).is_some() {
                continue;
            }
            let Some(stem) = inside.strip_suffix(".toml") else {
                self.unexpected(
                    file,
                    "plugins are described by `.toml` files, and packages are `.tar` files or folders",
                );
                continue;
            };
            let Some(name) = self.file_name::<PluginName>(file, stem) else { continue };
            let at = Pointer::root().key("plugins").key(&name);
            self.at_file(at.clone(), file);
            match self.toml(file, |reader, section| reader.plugin(section, &at, &name, limits)).flatten() {
                Some(plugin) => {
                    plugins.insert(name, plugin);
                }
                None => {
                    self.unread.insert(at);
                }
            }
        }
        plugins
    }

    /// Opens the package `plugins/NAME` of the folder: a packed file, or a folder with two files.
    fn open_package(&self, name: &str, limits: &BundleLimits) -> Result<Package, PackageError> {
        let file = |name: &str| self.folder.stored_bytes(&format!("plugins/{name}"));
        if let Some(packed) = file(name) {
            return Package::open(packed.into_owned(), limits);
        }
        let part = |part: &'static str| file(&format!("{name}/{part}")).ok_or(PackageError::MissingFile { name: part });
        Package::of_files(&part(MANIFEST)?, || Ok(part(COMPONENT)?.into_owned().into()), limits)
    }
}

/// Effects that a plugin's tool can have. A plugin has no mounts, so it cannot change files in them.
pub(super) const PLUGIN_EFFECTS: [(&str, Effect); 3] =
    [("none", Effect::None), ("read", Effect::Read), ("external", Effect::External)];

impl FileReader<'_, '_> {
    /// Reads a descriptor. What it leaves out is taken from its package, if the package is in the folder.
    fn plugin(
        &mut self,
        section: &mut Section<'_>,
        at: &Pointer,
        name: &PluginName,
        limits: &BundleLimits,
    ) -> Option<Plugin> {
        let named = self.package_name(section);
        let is_named = named.is_some();
        let derived = named.and_then(|spot| {
            self.place(at.key("package"), spot.span.clone());
            let package = self.package_in_folder(spot, limits)?;
            let derived = package.manifest().descriptor(package.reference());
            self.author.packages.insert(name.clone(), package);
            Some(derived)
        });
        let is_taken = |section: &Section<'_>, key: &str| is_named && !section.has_any(&[key]);
        let package = if is_named { derived.as_ref().map(|plugin| plugin.package) } else { self.package(section, at) };
        let version = if is_taken(section, "version") {
            derived.as_ref().map(|plugin| plugin.version.clone())
        } else {
            self.version(section, at)
        };
        let world = if is_taken(section, "world") {
            derived.as_ref().map(|plugin| plugin.world.clone())
        } else {
            self.needed(section, "world", at, WORLD_HELP)
        };
        let description = self.text(section, "description", at);
        let surfaces = self.surfaces(section, &at.key("surfaces"));
        let tools = self.effects(section, &at.key("tools"));
        let ingress = self.list(section, "ingress", &at.key("ingress")).unwrap_or_default();
        let permissions = self.permissions(section, &at.key("permissions"));
        let mut plugin = Plugin {
            version: version?,
            package: package?,
            world: world?,
            description: description.unwrap_or_default(),
            surfaces,
            tools,
            ingress: ingress.into_iter().collect(),
            permissions,
        };
        if let Some(derived) = derived {
            let (written, asked) = (&mut plugin.permissions, derived.permissions);
            take(is_taken(section, "description"), &mut plugin.description, derived.description);
            take(is_taken(section, "surfaces"), &mut plugin.surfaces, derived.surfaces);
            take(is_taken(section, "tools"), &mut plugin.tools, derived.tools);
            take(is_taken(section, "ingress"), &mut plugin.ingress, derived.ingress);
            take(is_taken(section, "requests"), &mut written.requests, asked.requests);
            take(is_taken(section, "websockets"), &mut written.websockets, asked.websockets);
            take(is_taken(section, "secrets"), &mut written.secrets, asked.secrets);
        }
        Some(plugin)
    }

    /// Returns the name of a package in the folder, if the descriptor names one instead of digest and size.
    fn package_name(&mut self, section: &mut Section<'_>) -> Option<Spot<String>> {
        let value = self.value(section, "package")?;
        value.get_ref().as_str().map(|name| Spot { value: name.to_owned(), span: value.span() })
    }

    fn package_in_folder(&mut self, name: Spot<String>, limits: &BundleLimits) -> Option<Package> {
        let Spot { value: name, span } = name;
        self.author.package_names.insert(name.clone());
        let is_told = |refused: &crate::folder::RefusedEntry| {
            refused.file.strip_prefix("plugins/").is_some_and(|file| file.split('/').next() == Some(name.as_str()))
        };
        if self.author.folder.refused().iter().any(is_told) {
            return None;
        }
        if !self.author.folder.iter().any(|(file, _)| package_of(file) == Some(name.as_str())) {
            let message = format!("package `{}` not found beside the descriptor", shown(&name));
            let help = "name a packed file such as `NAME.tar`, or a folder with `plugin.toml` and `component.wasm`";
            self.report(span, Code::DanglingName, message, help);
            return None;
        }
        match self.author.open_package(&name, limits) {
            Ok(package) => return Some(package),
            Err(PackageError::Manifest(diagnostics)) => {
                let file = format!("plugins/{name}/{MANIFEST}");
                let is_folder = self.author.folder.get(&file).is_some();
                for mut one in diagnostics.list {
                    if is_folder {
                        one.file.clone_from(&file);
                        self.author.diagnostics.push(one);
                    } else {
                        // A packed file has no lines to show.
                        let message = format!("{} at line {} of `{MANIFEST}`", one.message, one.line);
                        self.report(span.clone(), one.code, message, one.help);
                    }
                }
            }
            Err(error) => self.report(span, error.code(), error.to_string(), error.help()),
        }
        None
    }

    pub(super) fn version(&mut self, section: &mut Section<'_>, at: &Pointer) -> Option<semver::Version> {
        let help = "write a semantic version such as `1.4.0`";
        if !section.has_any(&["version"]) {
            self.missing(section, "version", help);
        }
        let spot = self.spot(section, "version")?;
        self.place(at.key("version"), spot.span.clone());
        let version = semver::Version::parse(&spot.value).ok();
        if version.is_none() {
            self.report(spot.span, Code::InvalidVersion, "invalid version".to_owned(), help);
        }
        version
    }

    /// Reads the effects of tools, by name.
    fn effects(&mut self, section: &mut Section<'_>, at: &Pointer) -> BTreeMap<ToolName, Effect> {
        let Some(value) = self.value(section, "tools") else { return BTreeMap::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.expected(value, "a table of effects");
            return BTreeMap::new();
        };
        self.place(at.clone(), value.span());
        let mut effects = BTreeMap::new();
        for (name, value) in table.iter() {
            let tool = self.grammar::<ToolName>(name.get_ref(), name.span());
            let effect = self.string(value).and_then(|spot| self.word(spot, "effect", &PLUGIN_EFFECTS));
            let effect = self.declared(&at.key(name.get_ref()), effect);
            if let (Some(tool), Some(effect)) = (tool, effect) {
                self.place(at.key(&tool), value.span());
                effects.insert(tool, effect);
            }
        }
        effects
    }

    /// Reads the permissions that a plugin requests. `at` is their place in a bundle's manifest.
    pub(super) fn permissions(&mut self, section: &mut Section<'_>, at: &Pointer) -> Permissions {
        Permissions {
            requests: self.targets(section, "requests", at),
            websockets: self.targets(section, "websockets", at),
            secrets: self.secrets(section, at),
        }
    }

    /// Reads the surfaces. A name with capitals is reported as an unknown surface, with a suggestion.
    pub(super) fn surfaces(&mut self, section: &mut Section<'_>, at: &Pointer) -> Vec<Surface> {
        let Some(value) = self.value(section, "surfaces") else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.expected(value, "a list of strings");
            return Vec::new();
        };
        self.place(at.clone(), value.span());
        if items.is_empty() {
            let known = PLUGIN_SURFACES.map(|known| format!("`{known}`")).join(", ");
            let help = format!("name one of {known}, or leave `surfaces` out");
            self.report(value.span(), Code::InvalidField, "`surfaces` is empty".to_owned(), help);
        }
        let mut surfaces = Vec::new();
        for item in items.iter() {
            let Some(text) = item.get_ref().as_str() else {
                self.expected(item, "a string");
                continue;
            };
            let lower = text.to_ascii_lowercase();
            match unknown_surface(text).filter(|_| text != lower && lower.parse::<Surface>().is_ok()) {
                Some((message, help)) => self.report(item.span(), Code::UnknownSurface, message, help),
                // Other names are checked with the manifest.
                None => {
                    if let Some(surface) = self.grammar(text, item.span()) {
                        self.place(at.index(surfaces.len()), item.span());
                        surfaces.push(surface);
                    }
                }
            }
        }
        surfaces
    }

    fn package(&mut self, section: &mut Section<'_>, at: &Pointer) -> Option<BlobRef> {
        if !section.has_any(&["package"]) {
            self.missing(section, "package", PACKAGE_HELP);
        }
        let mut package = self.section(section, "package")?;
        let at = at.key("package");
        self.place(at.clone(), package.span());
        for key in ["digest", "size"] {
            if !package.has_any(&[key]) {
                self.missing(&package, key, PACKAGE_HELP);
            }
        }
        let digest = self.spot(&mut package, "digest");
        let size = self.number_32(&mut package, "size", &at);
        self.finish(package);
        let digest = digest?;
        self.place(at.key("digest"), digest.span.clone());
        match digest.value.parse::<Digest>() {
            Ok(parsed) => Some(BlobRef { digest: parsed, size: size? }),
            Err(error) => {
                self.report(
                    digest.span,
                    Code::InvalidDigest,
                    error.to_string(),
                    "copy the digest that `sha256sum` prints, behind `sha256:`",
                );
                None
            }
        }
    }

    fn targets(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        at: &Pointer,
    ) -> Vec<PermissionRequest<UrlPermission>> {
        let mut targets = Vec::new();
        for mut section in self.sections(section, key) {
            let at = at.key(key).index(targets.len());
            self.place(at.clone(), section.span());
            let reason = self.reason(&mut section, &at);
            // The permission is deserialized from the JSON that the manifest will contain.
            let mut json = serde_json::Map::new();
            for field in UrlPermission::FIELDS {
                if let Some(value) = self.json_value(&mut section, field, &at) {
                    json.insert((*field).to_owned(), value);
                }
            }
            let span = section.span();
            self.finish(section);
            let written = serde_json::from_value::<WrittenUrlPermission>(json.into());
            match written.map(|written| UrlPermission::try_from(written.normal())) {
                Ok(Ok(what)) if what.scheme().is_websocket() != (key == "websockets") => {
                    let right = if what.scheme().is_websocket() { "websockets" } else { "requests" };
                    let message = format!("`{}` is not a scheme of `{key}`", what.scheme());
                    self.report(span, Code::InvalidScheme, message, format!("move the target to `[[{right}]]`"));
                }
                Ok(Ok(what)) => targets.extend(reason.map(|reason| PermissionRequest { what, reason })),
                Ok(Err(error)) => self.report(
                    span,
                    error.code(),
                    error.to_string(),
                    "correct scheme, host, methods and path_prefixes",
                ),
                Err(_) => self.report(
                    span,
                    Code::InvalidPermission,
                    "invalid URL permission".to_owned(),
                    "write scheme, host, methods and path_prefixes",
                ),
            }
        }
        targets
    }

    fn secrets(&mut self, section: &mut Section<'_>, at: &Pointer) -> Vec<SecretRequest> {
        let mut secrets = Vec::new();
        for mut section in self.sections(section, "secrets") {
            let at = at.key("secrets").index(secrets.len());
            self.place(at.clone(), section.span());
            let reason = self.reason(&mut section, &at);
            let what = self.needed(&mut section, "name", &at, "name the requested secret");
            let placement = at.key("placement");
            let header = self.needed(
                &mut section,
                "header",
                &placement,
                "name the header in which the host puts the value, such as `header = \"authorization\"`",
            );
            let prefix = self.parsed(&mut section, "prefix", &placement);
            self.finish(section);
            if let (Some(what), Some(header), Some(reason)) = (what, header, reason) {
                secrets.push(SecretRequest { what, placement: Some(SecretPlacement { header, prefix }), reason });
            }
        }
        secrets
    }

    fn reason(&mut self, section: &mut Section<'_>, at: &Pointer) -> Option<String> {
        if !section.has_any(&["reason"]) {
            self.missing(section, "reason", "state its purpose for the person who decides");
        }
        self.text(section, "reason", at)
    }
}
