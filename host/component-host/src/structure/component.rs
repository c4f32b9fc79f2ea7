//! The sections of a component: each item gets its index and its weight.

use super::{
    Item as Named, Kind, Refusal, names,
    reading::Reading,
    scope::{Item, Shape, at},
};
use std::collections::HashMap;
use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExport, ComponentExternalKind, ComponentImport, ComponentInstance,
    ComponentOuterAliasKind, Instance, Payload,
};

impl<'a> Reading<'a, '_> {
    /// Counts one payload of the innermost component.
    pub(super) fn component_payload(&mut self, payload: Payload<'a>) -> Result<(), Refusal> {
        match payload {
            Payload::CoreTypeSection(section) => {
                let mut reader = self.meter.reader(section.range())?;
                for _ in 0..reader.read_var_u32()? {
                    self.core_type(&mut reader)?;
                }
            }
            Payload::ComponentTypeSection(section) => {
                let mut reader = self.meter.reader(section.range())?;
                for _ in 0..reader.read_var_u32()? {
                    self.component_type(&mut reader)?;
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section.into_iter_with_offsets() {
                    let (offset, instance) = instance?;
                    self.core_instance(&instance, offset)?;
                    self.keep_total()?;
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.into_iter_with_offsets() {
                    let (offset, instance) = instance?;
                    self.instance(&instance, offset)?;
                    self.keep_total()?;
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.into_iter_with_offsets() {
                    let (offset, alias) = alias?;
                    self.alias(&alias, offset)?;
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section.into_iter_with_offsets() {
                    let (offset, function) = function?;
                    self.canonical(&function, offset)?;
                    self.keep_total()?;
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.into_iter_with_offsets() {
                    let (offset, import) = import?;
                    self.import(&import, offset)?;
                    self.keep_total()?;
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.into_iter_with_offsets() {
                    let (offset, export) = export?;
                    self.export(&export, offset)?;
                    self.keep_total()?;
                }
            }
            Payload::ComponentStartSection { start, range } => {
                self.meter.count(|counts| &mut counts.start_functions, 1)?;
                let scope = self.scope(range.start)?;
                scope.visit(start.arguments.len() as u64);
                scope.values = scope.values.saturating_add(start.results);
            }
            _ => {}
        }
        Ok(())
    }

    fn core_instance(&mut self, instance: &Instance<'a>, offset: usize) -> Result<(), Refusal> {
        match instance {
            Instance::Instantiate { module_index, args } => {
                for arg in args {
                    self.meter.name(arg.name)?;
                }
                let scope = self.scope(offset)?;
                let module = at(&scope.modules, *module_index, "core module", offset)?;
                scope.visit(args.len() as u64);
                scope.footprint.add(module);
                scope.footprint.instances = scope.footprint.instances.saturating_add(1);
                scope.footprint.core_instances = scope.footprint.core_instances.saturating_add(1);
            }
            Instance::FromExports(exports) => {
                for export in exports {
                    self.meter.name(export.name)?;
                }
                self.scope(offset)?.visit(exports.len() as u64);
            }
        }
        Ok(())
    }

    fn instance(&mut self, instance: &ComponentInstance<'a>, offset: usize) -> Result<(), Refusal> {
        let id = match instance {
            ComponentInstance::Instantiate { component_index, args } => {
                for arg in args {
                    self.meter.name(arg.name)?;
                }
                let id = at(&self.scope(offset)?.components, *component_index, "component", offset)?;
                let Some(info) = self.arena.component(id) else {
                    return Err(Refusal::malformed(offset, "there is no such component"));
                };
                let (instance, weight, footprint) = (info.instance, info.weight, info.footprint);
                let scope = self.scope(offset)?;
                scope.visit(weight.saturating_add(args.len() as u64));
                scope.footprint.add(footprint);
                instance
            }
            ComponentInstance::FromExports(exports) => {
                let mut items = HashMap::new();
                for export in exports {
                    self.extern_name(&export.name)?;
                    let item = self.indexed(export.kind, export.index, offset)?;
                    items.insert(export.name.name, item);
                }
                self.scope(offset)?.visit(exports.len() as u64);
                self.arena.add_instance(items)
            }
        };
        self.scope(offset)?.define(Item::Instance(id));
        Ok(())
    }

    /// An alias, in a component or in a type.
    pub(super) fn alias(&mut self, alias: &ComponentAlias<'a>, offset: usize) -> Result<(), Refusal> {
        self.meter.count(|counts| &mut counts.aliases, 1)?;
        self.scope(offset)?.visit(0);
        let item = match alias {
            ComponentAlias::CoreInstanceExport { name, .. } => return self.meter.name(name),
            ComponentAlias::InstanceExport { instance_index, name, .. } => {
                self.meter.name(name)?;
                let id = at(&self.scope(offset)?.instances, *instance_index, "instance", offset)?;
                let exported = self.arena.instance(id).and_then(|info| info.exports.get(name)).copied();
                exported.ok_or_else(|| Refusal::malformed(offset, &format!("the instance does not export `{name}`")))?
            }
            ComponentAlias::Outer { kind, count, index } => {
                let levels = self.scopes.len();
                let scope = (*count as usize)
                    .checked_add(1)
                    .and_then(|up| levels.checked_sub(up))
                    .and_then(|level| self.scopes.get(level))
                    .ok_or_else(|| Refusal::malformed(offset, "there is no component that far out"))?;
                match kind {
                    ComponentOuterAliasKind::CoreModule => {
                        Item::Module(at(&scope.modules, *index, "core module", offset)?)
                    }
                    ComponentOuterAliasKind::Type => Item::Type(at(&scope.types, *index, "type", offset)?),
                    ComponentOuterAliasKind::Component => {
                        Item::Component(at(&scope.components, *index, "component", offset)?)
                    }
                    ComponentOuterAliasKind::CoreType => {
                        let weight = at(&scope.core_types, *index, "core type", offset)?;
                        self.scope(offset)?.core_types.push(weight);
                        return Ok(());
                    }
                }
            }
        };
        self.scope(offset)?.define(item);
        Ok(())
    }

    fn canonical(&mut self, function: &CanonicalFunction, offset: usize) -> Result<(), Refusal> {
        self.meter.count(|counts| &mut counts.canonical_functions, 1)?;
        let scope = self.scope(offset)?;
        match function {
            CanonicalFunction::Lift { type_index, .. } => {
                let weight = at(&scope.types, *type_index, "type", offset)?.weight;
                scope.visit(weight);
                scope.define(Item::Function(weight));
            }
            CanonicalFunction::Lower { func_index, .. } => {
                let weight = at(&scope.functions, *func_index, "function", offset)?;
                scope.visit(weight);
            }
            _ => scope.visit(0),
        }
        Ok(())
    }

    fn import(&mut self, import: &ComponentImport<'a>, offset: usize) -> Result<(), Refusal> {
        self.meter.count(|counts| &mut counts.imports, 1)?;
        self.extern_name(&import.name)?;
        let item = self.referred(import.ty, offset)?;
        let weight = self.arena.measure(item).0;
        let outermost = self.scopes.len() == 1;
        let scope = self.scope(offset)?;
        scope.visit(weight);
        scope.import_weight = scope.import_weight.saturating_add(weight);
        scope.define(item);
        if outermost {
            let named = self.named(import.name.name, item)?;
            self.meter.imports.push(named);
        }
        Ok(())
    }

    fn export(&mut self, export: &ComponentExport<'a>, offset: usize) -> Result<(), Refusal> {
        self.meter.count(|counts| &mut counts.exports, 1)?;
        self.extern_name(&export.name)?;
        let mut item = self.indexed(export.kind, export.index, offset)?;
        if let Some(ty) = export.ty {
            item = match (item, self.referred(ty, offset)?) {
                // The ascribed type says what may be seen, not what there is to instantiate.
                (Item::Module(footprint), _) => Item::Module(footprint),
                (Item::Component(id), _) => Item::Component(id),
                (_, ascribed) => ascribed,
            };
        }
        let weight = self.arena.measure(item).0;
        let outermost = self.scopes.len() == 1;
        let scope = self.scope(offset)?;
        scope.visit(weight);
        scope.define(item);
        scope.exports.insert(export.name.name, item);
        if outermost {
            let named = self.named(export.name.name, item)?;
            self.meter.exports.push(named);
        }
        Ok(())
    }

    /// The thing at an index of a kind.
    fn indexed(&mut self, kind: ComponentExternalKind, index: u32, offset: usize) -> Result<Item, Refusal> {
        let scope = self.scope(offset)?;
        Ok(match kind {
            ComponentExternalKind::Module => Item::Module(at(&scope.modules, index, "core module", offset)?),
            ComponentExternalKind::Func => Item::Function(at(&scope.functions, index, "function", offset)?),
            ComponentExternalKind::Value => Item::Value,
            ComponentExternalKind::Type => Item::Type(at(&scope.types, index, "type", offset)?),
            ComponentExternalKind::Instance => Item::Instance(at(&scope.instances, index, "instance", offset)?),
            ComponentExternalKind::Component => Item::Component(at(&scope.components, index, "component", offset)?),
        })
    }

    /// An import or export of the outermost component, with what it holds.
    fn named(&mut self, name: &str, item: Item) -> Result<Named, Refusal> {
        let mut named = Named::new(names::shown(name), kind(item));
        let Item::Instance(id) = item else {
            return Ok(named);
        };
        let Some(info) = self.arena.instance(id) else {
            return Ok(named);
        };
        for (name, item) in &info.exports {
            let list = match item {
                Item::Type(ty) if matches!(ty.shape, Shape::Resource) => &mut named.resources,
                Item::Type(_) => continue,
                Item::Function(_) => &mut named.functions,
                _ => &mut named.others,
            };
            self.meter.count(|counts| &mut counts.listed_items, 1)?;
            list.push(names::shown(name));
        }
        // An index of names has no order of its own.
        named.functions.sort();
        named.resources.sort();
        named.others.sort();
        Ok(named)
    }

    /// Counts what the outermost component makes so far, so that reading stops early.
    fn keep_total(&mut self) -> Result<(), Refusal> {
        match self.scopes.as_slice() {
            [outermost] => {
                let footprint = outermost.footprint;
                self.total(footprint)
            }
            _ => Ok(()),
        }
    }
}

fn kind(item: Item) -> Kind {
    match item {
        Item::Module(_) => Kind::Module,
        Item::Function(_) => Kind::Function,
        Item::Value => Kind::Value,
        Item::Type(_) => Kind::Type,
        Item::Instance(_) => Kind::Interface,
        Item::Component(_) => Kind::Component,
    }
}
