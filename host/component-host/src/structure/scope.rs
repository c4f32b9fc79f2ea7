//! Index spaces of one component, and how much each thing in them weighs.
//!
//! A weight is the number of parts of a thing when everything that it refers to is written out. It is computed once,
//! from the weights of what is referred to, and saturates: a type of 2^100 parts is counted in a hundred steps.
//! What lives in an index space is a small copyable value; what is shared lives in the [`Arena`], flat, so that
//! no chain of references is as deep as the input is long.

use super::{Refusal, module::Footprint};
use std::collections::HashMap;

/// A thing that has an index or a name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Item {
    /// A core module and what an instance of it asks for.
    Module(Footprint),
    /// A function, by the weight of its type.
    Function(u64),
    Value,
    Type(Type),
    Instance(InstanceId),
    Component(ComponentId),
}

/// A component type, by weight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Type {
    pub(super) weight: u64,
    pub(super) depth: u64,
    pub(super) shape: Shape,
}

impl Type {
    /// A type that refers to nothing.
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

/// What an instance offers. The index of an [`InstanceInfo`].
#[derive(Debug, Clone, Copy)]
pub(super) struct InstanceId(usize);

/// What a component is. The index of a [`ComponentInfo`].
#[derive(Debug, Clone, Copy)]
pub(super) struct ComponentId(usize);

#[derive(Debug, Default)]
pub(super) struct InstanceInfo<'a> {
    pub(super) exports: HashMap<&'a str, Item>,
    pub(super) weight: u64,
    pub(super) depth: u64,
}

#[derive(Debug)]
pub(super) struct ComponentInfo {
    pub(super) instance: InstanceId,
    /// Parts of what it imports and exports.
    pub(super) weight: u64,
    /// What one instantiation makes, itself included.
    pub(super) footprint: Footprint,
}

/// What several names or indexes may stand for.
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

    /// Weight and depth of a thing.
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

/// A component, or the inside of a component or instance type, while it is read.
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
    /// Gives a thing the next index of its kind.
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

    /// One more thing for a compiler to visit each time this is instantiated, and the parts it refers to.
    pub(super) fn visit(&mut self, parts: u64) {
        let items = &mut self.footprint.inlined_items;
        *items = items.saturating_add(1).saturating_add(parts);
    }

    /// What the scope is once it is read to its end.
    pub(super) fn finish(self, arena: &mut Arena<'a>) -> ComponentInfo {
        let mut footprint = self.footprint;
        footprint.instances = footprint.instances.saturating_add(1);
        let instance = arena.add_instance(self.exports);
        let exported = arena.instance(instance).map_or(1, |info| info.weight);
        ComponentInfo { instance, weight: exported.saturating_add(self.import_weight), footprint }
    }
}

/// The thing at an index, or a refusal that names the kind of index.
pub(super) fn at<T: Copy>(space: &[T], index: u32, kind: &str, offset: usize) -> Result<T, Refusal> {
    space.get(index as usize).copied().ok_or_else(|| Refusal::malformed(offset, &format!("there is no {kind} {index}")))
}
