//! Parsing of a JSON document to a [`Schema`] or to a list of its faults.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};

use crate::fault::{Fault, SchemaProblem};
use crate::keyword::{Bound, Dependency, Keyword, Node, NodeId, PatternId, Properties, ResourceId, Schema, Types};
use crate::number::Numeric;
use crate::pattern::Pattern;
use crate::reference::{Resources, Target};

/// Limit on the reported faults of one schema.
const MAX_FAULTS: usize = 32;

/// Limit on the nesting of subschemas in the document, because parsing is recursive.
const MAX_DEPTH: usize = 128;

/// A version of JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dialect {
    Draft7,
    Draft2019,
    Draft2020,
}

impl Dialect {
    fn of(uri: &str) -> Option<Self> {
        let uri = uri.strip_suffix('#').unwrap_or(uri);
        let (_, name) = uri.split_once("://json-schema.org/")?;
        Some(match name {
            "draft/2020-12/schema" => Self::Draft2020,
            "draft/2019-09/schema" => Self::Draft2019,
            "draft-07/schema" | "draft-06/schema" => Self::Draft7,
            _ => return None,
        })
    }
}

impl Schema {
    /// Parses a schema. `pattern_bytes` limits the estimated size of all its compiled patterns together.
    ///
    /// # Errors
    ///
    /// All faults of the schema, at most 32.
    pub fn parse(document: &Value, pattern_bytes: usize) -> Result<Self, Vec<Fault>> {
        let mut parser = Parser {
            nodes: Vec::new(),
            values: Vec::new(),
            ids: HashMap::new(),
            resources: Resources::default(),
            references: Vec::new(),
            patterns: Vec::new(),
            pattern_ids: HashMap::new(),
            dynamic_anchors: HashMap::new(),
            pattern_bytes,
            pattern_bytes_left: pattern_bytes,
            faults: Vec::new(),
            depth: 0,
        };
        parser.resource(document, None);
        parser.references();
        if parser.faults.is_empty() {
            parser.recursion();
        }
        if parser.faults.is_empty() {
            let Parser { nodes, patterns, dynamic_anchors, .. } = parser;
            return Ok(Self { nodes, patterns, dynamic_anchors });
        }
        let faults = parser.faults.into_iter();
        Err(faults.map(|(value, problem)| Fault { pointer: pointer_to(document, value), problem }).collect())
    }
}

/// Returns the JSON pointer to a value of a document, compared by address. Only faults need a pointer, so the parser
/// does not track them.
fn pointer_to(document: &Value, value: &Value) -> String {
    fn search(within: &Value, wanted: &Value, pointer: &mut String) -> bool {
        if std::ptr::eq(within, wanted) {
            return true;
        }
        let length = pointer.len();
        let mut found = |step: &str, value: &Value| {
            pointer.truncate(length);
            pointer.push('/');
            pointer.push_str(step);
            search(value, wanted, pointer)
        };
        match within {
            Value::Array(values) => values.iter().enumerate().any(|(index, value)| found(&index.to_string(), value)),
            Value::Object(members) => {
                members.iter().any(|(key, value)| found(&key.replace('~', "~0").replace('/', "~1"), value))
            }
            _ => false,
        }
    }
    let mut pointer = String::new();
    if search(document, value, &mut pointer) { pointer } else { String::new() }
}

/// A reference, which is resolved after the whole document is parsed.
struct Reference<'d> {
    node: NodeId,
    /// Index of the keyword in the node.
    keyword: usize,
    value: &'d Value,
    text: &'d str,
    resource: ResourceId,
    dynamic: bool,
}

struct Parser<'d> {
    nodes: Vec<Node>,
    /// The JSON value of each node.
    values: Vec<&'d Value>,
    /// Nodes by the address of their JSON value. The addresses are stable, because the parser borrows the document.
    ids: HashMap<*const Value, NodeId>,
    resources: Resources<'d>,
    references: Vec<Reference<'d>>,
    patterns: Vec<Pattern>,
    pattern_ids: HashMap<&'d str, PatternId>,
    dynamic_anchors: HashMap<(ResourceId, Box<str>), NodeId>,
    pattern_bytes: usize,
    pattern_bytes_left: usize,
    faults: Vec<(&'d Value, SchemaProblem)>,
    depth: usize,
}

