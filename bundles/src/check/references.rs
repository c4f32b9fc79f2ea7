//! Checks of names: every name in a profile, a tool or the policy is declared, and inheritance has one order.

use std::collections::BTreeSet;

use error_code::Code;

use super::Checker;
use crate::lineage::{LineageError, lineage};
use crate::manifest::{Amend, Layer, Profile, Tool};
use crate::names::{PluginName, ProfileName, ToolName, shown};
use crate::pointer::Pointer;
use crate::tool_source::ToolSource;

impl Checker<'_> {
    pub(super) fn profile(&mut self, name: &ProfileName, profile: &Profile) {
        let at = Pointer::root().key("profiles").key(name);
        self.text(at.key("description"), &profile.description);
        self.most("parents", self.limits.parents, profile.extends.len(), at.key("extends"), "parents");
        self.most("layers", self.limits.layers, profile.layers.len(), at.key("layers"), "layers");
        let mut seen = BTreeSet::new();
        // A profile with a simpler error is not reported as a conflict too.
        let mut plain = true;
        for (index, parent) in profile.extends.iter().enumerate() {
            let at = at.key("extends").index(index);
            if !seen.insert(parent) {
                plain = false;
                self.report(
                    Code::DuplicateName,
                    at.clone(),
                    format!("`{}` extends `{}` twice", shown(name.as_str()), shown(parent.as_str())),
                    "keep one of the two",
                );
            }
            if !self.manifest.profiles.contains_key(parent) {
                plain = false;
                let (name, parent) = (shown(name.as_str()), parent.as_str());
                self.dangling(
                    at,
                    format!("`{name}` extends `{}`, which this bundle does not declare", shown(parent)),
                    Pointer::root().key("profiles").key(parent),
                    parent,
                    self.manifest.profiles.keys().map(ProfileName::as_str),
                );
            }
        }
        if plain {
            self.lineage(name, at.key("extends"));
        }
        for (index, layer) in profile.layers.iter().enumerate() {
            self.layer(name, layer, &at.key("layers").index(index));
        }
    }

    fn lineage(&mut self, name: &ProfileName, at: Pointer) {
        let error = match lineage(&self.manifest.profiles, name, self.limits.lineage) {
            Ok(order) => return self.settings(name, &order),
            // The error is reported at the ancestor.
            Err(LineageError::Unknown(_)) => return,
            Err(error) => error,
        };
        let message = error.to_string();
        match error {
            LineageError::Cycle(ring) if ring.first() == Some(name) => {
                self.report(Code::InheritanceCycle, at, message, "remove one `extends` from the cycle");
            }
            LineageError::Conflict(profile) if profile == *name => {
                self.report(
                    Code::InheritanceConflict,
                    at,
                    message,
                    "name the parents in the order in which their own parents and siblings name them",
                );
            }
            LineageError::TooLong { .. } => self.report(Code::TooDeep, at, message, "flatten the chain"),
            _ => {}
        }
    }

    /// Merging never makes settings larger than the sum of the layers, so this check bounds the settings of every
    /// resolution.
    fn settings(&mut self, name: &ProfileName, lineage: &[&ProfileName]) {
        let total = lineage.iter().map(|ancestor| self.settings.get(*ancestor).copied().unwrap_or_default()).sum();
        let at = Pointer::root().key("profiles").key(name);
        self.most("settings_bytes", self.limits.settings_bytes, total, at, "bytes of settings in its lineage");
    }

    fn layer(&mut self, profile: &ProfileName, layer: &Layer, at: &Pointer) {
        let manifest = self.manifest;
        let by = format!("profile `{}`", shown(profile.as_str()));
        self.names(
            &by,
            "model",
            layer.models.as_ref(),
            &at.key("models"),
            |name| manifest.models.contains_key(name),
            manifest.models.keys(),
        );
        self.names(
            &by,
            "prompt",
            layer.instructions.as_ref(),
            &at.key("instructions"),
            |name| manifest.prompts.contains_key(name),
            manifest.prompts.keys(),
        );
        for (field, amend) in [("tools_allow", &layer.tools_allow), ("tools_deny", &layer.tools_deny)] {
            self.names(
                &by,
                "tool",
                amend.as_ref(),
                &at.key(field),
                |name| manifest.tools.contains_key(name),
                manifest.tools.keys(),
            );
        }
        self.names(
            &by,
            "plugin",
            layer.plugins.as_ref(),
            &at.key("plugins"),
            |name| manifest.plugins.contains_key(name),
            manifest.plugins.keys(),
        );
        self.names(
            &by,
            "workflow",
            layer.workflows.as_ref(),
            &at.key("workflows"),
            |name| manifest.workflows.contains_key(name),
            manifest.workflows.keys(),
        );
        self.depth(&at.key("settings"), &layer.settings);
        for (field, count) in [("when", layer.when.len()), ("wishes", layer.wishes.len()), ("drops", layer.drops.len())]
        {
            self.most("list_items", self.limits.list_items, count, at.key(field), "items");
        }
    }

    fn names<'n, T: AsRef<str> + 'n>(
        &mut self,
        by: &str,
        what: &str,
        amend: Option<&Amend<T>>,
        at: &Pointer,
        declared: impl Fn(&T) -> bool,
        known: impl Iterator<Item = &'n T> + Clone,
    ) {
        let Some(amend) = amend else { return };
        let at = at.key(match amend {
            Amend::Append(_) => "append",
            Amend::Replace(_) => "replace",
        });
        self.most("list_items", self.limits.list_items, amend.names().len(), at.clone(), "names");
        for (index, name) in amend.names().iter().enumerate() {
            if !declared(name) {
                let name = name.as_ref();
                self.dangling(
                    at.index(index),
                    format!("{by} names {what} `{}`, which this bundle does not declare", shown(name)),
                    Pointer::root().key(format!("{what}s")).key(name),
                    name,
                    known.clone().map(AsRef::as_ref),
                );
            }
        }
    }

    pub(super) fn tools(&mut self) {
        for (name, tool) in &self.manifest.tools {
            let at = Pointer::root().key("tools").key(name);
            self.most(
                "list_items",
                self.limits.list_items,
                tool.policy.paths.len(),
                at.key("policy").key("paths"),
                "globs",
            );
            if let ToolSource::Plugin(plugin) = &tool.source {
                self.tool_of_plugin(&at, name, tool, plugin);
            }
        }
    }

    fn tool_of_plugin(&mut self, at: &Pointer, name: &ToolName, tool: &Tool, source: &PluginName) {
        let (shown_name, shown_source) = (shown(name.as_str()), shown(source.as_str()));
        let Some(plugin) = self.manifest.plugins.get(source) else {
            return self.dangling(
                at.key("source"),
                format!("tool `{shown_name}` comes from plugin `{shown_source}`, which this bundle does not declare"),
                Pointer::root().key("plugins").key(source),
                source.as_str(),
                self.manifest.plugins.keys().map(AsRef::as_ref),
            );
        };
        match plugin.tools.get(name) {
            Some(effect) if *effect != tool.effect => self.report(
                Code::InvalidField,
                at.key("effect"),
                format!("effect of tool `{shown_name}` differs from that in plugin `{shown_source}`"),
                format!("write `effect = \"{}\"`, as the plugin does", effect.as_str()),
            ),
            // Descriptors of earlier versions do not list their tools.
            None if !plugin.tools.is_empty() => self.dangling(
                at.key("source"),
                format!("tool `{shown_name}` comes from plugin `{shown_source}`, which does not offer it"),
                Pointer::root().key("plugins").key(source).key("tools").key(name),
                name.as_str(),
                plugin.tools.keys().map(AsRef::as_ref),
            ),
            _ => {}
        }
    }

    pub(super) fn policy(&mut self) {
        let (manifest, at) = (self.manifest, Pointer::root().key("policy"));
        let lists = |allow: &Option<Vec<_>>| allow.as_ref().map(|allow| Amend::Append(allow.clone()));
        let tools = &manifest.policy.tools;
        let known = |name: &crate::names::ToolName| manifest.tools.contains_key(name);
        for (field, amend) in [("allow", lists(&tools.allow)), ("deny", Some(Amend::Append(tools.deny.clone())))] {
            self.ceiling("tool", amend, at.key("tools").key(field), known, manifest.tools.keys());
        }
        let plugins = &manifest.policy.plugins;
        let lists = |allow: &Option<Vec<_>>| allow.as_ref().map(|allow| Amend::Append(allow.clone()));
        let known = |name: &crate::names::PluginName| manifest.plugins.contains_key(name);
        for (field, amend) in [("allow", lists(&plugins.allow)), ("deny", Some(Amend::Append(plugins.deny.clone())))] {
            self.ceiling("plugin", amend, at.key("plugins").key(field), known, manifest.plugins.keys());
        }
        let authorities = &manifest.policy.authorities;
        let allow = authorities.allow.as_ref().map_or(0, Vec::len);
        for (field, count) in [("allow", allow), ("deny", authorities.deny.len())] {
            let at = at.key("authorities").key(field);
            self.most("list_items", self.limits.list_items, count, at, "authorities");
        }
    }

    fn ceiling<'n, T: AsRef<str> + 'n>(
        &mut self,
        what: &str,
        list: Option<Amend<T>>,
        at: Pointer,
        declared: impl Fn(&T) -> bool,
        known: impl Iterator<Item = &'n T> + Clone,
    ) {
        let Some(list) = list else { return };
        self.most("list_items", self.limits.list_items, list.names().len(), at.clone(), "names");
        for (index, name) in list.names().iter().enumerate() {
            if !declared(name) {
                let name = name.as_ref();
                self.dangling(
                    at.index(index),
                    format!("the policy names {what} `{}`, which this bundle does not declare", shown(name)),
                    Pointer::root().key(format!("{what}s")).key(name),
                    name,
                    known.clone().map(AsRef::as_ref),
                );
            }
        }
    }
}
