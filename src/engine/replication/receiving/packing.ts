/**
 * Packs of a session being filled, and what became of each.
 *
 *     bodies ──▶ lane (one a thread) ──▶ open pack ──full, or asked for──▶ put ──▶ confirmed, or refused
 *
 * As the pipeline's lanes (transfer/pack-lanes.ts), for one destination and for values that come encoded: a task checks and
 * seals in one go, and is given only as many values as are sure to fit. A put that fails costs its values, not the session:
 * they are absent again and will be asked for. `onTaken` is called before a pack can be sent, so what is confirmed was
 * accepted.
 */
import { MIB, PACK_BYTES_MAX, PUTS_IN_FLIGHT } from '../../../domain/limits.ts';
import { BLOB_OVERHEAD } from '../../../ground/sealing/blob.ts';
import { Permits } from '../../../ground/threads/permits.ts';
import { FINGERPRINT_BYTES, type PackTarget, type TakenBody, type TakeResult } from '../../../ground/threads/tasks.ts';
import type { Threads } from '../../../ground/threads/threads.ts';
import { directoryBytes, PACK_HEADER, sealDirectory, type PackEntry } from '../../repository/pack.ts';
import type { Destination, OpenPack } from '../../transfer/contract.ts';
import type { IdlePack, Rooms } from './rooms.ts';
import { createTurns } from './turns.ts';

/** A value as it came. */
export interface CarriedBody extends TakenBody {
  readonly name: Buffer;
  /** The subtree that it is for; packs are named by the first. */
  readonly subtree: number;
}

const joined = (values: readonly CarriedBody[]): Uint8Array => {
  const names = new Uint8Array(values.length * FINGERPRINT_BYTES);
  values.forEach(({ name }, i) => names.set(name, i * FINGERPRINT_BYTES));
  return names;
};

interface Filling {
  readonly open: OpenPack;
  readonly buffer: SharedArrayBuffer;
  readonly entries: PackEntry[];
  end: number;
}

interface Lane {
  filling: Filling | null;
  idle: IdlePack | null;
}

export interface PackingDeps {
  readonly destination: Destination;
  readonly rooms: Rooms;
  readonly threads: Threads;
  readonly extentBytes: number;
  readonly nowMs: () => number;
  readonly onConfirmed: (pack: OpenPack, entries: readonly PackEntry[], bytes: number) => void;
  readonly onRefused: (entries: readonly PackEntry[], error: unknown) => void;
  readonly signal: AbortSignal;
}

/** The least that a task is cut down to before the pack is sent instead. */
const PART_BYTES = MIB;

export class Packing {
  readonly #deps: PackingDeps;
  readonly #lanes: Lane[];
  readonly #turn: Permits;
  readonly #flights = new Permits(PUTS_IN_FLIGHT);
  readonly #puts = new Set<Promise<void>>();
  #ended = false;
  /** Two at once would each wait for the lanes that the other has. */
  readonly #flushes = createTurns<'flush'>();

  constructor(deps: PackingDeps) {
    this.#deps = deps;
    this.#lanes = Array.from({ length: deps.threads.count }, () => ({ filling: null, idle: null }));
    this.#turn = new Permits(deps.threads.count);
  }

  /** Gets values into packs; `onTaken` hears of each part, in order, which of it was not what its name said. */
  async carry(
    bodies: readonly CarriedBody[],
    onTaken: (part: readonly CarriedBody[], refused: ReadonlySet<number>) => void,
  ): Promise<void> {
    const lane = await this.#takeLane();
    try {
      for (let at = 0; at < bodies.length;) at += await this.#carryPart(lane, bodies.slice(at), onTaken);
    } finally {
      this.#giveLane(lane);
    }
  }

