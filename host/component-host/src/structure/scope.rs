//! Index spaces of a component, and the weights of their items.
//!
//! The weight of an item is its number of parts after expanding all references. It is computed once from the weights
//! of the referenced items, and saturates: a type of 2^100 parts is counted in a hundred steps. Index spaces hold
//! small `Copy` values. Shared data lies flat in the [`Arena`], so no operation recurses along references.

use super::{StructureRefusal, module::Footprint};
use std::collections::HashMap;

/// An item with an index or a name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Item {
    /// A core module, with the resources that an instance of it needs.
    Module(Footprint),
    /// A function, with the weight of its type.
    Function(u64),
    Value,
    Type(Type),
    Instance(InstanceId),
    Component(ComponentId),
}

/// A component type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Type {
    pub(super) weight: u64,
    pub(super) depth: u64,
    pub(super) shape: Shape,
}

impl Type {
    /// A type without references.
    pub(super) const LEAF: Self = Self { weight: 1, depth: 1, shape: Shape::Value };
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Value,
    Resource,
    Function,
    Instance(InstanceId),
    Component(ComponentId),
}

/// Index of an [`InstanceInfo`] in the [`Arena`].
#[derive(Debug, Clone, Copy)]
pub(super) struct InstanceId(usize);

/// Index of a [`ComponentInfo`] in the [`Arena`].
#[derive(Debug, Clone, Copy)]
pub(super) struct ComponentId(usize);

/// The exports of an instance.
#[derive(Debug, Default)]
pub(super) struct InstanceInfo<'a> {
    pub(super) exports: HashMap<&'a str, Item>,
    pub(super) weight: u64,
    pub(super) depth: u64,
}

/// A component that can be instantiated.
#[derive(Debug)]
pub(super) struct ComponentInfo {
    /// The exports of each instance of the component.
    pub(super) instance: InstanceId,
    /// Weight of all imports and exports.
    pub(super) weight: u64,
    /// Resources that one instantiation needs, including the instance itself.
    pub(super) footprint: Footprint,
}

/// Storage for instances and components, which several names and indexes may share.
#[derive(Debug, Default)]
pub(super) struct Arena<'a> {
    instances: Vec<InstanceInfo<'a>>,
    components: Vec<ComponentInfo>,
}

impl<'a> Arena<'a> {
    pub(super) fn instance(&self, id: InstanceId) -> Option<&InstanceInfo<'a>> {
        self.instances.get(id.0)
    }

    pub(super) fn component(&self, id: ComponentId) -> Option<&ComponentInfo> {
        self.components.get(id.0)
    }

    pub(super) fn add_instance(&mut self, exports: HashMap<&'a str, Item>) -> InstanceId {
        let mut info = InstanceInfo { weight: 1, depth: 1, exports };
        for item in info.exports.values() {
            let (weight, depth) = self.measure(*item);
            info.weight = info.weight.saturating_add(weight);
            info.depth = info.depth.max(depth.saturating_add(1));
        }
        self.instances.push(info);
        InstanceId(self.instances.len() - 1)
    }

    pub(super) fn add_component(&mut self, info: ComponentInfo) -> ComponentId {
        self.components.push(info);
        ComponentId(self.components.len() - 1)
    }

    /// Returns the weight and the depth of an item.
    pub(super) fn measure(&self, item: Item) -> (u64, u64) {
        match item {
            Item::Module(_) | Item::Value => (1, 1),
            Item::Function(weight) => (weight, 1),
            Item::Type(ty) => (ty.weight, ty.depth),
            Item::Instance(id) => self.instance(id).map_or((1, 1), |info| (info.weight, info.depth)),
            Item::Component(id) => self.component(id).map_or((1, 1), |info| (info.weight, 1)),
        }
    }
}

/// The index spaces of a component, or of a component or instance type, while it is read.
#[derive(Debug, Default)]
pub(super) struct Scope<'a> {
    pub(super) core_types: Vec<u64>,
    pub(super) modules: Vec<Footprint>,
    pub(super) functions: Vec<u64>,
    pub(super) types: Vec<Type>,
    pub(super) instances: Vec<InstanceId>,
    pub(super) components: Vec<ComponentId>,
    pub(super) values: u32,
    pub(super) exports: HashMap<&'a str, Item>,
    pub(super) import_weight: u64,
    pub(super) footprint: Footprint,
}

impl<'a> Scope<'a> {
    /// Gives an item the next index of its kind.
    pub(super) fn define(&mut self, item: Item) {
        match item {
            Item::Module(footprint) => self.modules.push(footprint),
            Item::Function(weight) => self.functions.push(weight),
            Item::Value => self.values = self.values.saturating_add(1),
            Item::Type(ty) => self.types.push(ty),
            Item::Instance(id) => self.instances.push(id),
            Item::Component(id) => self.components.push(id),
        }
    }

    /// Counts one item that a compiler visits at each instantiation of this component, plus `parts` referenced parts.
    pub(super) fn visit(&mut self, parts: u64) {
        let items = &mut self.footprint.inlined_items;
        *items = items.saturating_add(1).saturating_add(parts);
    }

    /// Closes the scope and returns it as a component.
    pub(super) fn finish(self, arena: &mut Arena<'a>) -> ComponentInfo {
        let mut footprint = self.footprint;
        footprint.instances = footprint.instances.saturating_add(1);
        let instance = arena.add_instance(self.exports);
        let exported = arena.instance(instance).map_or(1, |info| info.weight);
        ComponentInfo { instance, weight: exported.saturating_add(self.import_weight), footprint }
    }
}

/// Returns the item at an index of an index space. The error names the kind of the index.
pub(super) fn at<T: Copy>(space: &[T], index: u32, kind: &str, offset: usize) -> Result<T, StructureRefusal> {
    let undefined = || StructureRefusal::malformed(offset, &format!("undefined {kind} {index}"));
    space.get(index as usize).copied().ok_or_else(undefined)
}
