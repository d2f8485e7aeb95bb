/**
 * Checkpoints of a folded log: its state after the first n records, written down, so that whoever opens it reads that and the
 * records since.
 *
 *     checkpoint-part/<n>/<try>-<i>   lines of JSON, in envelopes of up to CHECKPOINT_PART_BYTES
 *     checkpoint/<inverse of n>       manifest, created if absent, last: n, the digest of record n, the parts with their digests
 *
 * A checkpoint is a function of n and is never needed: the log says the same, and none of its records is ever deleted. So what does not open
 * is passed over. What is relied on is compared with the log: record n must be there and have that digest.
 */
import { z } from 'zod';
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import { CHECKPOINT_PART_BYTES, CHECKPOINTS_KEPT } from '../../domain/limits.ts';
import { openEnvelope, sealEnvelope, type SealingKey } from '../../ground/sealing/envelope.ts';
import { listAll, type ObjectStore } from '../../ground/stores/object-store.ts';
import type { Environment } from '../repository/environment.ts';
import { checkpointName, checkpointPartName, inverseNumber } from '../repository/object-names.ts';
import { digestOf } from './digest.ts';
import type { Standing } from './folded-log.ts';

const manifestSchema = z.object({
  version: z.literal(1),
  n: z.int().min(1),
  head: z.string(),
  parts: z.array(z.object({ name: z.string(), digest: z.string() })),
});
type Manifest = z.infer<typeof manifestSchema>;

export interface CheckpointedState<State> {
  /** The state in lines, each far smaller than a part. */
  encode(state: State): Iterable<string>;
  /** The state of these lines, but for where it stands. */
  decode(lines: Iterable<string>): Omit<State, keyof Standing>;
}

export interface CheckpointsOptions<State> {
  readonly store: ObjectStore;
  readonly key: SealingKey;
  readonly environment: Environment;
  /** Whose log it is, as messages name it. */
  readonly of: string;
  readonly state: CheckpointedState<State>;
  /** One is due when the log has grown by this many records since the newest. */
  readonly everyRecords: number;
}

export interface Checkpoints<State> {
  /** The newest state that opens, or null. LOG_DIVERGED when the log is not the one that it was made of. */
  begin(log: { read(seq: number): Promise<{ readonly digest: string } | null> }): Promise<State | null>;
  /** Writes the state down if that is due, and drops all but the newest two. Returns its n, or null. */
  writeIfDue(state: State): Promise<number | null>;
}

export function createCheckpoints<State extends Standing>(options: CheckpointsOptions<State>): Checkpoints<State> {
  const { store, key, environment, of, everyRecords } = options;
  /** The newest n that this process knows to be written. */
  let newest = 0;

  const seal = async (name: string, plain: Buffer, ifAbsent: boolean): Promise<string> => {
    const stored = sealEnvelope(key, name, plain, environment.random(32));
    await store.put(name, stored, { ifAbsent });
    return digestOf(stored);
  };

  const write = async (state: State): Promise<void> => {
    const attempt = environment.random(4).readUInt32BE(0);
    const parts: Manifest['parts'] = [];
    for (const plain of partsOf(options.state.encode(state))) {
      const name = checkpointPartName(state.n, attempt, parts.length);
      parts.push({ name, digest: await seal(name, plain, false) });
    }
    const manifest: Manifest = { version: 1, n: state.n, head: state.head, parts };
    await seal(checkpointName(state.n), Buffer.from(JSON.stringify(manifest)), true);
  };

  const load = async (manifest: Manifest): Promise<State> => {
    const lines: string[] = [];
    for (const part of manifest.parts) {
      const stored = await present(store, part.name);
      if (digestOf(stored) !== part.digest)
        throw new HoldfastError('DAMAGED', `${part.name} is not what the checkpoint names`, { object: part.name });
      for (const line of openEnvelope(key, part.name, stored).toString('utf8').split('\n')) lines.push(line);
    }
    // State is what the caller says: its own fields, and where it stands.
    return { ...options.state.decode(lines), n: manifest.n, head: manifest.head } as State;
  };

  return {
    async begin(log) {
      for await (const { name } of listAll(store, 'checkpoint/')) {
        try {
          const manifest = openManifest(key, name, await present(store, name));
          const state = await load(manifest);
          const record = await log.read(state.n);
          if (record?.digest !== state.head)
            throw new HoldfastError('LOG_DIVERGED', `${of} has a checkpoint of ${state.n} records, and its log is not that of then`, {
              seq: state.n,
            });
          newest = Math.max(newest, state.n);
          return state;
        } catch (error) {
          if (!isHoldfastError(error, 'DAMAGED', 'OBJECT_MISSING')) throw error;
          environment.alarm(`a checkpoint of ${of} cannot be read and is passed over`, { n: inverseNumber(name), code: error.code });
        }
      }
      return null;
    },

    async writeIfDue(state) {
      if (state.n - newest < everyRecords) return null;
      await write(state);
      newest = state.n;
      await dropOldCheckpoints(store);
      return state.n;
    },
  };
}

function* partsOf(lines: Iterable<string>): Generator<Buffer> {
  let part: string[] = [];
  let bytes = 0;
  for (const line of lines) {
    const size = Buffer.byteLength(line) + 1;
    if (bytes + size > CHECKPOINT_PART_BYTES && part.length > 0) {
      yield Buffer.from(part.join('\n'));
      part = [];
      bytes = 0;
    }
    part.push(line);
    bytes += size;
  }
  if (part.length > 0) yield Buffer.from(part.join('\n'));
}

async function present(store: ObjectStore, name: string): Promise<Buffer> {
  const stored = await store.get(name);
  if (stored === null) throw new HoldfastError('OBJECT_MISSING', `${name} is not in the store`, { object: name });
  return stored;
}

function openManifest(key: SealingKey, name: string, stored: Buffer): Manifest {
  const raw: unknown = JSON.parse(openEnvelope(key, name, stored).toString('utf8'));
  const version = z.object({ version: z.int() }).safeParse(raw);
  if (version.success && version.data.version > 1)
    throw new HoldfastError('UPGRADE_REQUIRED', `${name} has format ${version.data.version}`, { object: name });
  const parsed = manifestSchema.safeParse(raw);
  if (!parsed.success) throw new HoldfastError('DAMAGED', `${name}: ${z.prettifyError(parsed.error)}`, { object: name });
  return parsed.data;
}

/**
 * Keeps the newest two manifests, and parts from the older of the two on: what else is there of those n may be somebody's
 * work in progress, whose manifest would be the second newest and must not lack its parts.
 */
export async function dropOldCheckpoints(store: ObjectStore): Promise<void> {
  const names: string[] = [];
  for await (const { name } of listAll(store, 'checkpoint/')) names.push(name);
  const oldest = names.slice(0, CHECKPOINTS_KEPT).map(inverseNumber).at(-1) ?? 0;
  const doomed = names.slice(CHECKPOINTS_KEPT);
  for await (const { name } of listAll(store, 'checkpoint-part/')) if (Number(name.split('/')[1]) < oldest) doomed.push(name);
  for (let i = 0; i < doomed.length; i += 1000) await store.delete(doomed.slice(i, i + 1000));
}
