"""The world `resolver` in Python.

The export is one pure function of its arguments. Modules are imported once, at build time, so nothing is kept between calls.
Neither a clock nor randomness is used, and no import other than the bundle.
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import resolve as contract
from wit_world.imports import bundle as bundles
from wit_world.imports.bundle import Amend_Replace, Handle, Kind, Layer, Profile
from wit_world.imports.types import (
    Authority_Egress,
    Authority_Git,
    Authority_Mount,
    Authority_Secret,
    Authority_Shell,
    Facts,
    Need,
)

# A layer by its profile and its index: the origin of a value.
Place = tuple[str, int]


class Resolve(exports.Resolve):
    """The exported interface `resolve`."""

    def resolve(self, request: contract.Request, bundle: Handle, facts: Facts) -> contract.Resolution:
        try:
            return resolution(request, bundle, facts)
        except Err:
            raise
        except Exception as error:
            # Any other exception would end the call as a trap without a message.
            raise Err(contract.Failure_UnsupportedDeclaration("profile")) from error


def resolution(request: contract.Request, bundle: Handle, facts: Facts) -> contract.Resolution:
    """Resolves a profile. The order of the steps is the order in which the contract lists the failures."""
    profiles = read_profiles(bundle, request.profile)
    lineage = lineage_of(profiles, request.profile)
    draft = Draft()
    # From the farthest ancestor to the selected profile, so that nearer layers change what farther ones wrote.
    for name in reversed(lineage):
        for index, layer in enumerate(profiles[name].layers):
            # The index counts all layers, and a layer that does not count is not read.
            if all(holds(condition, facts) for condition in layer.when):
                draft.apply(layer, (name, index))

    unmet = [name for name in request.required_capabilities if name not in facts.capabilities]
    if unmet:
        raise Err(contract.Failure_UnmetCapability(unmet))
    offered = [name for name in draft.models if name in facts.models]
    if draft.models and not offered:
        raise Err(contract.Failure_NoModel(list(draft.models)))
    model = offered[0] if offered else None
    # A denial overrides every permission, whatever the order of the layers.
    tools = {name: place for name, place in draft.tools_allow.items() if name not in draft.tools_deny}

    check_declared(bundle, Kind.MODEL, offered[:1])
    check_declared(bundle, Kind.PROMPT, list(draft.instructions))
    check_declared(bundle, Kind.TOOL, list(tools))
    check_declared(bundle, Kind.PLUGIN, list(draft.plugins))
    check_declared(bundle, Kind.WORKFLOW, list(draft.workflows))

    # Every value has exactly one origin.
    places = {}
    if model is not None:
        places["/model"] = draft.models[model]
    lists = {"instructions": draft.instructions, "tools": tools, "plugins": draft.plugins, "workflows": draft.workflows}
    for field, names in lists.items():
        for index, place in enumerate(names.values()):
            places[f"/{field}/{index}"] = place
    language = None
    if draft.language is not None:
        language, places["/language"] = draft.language
    # The host sorts wishes, and moves their origins along.
    wishes = list(draft.wishes.values())
    for index, (_, place) in enumerate(wishes):
        places[f"/wishes/{index}"] = place
    settings = plain(draft.settings, "/settings", places)
    return contract.Resolution(
        lineage=lineage,
        model=model,
        instructions=list(draft.instructions),
        tools=list(tools),
        plugins=list(draft.plugins),
        workflows=list(draft.workflows),
        language=language,
        wishes=[wish for wish, _ in wishes],
        # The host brings the text into its canonical form.
        settings=json.dumps(settings, ensure_ascii=False),
        origins=[contract.Origin(field, profile, layer) for field, (profile, layer) in places.items()],
    )


def read_profiles(bundle: Handle, selected: str) -> dict[str, Profile]:
    """Reads the selected profile and its ancestors, level by level: a question costs more than a name in it."""
    profiles: dict[str, Profile] = {}
    level = [selected]
    while level:
        parents: dict[str, None] = {}
        for name, profile in zip(level, bundle.profiles(level)):
            if profile is None:
                raise Err(contract.Failure_UnknownProfile(name))
            profiles[name] = profile
            parents.update(dict.fromkeys(profile.extends))
        level = [name for name in parents if name not in profiles]
    return profiles


def lineage_of(profiles: dict[str, Profile], selected: str) -> list[str]:
    """Returns the C3 linearisation, the selected profile first. Every cycle is found before any conflict."""
    lineages: dict[str, list[str]] = {}
    for name in ancestors_first(profiles, selected):
        parents = profiles[name].extends
        merged = merge([*(lineages[parent] for parent in parents), parents])
        if merged is None:
            raise Err(contract.Failure_InheritanceConflict(name))
        lineages[name] = [name, *merged]
    return lineages[selected]


def ancestors_first(profiles: dict[str, Profile], selected: str) -> list[str]:
    """Returns the names in the order in which a depth-first walk leaves them."""
    left: dict[str, None] = {}
    path: list[str] = []

    def walk(name: str) -> None:
        if name in left:
            return
        if name in path:
            cycle = path[path.index(name) :]
            start = cycle.index(min(cycle))
            raise Err(contract.Failure_InheritanceCycle(cycle[start:] + cycle[:start]))
        path.append(name)
        for parent in profiles[name].extends:
            walk(parent)
        path.pop()
        left[name] = None

    walk(selected)
    return list(left)


def merge(sequences: list[list[str]]) -> list[str] | None:
    """Takes the first head that is in no other sequence's tail, again and again. Returns None if there is none."""
    merged = []
    sequences = [sequence for sequence in sequences if sequence]
    while sequences:
        behind = {name for sequence in sequences for name in sequence[1:]}
        head = next((sequence[0] for sequence in sequences if sequence[0] not in behind), None)
        if head is None:
            return None
        merged.append(head)
        sequences = [sequence[1:] if sequence[0] == head else sequence for sequence in sequences]
        sequences = [sequence for sequence in sequences if sequence]
    return merged


