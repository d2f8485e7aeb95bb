/**
 * A client of the disks of a node, in a process of its own: writes, zeroes, trims and flushes at random, many at once, and takes down what it
 * asks for and is answered (history.ts). When it is cut off it comes back, and first reads what has become of that which nobody answered.
 *
 *     node loader.ts CONFIG
 */
import { openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { COMMAND, COMMAND_FLAG } from '../../../src/engine/volumes/nbd/protocol.ts';
import { connectDisk, Gone, Refused, type Connection } from '../../engine/volumes/nbd/disk-connection.ts';
import { stamp } from '../../systems/protection/write-history.ts';
import { diceOf, type Dice } from '../volumes/dice.ts';
import { BLOCK, machineMs, writeLine } from './history.ts';
import { tell, type LoaderConfig, type LoaderOrder } from './lines.ts';

const config = JSON.parse(process.argv[2] ?? '') as LoaderConfig;
const fd = openSync(config.history, 'a');
const RETRY_MS = 20;
const CONNECTS_WITHIN_MS = 500;
const BLOCKS_MOST = 12;
/** Of a lane between two requests: what has to be read again in the end is to stay small. */
const PAUSE_MS_MOST = 12;

interface Doubt {
  readonly id: number;
  readonly isZero: boolean;
  readonly blocks: readonly number[];
}

let id = config.firstId;
let isLoading = false;
let [changes, promises] = [0, 0];

class Client {
  readonly #disk: number;
  readonly #uri: string;
  readonly #blocks: number;
  readonly #busy = new Set<number>();
  readonly #doubts: Doubt[] = [];
  #isLost = false;
  #connection: Connection | null = null;

  constructor(disk: number) {
    const { uri = '', blocks = 0 } = config.disks[disk] ?? {};
    this.#disk = disk;
    this.#uri = uri;
    this.#blocks = blocks;
  }

  async run(): Promise<void> {
    const lanes = Array.from({ length: config.depth }, (_, lane) => diceOf(config.seed, `lane ${lane} of ${this.#disk}`));
    for (; isLoading; await sleep(RETRY_MS)) {
      try {
        const connection = await this.#connect();
        this.#connection = connection;
        await this.#settle(connection);
        await Promise.all(lanes.map((dice) => this.#work(connection, dice)));
        connection.leave();
      } catch (error) {
        if (!(error instanceof Gone || error instanceof Refused)) throw error;
      }
    }
  }

  /** A disk that is not served yet is refused, and the connection goes on negotiating: it is left, and tried again. */
  async #connect(): Promise<Connection> {
    const connecting = connectDisk(this.#uri, (message) => tell({ kind: 'violation', message }));
    const connection = await Promise.race([connecting, sleep(CONNECTS_WITHIN_MS, null)]);
    if (connection !== null) return connection;
    connecting.then(
      (late) => late.leave(),
      () => undefined,
    );
    throw new Gone(`nobody serves ${this.#uri}`);
  }

  /** What it holds has to be read anew. */
  lose(): void {
    this.#isLost = true;
  }

  cut(): void {
    this.#connection?.leave();
  }

  /** What was in doubt is what the disk holds now. */
  async #settle(connection: Connection): Promise<void> {
    if (this.#isLost) await this.#adopt(connection);
    for (let doubt = this.#doubts[0]; doubt !== undefined; doubt = this.#doubts[0]) {
      const there: number[] = [];
      for (const block of doubt.blocks) {
        const bytes = await connection.ask({ command: COMMAND.READ, offset: block * BLOCK, length: BLOCK });
        if (bytes.equals(stamp(block, doubt.isZero ? 0 : doubt.id))) there.push(block);
      }
      writeLine(fd, ['found', doubt.id, there, machineMs()]);
      this.#doubts.shift();
      for (const block of doubt.blocks) this.#busy.delete(block);
    }
  }

  async #adopt(connection: Connection): Promise<void> {
    const ids: number[] = [];
    for (let block = 0; block < this.#blocks; block++) {
      const bytes = await connection.ask({ command: COMMAND.READ, offset: block * BLOCK, length: BLOCK });
      const held = bytes.readDoubleLE(0);
      if (!bytes.equals(stamp(block, held)))
        tell({ kind: 'violation', message: `block ${this.#disk}/${block} is no whole change: ${held}` });
      ids.push(held);
    }
    writeLine(fd, ['holds', this.#disk, ids, machineMs()]);
    this.#isLost = false;
    for (const { blocks } of this.#doubts.splice(0)) for (const block of blocks) this.#busy.delete(block);
  }

  async #work(connection: Connection, dice: Dice): Promise<void> {
    while (isLoading && connection.isOpen) {
      try {
        if (dice.chance(1 / 24)) await this.#flush(connection);
        else await this.#change(connection, dice);
      } catch (error) {
        if (error instanceof Gone) return;
        if (!(error instanceof Refused)) throw error;
        // A node that refuses is asked again, not at once.
        await sleep(50);
      }
      await dice.pause(0, PAUSE_MS_MOST);
    }
  }

  async #flush(connection: Connection): Promise<void> {
    const mine = ++id;
    writeLine(fd, ['flush', mine, machineMs()]);
    await this.#refusable(mine, connection.ask({ command: COMMAND.FLUSH }));
    writeLine(fd, ['promised', mine, machineMs()]);
    promises++;
  }

  async #change(connection: Connection, dice: Dice): Promise<void> {
    const count = dice.chance(0.6) ? 1 : dice.between(2, BLOCKS_MOST);
    const from = dice.below(this.#blocks - count);
    const blocks = Array.from({ length: count }, (_, i) => from + i);
    if (blocks.some((block) => this.#busy.has(block))) return sleep(2);
    const roll = dice.below(100);
    const command = roll < 80 ? COMMAND.WRITE : roll < 90 ? COMMAND.WRITE_ZEROES : COMMAND.TRIM;
    const isZero = command !== COMMAND.WRITE;
    const fua = dice.chance(0.05);
    const mine = ++id;
    const doubt = { id: mine, isZero, blocks };
    for (const block of blocks) this.#busy.add(block);
    this.#doubts.push(doubt);
    writeLine(fd, ['change', mine, this.#disk, from, count, isZero, machineMs()]);
    const place = { offset: from * BLOCK, length: count * BLOCK };
    const data = isZero ? {} : { data: Buffer.concat(blocks.map((block) => stamp(block, mine))) };
    await this.#refusable(mine, connection.ask({ command, flags: fua ? COMMAND_FLAG.FUA : 0, ...place, ...data }));
    const atMs = machineMs();
    writeLine(fd, ['answered', mine, atMs]);
    if (fua) writeLine(fd, ['promised', mine, atMs]);
    changes++;
    this.#doubts.splice(this.#doubts.indexOf(doubt), 1);
    for (const block of blocks) this.#busy.delete(block);
  }

  /** A refused change stays in doubt. */
  async #refusable(mine: number, asked: Promise<unknown>): Promise<void> {
    try {
      await asked;
    } catch (error) {
      if (error instanceof Refused) writeLine(fd, ['refused', mine, error.errno, machineMs()]);
      throw error;
    }
  }
}

const clients = config.disks.map((_, disk) => new Client(disk));
let running: Promise<unknown> = Promise.resolve();

async function obey(order: LoaderOrder): Promise<void> {
  if (order.kind === 'load') {
    isLoading = true;
    running = Promise.all(clients.map((client) => client.run()));
    return;
  }
  if (order.kind === 'lost') {
    writeLine(fd, ['lost', machineMs()]);
    for (const client of clients) client.lose();
    return tell({ kind: 'knows' });
  }
  isLoading = false;
  const late = setTimeout(() => clients.forEach((client) => client.cut()), order.withinMs);
  await running;
  clearTimeout(late);
  tell({ kind: 'stopped', changes, promises });
}

createInterface({ input: process.stdin })
  .on('line', (text) => void obey(JSON.parse(text) as LoaderOrder))
  .on('close', () => process.exit(0));
