/**
 * Writers of a disk: a few connections, each with many requests at once, that come back whenever they were cut off.
 *
 * Most changes are in a window that moves, so that between two captures some regions are touched often and others not at all.
 * Every answer is held against the model at once.
 */
import { COMMAND, COMMAND_FLAG, ERRNO } from '../../../src/engine/volumes/nbd/protocol.ts';
import { Gone, Refused, type Connection } from '../../engine/volumes/nbd/disk-connection.ts';
import { diceOf, type Dice } from './dice.ts';
import type { Disk } from './disk.ts';
import { judge } from './model.ts';
import { SECTOR_BYTES, stampOf, valuesOf } from './stamp.ts';
import { messageOf, Violation } from './violation.ts';
import type { World } from './world.ts';

const CONNECTIONS = 2;
const REQUESTS_AT_ONCE = 6;
const PAUSE_MS = 16;
const WINDOW_SECTORS = 6 * 1024;
/** A window moves about so often, by requests of one lane. */
const WINDOW_MOVES = 0.004;

/** Of a hundred requests; a disk that is seldom flushed has much to lose. */
const FLUSHES = { often: 6, seldom: 0 } as const;

type Way = 'write' | 'zero' | 'trim';

export class Writers {
  readonly #world: World;
  readonly #disk: Disk;
  readonly #all: Promise<void>;
  readonly #flushes: number;
  #window = 0;
  #isStopped = false;

  constructor(world: World, disk: Disk, seed: number) {
    this.#world = world;
    this.#disk = disk;
    this.#flushes = diceOf(seed, `flushes of ${disk.options.name}`).pick([FLUSHES.often, FLUSHES.seldom]);
    this.#all = Promise.all(
      [...Array(CONNECTIONS).keys()].map((number) => this.#come(diceOf(seed, `writer ${number} of ${disk.options.name}`), number, seed)),
    ).then(
      () => undefined,
      (error: unknown) => world.fail(error),
    );
  }

  /** Resolves when the last answer was had. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#all;
    await this.#disk.settle();
  }

  get #isWanted(): boolean {
    return !this.#isStopped && !this.#world.signal.aborted;
  }

  async #come(dice: Dice, number: number, seed: number): Promise<void> {
    const { options } = this.#disk;
    const lanes = [...Array(REQUESTS_AT_ONCE).keys()].map((lane) => diceOf(seed, `lane ${lane} of ${number} of ${options.name}`));
    while (this.#isWanted) {
      const connection = await this.#disk.connect(() => this.#isWanted);
      if (connection === null) return;
      this.#disk.settle().catch((error: unknown) => this.#world.fail(error));
      const { restarts } = this.#world;
      await Promise.all(lanes.map((lane) => this.#work(connection, lane)));
      if (!connection.isOpen && this.#world.serves && restarts === this.#world.restarts && !this.#disk.isLeaving)
        throw new Violation(`the server has cut off a writer of ${options.name}`);
      connection.leave();
      await connection.ended;
      await dice.pause(0, 100);
    }
  }

  async #work(connection: Connection, dice: Dice): Promise<void> {
    while (this.#isWanted && connection.isOpen) {
      try {
        await this.#request(connection, dice);
      } catch (error) {
        if (error instanceof Gone) return;
        throw error;
      }
      if (dice.chance(0.7)) await dice.pause(0, PAUSE_MS);
    }
  }

  async #request(connection: Connection, dice: Dice): Promise<void> {
    const roll = dice.below(100);
    if (roll < 30) await this.#read(connection, dice);
    else if (roll < 30 + this.#flushes) await this.#flush(connection);
    else await this.#change(connection, dice, roll < 84 ? 'write' : roll < 92 ? 'zero' : 'trim');
  }

  /** Mostly a few sectors; sometimes whole extents, or some of them and parts of their neighbours. */
  #range(dice: Dice): readonly [from: number, to: number] {
    const { model, options } = this.#disk;
    const extentSectors = options.extentBytes / SECTOR_BYTES;
    if (dice.chance(WINDOW_MOVES)) this.#window = dice.below(Math.max(1, model.sectors - WINDOW_SECTORS));
    const span = dice.chance(0.9) ? Math.min(WINDOW_SECTORS, model.sectors - this.#window) : model.sectors;
    const begin = (span === model.sectors ? 0 : this.#window) + dice.below(span);
    const whole = dice.chance(0.15);
    const from = whole ? begin - (begin % extentSectors) : begin;
    const few = dice.chance(0.8) ? dice.between(1, 16) : dice.between(1, 4 * extentSectors);
    return [from, Math.min(model.sectors, from + (whole ? dice.between(1, 3) * extentSectors : few))];
  }

  async #change(connection: Connection, dice: Dice, way: Way): Promise<void> {
    const { model } = this.#disk;
    const [from, to] = this.#range(dice);
    const change = model.begin(from, to, way === 'write' ? 'write' : 'zero');
    if (change === null) return;
    const fua = this.#flushes > 0 && dice.chance(0.1);
    const noHole = way === 'zero' && dice.chance(0.5);
    const flags = (fua ? COMMAND_FLAG.FUA : 0) | (noHole ? COMMAND_FLAG.NO_HOLE : 0);
    const command = { write: COMMAND.WRITE, zero: COMMAND.WRITE_ZEROES, trim: COMMAND.TRIM }[way];
    const place = { offset: from * SECTOR_BYTES, length: (to - from) * SECTOR_BYTES };
    try {
      await connection.ask({
        ...{ command, flags, ...place },
        ...(way === 'write' ? { data: stampOf(model.number, from, to, change.serial) } : {}),
      });
      if (fua) model.acknowledgeDurably(change);
      else model.acknowledge(change);
      this.#world.counts.changes++;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      model.failed(change);
      this.#demandReason(error, way);
      this.#disk.settle().catch((failure: unknown) => this.#world.fail(failure));
    }
  }

  async #read(connection: Connection, dice: Dice): Promise<void> {
    const { model, options } = this.#disk;
    const [from, to] = this.#range(dice);
    const observation = model.observe(from, to);
    try {
      const bytes = await connection.ask({ command: COMMAND.READ, offset: from * SECTOR_BYTES, length: (to - from) * SECTOR_BYTES });
      model.close(observation);
      if (observation.spoiled) return;
      judge(observation, valuesOf(bytes, from), `a read of ${options.name}`, 'live');
      this.#world.counts.reads++;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#demandReason(error, 'read');
    } finally {
      if (observation.ended === Infinity) model.close(observation);
    }
  }

  async #flush(connection: Connection): Promise<void> {
    const begun = this.#world.clock.tick();
    try {
      await connection.ask({ command: COMMAND.FLUSH });
      this.#disk.model.flushed(begun);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#demandReason(error, 'flush');
    }
  }

  #demandReason(error: Refused, what: string): void {
    const isShutdown = error.errno === ERRNO.ESHUTDOWN && (!this.#world.serves || this.#disk.isLeaving);
    if (!isShutdown && !this.#disk.mayRefuse)
      throw new Violation(`a ${what} of ${this.#disk.options.name} was refused without a reason: ${messageOf(error)}`);
  }
}