def holds(condition: bundles.Condition, facts: Facts) -> bool:
    match condition:
        case bundles.Condition_Has(name):
            return name in facts.capabilities
        case bundles.Condition_Lacks(name):
            return name not in facts.capabilities
        case bundles.Condition_Os(name):
            return facts.os == name
        case bundles.Condition_Arch(name):
            return facts.arch == name
    raise Err(contract.Failure_UnsupportedDeclaration("when"))


def check_declared(bundle: Handle, kind: Kind, names: list[str]) -> None:
    """Checks names of the result: the host records what is looked up, so nothing else is."""
    if not names:
        return
    for name, declared in zip(names, bundle.declares(kind, names)):
        if not declared:
            raise Err(contract.Failure_DanglingReference((kind, name)))


class Draft:
    """What the layers so far have written. A list is a dictionary from its names to their origins, in order."""

    def __init__(self) -> None:
        self.models: dict[str, Place] = {}
        self.instructions: dict[str, Place] = {}
        self.tools_allow: dict[str, Place] = {}
        self.tools_deny: dict[str, Place] = {}
        self.plugins: dict[str, Place] = {}
        self.workflows: dict[str, Place] = {}
        self.language: tuple[str, Place] | None = None
        # By the authority's kind, name and access.
        self.wishes: dict[tuple[str, str, str], tuple] = {}
        self.settings: dict = {}

    def apply(self, layer: Layer, place: Place) -> None:
        for field in ["models", "instructions", "tools_allow", "tools_deny", "plugins", "workflows"]:
            amend = getattr(layer, field)
            if amend is None:
                continue
            names = getattr(self, field)
            if isinstance(amend, Amend_Replace):
                names.clear()
            for name in amend.value:
                # The first of several equal names keeps its place and its origin.
                names.setdefault(name, place)
        if layer.language is not None:
            self.language = (layer.language, place)
        for dropped in layer.drops:
            # A drop of a mount or of git takes both accesses back.
            kind, name, _ = key_of(dropped)
            self.wishes = {key: wish for key, wish in self.wishes.items() if key[:2] != (kind, name)}
        for wish in layer.wishes:
            key = key_of(wish.authority)
            before = self.wishes.get(key)
            # Only from optional to required is a change.
            if before is None or (before[0].need == Need.OPTIONAL and wish.need == Need.REQUIRED):
                self.wishes[key] = (wish, place)
        patch = parse(layer.settings)
        if not isinstance(patch, dict):
            raise Err(contract.Failure_UnsupportedDeclaration("settings"))
        merge_patch(self.settings, patch, place)


def key_of(authority) -> tuple[str, str, str]:
    match authority:
        case Authority_Secret(name):
            return ("secret", name, "")
        case Authority_Mount((label, access)):
            return ("mount", label, access.name)
        case Authority_Egress(url):
            return ("egress", url, "")
        case Authority_Shell():
            return ("shell", "", "")
        case Authority_Git(access):
            return ("git", "", access.name)
    raise Err(contract.Failure_UnsupportedDeclaration("wishes"))


class Leaf:
    """A setting that is not an object with members, and the layer that wrote it."""

    def __init__(self, value: object, place: Place) -> None:
        self.value = value
        self.place = place


def parse(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def merge_patch(members: dict, patch: dict, place: Place) -> None:
    """Applies a JSON Merge Patch (RFC 7396)."""
    for key, value in patch.items():
        if value is None:
            members.pop(key, None)
        elif isinstance(value, dict):
            before = members.get(key)
            below = before if isinstance(before, dict) else {}
            merge_patch(below, value, place)
            # An object that is empty now is a leaf, and this layer made it one.
            members[key] = below if below else Leaf({}, place)
        else:
            members[key] = Leaf(value, place)


def plain(node: object, pointer: str, places: dict[str, Place]) -> object:
    """Returns the value of settings, and adds the origins of their leaves to `places`."""
    if isinstance(node, Leaf):
        places[pointer] = node.place
        return node.value
    # Pointers are RFC 6901: `~` is `~0`, and `/` is `~1`.
    escaped = {key: key.replace("~", "~0").replace("/", "~1") for key in node}
    return {key: plain(below, f"{pointer}/{escaped[key]}", places) for key, below in node.items()}
