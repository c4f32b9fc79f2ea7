// The world `tool` in JavaScript. A fresh instance answers each call, so nothing is kept between calls.

import { write } from 'yoi:host/log@1.0.0';

// A failure of the contract. `throw` returns it as the error of the call.
class ToolFailure {
  constructor(kind, code, message) {
    Object.assign(this, { kind, code, message });
  }
}

const TOOLS = new Map([['{name}.count', ({ text }) => count(text)]]);

// The exported interface `tools`.
export const tools = {
  call({ tool, input }) {
    try {
      return JSON.stringify(TOOLS.get(tool)(JSON.parse(input)));
    } catch (thrown) {
      if (thrown instanceof ToolFailure) throw thrown;
      // Anything else that is thrown would end the call as a trap without a message.
      write('error', String(thrown));
      throw new ToolFailure('failed', 'unexpected', 'The tool failed unexpectedly.');
    }
  },
};

function count(text) {
  const counts = new Map();
  for (const word of text.split(/\s+/).filter((word) => word !== '')) {
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return Object.fromEntries(counts);
}
