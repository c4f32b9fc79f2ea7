// The resolver's logic against the project's case corpus, without building the component: `node --test`.
//
// What the host does is done here in small: a bundle that answers look-ups and remembers them, and the
// canonical order.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

import { pinned, Pin } from './pin.mjs';
import { resolve as exported } from './resolver.js';

const CASES = new URL('../../cases/', import.meta.url);

// In the order of the contract, which is the order in which names are looked up.
const KINDS = { model: 'models', prompt: 'prompts', tool: 'tools', plugin: 'plugins', workflow: 'workflows' };
const RESULTS = { model: 'model', prompt: 'instructions', tool: 'tools', plugin: 'plugins', workflow: 'workflows' };

for (const file of readdirSync(CASES).filter((name) => name.endsWith('.json')).sort()) {
  const { cases } = JSON.parse(readFileSync(new URL(file, CASES), 'utf8'));
  for (const one of cases) {
    // One engine says null where the contract says none, another undefined.
    for (const none of [null, undefined]) {
      test(`${file}: ${one.name} (none is ${none})`, () => {
        assert.deepEqual(sorted(run(one, none)), sorted(one.expect));
      });
    }
  }
}

test('a mistake in the code is a failure of the contract', () => {
  const broken = {
    profiles() {
      throw new TypeError('not a function');
    },
  };
  assert.deepEqual(failureOf(broken), { tag: 'unsupported-declaration', val: 'unexpected' });
});

test('settings that are no JSON are a failure of the contract', () => {
  const bundle = new Bundle({ profiles: { coder: { layers: [{}] } } }, null);
  bundle.textOfSettings = () => '{"a":';
  assert.deepEqual(failureOf(bundle), { tag: 'unsupported-declaration', val: 'settings' });
});

test('the committed component is the pinned one, built from this source', () => {
  assert.deepEqual(pinned(), Pin.ofFolder());
});

function failureOf(bundle) {
  const facts = { os: 'linux', arch: 'x86_64', capabilities: [], models: [], mounts: [], secrets: [] };
  try {
    return exported.resolve({ profile: 'coder', requiredCapabilities: [] }, bundle, facts);
  } catch (thrown) {
    return { ...thrown };
  }
}

// A case's bundle as the component would see it, and everything that was asked about it.
class Bundle {
  asked = { profiles: [], names: [] };
  textOfSettings = (settings) => JSON.stringify(settings);
  #bundle;
  #none;

  constructor(bundle, none) {
    this.#bundle = bundle;
    this.#none = none;
  }

  profiles(names) {
    assert.notEqual(names.length, 0, 'a look-up of nothing');
    this.asked.profiles.push(...names);
    return names.map((name) => {
      const { profiles } = this.#bundle;
      return Object.hasOwn(profiles, name) ? frozen(this.#profile(profiles[name])) : this.#none;
    });
  }

  declares(kind, names) {
    assert.notEqual(names.length, 0, 'a look-up of nothing');
    this.asked.names.push([kind, names]);
    return names.map((name) => this.#bundle[KINDS[kind]].includes(name));
  }

  #profile({ extends: parents = [], layers = [] }) {
    return { extends: parents, layers: layers.map((layer) => this.#layer(layer)) };
  }

  #layer(layer) {
    return {
      when: (layer.when ?? []).map(condition),
      models: this.#amend(layer.models),
      instructions: this.#amend(layer.instructions),
      toolsAllow: this.#amend(layer.tools_allow),
      toolsDeny: this.#amend(layer.tools_deny),
      plugins: this.#amend(layer.plugins),
      workflows: this.#amend(layer.workflows),
      language: layer.language ?? this.#none,
      wishes: (layer.wishes ?? []).map(({ authority: text, need }) => ({ authority: authority(text), need })),
      drops: (layer.drops ?? []).map(authority),
      settings: this.textOfSettings(layer.settings === undefined ? {} : layer.settings),
    };
  }

  #amend(amend) {
    if (amend === undefined) {
      return this.#none;
    }
    const [[tag, val]] = Object.entries(amend);
    return { tag, val };
  }
}

function condition(text) {
  const colon = text.indexOf(':');
  return { tag: text.slice(0, colon), val: text.slice(colon + 1) };
}

function authority(text) {
  const [tag, ...rest] = text.split(':');
  switch (tag) {
    case 'shell':
      return { tag };
    case 'mount':
      return { tag, val: rest };
    default:
      return { tag, val: rest.join(':') };
  }
}

function textOf({ tag, val }) {
  return [tag, val].flat().filter((part) => part !== undefined).join(':');
}

function frozen(value) {
  if (typeof value === 'object' && value !== null) {
    Object.values(value).forEach(frozen);
    Object.freeze(value);
  }
  return value;
}

function run({ bundle: written, facts, request }, none) {
  const bundle = new Bundle(written, none);
  const { profile, required_capabilities: requiredCapabilities } = request;
  let resolution;
  try {
    resolution = exported.resolve(frozen({ profile, requiredCapabilities }), bundle, frozen(facts));
  } catch (thrown) {
    return { failed: failed(thrown) };
  }
  checkReads(bundle.asked, resolution);
  return { resolved: canonical(resolution) };
}

function failed({ tag, val }) {
  const detail = tag === 'dangling-reference' ? { kind: val[0], name: val[1] } : val;
  return { code: tag.replaceAll('-', '_'), detail };
}

// What was asked for is what counted: each profile of the lineage once, each name of the result once.
function checkReads(asked, resolution) {
  assert.deepEqual([...asked.profiles].sort(), [...resolution.lineage].sort(), 'profiles that were asked for');
  const names = Object.entries(RESULTS).map(([kind, field]) => [kind, [resolution[field] ?? []].flat()]);
  assert.deepEqual(asked.names, names.filter(([, list]) => list.length > 0), 'names that were asked for');
}

const bytewise = (one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other));

// The resolution as the corpus spells it, wishes and origins in their canonical order.
function canonical(resolution) {
  const kinds = ['secret', 'mount', 'egress', 'shell', 'git'];
  const order = resolution.wishes.map((_, index) => index).sort((one, other) => {
    const [left, right] = [resolution.wishes[one].authority, resolution.wishes[other].authority];
    const names = [left, right].map(({ val }) => [val ?? []].flat());
    return (
      kinds.indexOf(left.tag) - kinds.indexOf(right.tag) ||
      names[0].map((name, part) => bytewise(name, names[1][part])).find((found) => found !== 0) ||
      0
    );
  });
  const moved = (field) => field.replace(/^\/wishes\/(\d+)$/, (_, index) => `/wishes/${order.indexOf(Number(index))}`);
  return {
    ...resolution,
    model: resolution.model ?? null,
    language: resolution.language ?? null,
    wishes: order
      .map((index) => resolution.wishes[index])
      .map(({ authority: wished, need }) => ({ authority: textOf(wished), need })),
    settings: JSON.parse(resolution.settings),
    origins: resolution.origins
      .map((origin) => ({ ...origin, field: moved(origin.field) }))
      .sort((one, other) => bytewise(one.field, other.field)),
  };
}

// The same value as text, members sorted: a comparison of objects would be fooled by a member `__proto__`.
function sorted(value) {
  if (Array.isArray(value)) {
    return `[${value.map(sorted)}]`;
  }
  if (typeof value === 'object' && value !== null) {
    const members = Object.keys(value).sort();
    return `{${members.map((key) => `${JSON.stringify(key)}:${sorted(value[key])}`)}}`;
  }
  return JSON.stringify(value);
}
