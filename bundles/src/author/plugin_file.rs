//! `plugins/NAME.toml`: the descriptor of a plugin and its requested permissions.

use error_code::Code;

use super::section::Section;
use super::{Author, FileReader};
use crate::check::unknown_surface;
use crate::digest::Digest;
use crate::manifest::{BlobRef, Manifest, PLUGIN_SURFACES, PermissionRequest, Permissions, Plugin};
use crate::names::{PluginName, Surface};
use crate::pointer::Pointer;
use crate::url_permission::{UrlPermission, WrittenUrlPermission};

impl Author<'_> {
    pub(super) fn plugins(&mut self, manifest: &mut Manifest) {
        for (file, inside) in self.files_of("plugins") {
            let Some(stem) = inside.strip_suffix(".toml") else {
                self.unexpected(file, "plugins are described by `.toml` files");
                continue;
            };
            let Some(name) = self.file_name::<PluginName>(file, stem) else { continue };
            let at = Pointer::root().key("plugins").key(&name);
            self.at_file(at.clone(), file);
            match self.toml(file, |reader, section| reader.plugin(section, &at)).flatten() {
                Some(plugin) => {
                    manifest.plugins.insert(name, plugin);
                }
                None => {
                    self.unread.insert(at);
                }
            }
        }
    }
}

impl FileReader<'_, '_> {
    fn plugin(&mut self, section: &mut Section<'_>, at: &Pointer) -> Option<Plugin> {
        let version = match self.spot(section, "version") {
            Some(spot) => {
                self.place(at.key("version"), spot.span.clone());
                let version = semver::Version::parse(&spot.value).ok();
                if version.is_none() {
                    self.report(
                        spot.span,
                        Code::InvalidVersion,
                        "invalid version".to_owned(),
                        "write a semantic version such as `1.4.0`",
                    );
                }
                version
            }
            None => {
                if !section.has_any(&["version"]) {
                    self.missing(section, "version", "write a semantic version such as `1.4.0`");
                }
                None
            }
        };
        let package = self.package(section, at);
        let world = self.needed(
            section,
            "world",
            at,
            "name the world that the component implements, such as `yoi:runtime/tool@1.0.0`",
        );
        let description = self.text(section, "description", at).unwrap_or_default();
        let surfaces = self.surfaces(section, &at.key("surfaces"));
        let asked = at.key("permissions");
        let permissions = Permissions {
            requests: self.targets(section, "requests", &asked),
            websockets: self.targets(section, "websockets", &asked),
            secrets: self.asked_names(section, "secrets", &asked),
            mounts: self.asked_names(section, "mounts", &asked),
        };
        Some(Plugin { version: version?, package: package?, world: world?, description, surfaces, permissions })
    }

    /// Reads the surfaces. A name with capitals is reported as an unknown surface, with a suggestion.
    fn surfaces(&mut self, section: &mut Section<'_>, at: &Pointer) -> Vec<Surface> {
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
            self.missing(section, "package", "write `package = { digest = \"sha256:…\", size = … }`");
        }
        let mut package = self.section(section, "package")?;
        let at = at.key("package");
        self.place(at.clone(), package.span());
        for key in ["digest", "size"] {
            if !package.has_any(&[key]) {
                self.missing(&package, key, "write `package = { digest = \"sha256:…\", size = … }`");
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

    fn asked_names<T: std::str::FromStr<Err = crate::names::InvalidName>>(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        at: &Pointer,
    ) -> Vec<PermissionRequest<T>> {
        let mut asked = Vec::new();
        for mut section in self.sections(section, key) {
            let at = at.key(key).index(asked.len());
            self.place(at.clone(), section.span());
            let reason = self.reason(&mut section, &at);
            let name = self.needed(&mut section, "name", &at, "name what is asked for");
            self.finish(section);
            asked.extend(name.zip(reason).map(|(what, reason)| PermissionRequest { what, reason }));
        }
        asked
    }

    fn reason(&mut self, section: &mut Section<'_>, at: &Pointer) -> Option<String> {
        if !section.has_any(&["reason"]) {
            self.missing(section, "reason", "state its purpose for the person who decides");
        }
        self.text(section, "reason", at)
    }
}
