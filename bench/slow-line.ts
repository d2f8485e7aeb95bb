/**
 * A line as it is between continents: a TCP proxy that delays every byte, and lets so many a second through each way, for all
 * its connections together. What it holds is bounded by what is on the line, and whoever sends more waits.
 */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface Line {
  readonly oneWayMs: number;
  readonly bytesPerSecond: number;
}

export interface SlowLine extends AsyncDisposable {
  readonly port: number;
}

/** Held in a connection's way beyond what is on the line: a router's queue. */
const QUEUE_BYTES = 256 * 1024;
const SLICE_BYTES = 16 * 1024;

/** One way of the line: when the next byte may leave it. */
class Way {
  readonly #line: Line;
  #freeMs = 0;

  constructor(line: Line) {
    this.#line = line;
  }

  carry(from: Socket, to: Socket): void {
    const heldMax = QUEUE_BYTES + (this.#line.bytesPerSecond * this.#line.oneWayMs) / 1000;
    const waiting: { readonly slice: Buffer | null; readonly dueMs: number }[] = [];
    let held = 0;
    // One timer a connection: several fire in the order of their rounding, not of the bytes.
    const drain = (): void => {
      for (let next = waiting[0]; next !== undefined && next.dueMs <= performance.now(); next = waiting[0]) {
        waiting.shift();
        held -= next.slice?.length ?? 0;
        if (next.slice === null) to.end();
        else if (!to.destroyed) to.write(next.slice);
      }
      if (held < heldMax) from.resume();
      const next = waiting[0];
      if (next !== undefined) setTimeout(drain, Math.max(1, next.dueMs - performance.now()));
    };
    const put = (slice: Buffer | null): void => {
      this.#freeMs = Math.max(this.#freeMs, performance.now()) + ((slice?.length ?? 0) / this.#line.bytesPerSecond) * 1000;
      waiting.push({ slice, dueMs: this.#freeMs + this.#line.oneWayMs });
      held += slice?.length ?? 0;
      if (waiting.length === 1) setTimeout(drain, this.#line.oneWayMs);
    };
    from.on('data', (chunk: Buffer) => {
      for (let at = 0; at < chunk.length; at += SLICE_BYTES) put(chunk.subarray(at, at + SLICE_BYTES));
      if (held >= heldMax) from.pause();
    });
    from.on('end', () => put(null));
    from.on('error', () => to.destroy());
    to.on('close', () => from.destroy());
  }
}

export async function openSlowLine(to: { readonly host: string; readonly port: number }, line: Line): Promise<SlowLine> {
  const [up, down] = [new Way(line), new Way(line)];
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    const far = connect({ ...to, allowHalfOpen: true, noDelay: true });
    for (const socket of [near, far]) sockets.add(socket.once('close', () => sockets.delete(socket)));
    up.carry(near, far);
    down.carry(far, near);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
