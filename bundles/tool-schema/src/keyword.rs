//! The model of a parsed schema: a list of subschemas, each a list of keywords.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Number, Value};

use crate::pattern::Pattern;

/// The index of a subschema.
pub(crate) type NodeId = u32;

/// The index of a pattern.
pub(crate) type PatternId = u32;

/// The index of a resource: the document, and each part of it that has an `$id` of its own.
pub(crate) type ResourceId = u32;

/// A schema without faults. See the package for what that means.
#[derive(Debug)]
pub struct Schema {
    /// The first is the root.
    pub(crate) nodes: Vec<Node>,
    pub(crate) patterns: Vec<Pattern>,
    /// Subschemas by dynamic anchor, for each resource.
    pub(crate) dynamic_anchors: HashMap<(ResourceId, Box<str>), NodeId>,
}

/// A subschema.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) resource: ResourceId,
    /// Those that look at what others evaluated come last.
    pub(crate) keywords: Vec<Keyword>,
    /// `true` if a keyword looks at what others evaluated.
    pub(crate) tracks: bool,
}

/// A bound on numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    Minimum,
    Maximum,
    ExclusiveMinimum,
    ExclusiveMaximum,
}

/// A property that demands others, each by name.
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
    Length {
        least: bool,
        characters: u64,
    },
    Pattern(PatternId),
    Count {
        least: bool,
        items: u64,
    },
    UniqueItems,
    Items {
        prefix: Box<[NodeId]>,
        rest: Option<NodeId>,
    },
    Contains {
        node: NodeId,
        least: u64,
        most: Option<u64>,
        evaluates: bool,
    },
    Properties(Box<Properties>),
    PropertyCount {
        least: bool,
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
    /// A reference that the outermost resource with that dynamic anchor answers.
    DynamicRef {
        initial: NodeId,
        anchor: Box<str>,
    },
    UnevaluatedItems(NodeId),
    UnevaluatedProperties(NodeId),
}

/// The keywords that say which subschemas the properties of an object have.
#[derive(Debug, Default)]
pub(crate) struct Properties {
    pub(crate) named: BTreeMap<Box<str>, NodeId>,
    pub(crate) patterns: Vec<(PatternId, NodeId)>,
    pub(crate) additional: Option<NodeId>,
}

impl Keyword {
    /// The subschemas that are applied to the same value.
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

/// The types of JSON Schema, each with its bit in [`Types`].
const TYPES: [(&str, u8); 7] =
    [("null", 1), ("boolean", 2), ("object", 4), ("array", 8), ("number", 16), ("string", 32), ("integer", 64)];

impl Types {
    /// Adds a type by its name; `None` if there is no such type.
    pub(crate) fn with(self, name: &str) -> Option<Self> {
        TYPES.iter().find(|(known, _)| *known == name).map(|(_, bit)| Self(self.0 | bit))
    }

    /// `true` if both have a type in common.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The types of a value. An integer is a number too.
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
