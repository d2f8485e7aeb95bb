/**
 * What an answer means that is not the reducer's alone: which refusals pass, which end the call, and whether what was
 * committed is what was meant.
 */
import { HoldfastError, isErrorCode } from '../../../domain/errors.ts';
import { printable } from '../../../ground/http/response.ts';
import type { CommittedFrame, RefusedFrame } from '../frames.ts';
import { hear, type Sender } from '../sender.ts';
import type { SessionParts } from './session-parts.ts';

/** Refused for reasons that pass: the message is said again, as if it had not been answered. */
const PASSING: readonly string[] = ['STORE_UNREACHABLE', 'STORE_FULL', 'CONTENTION', 'RECEIVER_UNREACHABLE', 'NAME_FALSE'];

/** Null: the sender has heard it. An error: it passes, and is to be thrown by whoever loses patience. Throws what does not pass. */
export function hearRefused(sender: Sender, { code, message }: RefusedFrame): HoldfastError | null {
  if (code === 'CLAIM_LOST' || code === 'ROOT_DIFFERS') {
    hear(sender, { kind: 'REFUSED', code });
    return null;
  }
  const words = printable(message);
  const error = isErrorCode(code)
    ? new HoldfastError(code, `the receiver refuses: ${words}`)
    : new HoldfastError('FRAME_INVALID', `the receiver refuses with ${JSON.stringify(code.slice(0, 40))}: ${words}`);
  if (PASSING.includes(code)) return error;
  throw error;
}

/** ROOT_DIFFERS when the receiver has a snapshot of that id and it is another one. */
export function hearCommitted(sender: Sender, { root }: CommittedFrame, { content, snapshot }: SessionParts): void {
  if (root !== content.root) throw new HoldfastError('ROOT_DIFFERS', `the receiver has another snapshot ${snapshot}`, { snapshot, root });
  hear(sender, { kind: 'COMMITTED' });
}
