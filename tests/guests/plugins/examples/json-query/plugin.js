// The world `tool` in JavaScript: one function that finds values in a JSON document.
//
// A fresh instance answers each call, so nothing is kept between calls.

import { write } from 'yoi:host/log@1.0.0';

// Number of values that one query may find, as the output schema says.
const MAX_MATCHES = 10000;

// A failure of the contract. `throw` returns it as the error of the call.
class ToolFailure {
  constructor(kind, code, message) {
    Object.assign(this, { kind, code, message });
  }
}

const TOOLS = {
  'json.query': ({ document, path }) => query(document, path),
};

// The exported interface `tools`.
export const tools = {
  call({ tool, input }) {
    try {
      return JSON.stringify(TOOLS[tool](JSON.parse(input)));
    } catch (thrown) {
      if (thrown instanceof ToolFailure) throw thrown;
      // Anything else that is thrown would end the call as a trap without a message.
      write('error', String(thrown));
      throw new ToolFailure('failed', 'unexpected', 'The tool failed unexpectedly.');
    }
  },
};

function query(document, path) {
  if (path !== '' && !path.startsWith('/')) {
    throw new ToolFailure('invalid-input', 'invalid_path', 'The path must be empty or begin with "/".');
  }
  let matches = [{ at: '', value: document }];
  for (const segment of path.split('/').slice(1)) {
    matches = matches.flatMap((match) => children(match, segment));
    if (matches.length > MAX_MATCHES) {
      throw new ToolFailure('invalid-input', 'too_many_matches', `The path matches more than ${MAX_MATCHES} values.`);
    }
  }
  return matches;
}

function children({ at, value }, segment) {
  if (value === null || typeof value !== 'object') return [];
  if (segment === '*') {
    return Object.entries(value).map(([key, child]) => ({ at: `${at}/${escape(key)}`, value: child }));
  }
  const key = segment.replaceAll('~1', '/').replaceAll('~0', '~');
  // `in` would also find inherited names such as `toString`, and lists have the own name `length`.
  const isFound = Array.isArray(value) ? /^(0|[1-9][0-9]*)$/.test(key) && key < value.length : Object.hasOwn(value, key);
  return isFound ? [{ at: `${at}/${segment}`, value: value[key] }] : [];
}

function escape(key) {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}
