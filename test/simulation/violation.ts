/** What a run ends with when something is not as docs/protocol.md promises. */
export class Violation extends Error {
  override readonly name = 'Violation';
}
