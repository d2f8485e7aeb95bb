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
    let held = 0;
    const heldMax = QUEUE_BYTES + (this.#line.bytesPerSecond * this.#line.oneWayMs) / 1000;
    const after = (then: () => void, arrivesMs: number): void => void setTimeout(then, Math.max(0, arrivesMs - performance.now()));
    from.on('data', (chunk: Buffer) => {
      for (let at = 0; at < chunk.length; at += SLICE_BYTES) {
        const slice = chunk.subarray(at, at + SLICE_BYTES);
        this.#freeMs = Math.max(this.#freeMs, performance.now()) + (slice.length / this.#line.bytesPerSecond) * 1000;
        held += slice.length;
        after(() => {
          held -= slice.length;
          if (!to.destroyed) to.write(slice);
          if (held < heldMax) from.resume();
        }, this.#freeMs + this.#line.oneWayMs);
      }
      if (held >= heldMax) from.pause();
    });
    from.on('end', () => after(() => to.end(), Math.max(this.#freeMs, performance.now()) + this.#line.oneWayMs));
    from.on('error', () => to.destroy());
    from.on('close', () => after(() => to.destroy(), Math.max(this.#freeMs, performance.now()) + 2 * this.#line.oneWayMs));
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
