//! `bundle.toml`: the general part of a bundle, its models, tools and ceiling.

use error_code::Code;
use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::Value;

use super::section::{Section, Spot};
use super::{Author, FileReader, nearest};
use crate::canonical::to_canonical;
use crate::folder::package_of;
use crate::manifest::{
    Acceptance, BlobRef, Ceiling, Confirm, Effect, Manifest, ManifestSchema, Model, Policy, Provenance, SCHEMA, Tool,
    ToolPolicy, Workflow, Workspace,
};
use crate::names::{InvalidName, LabelKey, ModelName, Revision, Timestamp, ToolName, WorkflowName, shown};
use crate::plugin::PluginTool;
use crate::pointer::Pointer;
use crate::resource::ResourceUri;
use crate::tool_source::ToolSource;

impl Author<'_> {
    /// Returns the manifest without the parts that have files of their own.
    pub(super) fn bundle_file(&mut self) -> Option<Manifest> {
        if self.folder.refused().iter().any(|entry| entry.file == "bundle.toml") {
            return None;
        }
        if self.folder.get("bundle.toml").is_none() {
            self.report_file(
                "bundle.toml",
                Code::MissingFile,
                "`bundle.toml` not found".to_owned(),
                "create a `bundle.toml` in the folder",
            );
            return None;
        }
        self.toml("bundle.toml", |reader, section| reader.bundle(section))?
    }
}

impl FileReader<'_, '_> {
    fn bundle(&mut self, section: &mut Section<'_>) -> Option<Manifest> {
        let at = Pointer::root();
        self.schema(section, SCHEMA);
        let revision = self.number(section, "revision", &at);
        if revision.is_none() && !section.has_any(&["revision"]) {
            self.missing(section, "revision", "begin with `revision = 1`, and raise it for each bundle");
        }
        let created_at = self.needed::<Timestamp>(
            section,
            "created_at",
            &at,
            "write the time in UTC, such as `created_at = \"2026-06-25T15:49:30Z\"`",
        );
        let language = self.needed(section, "language", &at, "write `language = \"en\"`");
        let workspace = self.workspace(section);
        let provenance = self.provenance(section);
        let mut models = BTreeMap::new();
        for (name, inner) in self.named::<ModelName>(section, "models", &at.key("models")) {
            let at = at.key("models").key(&name);
            let model = self.model(inner, &at);
            models.extend(self.declared(&at, model).map(|model| (name, model)));
        }
        let mut tools = BTreeMap::new();
        for (name, inner) in self.named::<ToolName>(section, "tools", &at.key("tools")) {
            let at = at.key("tools").key(&name);
            let tool = self.tool(inner, &at, &name);
            tools.extend(self.declared(&at, tool).map(|tool| (name, tool)));
        }
        let workflows = self.workflow_references(section, &at);
        let policy = self.policy(section);
        let accepted = self.accepted(section);
        Some(Manifest {
            schema: ManifestSchema::V1,
            workspace: workspace?,
            revision: Revision::new(revision?),
            created_at: created_at?,
            provenance,
            language: language?,
            profiles: BTreeMap::new(),
            prompts: BTreeMap::new(),
            workflows,
            tools,
            plugins: BTreeMap::new(),
            models,
            policy,
            accepted,
        })
    }

    /// Reads the version of the format.
    pub(super) fn schema(&mut self, section: &mut Section<'_>, supported: &str) {
        let help = format!("write `schema = \"{supported}\"`");
        if !section.has_any(&["schema"]) {
            self.missing(section, "schema", &help);
        }
        if let Some(spot) = self.spot(section, "schema")
            && spot.value != supported
        {
            self.report(spot.span, Code::UnsupportedSchema, "unsupported schema version".to_owned(), help);
        }
    }

    fn workspace(&mut self, section: &mut Section<'_>) -> Option<Workspace> {
        let at = Pointer::root().key("workspace");
        if !section.has_any(&["workspace"]) {
            self.missing(section, "workspace", "write `[workspace]` with an `id`");
        }
        let mut inner = self.section(section, "workspace")?;
        let id = self.needed(&mut inner, "id", &at, "write `id = \"my-team\"`");
        let name = self.text(&mut inner, "name", &at).unwrap_or_default();
        let description = self.text(&mut inner, "description", &at).unwrap_or_default();
        let repository = self.text(&mut inner, "repository", &at).unwrap_or_default();
        let mut labels = BTreeMap::new();
        for (key, value) in self.object(&mut inner, "labels", &at) {
            let at = at.key("labels").key(&key);
            let span = |place: Option<&super::Place>| place.and_then(|place| place.span.clone()).unwrap_or_default();
            let (key_span, span) = (span(self.author.places.find_key(&at)), span(self.author.places.find(&at)));
            match (self.grammar::<LabelKey>(&key, key_span), value) {
                (Some(key), serde_json::Value::String(value)) => {
                    labels.insert(key, value);
                }
                (Some(_), _) => self.report(
                    span,
                    Code::InvalidType,
                    "invalid label: expected a string".to_owned(),
                    "put the value in quotes",
                ),
                (None, _) => {}
            }
        }
        self.finish(inner);
        Some(Workspace { id: id?, name, description, repository, labels })
    }

