// A list of names without repetitions, and for each name the layer that put it there. A `Map` is exactly
// that: it keeps the order of insertion, and setting only what is missing lets the first occurrence keep its
// place.

export class Names {
  #givers = new Map();

  amend(amend, giver) {
    if (amend == null) {
      return;
    }
    if (amend.tag === 'replace') {
      this.#givers.clear();
    }
    for (const name of amend.val) {
      if (!this.#givers.has(name)) {
        this.#givers.set(name, giver);
      }
    }
  }

  filter(keep) {
    const kept = new Names();
    for (const [name, giver] of this.#givers) {
      if (keep(name)) {
        kept.#givers.set(name, giver);
      }
    }
    return kept;
  }

  without(others) {
    return this.filter((name) => !others.#givers.has(name));
  }

  isEmpty() {
    return this.#givers.size === 0;
  }

  list() {
    return [...this.#givers.keys()];
  }

  // In the order of `list`.
  givers() {
    return [...this.#givers.values()];
  }
}