  /** Sends what is open, what is being filled at this moment too, and waits until every put has ended, well or not. */
  async flush(): Promise<void> {
    await this.#flushes.run('flush', async () => {
      const lanes: Lane[] = [];
      try {
        for (let i = 0; i < this.#deps.threads.count; i++) lanes.push(await this.#takeLane());
        for (const lane of lanes) this.#send(lane);
      } finally {
        for (const lane of lanes) this.#giveLane(lane);
      }
    });
    await this.settled();
  }

  /** Lets go of what is open: nothing more is sent. */
  end(): void {
    this.#ended = true;
    for (const lane of this.#lanes) this.#drop(lane);
  }

  async settled(): Promise<void> {
    await Promise.all(this.#puts);
  }

  /** The lane nearest to sending: few packs are open when there is little to carry. */
  async #takeLane(): Promise<Lane> {
    await this.#turn.take(this.#deps.signal);
    this.#lanes.sort((a, b) => (a.filling?.end ?? 0) - (b.filling?.end ?? 0));
    const lane = this.#lanes.pop();
    if (lane === undefined) throw new Error('a lane is idle for each permit');
    if (lane.idle !== null) this.#deps.rooms.idle.delete(lane.idle);
    lane.idle = null;
    return lane;
  }

  #giveLane(lane: Lane): void {
    this.#lanes.push(lane);
    if (this.#ended) this.#drop(lane);
    if (lane.filling !== null) {
      lane.idle = { idleSinceMs: this.#deps.nowMs(), send: () => this.#send(lane) };
      this.#deps.rooms.idle.add(lane.idle);
    }
    this.#turn.give();
  }

  #fits({ end, entries }: Filling): number {
    const room = PACK_BYTES_MAX - end - directoryBytes(entries.length);
    return Math.floor(room / (this.#deps.extentBytes + BLOB_OVERHEAD + directoryBytes(1) - directoryBytes(0)));
  }

  async #carryPart(
    lane: Lane,
    rest: readonly CarriedBody[],
    onTaken: (part: readonly CarriedBody[], refused: ReadonlySet<number>) => void,
  ): Promise<number> {
    const { threads, extentBytes, destination } = this.#deps;
    const least = Math.min(rest.length, Math.max(1, Math.floor(PART_BYTES / extentBytes)));
    const filling = await this.#fillingFor(lane, least, rest[0]?.subtree ?? 0);
    const part = rest.slice(0, this.#fits(filling));
    const pack: PackTarget = {
      ...{ buffer: filling.buffer, offset: filling.end, key: filling.open.packKey, codec: destination.codec },
      wants: part.map((_, i) => i),
    };
    const bodies = part.map(({ bytes, codec }) => ({ bytes, codec }));
    const { lengths, refused }: TakeResult = await threads.run(
      'take',
      { names: joined(part), extentBytes, bodies, packs: [pack] },
      bodies.map(({ bytes }) => bytes.buffer),
    );
    part.forEach(({ name }, i) => {
      const length = lengths[0]?.[i] ?? 0;
      if (length === 0) return;
      filling.entries.push({ fingerprint: name, offset: filling.end, length });
      filling.end += length;
    });
    onTaken(part, new Set(refused));
    return part.length;
  }

  async #fillingFor(lane: Lane, least: number, subtree: number): Promise<Filling> {
    const { rooms, destination, signal } = this.#deps;
    if (lane.filling !== null && this.#fits(lane.filling) >= least) return lane.filling;
    this.#send(lane);
    const buffer = await rooms.takePack(signal);
    Buffer.from(buffer).set(PACK_HEADER);
    lane.filling = { open: destination.beginPack(subtree), buffer, entries: [], end: PACK_HEADER.length };
    return lane.filling;
  }

  /** What a lane has open, which is its no more. */
  #taken(lane: Lane): Filling | null {
    const { filling } = lane;
    if (lane.idle !== null) this.#deps.rooms.idle.delete(lane.idle);
    lane.idle = null;
    lane.filling = null;
    return filling;
  }

  #drop(lane: Lane): void {
    const filling = this.#taken(lane);
    if (filling !== null) this.#deps.rooms.givePack(filling.buffer);
  }

  #send(lane: Lane): void {
    const filling = this.#taken(lane);
    if (filling === null) return;
    const put = this.#put(filling).finally(() => {
      this.#puts.delete(put);
      this.#deps.rooms.givePack(filling.buffer);
    });
    this.#puts.add(put);
  }

  /** Never rejects: a put that fails is its values' loss. */
  async #put({ open, buffer, entries, end }: Filling): Promise<void> {
    if (entries.length === 0) return;
    const { destination, signal, onConfirmed, onRefused } = this.#deps;
    await this.#flights.take();
    try {
      const directory = sealDirectory(open.packKey, entries);
      const bytes = Buffer.from(buffer, 0, end + directory.length);
      bytes.set(directory, end);
      await destination.putPack(open, bytes, signal);
      onConfirmed(open, entries, bytes.length);
    } catch (error) {
      onRefused(entries, error);
    } finally {
      this.#flights.give();
    }
  }
}
