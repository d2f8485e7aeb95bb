/**
 * How far the relay has come: a register of the installation, beside its catalog in the home store.
 *
 *     catalog/relay/<99999999999999999999 - k> = envelope of { version, holder, generation, topic, logs, passed }
 *
 * Put only if absent, the highest k is in force, the newest two stay. It lives where the catalog lives, so that it outlives every host; it
 * can be lost all the same, and then everything is sent once more under the same ids. Positions of one generation only rise: a
 * stalled relay finds its k taken, or puts one below the highest that nobody reads.
 *
 * It is also who relays: whoever puts k+1 over somebody else's k has taken the work over, and the other one learns so at its next
 * put. Two at once do no harm but repeats: each sends in order, from a place that was confirmed.
 */
import { z } from 'zod';
import { HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import { EVENTS_PASSED_KEPT } from '../../domain/limits.ts';
import { openEnvelope, sealEnvelope } from '../../ground/sealing/envelope.ts';
import { listAll } from '../../ground/stores/object-store.ts';
import type { CatalogPlace } from '../catalog/home.ts';
import { inverseNumber, relayName } from '../repository/object-names.ts';

const logPosition = z.object({ n: z.int().min(0), head: z.string().max(64) });
/** All events of the first `n` records, the last of which has the digest `head`, are confirmed by the brokers. */
export type LogPosition = z.infer<typeof logPosition>;

const passedEvent = z.object({
  topic: z.string(),
  partition: z.int(),
  /** A number that can pass 2^53. */
  offset: z.string(),
  reason: z.string().max(300),
  atMs: z.int(),
});
/** An event from outside that could not be used, and why. */
export type PassedEvent = z.infer<typeof passedEvent>;

const registerSchema = z.object({
  version: z.literal(1),
  /** Who relays, as `<host>/<pid>`; null: nobody, it was ended in order. */
  holder: z.string().max(200).nullable(),
  generation: z.int(),
  topic: z.string(),
  /** By the log's id. */
  logs: z.record(z.string(), logPosition),
  /** The newest EVENTS_PASSED_KEPT. */
  passed: z.array(passedEvent).max(EVENTS_PASSED_KEPT),
});
export type Register = Omit<z.infer<typeof registerSchema>, 'version'>;

export interface NumberedRegister {
  readonly k: number;
  readonly register: Register;
}

export interface Registers {
  /** The one in force; null: there is none yet. One that does not open is passed over. */
  newest(): Promise<NumberedRegister | null>;
  /** Only its number: what a bystander looks at. 0: none. */
  newestNumber(): Promise<number>;
  /** False: somebody else has this number. */
  put(k: number, register: Register): Promise<boolean>;
}

const PREFIX = 'relay/';
const KEPT = 2;

export function createRegisters({ store, key }: CatalogPlace, random: (size: number) => Buffer): Registers {
  const names = async (): Promise<readonly string[]> => {
    const found: string[] = [];
    for await (const { name } of listAll(store, PREFIX)) found.push(name);
    return found;
  };
  return {
    async newest() {
      for (const name of await names()) {
        const stored = await store.get(name);
        // Dropped since it was listed: there is a newer one.
        if (stored === null) return this.newest();
        const register = open(name, stored);
        if (register !== null) return { k: inverseNumber(name), register };
      }
      return null;
    },

    async newestNumber() {
      const [newest] = await store.list(PREFIX, { limit: 1 });
      return newest === undefined ? 0 : inverseNumber(newest.name);
    },

    async put(k, register) {
      const name = relayName(k);
      const bytes = sealEnvelope(key, name, Buffer.from(JSON.stringify({ version: 1, ...register })), random(32));
      if ((await store.put(name, bytes, { ifAbsent: true })) === 'exists') {
        // An answer that was lost: the slot has what this put has made.
        const there = await store.get(name);
        if (there === null || !there.equals(bytes)) return false;
      }
      // What a crash before this left is a put or two older.
      await store.delete(
        Array.from({ length: KEPT + 2 }, (_, i) => k - KEPT - i)
          .filter((older) => older > 0)
          .map(relayName),
      );
      return true;
    },
  };

  function open(name: string, stored: Buffer): Register | null {
    try {
      const raw: unknown = JSON.parse(openEnvelope(key, name, stored).toString('utf8'));
      if (z.object({ version: z.int().min(2) }).safeParse(raw).success)
        throw new HoldfastError('UPGRADE_REQUIRED', `${name} was written by a newer Holdfast`, { object: name });
      return registerSchema.safeParse(raw).data ?? null;
    } catch (error) {
      if (isHoldfastError(error, 'DAMAGED')) return null;
      throw error;
    }
  }
}

/** What of a register holds for this generation: another one begins anew. */
export const positionsOf = (found: NumberedRegister | null, generation: number): Readonly<Record<string, LogPosition>> =>
  found === null || found.register.generation !== generation ? {} : found.register.logs;