/// A keyword with its value, as a member of a schema object.
#[derive(Clone, Copy)]
struct Member<'d> {
    keyword: &'static str,
    value: &'d Value,
    resource: ResourceId,
    dialect: Dialect,
}

impl<'d> Parser<'d> {
    fn fault(&mut self, value: &'d Value, problem: SchemaProblem) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push((value, problem));
        }
    }

    fn shape<T>(&mut self, at: Member<'d>, expected: &'static str) -> Option<T> {
        self.fault(at.value, SchemaProblem::Shape { keyword: at.keyword, expected });
        None
    }

    /// Parses a value that starts a resource.
    fn resource(&mut self, value: &'d Value, within: Option<ResourceId>) -> NodeId {
        let inherited =
            within.and_then(|within| self.resources.get(within)).map_or(Dialect::Draft2020, |it| it.dialect);
        let dialect = match value.get("$schema") {
            None => inherited,
            Some(uri) => match uri.as_str().map(Dialect::of) {
                Some(Some(dialect)) => dialect,
                _ => {
                    self.fault(uri, SchemaProblem::Dialect);
                    inherited
                }
            },
        };
        let id = identifier(value, dialect);
        let resource = match self.resources.add(within, id, value, dialect) {
            Ok(resource) => resource,
            Err(problem) => {
                self.fault(value.get("$id").unwrap_or(value), problem);
                within.unwrap_or_default()
            }
        };
        self.node(value, resource, dialect)
    }

    /// Parses a subschema, unless it was parsed before.
    fn schema(&mut self, value: &'d Value, resource: ResourceId, dialect: Dialect) -> NodeId {
        if let Some(known) = self.ids.get(&std::ptr::from_ref(value)) {
            return *known;
        }
        if self.depth >= MAX_DEPTH {
            self.fault(value, SchemaProblem::TooDeep { allowed: MAX_DEPTH });
            return 0;
        }
        self.depth += 1;
        let node = match identifier(value, dialect) {
            Some(_) => self.resource(value, Some(resource)),
            None => self.node(value, resource, dialect),
        };
        self.depth -= 1;
        node
    }

    /// Adds a node for a value and parses its keywords.
    fn node(&mut self, value: &'d Value, resource: ResourceId, dialect: Dialect) -> NodeId {
        let id = self.nodes.len() as NodeId;
        self.nodes.push(Node { resource, ..Node::default() });
        self.values.push(value);
        self.ids.insert(std::ptr::from_ref(value), id);
        let mut keywords = Vec::new();
        match value {
            Value::Bool(true) => {}
            Value::Bool(false) => keywords.push(Keyword::Never),
            Value::Object(members) => self.keywords(id, members, resource, dialect, &mut keywords),
            _ => self.fault(value, SchemaProblem::NotASchema),
        }
        if let Some(node) = self.nodes.get_mut(id as usize) {
            let is_unevaluated =
                |keyword: &Keyword| matches!(keyword, Keyword::UnevaluatedItems(_) | Keyword::UnevaluatedProperties(_));
            node.tracks_evaluated = keywords.iter().any(is_unevaluated);
            node.keywords = keywords;
        }
        id
    }

    fn keywords(
        &mut self,
        id: NodeId,
        members: &'d Map<String, Value>,
        resource: ResourceId,
        dialect: Dialect,
        keywords: &mut Vec<Keyword>,
    ) {
        if members.is_empty() {
            return;
        }
        let at = |(keyword, value)| Member { keyword, value, resource, dialect };
        let member = |keyword: &'static str| members.get(keyword).map(|value| at((keyword, value)));
        // Draft 7 ignores all other keywords beside a `$ref`, but the definitions can be referenced.
        if dialect == Dialect::Draft7 && members.contains_key("$ref") {
            self.reference(id, member("$ref"), false, keywords);
            self.definitions(member("definitions"));
            self.definitions(member("$defs"));
            return;
        }
        self.anchors(id, members, resource, dialect);
        self.definitions(member("$defs"));
        self.definitions(member("definitions"));
        for keyword in ["$comment", "title", "description", "format", "contentEncoding", "contentMediaType"] {
            self.annotation(member(keyword), Value::is_string, "a string");
        }
        for keyword in ["deprecated", "readOnly", "writeOnly"] {
            self.annotation(member(keyword), Value::is_boolean, "a boolean");
        }
        self.annotation(member("examples"), Value::is_array, "an array");
        self.annotation(member("$vocabulary"), Value::is_object, "an object");
        self.child(member("contentSchema"));

        let simple = [
            ("type", Self::types as fn(&mut Self, Member<'d>) -> Option<Keyword>),
            ("enum", Self::enumeration),
            ("const", |_, at| Some(Keyword::Const(Box::new(at.value.clone())))),
            ("multipleOf", Self::multiple_of),
            ("minimum", |parser, at| parser.bound(at, Bound::Minimum)),
            ("maximum", |parser, at| parser.bound(at, Bound::Maximum)),
            ("exclusiveMinimum", |parser, at| parser.bound(at, Bound::ExclusiveMinimum)),
            ("exclusiveMaximum", |parser, at| parser.bound(at, Bound::ExclusiveMaximum)),
            ("minLength", |parser, at| Some(Keyword::Length { is_minimum: true, characters: parser.count(at)? })),
            ("maxLength", |parser, at| Some(Keyword::Length { is_minimum: false, characters: parser.count(at)? })),
            ("pattern", |parser, at| Some(Keyword::Pattern(parser.pattern_keyword(at)?))),
            ("minItems", |parser, at| Some(Keyword::Count { is_minimum: true, items: parser.count(at)? })),
            ("maxItems", |parser, at| Some(Keyword::Count { is_minimum: false, items: parser.count(at)? })),
            ("uniqueItems", Self::unique_items),
            ("minProperties", |parser, at| {
                Some(Keyword::PropertyCount { is_minimum: true, properties: parser.count(at)? })
            }),
            ("maxProperties", |parser, at| {
                Some(Keyword::PropertyCount { is_minimum: false, properties: parser.count(at)? })
            }),
            ("required", |parser, at| Some(Keyword::Required(parser.names(at)?))),
            ("propertyNames", |parser, at| Some(Keyword::PropertyNames(parser.child(Some(at))?))),
            ("allOf", |parser, at| Some(Keyword::AllOf(parser.children(at)?))),
            ("anyOf", |parser, at| Some(Keyword::AnyOf(parser.children(at)?))),
            ("oneOf", |parser, at| Some(Keyword::OneOf(parser.children(at)?))),
            ("not", |parser, at| Some(Keyword::Not(parser.child(Some(at))?))),
        ];
        for (keyword, parse) in simple {
            if let Some(at) = member(keyword) {
                let parsed = parse(self, at);
                keywords.extend(parsed);
            }
        }
        self.properties([member("properties"), member("patternProperties"), member("additionalProperties")], keywords);
        self.items([member("prefixItems"), member("items"), member("additionalItems")], dialect, keywords);
        self.contains([member("contains"), member("minContains"), member("maxContains")], dialect, keywords);
        let [condition, then, otherwise] = [member("if"), member("then"), member("else")].map(|at| self.child(at));
        if let Some(condition) = condition {
            keywords.push(Keyword::If { condition, then, otherwise });
        }
        self.reference(id, member("$ref"), false, keywords);
        match dialect {
            Dialect::Draft7 => {
                self.dependencies(member("dependencies"), keywords);
                return;
            }
            Dialect::Draft2019 => self.reference(id, member("$recursiveRef"), true, keywords),
            Dialect::Draft2020 => self.reference(id, member("$dynamicRef"), true, keywords),
        }
        self.dependent_required(member("dependentRequired"), keywords);
        self.dependent_schemas(member("dependentSchemas"), keywords);
        keywords.extend(self.child(member("unevaluatedItems")).map(Keyword::UnevaluatedItems));
        keywords.extend(self.child(member("unevaluatedProperties")).map(Keyword::UnevaluatedProperties));
    }

    fn anchors(&mut self, id: NodeId, members: &'d Map<String, Value>, resource: ResourceId, dialect: Dialect) {
        if let Some(value) = members.get("$id") {
            match value.as_str() {
                Some(text) => {
                    let fragment = text.split_once('#').map(|(_, fragment)| fragment).filter(|it| !it.is_empty());
                    match fragment {
                        None => {}
                        Some(name) if dialect == Dialect::Draft7 => self.anchor(value, name, resource, id),
                        Some(_) => {
                            self.fault(
                                value,
                                SchemaProblem::Shape { keyword: "$id", expected: "a URI without a fragment" },
                            );
                        }
                    }
                }
                None => self.fault(value, SchemaProblem::Shape { keyword: "$id", expected: "a string" }),
            }
        }
        if dialect == Dialect::Draft7 {
            return;
        }
        if dialect == Dialect::Draft2019
            && let Some(value) = members.get("$recursiveAnchor")
        {
            match value {
                Value::Bool(true) => {
                    self.dynamic_anchors.insert((resource, "".into()), id);
                }
                Value::Bool(false) => {}
                _ => self.fault(value, SchemaProblem::Shape { keyword: "$recursiveAnchor", expected: "a boolean" }),
            }
        }
        for (keyword, dynamic) in [("$anchor", false), ("$dynamicAnchor", true)] {
            if dynamic && dialect != Dialect::Draft2020 {
                continue;
            }
            let Some(value) = members.get(keyword) else { continue };
            let Some(name) = value.as_str().filter(|name| is_anchor(name)) else {
                self.fault(
                    value,
                    SchemaProblem::Shape { keyword, expected: "a name of letters, digits, `-`, `_` and `.`" },
                );
                continue;
            };
            self.anchor(value, name, resource, id);
            if dynamic {
                self.dynamic_anchors.insert((resource, name.into()), id);
            }
        }
    }

    fn anchor(&mut self, value: &'d Value, name: &'d str, resource: ResourceId, id: NodeId) {
        if let Err(problem) = self.resources.add_anchor(resource, name, id) {
            self.fault(value, problem);
        }
    }

    fn annotation(&mut self, at: Option<Member<'d>>, fits: fn(&Value) -> bool, expected: &'static str) {
        if let Some(at) = at.filter(|at| !fits(at.value)) {
            self.shape::<()>(at, expected);
        }
    }

    fn definitions(&mut self, at: Option<Member<'d>>) {
        if let Some(at) = at {
            self.named(at);
        }
    }

    fn child(&mut self, at: Option<Member<'d>>) -> Option<NodeId> {
        let at = at?;
        Some(self.schema(at.value, at.resource, at.dialect))
    }

    fn children(&mut self, at: Member<'d>) -> Option<Box<[NodeId]>> {
        let expected = "a non-empty array of schemas";
        let Some(values) = at.value.as_array().filter(|values| !values.is_empty()) else {
            return self.shape(at, expected);
        };
        Some(values.iter().map(|value| self.schema(value, at.resource, at.dialect)).collect())
    }

    fn named(&mut self, at: Member<'d>) -> Option<Vec<(&'d str, NodeId)>> {
        let Some(members) = at.value.as_object() else { return self.shape(at, "an object of schemas") };
        let each = members.iter().map(|(name, value)| (name.as_str(), self.schema(value, at.resource, at.dialect)));
        Some(each.collect())
    }

    fn types(&mut self, at: Member<'d>) -> Option<Keyword> {
        let names = match at.value {
            Value::String(_) => std::slice::from_ref(at.value),
            Value::Array(names) if !names.is_empty() => names,
            _ => return self.shape(at, "a type or a non-empty array of types"),
        };
        let mut types = Types::default();
        for value in names {
            let Some(name) = value.as_str() else { return self.shape(at, "types as strings") };
            match types.with(name) {
                None => {
                    self.fault(value, SchemaProblem::UnknownType);
                    return None;
                }
                Some(more) if more == types => return self.shape(at, "different types"),
                Some(more) => types = more,
            }
        }
        Some(Keyword::Type(types))
    }

    fn enumeration(&mut self, at: Member<'d>) -> Option<Keyword> {
        match at.value.as_array() {
            Some(values) => Some(Keyword::Enum(values.as_slice().into())),
            None => self.shape(at, "an array"),
        }
    }

    fn number(&mut self, at: Member<'d>) -> Option<&'d Number> {
        match at.value {
            Value::Number(number) => Some(number),
            _ => self.shape(at, "a number"),
        }
    }

    fn bound(&mut self, at: Member<'d>, bound: Bound) -> Option<Keyword> {
        Some(Keyword::Bound(bound, self.number(at)?.clone()))
    }

    fn multiple_of(&mut self, at: Member<'d>) -> Option<Keyword> {
        let divisor = self.number(at)?;
        let positive = Numeric::from(divisor).compare(Numeric::Integer(0)).is_gt();
        if positive { Some(Keyword::MultipleOf(divisor.clone())) } else { self.shape(at, "a number greater than 0") }
    }

    fn count(&mut self, at: Member<'d>) -> Option<u64> {
        let number = self.number(at)?;
        match Numeric::from(number) {
            Numeric::Integer(count) if count >= 0 => Some(u64::try_from(count).unwrap_or(u64::MAX)),
            real @ Numeric::Real(value) if real.is_integer() && value > 0.0 => Some(u64::MAX),
            _ => self.shape(at, "an integer of 0 or more"),
        }
    }

    fn unique_items(&mut self, at: Member<'d>) -> Option<Keyword> {
        match at.value.as_bool() {
            Some(unique) => unique.then_some(Keyword::UniqueItems),
            None => self.shape(at, "a boolean"),
        }
    }

    fn names(&mut self, at: Member<'d>) -> Option<Box<[Box<str>]>> {
        let names = at.value.as_array().and_then(|names| names.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        let Some(names) = names else { return self.shape(at, "an array of property names") };
        let mut sorted = names.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| matches!(pair, [one, two] if one == two)) {
            return self.shape(at, "different property names");
        }
        Some(names.into_iter().map(Box::from).collect())
    }

    fn pattern_keyword(&mut self, at: Member<'d>) -> Option<PatternId> {
        match at.value.as_str() {
            Some(text) => self.pattern(at.value, text),
            None => self.shape(at, "a string"),
        }
    }

    fn pattern(&mut self, value: &'d Value, text: &'d str) -> Option<PatternId> {
        if let Some(known) = self.pattern_ids.get(text) {
            return Some(*known);
        }
        match Pattern::parse(text, &mut self.pattern_bytes_left, self.pattern_bytes) {
            Ok(pattern) => {
                let id = self.patterns.len() as PatternId;
                self.patterns.push(pattern);
                self.pattern_ids.insert(text, id);
                Some(id)
            }
            Err(problem) => {
                // The exceeded limit is reported once, not for every further pattern.
                let is_reported = matches!(problem, SchemaProblem::PatternBytes { .. })
                    && self.faults.iter().any(|(_, reported)| matches!(reported, SchemaProblem::PatternBytes { .. }));
                if !is_reported {
                    self.fault(value, problem);
                }
                None
            }
        }
    }

    fn properties(&mut self, [named, patterns, additional]: [Option<Member<'d>>; 3], keywords: &mut Vec<Keyword>) {
        let mut properties = Properties::default();
        if let Some(named) = named.and_then(|at| self.named(at)) {
            properties.named = named.into_iter().map(|(name, node)| (name.into(), node)).collect();
        }
        if let Some(at) = patterns
            && let Some(named) = self.named(at)
        {
            for (text, node) in named {
                // Reported at the schema of the pattern, because a JSON pointer cannot point to a key.
                let value = at.value.get(text).unwrap_or(at.value);
                properties.patterns.extend(self.pattern(value, text).map(|pattern| (pattern, node)));
            }
        }
        properties.additional = self.child(additional);
        if named.is_some() || patterns.is_some() || additional.is_some() {
            keywords.push(Keyword::Properties(Box::new(properties)));
        }
    }

    fn items(
        &mut self,
        [prefix, items, additional]: [Option<Member<'d>>; 3],
        dialect: Dialect,
        keywords: &mut Vec<Keyword>,
    ) {
        let (prefix, rest) = if dialect == Dialect::Draft2020 {
            (prefix, items)
        } else if let Some(list) = items.filter(|at| at.value.is_array()) {
            (Some(list), additional)
        } else {
            (None, items)
        };
        if prefix.is_none() && rest.is_none() {
            return;
        }
        let prefix = match prefix {
            // Before 2020-12, `items` may be an empty array.
            Some(at) if dialect < Dialect::Draft2020 && at.value.as_array().is_some_and(Vec::is_empty) => None,
            Some(at) => self.children(at),
            None => None,
        };
        let rest = self.child(rest);
        keywords.push(Keyword::Items { prefix: prefix.unwrap_or_default(), rest });
    }

    fn contains(
        &mut self,
        [contains, min, max]: [Option<Member<'d>>; 3],
        dialect: Dialect,
        keywords: &mut Vec<Keyword>,
    ) {
        let node = self.child(contains);
        let [min, max] = match dialect {
            Dialect::Draft7 => [None, None],
            _ => [min, max].map(|at| at.and_then(|at| self.count(at))),
        };
        if let Some(node) = node {
            let evaluates = dialect == Dialect::Draft2020;
            keywords.push(Keyword::Contains { node, min: min.unwrap_or(1), max, evaluates });
        }
    }

    fn dependent_required(&mut self, at: Option<Member<'d>>, keywords: &mut Vec<Keyword>) {
        let Some(at) = at else { return };
        let Some(members) = at.value.as_object() else {
            self.shape::<()>(at, "an object of arrays of property names");
            return;
        };
        let each = members.iter().filter_map(|(property, value)| {
            Some(Dependency { property: property.as_str().into(), required: self.names(Member { value, ..at })? })
        });
        keywords.push(Keyword::DependentRequired(each.collect()));
    }

    fn dependent_schemas(&mut self, at: Option<Member<'d>>, keywords: &mut Vec<Keyword>) {
        if let Some(named) = at.and_then(|at| self.named(at)) {
            let each = named.into_iter().map(|(property, node)| (property.into(), node));
            keywords.push(Keyword::DependentSchemas(each.collect()));
        }
    }

    /// Parses `dependencies` of draft 7, which combines `dependentRequired` and `dependentSchemas`.
    fn dependencies(&mut self, at: Option<Member<'d>>, keywords: &mut Vec<Keyword>) {
        let Some(at) = at else { return };
        let Some(members) = at.value.as_object() else {
            self.shape::<()>(at, "an object of schemas and of arrays of property names");
            return;
        };
        let (mut required, mut schemas) = (Vec::new(), Vec::new());
        for (property, value) in members {
            let at = Member { value, ..at };
            if value.is_array() {
                let names = self.names(at);
                required.extend(names.map(|names| Dependency { property: property.as_str().into(), required: names }));
            } else {
                schemas.extend(self.child(Some(at)).map(|node| (Box::from(property.as_str()), node)));
            }
        }
        keywords.push(Keyword::DependentRequired(required.into()));
        keywords.push(Keyword::DependentSchemas(schemas.into()));
    }

    /// Adds a placeholder keyword, which [`Self::references`] replaces.
    fn reference(&mut self, node: NodeId, at: Option<Member<'d>>, dynamic: bool, keywords: &mut Vec<Keyword>) {
        let Some(at) = at else { return };
        match at.value.as_str() {
            Some(text) => {
                let (value, resource, keyword) = (at.value, at.resource, keywords.len());
                self.references.push(Reference { node, keyword, value, text, resource, dynamic });
                keywords.push(Keyword::Ref(node));
            }
            None => {
                self.shape::<()>(at, "a string");
            }
        }
    }

    /// Resolves all references. A target outside the known schema keywords is parsed now and may contain further
    /// references.
    fn references(&mut self) {
        while let Some(reference) = self.references.pop() {
            match self.target(&reference) {
                Ok(target) => {
                    let dynamic = reference.dynamic.then(|| self.dynamic(target, reference.text)).flatten();
                    let keyword = match dynamic {
                        Some(anchor) => Keyword::DynamicRef { initial: target, anchor },
                        None => Keyword::Ref(target),
                    };
                    let node = self.nodes.get_mut(reference.node as usize);
                    if let Some(slot) = node.and_then(|node| node.keywords.get_mut(reference.keyword)) {
                        *slot = keyword;
                    }
                }
                Err(problem) => self.fault(reference.value, problem),
            }
        }
    }

    fn target(&mut self, reference: &Reference<'d>) -> Result<NodeId, SchemaProblem> {
        match self.resources.resolve(reference.resource, reference.text)? {
            Target::Anchor(node) => Ok(node),
            Target::Value(value, _) if !value.is_object() && !value.is_boolean() => {
                Err(SchemaProblem::ReferenceToNoSchema)
            }
            Target::Value(value, resource) => {
                let dialect = self.resources.get(resource).map_or(Dialect::Draft2020, |resource| resource.dialect);
                Ok(self.schema(value, resource, dialect))
            }
        }
    }

    /// Returns the dynamic anchor of a reference to `target`, if the target declares that anchor as dynamic.
    fn dynamic(&self, target: NodeId, text: &str) -> Option<Box<str>> {
        let (_, fragment) = text.split_once('#')?;
        let resource = self.nodes.get(target as usize)?.resource;
        let key = (resource, Box::from(fragment));
        (self.dynamic_anchors.get(&key) == Some(&target)).then_some(key.1)
    }

    /// Finds schemas that apply themselves to the same value. The search is iterative, because a chain of references
    /// can be as long as the document.
    fn recursion(&mut self) {
        #[derive(Clone, Copy, PartialEq)]
        enum State {
            New,
            Open,
            Done,
        }
        let mut states = vec![State::New; self.nodes.len()];
        for start in 0..self.nodes.len() {
            let mut stack = vec![(start as NodeId, false)];
            while let Some((id, is_finished)) = stack.pop() {
                let Some(state) = states.get_mut(id as usize) else { continue };
                if is_finished {
                    *state = State::Done;
                    continue;
                }
                if *state != State::New {
                    continue;
                }
                *state = State::Open;
                stack.push((id, true));
                let Some(node) = self.nodes.get(id as usize) else { continue };
                let mut is_endless = false;
                for keyword in &node.keywords {
                    keyword.in_place(|next| match states.get(next as usize) {
                        Some(State::New) => stack.push((next, false)),
                        Some(State::Open) => is_endless = true,
                        _ => {}
                    });
                }
                if is_endless && let Some(value) = self.values.get(id as usize) {
                    self.fault(value, SchemaProblem::EndlessRecursion);
                }
            }
        }
    }
}

/// Returns the `$id` of a value that starts its own resource.
fn identifier(value: &Value, dialect: Dialect) -> Option<&str> {
    let members = value.as_object()?;
    let id = members.get("$id")?.as_str()?;
    let (uri, _) = id.split_once('#').unwrap_or((id, ""));
    // Draft 7 ignores an identifier beside a reference.
    let is_effective = dialect > Dialect::Draft7 || !members.contains_key("$ref");
    (is_effective && !uri.is_empty()).then_some(id)
}

fn is_anchor(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|character| character.is_ascii_alphanumeric() || "-_.".contains(character))
}
