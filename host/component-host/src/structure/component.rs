//! Counts for the sections of a component. Each item gets an index and a weight.

use super::{
    ExternItem, ItemKind, StructureRefusal, names,
    reading::Walk,
    scope::{Item, Shape, at},
};
use std::collections::HashMap;
use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExport, ComponentExternalKind, ComponentImport, ComponentInstance,
    ComponentOuterAliasKind, Instance, Payload,
};

impl<'a> Walk<'a, '_> {
    /// Counts one payload of the innermost component.
    pub(super) fn component_payload(&mut self, payload: Payload<'a>) -> Result<(), StructureRefusal> {
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
                    self.check_total()?;
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.into_iter_with_offsets() {
                    let (offset, instance) = instance?;
                    self.instance(&instance, offset)?;
                    self.check_total()?;
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
                    self.check_total()?;
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.into_iter_with_offsets() {
                    let (offset, import) = import?;
                    self.import(&import, offset)?;
                    self.check_total()?;
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.into_iter_with_offsets() {
                    let (offset, export) = export?;
                    self.export(&export, offset)?;
                    self.check_total()?;
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

    fn core_instance(&mut self, instance: &Instance<'a>, offset: usize) -> Result<(), StructureRefusal> {
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

    fn instance(&mut self, instance: &ComponentInstance<'a>, offset: usize) -> Result<(), StructureRefusal> {
        let id = match instance {
            ComponentInstance::Instantiate { component_index, args } => {
                for arg in args {
                    self.meter.name(arg.name)?;
                }
                let id = at(&self.scope(offset)?.components, *component_index, "component", offset)?;
                let Some(info) = self.arena.component(id) else {
                    return Err(StructureRefusal::malformed(offset, "undefined component"));
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
                    let item = self.item_at(export.kind, export.index, offset)?;
                    items.insert(export.name.name, item);
                }
                self.scope(offset)?.visit(exports.len() as u64);
                self.arena.add_instance(items)
            }
        };
        self.scope(offset)?.define(Item::Instance(id));
        Ok(())
    }

    /// Counts and defines an alias in a component or in a type.
    pub(super) fn alias(&mut self, alias: &ComponentAlias<'a>, offset: usize) -> Result<(), StructureRefusal> {
        self.meter.count(|counts| &mut counts.aliases, 1)?;
        self.scope(offset)?.visit(0);
        let item = match alias {
            ComponentAlias::CoreInstanceExport { name, .. } => return self.meter.name(name),
            ComponentAlias::InstanceExport { instance_index, name, .. } => {
                self.meter.name(name)?;
                let id = at(&self.scope(offset)?.instances, *instance_index, "instance", offset)?;
                let exported = self.arena.instance(id).and_then(|info| info.exports.get(name)).copied();
                exported.ok_or_else(|| {
                    StructureRefusal::malformed(offset, &format!("the instance does not export `{name}`"))
                })?
            }
            ComponentAlias::Outer { kind, count, index } => {
                let levels = self.scopes.len();
                let scope = (*count as usize)
                    .checked_add(1)
                    .and_then(|up| levels.checked_sub(up))
                    .and_then(|level| self.scopes.get(level))
                    .ok_or_else(|| {
                        StructureRefusal::malformed(offset, "an alias refers to a component beyond the outermost")
                    })?;
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

    fn canonical(&mut self, function: &CanonicalFunction, offset: usize) -> Result<(), StructureRefusal> {
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

    fn import(&mut self, import: &ComponentImport<'a>, offset: usize) -> Result<(), StructureRefusal> {
        self.meter.count(|counts| &mut counts.imports, 1)?;
        self.extern_name(&import.name)?;
        let item = self.referenced_item(import.ty, offset)?;
        let weight = self.arena.measure(item).0;
        let outermost = self.scopes.len() == 1;
        let scope = self.scope(offset)?;
        scope.visit(weight);
        scope.import_weight = scope.import_weight.saturating_add(weight);
        scope.define(item);
        if outermost {
            let import = self.extern_item(import.name.name, item)?;
            self.meter.imports.push(import);
        }
        Ok(())
    }

    fn export(&mut self, export: &ComponentExport<'a>, offset: usize) -> Result<(), StructureRefusal> {
        self.meter.count(|counts| &mut counts.exports, 1)?;
        self.extern_name(&export.name)?;
        let mut item = self.item_at(export.kind, export.index, offset)?;
        if let Some(ty) = export.ty {
            item = match (item, self.referenced_item(ty, offset)?) {
                // The ascribed type restricts what is visible. An instantiation still creates the whole item.
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
            let export = self.extern_item(export.name.name, item)?;
            self.meter.exports.push(export);
        }
        Ok(())
    }

    /// Returns the item at an index of the given kind.
    fn item_at(&mut self, kind: ComponentExternalKind, index: u32, offset: usize) -> Result<Item, StructureRefusal> {
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

    /// Returns the description of an import or export of the outermost component.
    fn extern_item(&mut self, name: &str, item: Item) -> Result<ExternItem, StructureRefusal> {
        let mut described = ExternItem::new(names::shown(name), kind(item));
        let Item::Instance(id) = item else {
            return Ok(described);
        };
        let Some(info) = self.arena.instance(id) else {
            return Ok(described);
        };
        for (name, item) in &info.exports {
            let list = match item {
                Item::Type(ty) if matches!(ty.shape, Shape::Resource) => &mut described.resources,
                Item::Type(_) => continue,
                Item::Function(_) => &mut described.functions,
                _ => &mut described.others,
            };
            self.meter.count(|counts| &mut counts.listed_items, 1)?;
            list.push(names::shown(name));
        }
        // A hash map has no stable order.
        described.functions.sort();
        described.resources.sort();
        described.others.sort();
        Ok(described)
    }

    /// Compares the totals of the outermost component with the budget, so that reading stops early.
    fn check_total(&mut self) -> Result<(), StructureRefusal> {
        match self.scopes.as_slice() {
            [outermost] => {
                let footprint = outermost.footprint;
                self.total(footprint)
            }
            _ => Ok(()),
        }
    }
}

fn kind(item: Item) -> ItemKind {
    match item {
        Item::Module(_) => ItemKind::Module,
        Item::Function(_) => ItemKind::Function,
        Item::Value => ItemKind::Value,
        Item::Type(_) => ItemKind::Type,
        Item::Instance(_) => ItemKind::Interface,
        Item::Component(_) => ItemKind::Component,
    }
}
