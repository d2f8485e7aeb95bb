/**
 * Packs being filled: as many lanes as values are sealed at once, each with one open pack per destination.
 *
 *     values ──▶ lane ──▶ [pack of a | pack of b | pack of c] ──full──▶ put, PUTS_IN_FLIGHT a destination ──▶ confirmed
 *
 * A task fills one lane, so no two threads write into one pack. It is given only as many values as are sure to fit; a pack
 * is sent when less than PART_BYTES of incompressible values would. So every value is compressed in exactly one task, and
 * packs come out within 1 MiB of their bound.
 *
 * Buffers per destination: lanes + puts in flight. All taken: the lane waits, its slot is not given back, reading stops;
 * that is the whole of the back-pressure. A crash loses what is open or in flight: one pack a lane, and at most as many
 * in flight as there are threads.
 */
import { MIB, PACK_BYTES_MAX } from '../../domain/limits.ts';
import { BLOB_OVERHEAD } from '../../ground/sealing/blob.ts';
import type { Reservation } from '../../ground/threads/buffers.ts';
import { Permits } from '../../ground/threads/permits.ts';
import type { PackTarget, SealResult } from '../../ground/threads/tasks.ts';
import { directoryBytes, PACK_HEADER, sealDirectory, type PackEntry } from '../repository/pack.ts';
import type { OpenPack } from './contract.ts';
import type { Health } from './health.ts';
import type { OnProgress } from './progress.ts';
import type { Recipient } from './recipient.ts';

/** The least that a task is cut down to before the pack is sent instead. */
const PART_BYTES = MIB;

/** A value in a slot, and who has to get it. */
export interface CarriedValue {
  readonly place: number;
  readonly fingerprint: Buffer;
  readonly takers: readonly Recipient[];
}

/** Runs the task that seals `part` into `packs`; `wants` count in `part`. */
export type SealPart = (part: readonly CarriedValue[], packs: readonly PackTarget[]) => Promise<SealResult>;

interface Filling {
  readonly open: OpenPack;
  readonly buffer: SharedArrayBuffer;
  readonly entries: PackEntry[];
  end: number;
}

type Lane = Map<Recipient, Filling>;

interface Sending {
  readonly flights: Permits;
  readonly buffers: Permits;
  readonly puts: Set<Promise<void>>;
}

export interface LaneCounts {
  readonly lanes: number;
  readonly flights: number;
  /** What is put into a pack; at most PACK_BYTES_MAX. */
  readonly packBytes: number;
}

export interface LanesDeps {
  readonly recipients: readonly Recipient[];
  readonly extentBytes: number;
  readonly counts: LaneCounts;
  readonly reservation: Reservation;
  readonly health: Health;
  readonly progress: OnProgress;
  readonly signal: AbortSignal;
}

export class PackLanes {
  readonly #deps: LanesDeps;
  readonly #sending: ReadonlyMap<Recipient, Sending>;
  readonly #idle: Lane[];
  readonly #turn: Permits;
  readonly #blobBytesMax: number;

