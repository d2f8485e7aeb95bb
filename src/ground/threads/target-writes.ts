/** Writes to the target of a restore, from a thread: whole, at a place, and refused in a target's words. */
import { writeSync, writevSync } from 'node:fs';
import { HoldfastError } from '../../domain/errors.ts';
import { saysFull } from '../stores/file-errors.ts';

/** Writes all of `parts`, one behind the other. TARGET_FULL or TARGET_UNWRITABLE, with the offset. */
export function writeFully(fd: number, parts: readonly Uint8Array[], offset: number): void {
  let rest = parts;
  for (let at = offset; rest.length > 0;) {
    let put: number;
    try {
      put = writeSome(fd, rest, at);
    } catch (cause) {
      const code = saysFull(cause) ? 'TARGET_FULL' : 'TARGET_UNWRITABLE';
      throw new HoldfastError(code, `the target cannot be written at ${offset}: ${String(cause)}`, { offset });
    }
    at += put;
    rest = leftOf(rest, put);
  }
}

/** One buffer is the usual case, and a list of them costs half as much again. */
function writeSome(fd: number, parts: readonly Uint8Array[], at: number): number {
  const [first] = parts;
  return parts.length === 1 && first !== undefined ? writeSync(fd, first, 0, first.length, at) : writevSync(fd, parts, at);
}

/** What is left of parts after their first n bytes. */
export function leftOf<Part extends Uint8Array>(parts: readonly Part[], n: number): readonly Part[] {
  let skip = n;
  return parts.flatMap((part) => {
    const skipped = Math.min(skip, part.length);
    skip -= skipped;
    // A part of a view is a view of the same kind.
    return skipped === part.length ? [] : [part.subarray(skipped) as Part];
  });
}
