/** A receiver as the sender's side knows it: where it is, with what it is spoken to, and who seals. Secrets by reference alone. */
import { z } from 'zod';
import { HoldfastError } from '../../domain/errors.ts';
import { NAME_PATTERN } from '../../domain/ids.ts';

const path = z.string().min(1).max(4096);
/** env:NAME, file:/path or command:..., as for passphrases. */
const reference = z
  .string()
  .max(2000)
  .regex(/^(env|file|command):/);

export const receiverName = z.string().regex(NAME_PATTERN);

export const receiverRecord = z.strictObject({
  name: receiverName,
  /** https://HOST:PORT, or http:// on a loopback address. */
  url: z.string().max(2000),
  token: reference,
  /** PEM of the authority that signed its certificate; null: one that the system trusts. */
  ca: path.nullable(),
  /** PEM of this side's certificate, for a token that is bound to it. */
  client: z.strictObject({ cert: path, key: path }).nullable(),
  /** Who seals at rest: docs/replication.md section 8. */
  seal: z.discriminatedUnion('by', [
    z.strictObject({ by: z.literal('receiver') }),
    z.strictObject({ by: z.literal('sender'), passphrase: reference }),
  ]),
  bytesPerSecondMax: z.int().min(1).nullable(),
});
export type ReceiverRecord = z.infer<typeof receiverRecord>;

export const receiverNotFound = (receiver: string): HoldfastError =>
  new HoldfastError('RECEIVER_NOT_FOUND', `no receiver ${receiver}`, { receiver });

export function findReceiver(state: { readonly receivers: ReadonlyMap<string, ReceiverRecord> }, receiver: string): ReceiverRecord {
  const found = state.receivers.get(receiver);
  if (!found) throw receiverNotFound(receiver);
  return found;
}
