/**
 * The body of an exchange as it comes: frames, one after the other, while bytes are still on their way.
 *
 * Its end is never an error for whoever hears the frames: the frames just end, and `ended` says how. The peer is held to a rate only
 * while we wait for it: what is not asked for yet stays in its socket. After an end that the peer did not mean (a frame that is none, or
 * a hearer who has heard enough) the rest is read and dropped, for a peer that still speaks does not hear an answer.
 */
import type { IncomingMessage } from 'node:http';
import { HoldfastError } from '../../../domain/errors.ts';
import type { RequestFrame } from '../frames.ts';
import { freeBuffer } from '../../../ground/threads/free-buffer.ts';
import { FrameDecoder } from '../wire/frame-decoder.ts';
import { REQUEST_READERS } from '../wire/requests.ts';
import { exchangeBytesMax, type TransportLimits } from './limits.ts';

export type BodyEnd =
  /** All was read. `error`: what was no frame. */
  | { readonly kind: 'read'; readonly error: HoldfastError | null }
  | { readonly kind: 'too long' }
  | { readonly kind: 'too slow' }
  /** The connection is no more. */
  | { readonly kind: 'gone' };

/** Frames that wait for their hearer; more of them, and the peer waits, too. */
const WAITING_MAX = 4;

export class Body implements AsyncIterable<RequestFrame> {
  readonly ended: Promise<BodyEnd>;
  readonly #request: IncomingMessage;
  readonly #limits: TransportLimits;
  readonly #decoder = new FrameDecoder(REQUEST_READERS);
  readonly #credit: Credit;
  #frames: RequestFrame[] = [];
  #next = 0;
  #error: HoldfastError | null = null;
  #isDropping = false;
  #isOver = false;
  #bytes = 0;
  #wake: (() => void) | null = null;
  #settle: (end: BodyEnd) => void = () => undefined;

  constructor(request: IncomingMessage, limits: TransportLimits) {
    this.#request = request;
    this.#limits = limits;
    this.ended = new Promise((resolve) => (this.#settle = resolve));
    this.#credit = new Credit(limits, () => this.#finish({ kind: 'too slow' }));
    request.on('data', (piece: Buffer) => this.#take(piece));
    request.once('end', () => this.#allRead());
    request.once('error', () => this.#finish({ kind: 'gone' }));
    request.once('close', () => this.#finish({ kind: 'gone' }));
    this.#credit.wait();
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The next frame, or null: there are no more. */
  async next(): Promise<RequestFrame | null> {
    for (;;) {
      const frame = this.#frames[this.#next];
      if (frame !== undefined && !this.#isDropping) {
        this.#next++;
        return frame;
      }
      if (this.#isOver || this.#isDropping) return null;
      this.#frames = [];
      this.#next = 0;
      this.#listen();
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<RequestFrame, void> {
    for (let frame = await this.next(); frame !== null; frame = await this.next()) yield frame;
  }

  /** Reads and drops what is left; nothing is heard any more. */
  drop(): void {
    this.#isDropping = true;
    this.#frames = [];
    this.#next = 0;
    this.#listen();
    this.#wake?.();
  }

  #listen(): void {
    if (this.#isOver || !this.#request.isPaused()) return;
    this.#request.resume();
    this.#credit.wait();
  }

  #take(piece: Buffer): void {
    if (this.#isOver) return;
    this.#bytes += piece.length;
    this.#credit.earn(piece.length);
    if (this.#bytes > exchangeBytesMax(this.#limits)) return this.#finish({ kind: 'too long' });
    if (!this.#isDropping) this.#decode(piece);
    if (this.#frames.length - this.#next >= WAITING_MAX && !this.#isDropping) {
      this.#request.pause();
      this.#credit.stop();
    }
    this.#wake?.();
  }

  #decode(piece: Buffer): void {
    this.#heeding(() => {
      for (const frame of this.#decoder.push(piece)) this.#frames.push(frame);
    });
    freeBuffer(piece);
  }

  /** Frames before one that is none are heard; nothing after it is. */
  #heeding(decode: () => void): void {
    if (this.#error !== null) return;
    try {
      decode();
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      this.#error = error;
    }
  }

  #allRead(): void {
    if (!this.#isDropping) this.#heeding(() => this.#decoder.end());
    this.#finish({ kind: 'read', error: this.#error });
  }

  #finish(end: BodyEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#credit.stop();
    this.#settle(end);
    this.#wake?.();
  }
}

/**
 * How far a peer may fall behind the least rate. Each byte earns the time that it may take, up to the bound; each moment in which
 * we wait for the peer spends it.
 */
class Credit {
  readonly #limits: TransportLimits;
  readonly #spent: () => void;
  #leftMs: number;
  #sinceMs = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(limits: TransportLimits, spent: () => void) {
    this.#limits = limits;
    this.#spent = spent;
    this.#leftMs = limits.behindMs;
  }

  wait(): void {
    if (this.#timer !== null) return;
    this.#sinceMs = performance.now();
    this.#timer = setTimeout(() => this.#look(), this.#leftMs);
  }

  earn(bytes: number): void {
    if (this.#timer !== null) this.#settle();
    this.#leftMs = Math.min(this.#limits.behindMs, this.#leftMs + (1000 * bytes) / this.#limits.bytesPerSecondMin);
  }

  stop(): void {
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#settle();
  }

  /** The timer is as old as what was left when it was set; what came since may have earned more. */
  #look(): void {
    this.#settle();
    this.#timer = null;
    if (this.#leftMs <= 0) this.#spent();
    else this.wait();
  }

  #settle(): void {
    const nowMs = performance.now();
    this.#leftMs -= nowMs - this.#sinceMs;
    this.#sinceMs = nowMs;
  }
}
