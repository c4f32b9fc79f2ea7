//! The model of a parsed schema: a list of subschemas, each a list of keywords.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Number, Value};

use crate::pattern::Pattern;

/// Index of a subschema in [`Schema::nodes`].
pub(crate) type NodeId = u32;

/// Index of a pattern in [`Schema::patterns`].
pub(crate) type PatternId = u32;

/// Index of a resource: the document, or a part of it with its own `$id`.
pub(crate) type ResourceId = u32;

/// A parsed schema without faults. The crate documentation lists what that guarantees.
#[derive(Debug)]
pub struct Schema {
    /// All subschemas. The first is the root.
    pub(crate) nodes: Vec<Node>,
    pub(crate) patterns: Vec<Pattern>,
    /// Subschemas by resource and dynamic anchor.
    pub(crate) dynamic_anchors: HashMap<(ResourceId, Box<str>), NodeId>,
}

/// A subschema.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) resource: ResourceId,
    /// The keywords. `unevaluatedItems` and `unevaluatedProperties` come last, because they depend on the others.
    pub(crate) keywords: Vec<Keyword>,
    /// `true` if the node has an `unevaluated…` keyword, so that evaluated properties and items must be tracked.
    pub(crate) tracks_evaluated: bool,
}

/// The kind of a limit on numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    Minimum,
    Maximum,
    ExclusiveMinimum,
    ExclusiveMaximum,
}

/// A property and the names of the properties that must accompany it.
#[derive(Debug)]
pub(crate) struct Dependency {
    pub(crate) property: Box<str>,
    pub(crate) required: Box<[Box<str>]>,
}

/// A keyword with its operands.
#[derive(Debug)]
pub(crate) enum Keyword {
    /// The schema `false`.
    Never,
    Type(Types),
    Enum(Box<[Value]>),
    Const(Box<Value>),
    MultipleOf(Number),
    Bound(Bound, Number),
    /// `minLength` or `maxLength`.
    Length {
        is_minimum: bool,
        characters: u64,
    },
    Pattern(PatternId),
    /// `minItems` or `maxItems`.
    Count {
        is_minimum: bool,
        items: u64,
    },
    UniqueItems,
    Items {
        prefix: Box<[NodeId]>,
        rest: Option<NodeId>,
    },
    Contains {
        node: NodeId,
        min: u64,
        max: Option<u64>,
        /// `true` if matching items count as evaluated, as in 2020-12.
        evaluates: bool,
    },
    Properties(Box<Properties>),
    /// `minProperties` or `maxProperties`.
    PropertyCount {
        is_minimum: bool,
        properties: u64,
    },
    PropertyNames(NodeId),
    Required(Box<[Box<str>]>),
    DependentRequired(Box<[Dependency]>),
    DependentSchemas(Box<[(Box<str>, NodeId)]>),
    AllOf(Box<[NodeId]>),
    AnyOf(Box<[NodeId]>),
    OneOf(Box<[NodeId]>),
    Not(NodeId),
    If {
        condition: NodeId,
        then: Option<NodeId>,
        otherwise: Option<NodeId>,
    },
    Ref(NodeId),
    /// A reference to the outermost resource with the dynamic anchor, or else to `initial`.
    DynamicRef {
        initial: NodeId,
        anchor: Box<str>,
    },
    UnevaluatedItems(NodeId),
    UnevaluatedProperties(NodeId),
}

/// The keywords `properties`, `patternProperties` and `additionalProperties`.
#[derive(Debug, Default)]
pub(crate) struct Properties {
    pub(crate) named: BTreeMap<Box<str>, NodeId>,
    pub(crate) patterns: Vec<(PatternId, NodeId)>,
    pub(crate) additional: Option<NodeId>,
}

impl Keyword {
    /// Calls `each` for the subschemas that apply to the same value.
    pub(crate) fn in_place(&self, mut each: impl FnMut(NodeId)) {
        match self {
            Self::AllOf(nodes) | Self::AnyOf(nodes) | Self::OneOf(nodes) => nodes.iter().copied().for_each(each),
            Self::Not(node) | Self::Ref(node) | Self::DynamicRef { initial: node, .. } => each(*node),
            Self::If { condition, then, otherwise } => {
                [Some(*condition), *then, *otherwise].into_iter().flatten().for_each(each);
            }
            Self::DependentSchemas(schemas) => schemas.iter().for_each(|(_, node)| each(*node)),
            _ => {}
        }
    }
}

/// A set of types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Types(u8);

/// The types of JSON Schema, each with a bit in [`Types`].
const TYPES: [(&str, u8); 7] =
    [("null", 1), ("boolean", 2), ("object", 4), ("array", 8), ("number", 16), ("string", 32), ("integer", 64)];

impl Types {
    /// Returns the set with the type called `name` added; `None` if there is no such type.
    pub(crate) fn with(self, name: &str) -> Option<Self> {
        TYPES.iter().find(|(known, _)| *known == name).map(|(_, bit)| Self(self.0 | bit))
    }

    /// `true` if both sets have a type in common.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns the types of a value. An integer has the types `integer` and `number`.
    pub(crate) fn of(value: &Value) -> Self {
        Self(match value {
            Value::Null => 1,
            Value::Bool(_) => 2,
            Value::Object(_) => 4,
            Value::Array(_) => 8,
            Value::Number(number) if crate::number::Numeric::from(number).is_integer() => 16 | 64,
            Value::Number(_) => 16,
            Value::String(_) => 32,
        })
    }
}

impl std::fmt::Display for Types {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut before = "";
        for (name, _) in TYPES.iter().filter(|(_, bit)| self.0 & bit != 0) {
            write!(f, "{before}{name}")?;
            before = " or ";
        }
        Ok(())
    }
}