    fn provenance(&mut self, section: &mut Section<'_>) -> Provenance {
        let at = Pointer::root().key("provenance");
        let Some(mut inner) = self.section(section, "provenance") else { return Provenance::default() };
        let provenance = Provenance {
            source: self.text(&mut inner, "source", &at),
            repository: self.text(&mut inner, "repository", &at),
            commit: self.parsed(&mut inner, "commit", &at),
            builder: self.text(&mut inner, "builder", &at),
        };
        self.finish(inner);
        provenance
    }

    fn model(&mut self, mut section: Section<'_>, at: &Pointer) -> Option<Model> {
        let provider = self.needed(
            &mut section,
            "provider",
            at,
            "name the provider of the model, such as `provider = \"anthropic\"`",
        );
        if !section.has_any(&["model"]) {
            self.missing(&section, "model", "write the provider's name for the model");
        }
        let model = self.text(&mut section, "model", at);
        let parameters = self.object(&mut section, "parameters", at);
        let secret = self.parsed(&mut section, "secret", at);
        self.finish(section);
        Some(Model { provider: provider?, model: model?, parameters, secret })
    }

    /// Reads a tool. What it leaves out is taken from the package of its plugin, if the package is in the folder.
    fn tool(&mut self, mut section: Section<'_>, at: &Pointer, name: &ToolName) -> Option<Tool> {
        let source = self.tool_source(&mut section, at);
        let offered = match &source {
            Some(ToolSource::Plugin(plugin)) => {
                self.author.packages.get(plugin).and_then(|package| package.manifest().tools().get(name)).cloned()
            }
            _ => None,
        };
        let offered = offered.as_ref();
        let effects =
            [("none", Effect::None), ("read", Effect::Read), ("write", Effect::Write), ("external", Effect::External)];
        let effect = match offered.filter(|_| !section.has_any(&["effect"])) {
            Some(offered) => Some(offered.effect()),
            None => self.choice(&mut section, "effect", at, &effects),
        };
        // The package of a plugin that could not be read may state the effect.
        let is_unread = matches!(&source, Some(ToolSource::Plugin(plugin))
            if self.author.unread.contains(&Pointer::root().key("plugins").key(plugin)));
        if effect.is_none() && !section.has_any(&["effect"]) && !is_unread {
            self.missing(&section, "effect", "write its maximum effect: `none`, `read`, `write` or `external`");
        }
        let description = self.text(&mut section, "description", at);
        let description = description.or_else(|| Some(offered?.description().to_owned())).unwrap_or_default();
        let input = self.schema_of_tool(&mut section, "input", at, offered.map(PluginTool::input));
        let output = self.schema_of_tool(&mut section, "output", at, offered.map(PluginTool::output));
        let policy = self.tool_policy(&mut section, at);
        self.finish(section);
        Some(Tool { source: source?, description, effect: effect?, input, output, policy })
    }

    /// Reads the name of a schema file. Without one, the blob is the schema that the plugin offers.
    fn schema_of_tool(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        at: &Pointer,
        offered: Option<&Value>,
    ) -> Option<BlobRef> {
        let file = self.schema_file(section, key, at);
        let offered = offered.filter(|_| !section.has_any(&[key])).and_then(|schema| to_canonical(schema).ok());
        file.or_else(|| Some(self.author.blob(&offered?)))
    }

    fn tool_source(&mut self, section: &mut Section<'_>, at: &Pointer) -> Option<ToolSource> {
        if !section.has_any(&["source"]) {
            self.missing(section, "source", "write `source = \"host\"` or `source = \"plugin:NAME\"`");
        }
        let spot = self.spot(section, "source")?;
        self.place(at.key("source"), spot.span.clone());
        let error = match spot.value.parse::<ToolSource>() {
            Ok(source) => return Some(source),
            Err(error) => error,
        };
        let plugins = self.author.files_of("plugins");
        let plugins = plugins.iter().filter(|(file, _)| package_of(file).is_none());
        let plugins = plugins.filter_map(|(_, inside)| inside.strip_suffix(".toml"));
        let sources: Vec<String> = plugins.map(|name| format!("plugin:{name}")).chain(["host".to_owned()]).collect();
        let bare = format!("plugin:{}", spot.value);
        let near = sources.iter().find(|source| **source == bare).map(String::as_str);
        let help = match near.or_else(|| nearest(&spot.value, sources.iter().map(String::as_str))) {
            Some(near) => format!("did you mean `{}`?", shown(near)),
            None => error.remedy(),
        };
        self.report(spot.span, Code::InvalidName, error.problem(), help);
        None
    }

