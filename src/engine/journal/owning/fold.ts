/**
 * The journal's state as batch 0 of an epoch carries it, so that a region alone can be read (docs/journal.md, section 4).
 *
 * Only what a reader of points at or above the floor needs: bases from the one that is kept on, and epochs of which somebody needs a
 * batch. So it grows with the window that is kept, not with the journal's age.
 */
import { z } from 'zod';
import { HoldfastError } from '../../../domain/errors.ts';
import { BATCH_FOLD_BYTES_MAX } from '../../../domain/limits.ts';
import { journalEntrySchema } from '../entries.ts';
import { isNeeded, keepOf } from '../holdings.ts';
import type { Epoch, JournalState } from '../state.ts';

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const epochSchema = z.strictObject({
  epoch: z.int().min(1),
  owner: z.string(),
  mode: z.enum(['local', 'pair']),
  members: z.array(z.strictObject({ region: z.string(), domain: z.string() })),
  start: z.int().min(1),
  before: digest,
  end: z.strictObject({ index: z.int().min(-1), seq: z.int().min(0), digest }).nullable(),
  full: z.array(z.string()),
});
const foldSchema = z.object({
  version: z.literal(1),
  n: z.int(),
  head: z.string(),
  current: z.int().nullable(),
  floor: z.int(),
  epochs: z.array(epochSchema),
  bases: z.array(journalEntrySchema),
  highest: z.array(z.strictObject({ region: z.string(), epoch: z.int(), index: z.int(), from: z.int() })),
  pins: z.array(journalEntrySchema),
});

/** Empty when it is larger than a batch holds: the log has it all the same. */
export function encodeFold(state: JournalState): Buffer {
  const bases = [...state.bases].flatMap(([region, some]) => {
    const keep = keepOf(state, region);
    return keep === undefined ? some : some.slice(some.indexOf(keep));
  });
  const fold: z.input<typeof foldSchema> = {
    version: 1,
    n: state.n,
    head: state.head,
    current: state.current,
    floor: state.floor,
    epochs: [...state.epochs.values()]
      .filter((epoch) => isAskedFor(state, epoch))
      .map((epoch) => ({ ...epoch, members: [...epoch.members], full: [...epoch.full] })),
    bases,
    highest: [...state.highest].map(([region, highest]) => ({ region, ...highest })),
    pins: [...state.pins.values()],
  };
  const bytes = Buffer.from(JSON.stringify(fold));
  return bytes.length > BATCH_FOLD_BYTES_MAX ? Buffer.alloc(0) : bytes;
}

const isAskedFor = (state: JournalState, { epoch, end, members, full }: Epoch): boolean =>
  end === null || [...full, ...members.map(({ region }) => region)].some((region) => isNeeded(state, region, epoch, end.index));

/** The state that a batch carries; null: none. `object` names the batch. UPGRADE_REQUIRED, RECORD_INVALID. */
export function decodeFold(bytes: Buffer, object: string): JournalState | null {
  if (bytes.length === 0) return null;
  const raw: unknown = JSON.parse(bytes.toString('utf8'));
  const version = z.object({ version: z.int() }).safeParse(raw).data?.version ?? 0;
  if (version > 1) throw new HoldfastError('UPGRADE_REQUIRED', `${object} carries a state of version ${version}`, { object });
  const parsed = foldSchema.safeParse(raw);
  if (!parsed.success) throw new HoldfastError('RECORD_INVALID', `${object}: ${z.prettifyError(parsed.error)}`, { object });
  const { n, head, current, floor, epochs, bases, highest, pins } = parsed.data;
  const byRegion = Map.groupBy(
    bases.filter((entry) => entry.kind === 'BASE'),
    ({ region }) => region,
  );
  return {
    ...{ n, head, current, floor },
    epochs: new Map(epochs.map((epoch) => [epoch.epoch, epoch])),
    bases: byRegion,
    highest: new Map(highest.map(({ region, ...rest }) => [region, rest])),
    pins: new Map(pins.filter((entry) => entry.kind === 'PIN').map((entry) => [entry.pin, entry])),
  };
}
