/**
 * Who is told of every change to a served volume, in the turn in which it is made: a journal (docs/protection.md).
 *
 * So what is taken down has the order of the volume itself, and a moment of the volume, which is one turn, is a place in it.
 */

export type Change =
  /** `parts`, one after another, are the server's again when the change is answered: whoever keeps them copies them. */
  | { readonly kind: 'write'; readonly offset: number; readonly length: number; readonly parts: readonly Buffer[] }
  /** The range reads as zeros from now on. */
  | { readonly kind: 'zero'; readonly offset: number; readonly length: number };

export interface ChangePort {
  /** Null: a change may be made in this turn. A promise: ask again when it resolves. Throws an NbdError when none may be made any more. */
  mayChange(): Promise<void> | null;
  /**
   * Makes a change and takes it down. `make` answers false when nothing was changed after all, and throws when the volume could not be
   * changed, or not wholly. A promise: the change is answered when it resolves.
   */
  make(change: Change, make: () => boolean): void | Promise<void>;
  /** Resolves when everything that was made before is durable. */
  flush(): Promise<void>;
}