    fn tool_policy(&mut self, section: &mut Section<'_>, at: &Pointer) -> ToolPolicy {
        let at = at.key("policy");
        let Some(mut inner) = self.section(section, "policy") else { return ToolPolicy::default() };
        let choices = [("always", Confirm::Always), ("once", Confirm::Once), ("never", Confirm::Never)];
        let confirm = self.choice(&mut inner, "confirm", &at, &choices);
        let max_calls = self.number_32(&mut inner, "max_calls", &at);
        let paths = self.list(&mut inner, "paths", &at.key("paths")).unwrap_or_default();
        self.finish(inner);
        ToolPolicy { confirm, max_calls, paths }
    }

    /// Reads one of several words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        at: &Pointer,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let spot = self.spot(section, key)?;
        self.place(at.key(key), spot.span.clone());
        self.word(spot, key, choices)
    }

    /// Returns the meaning of a word. `what` names it in messages.
    pub(super) fn word<T: Copy>(&mut self, spot: Spot<String>, what: &str, choices: &[(&str, T)]) -> Option<T> {
        let found = choices.iter().find(|(word, _)| *word == spot.value).map(|(_, choice)| *choice);
        if found.is_none() {
            let words = choices.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
            self.report(
                spot.span,
                Code::InvalidValue,
                format!("invalid value of `{what}`"),
                format!("write one of {words}"),
            );
        }
        found
    }

    fn schema_file(&mut self, section: &mut Section<'_>, key: &'static str, at: &Pointer) -> Option<BlobRef> {
        let spot = self.spot(section, key)?;
        self.place(at.key(key), spot.span.clone());
        let file = spot.value.strip_prefix("schemas/").and_then(|_| self.author.folder.get(&spot.value));
        let is_told = |refused: &crate::folder::RefusedEntry| {
            spot.value.strip_prefix(&refused.file).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match file {
            None if self.author.folder.refused().iter().any(is_told) => None,
            Some(bytes) => {
                self.author.schemas.insert(spot.value.clone());
                self.author.text_at(at.key(key), &spot.value);
                Some(self.author.blob(bytes))
            }
            None => {
                let message = "schema file not found".to_owned();
                self.report(
                    spot.span,
                    Code::DanglingName,
                    message,
                    "name a file in the folder `schemas`, such as `schemas/input.json`",
                );
                None
            }
        }
    }

    fn workflow_references(&mut self, section: &mut Section<'_>, at: &Pointer) -> BTreeMap<WorkflowName, Workflow> {
        let at = at.key("workflows");
        let mut workflows = BTreeMap::new();
        for (name, mut inner) in self.named::<WorkflowName>(section, "workflows", &at) {
            let help = "write a resource reference such as `reference = \"workflow://release/checks\"`";
            let reference = self.needed::<ResourceUri>(&mut inner, "reference", &at.key(&name), help);
            self.finish(inner);
            let reference = self.declared(&at.key(&name), reference);
            workflows.extend(reference.map(|reference| (name, Workflow::Reference(reference))));
        }
        workflows
    }

    fn policy(&mut self, section: &mut Section<'_>) -> Policy {
        let at = Pointer::root().key("policy");
        let Some(mut inner) = self.section(section, "policy") else { return Policy::default() };
        let policy = Policy {
            authorities: self.ceiling(&mut inner, "authorities", &at),
            tools: self.ceiling(&mut inner, "tools", &at),
            plugins: self.ceiling(&mut inner, "plugins", &at),
        };
        self.finish(inner);
        policy
    }

    fn ceiling<T: FromStr<Err = InvalidName>>(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        at: &Pointer,
    ) -> Ceiling<T> {
        let at = at.key(key);
        let Some(mut inner) = self.section(section, key) else { return Ceiling::default() };
        let allow = self.list(&mut inner, "allow", &at.key("allow"));
        let deny = self.list(&mut inner, "deny", &at.key("deny")).unwrap_or_default();
        self.finish(inner);
        Ceiling { allow, deny }
    }

    fn accepted(&mut self, section: &mut Section<'_>) -> Vec<Acceptance> {
        let mut accepted = Vec::new();
        for mut inner in self.sections(section, "accept") {
            let at = Pointer::root().key("accepted").index(accepted.len());
            self.place(at.clone(), inner.span());
            for key in ["rule", "field", "reason"] {
                if !inner.has_any(&[key]) {
                    self.missing(&inner, key, "write `rule`, `field` and `reason`");
                }
            }
            let rule = self.text(&mut inner, "rule", &at);
            let field = self.text(&mut inner, "field", &at);
            let reason = self.text(&mut inner, "reason", &at);
            self.finish(inner);
            if let (Some(rule), Some(field), Some(reason)) = (rule, field, reason) {
                accepted.push(Acceptance { rule, field, reason });
            }
        }
        accepted
    }
}
