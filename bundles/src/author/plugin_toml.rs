//! `plugin.toml`: the manifest of a plugin package.

use error_code::Code;
use std::collections::BTreeMap;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::plugin_file::{PLUGIN_EFFECTS, WORLD_HELP};
use super::section::Section;
use super::{Author, FileReader, Places, nearest};
use crate::diagnostic::Diagnostic;
use crate::folder::Folder;
use crate::names::{IngressName, ToolName, shown};
use crate::plugin::{MANIFEST, PluginManifest, PluginTool, PluginWorld, SCHEMA, normal};
use crate::pointer::Pointer;

/// Reads the `plugin.toml` of a folder and adds problems to `diagnostics`. Returns `None` if a required part cannot be
/// read.
pub(crate) fn read_plugin(folder: &Folder, diagnostics: &mut Vec<Diagnostic>) -> Option<(PluginManifest, Places)> {
    let mut author = Author::new(folder, diagnostics);
    author.at_file(Pointer::root(), MANIFEST);
    let manifest = author.toml(MANIFEST, |reader, section| reader.plugin_manifest(section))??;
    Some((manifest, author.places))
}

/// Returns the text of a TOML file with spaces in place of its keys and values, so that only comments remain. Offsets do
/// not change.
pub(crate) fn without_values(text: &str) -> String {
    fn blank(bytes: &mut [u8], table: &DeTable<'_>) {
        for (key, value) in table.iter() {
            clear(bytes, key.span());
            inside(bytes, value.get_ref(), value.span());
        }
    }
    fn inside(bytes: &mut [u8], value: &DeValue<'_>, span: std::ops::Range<usize>) {
        match value {
            DeValue::Table(table) => blank(bytes, table),
            DeValue::Array(list) => list.iter().for_each(|item| inside(bytes, item.get_ref(), item.span())),
            _ => clear(bytes, span),
        }
    }
    fn clear(bytes: &mut [u8], span: std::ops::Range<usize>) {
        let bytes = bytes.get_mut(span).unwrap_or_default().iter_mut();
        bytes.filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    }
    let mut bytes = text.as_bytes().to_vec();
    blank(&mut bytes, DeTable::parse_recoverable(text).0.get_ref());
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

impl FileReader<'_, '_> {
    fn plugin_manifest(&mut self, section: &mut Section<'_>) -> Option<PluginManifest> {
        let at = Pointer::root();
        self.schema(section, SCHEMA);
        let name = self.needed(section, "name", &at, "write `name = \"my-plugin\"`");
        let version = self.version(section, &at);
        let world = self.world(section, &at);
        let description = self.needed_text(section, "description", &at, "describe the plugin in a sentence");
        let surfaces = self.surfaces(section, &at.key("surfaces"));
        let mut tools = BTreeMap::new();
        for (name, inner) in self.named::<ToolName>(section, "tools", &at.key("tools")) {
            let tool = self.plugin_tool(inner, &at.key("tools").key(&name));
            tools.extend(tool.map(|tool| (name, tool)));
        }
        let permissions = self.permissions(section, &at.key("permissions"));
        let ingress = self.ingress(section, &at.key("ingress"));
        let config = section.has_any(&["config"]).then(|| self.schema_table(section, "config", &at));
        Some(PluginManifest {
            name: name?,
            version: version?,
            world: world?,
            description: description?,
            surfaces,
            tools,
            permissions,
            ingress,
            config,
        })
    }

    fn world(&mut self, section: &mut Section<'_>, at: &Pointer) -> Option<PluginWorld> {
        if !section.has_any(&["world"]) {
            self.missing(section, "world", WORLD_HELP);
        }
        let spot = self.spot(section, "world")?;
        self.place(at.key("world"), spot.span.clone());
        let world = PluginWorld::ALL.into_iter().find(|world| world.as_str() == spot.value);
        if world.is_none() {
            let worlds = PluginWorld::ALL.map(PluginWorld::as_str);
            let help = match nearest(&spot.value, worlds.into_iter()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write one of {}", worlds.map(|world| format!("`{world}`")).join(", ")),
            };
            let message = format!("unsupported world `{}`", shown(&spot.value));
            self.report(spot.span, Code::UnsupportedWorld, message, help);
        }
        world
    }

    fn plugin_tool(&mut self, mut section: Section<'_>, at: &Pointer) -> Option<PluginTool> {
        let description =
            self.needed_text(&mut section, "description", at, "describe the tool for the model in a sentence");
        let effect = self.choice(&mut section, "effect", at, &PLUGIN_EFFECTS);
        if effect.is_none() && !section.has_any(&["effect"]) {
            self.missing(&section, "effect", "write its maximum effect: `none`, `read` or `external`");
        }
        let mut schema = |key| {
            if !section.has_any(&[key]) {
                let help = format!("write the JSON Schema as a table, such as `{key} = {{ type = \"object\" }}`");
                self.missing(&section, key, &help);
            }
            self.schema_table(&mut section, key, at)
        };
        let (input, output) = (schema("input"), schema("output"));
        self.finish(section);
        Some(PluginTool { description: description?, effect: effect?, input, output })
    }

    fn schema_table(&mut self, section: &mut Section<'_>, key: &'static str, at: &Pointer) -> Value {
        let schema = Value::Object(self.object(section, key, at));
        normal(&schema).unwrap_or(schema)
    }

    fn ingress(&mut self, section: &mut Section<'_>, at: &Pointer) -> BTreeMap<IngressName, String> {
        let mut ingress = BTreeMap::new();
        for mut section in self.sections(section, "ingress") {
            let span = section.span();
            let name =
                self.needed::<IngressName>(&mut section, "name", at, "name the ingress, such as `name = \"alerts\"`");
            let at = name.as_ref().map_or_else(|| at.clone(), |name| at.key(name));
            self.place(at.clone(), span.clone());
            let description = self.needed_text(&mut section, "description", &at, "describe the events in a sentence");
            self.finish(section);
            if let (Some(name), Some(description)) = (name, description)
                && ingress.insert(name.clone(), description).is_some()
            {
                self.report(span, Code::DuplicateName, format!("duplicate ingress `{name}`"), "remove one of the two");
            }
        }
        ingress
    }

    /// Reads a mandatory text.
    fn needed_text(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        at: &Pointer,
        help: &str,
    ) -> Option<String> {
        if !section.has_any(&[key]) {
            self.missing(section, key, help);
        }
        self.text(section, key, at)
    }
}
