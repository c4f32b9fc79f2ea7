//! `plugins/NAME.toml`: the descriptor of a plugin, and what it asks for.

use super::section::Section;
use super::{Author, FileReader};
use crate::digest::Digest;
use crate::manifest::{Asked, BlobRef, Manifest, Permissions, Plugin};
use crate::names::PluginName;
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
            if let Some(Some(plugin)) = self.toml(file, |reader, section| reader.plugin(section, &at)) {
                manifest.plugins.insert(name, plugin);
            }
        }
    }
}

impl FileReader<'_, '_> {
    fn plugin(&mut self, section: &mut Section<'_>, at: &Pointer) -> Option<Plugin> {
        let version = match self.spot(section, "version") {
            Some(spot) => match semver::Version::parse(&spot.value) {
                Ok(version) => Some(version),
                Err(_) => {
                    self.tell(
                        spot.span,
                        "invalid_version",
                        "this is no version".to_owned(),
                        "write a semantic version such as `1.4.0`",
                    );
                    None
                }
            },
            None => {
                self.missing(section, "version", "write a semantic version such as `1.4.0`");
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
        let surfaces = self.list(section, "surfaces", &at.key("surfaces")).unwrap_or_default();
        let asked = at.key("permissions");
        let permissions = Permissions {
            requests: self.targets(section, "requests", &asked),
            websockets: self.targets(section, "websockets", &asked),
            secrets: self.asked_names(section, "secrets", &asked),
            mounts: self.asked_names(section, "mounts", &asked),
        };
        Some(Plugin { version: version?, package: package?, world: world?, description, surfaces, permissions })
    }

    fn package(&mut self, section: &mut Section<'_>, at: &Pointer) -> Option<BlobRef> {
        let Some(mut package) = self.section(section, "package") else {
            self.missing(section, "package", "write `package = { digest = \"sha256:…\", size = … }`");
            return None;
        };
        let at = at.key("package");
        let digest = self.spot(&mut package, "digest");
        let size = self.number(&mut package, "size", &at);
        let size = size.and_then(|size| u32::try_from(size).ok());
        if digest.is_none() || size.is_none() {
            self.missing(&package, "digest` and `size", "write `package = { digest = \"sha256:…\", size = … }`");
        }
        self.finish(package);
        let digest = digest?;
        self.place(at.key("digest"), digest.span.clone());
        match digest.value.parse::<Digest>() {
            Ok(parsed) => Some(BlobRef { digest: parsed, size: size? }),
            Err(error) => {
                self.tell(
                    digest.span,
                    "invalid_digest",
                    error.to_string(),
                    "copy the digest that `sha256sum` prints, behind `sha256:`",
                );
                None
            }
        }
    }

    fn targets(&mut self, section: &mut Section<'_>, key: &'static str, at: &Pointer) -> Vec<Asked<UrlPermission>> {
        let mut targets = Vec::new();
        for mut section in self.sections(section, key) {
            let at = at.key(key).index(targets.len());
            self.place(at.clone(), section.span());
            let reason = self.reason(&mut section, &at);
            // The permission reads itself from the same JSON that the manifest holds.
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
                Ok(Ok(what)) => targets.push(Asked { what, reason }),
                Ok(Err(error)) => self.tell(
                    span,
                    error.code(),
                    error.to_string(),
                    "write scheme, host, methods and path_prefixes as they are meant",
                ),
                Err(_) => self.tell(
                    span,
                    "invalid_permission",
                    "this is no URL permission".to_owned(),
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
    ) -> Vec<Asked<T>> {
        let mut asked = Vec::new();
        for mut section in self.sections(section, key) {
            let at = at.key(key).index(asked.len());
            self.place(at.clone(), section.span());
            let reason = self.reason(&mut section, &at);
            let name = self.needed(&mut section, "name", &at, "name what is asked for");
            self.finish(section);
            asked.extend(name.map(|what| Asked { what, reason }));
        }
        asked
    }

    fn reason(&mut self, section: &mut Section<'_>, at: &Pointer) -> String {
        if !section.has_any(&["reason"]) {
            self.missing(section, "reason", "say what it is for: a person decides by it");
        }
        self.text(section, "reason", at).unwrap_or_default()
    }
}
