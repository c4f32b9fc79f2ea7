// A profile resolver: the world `resolver` in JavaScript.
//
// The export is one pure function of its arguments. Modules are evaluated when the component is built, and
// what they hold then is frozen into it: so nothing outside a function changes. Neither clock, randomness nor
// any other import is used.

import { Failure } from './failure.js';
import { lineageOf, readProfiles } from './lineage.js';
import { Names } from './names.js';
import { Settings } from './settings.js';
import { Wishes } from './wishes.js';

// The exported interface `resolve` with its one function of the same name.
export const resolve = {
  resolve(request, bundle, facts) {
    try {
      return resolution(request, bundle, facts);
    } catch (thrown) {
      // What is thrown becomes the error of the WIT result, if it has the shape of a failure. Anything else
      // comes from a mistake in this code, and would end the component with a trap that says nothing.
      // A stack that is too deep cannot be caught; what is walked here is only as deep as the host lets it be.
      throw thrown instanceof Failure ? thrown : new Failure('unsupported-declaration', 'unexpected');
    }
  },
};

// Failures are found in the order in which the contract lists them; the order of the steps is that order.
function resolution(request, bundle, facts) {
  const profiles = readProfiles(bundle, request.profile);
  const lineage = lineageOf(profiles, request.profile);
  const draft = new Draft();
  for (const name of lineage.toReversed()) {
    profiles.get(name).layers.forEach((layer, index) => {
      if (layer.when.every((condition) => holds(condition, facts))) {
        draft.apply(layer, { profile: name, layer: index });
      }
    });
  }
  checkCapabilities(request, facts);
  const model = draft.chooseModel(facts);
  const tools = draft.toolsAllow.without(draft.toolsDeny);
  checkDeclared(bundle, 'model', model);
  checkDeclared(bundle, 'prompt', draft.instructions);
  checkDeclared(bundle, 'tool', tools);
  checkDeclared(bundle, 'plugin', draft.plugins);
  checkDeclared(bundle, 'workflow', draft.workflows);
  return {
    lineage,
    model: model.list()[0],
    instructions: draft.instructions.list(),
    tools: tools.list(),
    plugins: draft.plugins.list(),
    workflows: draft.workflows.list(),
    language: draft.language,
    wishes: draft.wishes.list(),
    settings: draft.settings.toText(),
    origins: [
      ...model.givers().map((giver) => ({ field: '/model', ...giver })),
      ...listOrigins('instructions', draft.instructions),
      ...listOrigins('tools', tools),
      ...listOrigins('plugins', draft.plugins),
      ...listOrigins('workflows', draft.workflows),
      ...(draft.language === undefined ? [] : [{ field: '/language', ...draft.languageGiver }]),
      ...listOrigins('wishes', draft.wishes),
      ...draft.settings.origins('/settings'),
    ],
  };
}

// What the layers so far have said. A giver is `{ profile, layer }`: the layer that gave a value.
class Draft {
  models = new Names();
  instructions = new Names();
  toolsAllow = new Names();
  toolsDeny = new Names();
  plugins = new Names();
  workflows = new Names();
  language = undefined;
  languageGiver = undefined;
  wishes = new Wishes();
  settings = new Settings();

  apply(layer, giver) {
    this.models.amend(layer.models, giver);
    this.instructions.amend(layer.instructions, giver);
    this.toolsAllow.amend(layer.toolsAllow, giver);
    this.toolsDeny.amend(layer.toolsDeny, giver);
    this.plugins.amend(layer.plugins, giver);
    this.workflows.amend(layer.workflows, giver);
    // `none` is null on one engine and undefined on another: `!= null` is right on both.
    if (layer.language != null) {
      this.language = layer.language;
      this.languageGiver = giver;
    }
    this.wishes.drop(layer.drops);
    this.wishes.add(layer.wishes, giver);
    this.settings.patch(layer.settings, giver);
  }

  // The first that the host offers, as a list of one, or of none where nobody named a model.
  chooseModel(facts) {
    const chosen = this.models.list().find((name) => facts.models.includes(name));
    if (chosen === undefined && !this.models.isEmpty()) {
      throw new Failure('no-model', this.models.list());
    }
    return this.models.filter((name) => name === chosen);
  }
}

function holds(condition, facts) {
  switch (condition.tag) {
    case 'has':
      return facts.capabilities.includes(condition.val);
    case 'lacks':
      return !facts.capabilities.includes(condition.val);
    case 'os':
      return facts.os === condition.val;
    case 'arch':
      return facts.arch === condition.val;
    default:
      throw new Failure('unsupported-declaration', 'when');
  }
}

function checkCapabilities(request, facts) {
  const unmet = request.requiredCapabilities.filter((name) => !facts.capabilities.includes(name));
  if (unmet.length > 0) {
    throw new Failure('unmet-capability', unmet);
  }
}

// Only names in the result are looked up, each kind in one question, and a kind without names in none: the
// host records what was read.
function checkDeclared(bundle, kind, names) {
  if (names.isEmpty()) {
    return;
  }
  const list = names.list();
  const dangling = bundle.declares(kind, list).indexOf(false);
  if (dangling !== -1) {
    throw new Failure('dangling-reference', [kind, list[dangling]]);
  }
}

function listOrigins(field, list) {
  return list.givers().map((giver, index) => ({ field: `/${field}/${index}`, ...giver }));
}
