// A failure of the contract, to be thrown. A WIT variant is `{ tag, val }`, and `throw` is how JavaScript
// returns the error of a result. It is no `Error`: those are mistakes, and are not to be taken for an answer.

export class Failure {
  constructor(tag, val) {
    this.tag = tag;
    this.val = val;
  }
}
