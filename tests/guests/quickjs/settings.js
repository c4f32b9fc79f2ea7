// Settings: JSON Merge Patches (RFC 7396), and for each leaf the layer that last wrote it. A leaf is any
// value that is not an object with members.
//
// The tree is made of `Map`s, whose leaves are `{ value, giver }`. A member may be called `__proto__`:
// reading it from what `JSON.parse` made is safe, but setting it on a plain object would change what the
// object inherits, and lose the value.

import { Failure } from './failure.js';

export class Settings {
  #members = new Map();

  patch(text, giver) {
    const patch = parse(text);
    if (!isObject(patch)) {
      throw new Failure('unsupported-declaration', 'settings');
    }
    merge(this.#members, patch, giver);
  }

  // Whatever the order of the members: the host brings the text into its canonical form.
  toText() {
    return textOf(this.#members);
  }

  origins(pointer) {
    return originsOf(this.#members, pointer);
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

// As deep as the patch, which the host bounds; so are the two walks below.
function merge(members, patch, giver) {
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) {
      members.delete(key);
    } else if (isObject(value)) {
      const before = members.get(key);
      const below = before instanceof Map ? before : new Map();
      merge(below, value, giver);
      // An object that is empty now is a leaf, and this layer made it one.
      members.set(key, below.size > 0 ? below : { value: {}, giver });
    } else {
      members.set(key, { value, giver });
    }
  }
}

function textOf(node) {
  if (!(node instanceof Map)) {
    return JSON.stringify(node.value);
  }
  const members = [...node].map(([key, below]) => `${JSON.stringify(key)}:${textOf(below)}`);
  return `{${members.join(',')}}`;
}

function originsOf(node, pointer) {
  if (!(node instanceof Map)) {
    return [{ field: pointer, ...node.giver }];
  }
  return [...node].flatMap(([key, below]) => originsOf(below, `${pointer}/${escape(key)}`));
}

// RFC 6901. First the tilde, or the escape of the slash would be escaped too.
function escape(key) {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}
