//! Reading of component types and computation of their weights.
//!
//! Types with their own index spaces are read by this module with a limit on the depth, because the parser's own
//! reader of such types recurses without a limit.

use super::{
    StructureRefusal, module,
    reading::Walk,
    scope::{Item, Shape, Type, at},
};
use wasmparser::{
    BinaryReader, ComponentAlias, ComponentDefinedType, ComponentExternName, ComponentImport, ComponentType,
    ComponentTypeRef, ComponentValType, CoreType, TypeBounds,
};

/// Leading bytes of types and declarations in the binary format.
mod leading {
    pub(super) const COMPONENT: u8 = 0x41;
    pub(super) const INSTANCE: u8 = 0x42;
    pub(super) const DECLARED_CORE_TYPE: u8 = 0x00;
    pub(super) const DECLARED_TYPE: u8 = 0x01;
    pub(super) const DECLARED_ALIAS: u8 = 0x02;
    pub(super) const DECLARED_IMPORT: u8 = 0x03;
    pub(super) const DECLARED_EXPORT: u8 = 0x04;
    pub(super) const CORE_MODULE: u8 = 0x50;
}

/// Weight and depth of a definition while it is read.
struct Sum {
    weight: u64,
    depth: u64,
}

impl<'a> Walk<'a, '_> {
    /// Reads one component type and gives it an index.
    pub(super) fn component_type(&mut self, reader: &mut BinaryReader<'a>) -> Result<(), StructureRefusal> {
        let offset = reader.original_position();
        self.meter.count(|counts| &mut counts.types, 1)?;
        let ty = match reader.clone().read_u8()? {
            first @ (leading::COMPONENT | leading::INSTANCE) => {
                reader.read_u8()?;
                self.declarations(reader, first == leading::COMPONENT)?
            }
            _ => {
                let ty = reader.read::<ComponentType<'a>>()?;
                self.plain_type(&ty, offset)?
            }
        };
        self.meter.raise(|counts| &mut counts.largest_type, ty.weight)?;
        self.meter.raise(|counts| &mut counts.type_depth, ty.depth)?;
        self.scope(offset)?.visit(0);
        self.scope(offset)?.define(Item::Type(ty));
        Ok(())
    }

    /// Reads one module type or recursion group, and gives each of its core types an index.
    pub(super) fn core_type(&mut self, reader: &mut BinaryReader<'a>) -> Result<(), StructureRefusal> {
        let offset = reader.original_position();
        if reader.clone().read_u8()? == leading::CORE_MODULE {
            self.meter.count(|counts| &mut counts.types, 1)?;
            let CoreType::Module(declarations) = reader.read::<CoreType<'a>>()? else {
                return Err(StructureRefusal::malformed(offset, "expected a module type"));
            };
            let parts = declarations.len() as u64;
            self.meter.count(|counts| &mut counts.type_parts, parts)?;
            self.meter.raise(|counts| &mut counts.largest_type, parts)?;
            let scope = self.scope(offset)?;
            scope.visit(parts);
            scope.core_types.push(parts.saturating_add(1));
            return Ok(());
        }
        for ty in module::recursion_group(reader, &mut self.meter)? {
            let scope = self.scope(offset)?;
            scope.visit(0);
            scope.core_types.push(1 + module::parts(&ty));
        }
        Ok(())
    }

    /// Reads the declarations of a component or instance type after its leading byte.
    fn declarations(&mut self, reader: &mut BinaryReader<'a>, component: bool) -> Result<Type, StructureRefusal> {
        self.enter()?;
        for _ in 0..reader.read_var_u32()? {
            let offset = reader.original_position();
            self.meter.count(|counts| &mut counts.type_parts, 1)?;
            match reader.read_u8()? {
                leading::DECLARED_CORE_TYPE => self.core_type(reader)?,
                leading::DECLARED_TYPE => self.component_type(reader)?,
                leading::DECLARED_ALIAS => {
                    let alias = reader.read::<ComponentAlias<'a>>()?;
                    self.alias(&alias, offset)?;
                }
                leading::DECLARED_IMPORT if component => {
                    let import = reader.read::<ComponentImport<'a>>()?;
                    self.extern_name(&import.name)?;
                    let item = self.referenced_item(import.ty, offset)?;
                    let weight = self.arena.measure(item).0;
                    let scope = self.scope(offset)?;
                    scope.import_weight = scope.import_weight.saturating_add(weight);
                    scope.define(item);
                }
                leading::DECLARED_EXPORT => {
                    let name = reader.read::<ComponentExternName<'a>>()?;
                    self.extern_name(&name)?;
                    let item = self.referenced_item(reader.read()?, offset)?;
                    let scope = self.scope(offset)?;
                    scope.define(item);
                    scope.exports.insert(name.name, item);
                }
                _ => return Err(StructureRefusal::malformed(offset, "unknown declaration")),
            }
        }
        let offset = reader.original_position();
        let Some(scope) = self.scopes.pop() else {
            return Err(StructureRefusal::malformed(offset, "unexpected end of a type"));
        };
        let visited = scope.footprint.inlined_items;
        let mut info = scope.finish(&mut self.arena);
        let depth = self.arena.instance(info.instance).map_or(1, |instance| instance.depth);
        let weight = info.weight;
        let shape = if component {
            // An imported component counts as one instance, because its inner instances are not part of this binary.
            info.footprint = module::Footprint { instances: 1, ..Default::default() };
            Shape::Component(self.arena.add_component(info))
        } else {
            Shape::Instance(info.instance)
        };
        self.scope(offset)?.visit(visited);
        Ok(Type { weight, depth, shape })
    }

    fn plain_type(&mut self, ty: &ComponentType<'a>, offset: usize) -> Result<Type, StructureRefusal> {
        let mut sum = Sum { weight: 1, depth: 1 };
        let mut shape = Shape::Value;
        match ty {
            ComponentType::Defined(defined) => self.defined_type(defined, &mut sum, offset)?,
            ComponentType::Func(function) => {
                shape = Shape::Function;
                for (name, ty) in &function.params {
                    self.meter.name(name)?;
                    self.part(&mut sum, Some(*ty), offset)?;
                }
                self.part(&mut sum, function.result, offset)?;
            }
            ComponentType::Resource { .. } => shape = Shape::Resource,
            ComponentType::Component(_) | ComponentType::Instance(_) => {
                return Err(StructureRefusal::malformed(offset, "expected a type without declarations"));
            }
        }
        Ok(Type { weight: sum.weight, depth: sum.depth, shape })
    }

    fn defined_type(
        &mut self,
        ty: &ComponentDefinedType<'a>,
        sum: &mut Sum,
        offset: usize,
    ) -> Result<(), StructureRefusal> {
        match ty {
            ComponentDefinedType::Primitive(_) => {}
            ComponentDefinedType::Record(fields) => {
                for (name, ty) in fields {
                    self.meter.name(name)?;
                    self.part(sum, Some(*ty), offset)?;
                }
            }
            ComponentDefinedType::Variant(cases) => {
                for case in cases {
                    self.meter.name(case.name)?;
                    self.part(sum, case.ty, offset)?;
                }
            }
            ComponentDefinedType::Flags(names) | ComponentDefinedType::Enum(names) => {
                for name in names {
                    self.meter.name(name)?;
                    self.part(sum, None, offset)?;
                }
            }
            ComponentDefinedType::Tuple(types) => {
                for ty in types {
                    self.part(sum, Some(*ty), offset)?;
                }
            }
            ComponentDefinedType::List(ty) | ComponentDefinedType::Option(ty) => self.part(sum, Some(*ty), offset)?,
            ComponentDefinedType::FixedLengthList(ty, length) => {
                self.part(sum, Some(*ty), offset)?;
                sum.weight = sum.weight.saturating_mul(u64::from((*length).max(1)));
            }
            ComponentDefinedType::Map(key, value) => {
                self.part(sum, Some(*key), offset)?;
                self.part(sum, Some(*value), offset)?;
            }
            ComponentDefinedType::Result { ok, err } => {
                self.part(sum, *ok, offset)?;
                self.part(sum, *err, offset)?;
            }
            ComponentDefinedType::Own(index) | ComponentDefinedType::Borrow(index) => {
                self.part(sum, Some(ComponentValType::Type(*index)), offset)?;
            }
            ComponentDefinedType::Future(ty) | ComponentDefinedType::Stream(ty) => self.part(sum, *ty, offset)?,
        }
        Ok(())
    }

    /// Adds one part with type `ty` to the sum.
    fn part(&mut self, sum: &mut Sum, ty: Option<ComponentValType>, offset: usize) -> Result<(), StructureRefusal> {
        self.meter.count(|counts| &mut counts.type_parts, 1)?;
        let ty = match ty {
            Some(ComponentValType::Type(index)) => at(&self.scope(offset)?.types, index, "type", offset)?,
            Some(ComponentValType::Primitive(_)) | None => Type::LEAF,
        };
        sum.weight = sum.weight.saturating_add(ty.weight);
        sum.depth = sum.depth.max(ty.depth.saturating_add(1));
        Ok(())
    }

    /// Returns the item that an import or export with the given type stands for.
    pub(super) fn referenced_item(&mut self, ty: ComponentTypeRef, offset: usize) -> Result<Item, StructureRefusal> {
        let scope = self.scope(offset)?;
        Ok(match ty {
            ComponentTypeRef::Module(index) => {
                at(&scope.core_types, index, "core type", offset)?;
                Item::Module(module::Footprint::default())
            }
            ComponentTypeRef::Func(index) => Item::Function(at(&scope.types, index, "type", offset)?.weight),
            ComponentTypeRef::Value(_) => Item::Value,
            ComponentTypeRef::Type(TypeBounds::Eq(index)) => Item::Type(at(&scope.types, index, "type", offset)?),
            ComponentTypeRef::Type(TypeBounds::SubResource) => {
                Item::Type(Type { shape: Shape::Resource, ..Type::LEAF })
            }
            ComponentTypeRef::Instance(index) => match at(&scope.types, index, "type", offset)?.shape {
                Shape::Instance(id) => Item::Instance(id),
                _ => {
                    return Err(StructureRefusal::malformed(offset, "the type of an instance is not an instance type"));
                }
            },
            ComponentTypeRef::Component(index) => match at(&scope.types, index, "type", offset)?.shape {
                Shape::Component(id) => Item::Component(id),
                _ => {
                    return Err(StructureRefusal::malformed(offset, "the type of a component is not a component type"));
                }
            },
        })
    }

    pub(super) fn extern_name(&mut self, name: &ComponentExternName<'a>) -> Result<(), StructureRefusal> {
        for part in [Some(name.name), name.implements, name.version_suffix, name.external_id] {
            self.meter.name(part.unwrap_or_default())?;
        }
        Ok(())
    }
}
