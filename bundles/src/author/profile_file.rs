//! `profiles/NAME.toml`: a profile. The top of the file is its first layer, and each `[[layer]]` is a further one.

use std::str::FromStr;

use error_code::Code;

use super::section::Section;
use super::{Author, FileReader};
use crate::authority::{Authority, Need, Wish};
use crate::manifest::{Amend, Layer, Manifest, Profile};
use crate::names::{InvalidName, ProfileName};
use crate::pointer::Pointer;

/// Keys of a layer at the top of the file.
const LAYER_KEYS: [&str; 13] = [
    "when",
    "models",
    "instructions",
    "tools_allow",
    "tools_deny",
    "plugins",
    "workflows",
    "language",
    "requires",
    "wants",
    "drops",
    "settings",
    "unset",
];

impl Author<'_> {
    pub(super) fn profiles(&mut self, manifest: &mut Manifest) {
        for (file, inside) in self.files_of("profiles") {
            let Some(stem) = inside.strip_suffix(".toml") else {
                self.unexpected(file, "profiles are `.toml` files");
                continue;
            };
            let Some(name) = self.file_name::<ProfileName>(file, stem) else { continue };
            let at = Pointer::root().key("profiles").key(&name);
            self.at_file(at.clone(), file);
            if let Some(profile) = self.toml(file, |reader, section| reader.profile(section, &at)) {
                manifest.profiles.insert(name, profile);
            } else {
                // Other profiles may extend this one. The error that prevents reading it is reported already.
                manifest.profiles.insert(name, Profile::default());
            }
        }
    }
}

impl FileReader<'_, '_> {
    fn profile(&mut self, section: &mut Section<'_>, at: &Pointer) -> Profile {
        let description = self.text(section, "description", at).unwrap_or_default();
        let extends = self.list(section, "extends", &at.key("extends")).unwrap_or_default();
        let mut layers = Vec::new();
        let at = at.key("layers");
        if section.has_any(&LAYER_KEYS) {
            layers.push(self.layer(section, &at.index(0)));
        } else {
            // The keys are read anyway, so that the hint for a mistyped key lists them.
            self.layer(section, &at.index(0));
        }
        for mut section in self.sections(section, "layer") {
            let at = at.index(layers.len());
            self.place(at.clone(), section.span());
            layers.push(self.layer(&mut section, &at));
            self.finish(section);
        }
        Profile { description, extends, layers }
    }

    fn layer(&mut self, section: &mut Section<'_>, at: &Pointer) -> Layer {
        let mut wishes = Vec::new();
        for (key, need) in [("requires", Need::Required), ("wants", Need::Optional)] {
            // Places are recorded below, with the index among all wishes.
            let asked = self.list::<Authority>(section, key, &at.key(key)).unwrap_or_default();
            for (index, authority) in asked.into_iter().enumerate() {
                let place = self.author.places.find(&at.key(key).index(index)).cloned();
                if let Some(span) = place.and_then(|place| place.span) {
                    self.place(at.key("wishes").index(wishes.len()), span);
                }
                wishes.push(Wish { authority, need });
            }
        }
        let mut settings = self.object(section, "settings", at);
        self.unset(section, &mut settings, at);
        Layer {
            when: self.list(section, "when", &at.key("when")).unwrap_or_default(),
            models: self.amend(section, "models", at),
            instructions: self.amend(section, "instructions", at),
            tools_allow: self.amend(section, "tools_allow", at),
            tools_deny: self.amend(section, "tools_deny", at),
            plugins: self.amend(section, "plugins", at),
            workflows: self.amend(section, "workflows", at),
            language: self.parsed(section, "language", at),
            wishes,
            drops: self.list(section, "drops", &at.key("drops")).unwrap_or_default(),
            settings,
        }
    }

    /// `["a"]` and `{ append = ["a"] }` append, `{ replace = ["a"] }` replaces.
    fn amend<T: FromStr<Err = InvalidName>>(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        at: &Pointer,
    ) -> Option<Amend<T>> {
        let value = self.value(section, key)?;
        let at = at.key(key);
        self.place(at.clone(), value.span());
        if !value.get_ref().is_table() {
            return self.list_value(value, &at.key("append")).map(Amend::Append);
        }
        let mut section = self.section_of(value, format!("`{key}`"))?;
        let append = self.list(&mut section, "append", &at.key("append"));
        let replace = self.list(&mut section, "replace", &at.key("replace"));
        self.finish(section);
        match (append, replace) {
            (Some(names), None) => Some(Amend::Append(names)),
            (None, Some(names)) => Some(Amend::Replace(names)),
            _ => {
                let message = format!("`{key}` requires exactly one of `append` and `replace`");
                self.report(value.span(), Code::InvalidField, message, "keep one of `append` and `replace`");
                None
            }
        }
    }
}