  constructor(deps: LanesDeps) {
    this.#deps = deps;
    const { lanes, flights } = deps.counts;
    this.#idle = Array.from({ length: lanes }, () => new Map<Recipient, Filling>());
    this.#turn = new Permits(lanes);
    this.#blobBytesMax = deps.extentBytes + BLOB_OVERHEAD;
    this.#sending = new Map(
      deps.recipients.map((r) => [r, { flights: new Permits(flights), buffers: new Permits(lanes + flights), puts: new Set() }]),
    );
  }

  /** Gets values into packs. Resolves when the slot they lie in is no longer needed. */
  async carry(values: readonly CarriedValue[], seal: SealPart): Promise<void> {
    await this.#turn.take(this.#deps.signal);
    const lane = this.#takeFullest();
    try {
      for (let at = 0; at < values.length;) at += await this.#carryPart(lane, values.slice(at), seal);
    } finally {
      this.#idle.push(lane);
      this.#turn.give();
    }
  }

  /** Sends what is open, and waits until every put has ended, well or not. */
  async finish(): Promise<void> {
    for (const lane of this.#idle)
      for (const [recipient, filling] of lane) {
        lane.delete(recipient);
        if (!recipient.signal.aborted && filling.entries.length > 0) this.#send(recipient, filling);
      }
    await this.settled();
  }

  async settled(): Promise<void> {
    await Promise.all([...this.#sending.values()].flatMap(({ puts }) => [...puts]));
  }

  /** The lane nearest to sending: few packs are open when there is little to carry. */
  #takeFullest(): Lane {
    const fill = (lane: Lane): number => Math.max(0, ...[...lane.values()].map((filling) => filling.end));
    this.#idle.sort((a, b) => fill(a) - fill(b));
    const lane = this.#idle.pop();
    if (lane === undefined) throw new Error('a lane is idle for each permit');
    return lane;
  }

  #fits(filling: Filling): number {
    const room = this.#deps.counts.packBytes - filling.end - directoryBytes(filling.entries.length);
    return Math.floor(room / (this.#blobBytesMax + directoryBytes(1) - directoryBytes(0)));
  }

  /** Seals as many values as are sure to fit for every taker; returns how many. */
  async #carryPart(lane: Lane, rest: readonly CarriedValue[], seal: SealPart): Promise<number> {
    const least = Math.min(rest.length, Math.max(1, Math.floor(PART_BYTES / this.#deps.extentBytes)));
    let count = rest.length;
    for (const recipient of new Set(rest.flatMap((value) => value.takers))) {
      if (recipient.failure !== null) continue;
      const filling = await this.#fillingFor(lane, recipient, least);
      if (filling !== null) count = Math.min(count, this.#fits(filling));
    }
    const part = rest.slice(0, count);
    const fillings = [...lane].filter(([recipient]) => recipient.failure === null);
    const packs = fillings.map(([recipient, { buffer, end, open }]): PackTarget => {
      const wants = part.flatMap((value, i) => (value.takers.includes(recipient) ? [i] : []));
      return { buffer, offset: end, key: open.packKey, codec: recipient.destination.codec, wants };
    });
    if (packs.every((pack) => pack.wants.length === 0)) return count;
    const { lengths } = await seal(part, packs);
    fillings.forEach(([, filling], p) => {
      packs[p]?.wants.forEach((want, i) => {
        const value = part[want];
        const length = lengths[p]?.[i] ?? 0;
        if (value === undefined || length === 0) return;
        filling.entries.push({ fingerprint: value.fingerprint, offset: filling.end, length });
        filling.end += length;
      });
    });
    return count;
  }

  /** The lane's pack for a recipient, with room for `least` values: the open one, or a new one after sending that. */
  async #fillingFor(lane: Lane, recipient: Recipient, least: number): Promise<Filling | null> {
    const open = lane.get(recipient);
    if (open !== undefined && this.#fits(open) >= least) return open;
    if (open !== undefined) {
      lane.delete(recipient);
      this.#send(recipient, open);
    }
    try {
      await this.#sending.get(recipient)?.buffers.take(recipient.signal);
    } catch (error) {
      // Its own failure ends the waiting, not the lane; the job's end ends both.
      if (recipient.failure === null) throw error;
      return null;
    }
    // One size for all jobs, so that buffers can be used again; what lies past packBytes is never touched and takes no memory.
    const buffer = this.#deps.reservation.take(PACK_BYTES_MAX);
    Buffer.from(buffer).set(PACK_HEADER);
    const filling: Filling = { open: recipient.destination.beginPack(recipient.subtree), buffer, entries: [], end: PACK_HEADER.length };
    lane.set(recipient, filling);
    return filling;
  }

  #send(recipient: Recipient, filling: Filling): void {
    const sending = this.#sending.get(recipient);
    if (sending === undefined) return;
    const put = this.#put(recipient, filling, sending.flights).finally(() => {
      sending.puts.delete(put);
      this.#deps.reservation.give(filling.buffer);
      sending.buffers.give();
    });
    sending.puts.add(put);
  }

  /** Never rejects: a put that fails is the recipient's failure. */
  async #put(recipient: Recipient, filling: Filling, flights: Permits): Promise<void> {
    const { health, progress } = this.#deps;
    const { destination } = recipient;
    try {
      await flights.take(recipient.signal);
      const started = performance.now();
      try {
        const directory = sealDirectory(filling.open.packKey, filling.entries);
        const bytes = Buffer.from(filling.buffer, 0, filling.end + directory.length);
        bytes.set(directory, filling.end);
        await destination.putPack(filling.open, bytes, recipient.signal);
        recipient.confirm(filling.open, filling.entries, bytes.length);
        health.report(destination.store, { ok: true, seconds: (performance.now() - started) / 1000, bytes: bytes.length });
        progress({ kind: 'sent', store: destination.store, bytes: bytes.length });
      } catch (error) {
        if (!recipient.signal.aborted)
          health.report(destination.store, { ok: false, seconds: (performance.now() - started) / 1000, bytes: 0 });
        throw error;
      } finally {
        flights.give();
      }
    } catch (error) {
      recipient.fail(error);
    }
  }
}
