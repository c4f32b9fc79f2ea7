// Wishes, known by their authority with its access, and for each the layer that last changed it. Their order
// does not matter: the host sorts them, and moves their origins along.

import { Failure } from './failure.js';

export class Wishes {
  // By subject, which is the authority without its access, and then by access: a drop takes back both
  // accesses.
  #bySubject = new Map();

  drop(authorities) {
    for (const authority of authorities) {
      this.#bySubject.delete(parts(authority).subject);
    }
  }

  add(wishes, giver) {
    for (const wish of wishes) {
      const { subject, access } = parts(wish.authority);
      if (!this.#bySubject.has(subject)) {
        this.#bySubject.set(subject, new Map());
      }
      const byAccess = this.#bySubject.get(subject);
      const before = byAccess.get(access)?.wish;
      // Only from optional to required is a change: required wins, and who says the same again changes
      // nothing.
      if (before === undefined || (before.need === 'optional' && wish.need === 'required')) {
        byAccess.set(access, { wish, giver });
      }
    }
  }

  list() {
    return this.#entries().map(({ wish }) => wish);
  }

  // In the order of `list`.
  givers() {
    return this.#entries().map(({ giver }) => giver);
  }

  #entries() {
    return [...this.#bySubject.values()].flatMap((byAccess) => [...byAccess.values()]);
  }
}

// No tag has a space in it, so that two subjects are the same text only where they are the same.
function parts({ tag, val }) {
  switch (tag) {
    case 'secret':
    case 'egress':
      return { subject: `${tag} ${val}`, access: '' };
    case 'mount':
      return { subject: `${tag} ${val[0]}`, access: val[1] };
    case 'shell':
      return { subject: tag, access: '' };
    case 'git':
      return { subject: tag, access: val };
    default:
      throw new Failure('unsupported-declaration', 'wishes');
  }
}
