// The selected profile and its ancestors: reading them, and their C3 order. Only what `extends` reaches is
// read, each profile once. Profiles are kept in a `Map`, since to a plain object some names are not names
// (`constructor`).

import { Failure } from './failure.js';

// Level by level, because a question to the host costs more than a name in it.
export function readProfiles(bundle, selected) {
  const profiles = new Map();
  let level = [selected];
  while (level.length > 0) {
    const found = bundle.profiles(level);
    const parents = new Set();
    level.forEach((name, index) => {
      const profile = found[index];
      if (profile == null) {
        throw new Failure('unknown-profile', name);
      }
      profiles.set(name, profile);
      profile.extends.forEach((parent) => parents.add(parent));
    });
    level = [...parents].filter((name) => !profiles.has(name));
  }
  return profiles;
}

// The C3 linearisation, the selected profile first. Every cycle is found before any conflict.
export function lineageOf(profiles, selected) {
  const lineages = new Map();
  for (const name of ancestorsFirst(profiles, selected)) {
    const parents = profiles.get(name).extends;
    const merged = merge([...parents.map((parent) => lineages.get(parent)), parents]);
    if (merged === null) {
      throw new Failure('inheritance-conflict', name);
    }
    lineages.set(name, [name, ...merged]);
  }
  return lineages.get(selected);
}

// The names in the order in which a depth-first walk leaves them. As deep as the inheritance, which the host
// bounds.
function ancestorsFirst(profiles, selected) {
  const left = new Set();
  const path = [];
  const walk = (name) => {
    if (left.has(name)) {
      return;
    }
    const before = path.indexOf(name);
    if (before !== -1) {
      throw new Failure('inheritance-cycle', fromSmallest(path.slice(before)));
    }
    path.push(name);
    profiles.get(name).extends.forEach(walk);
    path.pop();
    left.add(name);
  };
  walk(selected);
  return left;
}

// Names of profiles are ASCII, so that `<`, which compares UTF-16 code units, compares bytes.
function fromSmallest(cycle) {
  const smallest = cycle.reduce((one, other) => (other < one ? other : one));
  const start = cycle.indexOf(smallest);
  return [...cycle.slice(start), ...cycle.slice(0, start)];
}

// Takes, again and again, the first head that stands behind no other sequence's head. Null where there is
// none.
function merge(sequences) {
  const merged = [];
  let open = sequences.filter((sequence) => sequence.length > 0);
  while (open.length > 0) {
    const behind = new Set(open.flatMap((sequence) => sequence.slice(1)));
    const next = open.map(([head]) => head).find((head) => !behind.has(head));
    if (next === undefined) {
      return null;
    }
    merged.push(next);
    open = open
      .map((sequence) => (sequence[0] === next ? sequence.slice(1) : sequence))
      .filter((sequence) => sequence.length > 0);
  }
  return merged;
}
