/**
 * Frames that are ready to be said, on their way into an exchange.
 *
 * Short ones (pages, inquiries, the end) go before data and in exchanges of their own, so that their answers do not wait for
 * megabytes. Data waits until an exchange is full, or until nothing more is being read. Values that are being read wait for
 * room here, so no more than two exchanges are ready at a time.
 */
import type { DataFrame, SessionMessageFrame } from '../frames.ts';
import type { ReadValue } from './content.ts';
import { dataBytes as dataFrameBytes, frameBytes } from './frame-bytes.ts';

export type ShortFrame = Exclude<SessionMessageFrame, DataFrame>;

export interface Outbox {
  readonly exchangeBytes: number;
  readonly dataBytes: number;
  readonly hasShort: boolean;
  addShort(frame: ShortFrame): void;
  /** Resolves when there is room for more; never rejects. */
  addData(values: readonly ReadValue[]): Promise<void>;
  /** At most an exchange, but one frame at the least. */
  takeShort(): ShortFrame[];
  /** `frameOf` makes a frame of a value; null: nobody waits for it any more. */
  takeData(frameOf: (value: ReadValue) => DataFrame | null): DataFrame[];
  /** Nothing is said any more, and nobody waits. */
  close(): void;
}

const EXCHANGES_READY = 2;

/** `exchangeBytes`: of what an exchange has room for behind its first frame. */
export function createOutbox(exchangeBytes: number): Outbox {
  let short: ShortFrame[] = [];
  let data: ReadValue[] = [];
  let dataBytes = 0;
  let waiting: (() => void)[] = [];
  let isClosed = false;
  const bytesOf = ({ body }: ReadValue): number => dataFrameBytes(body.length);
  const admit = (): void => {
    if (dataBytes >= EXCHANGES_READY * exchangeBytes) return;
    for (const resolve of waiting) resolve();
    waiting = [];
  };
  return {
    exchangeBytes,
    get dataBytes() {
      return dataBytes;
    },
    get hasShort() {
      return short.length > 0;
    },
    addShort: (frame) => void short.push(frame),
    async addData(values) {
      if (isClosed) return;
      data.push(...values);
      for (const value of values) dataBytes += bytesOf(value);
      if (dataBytes >= EXCHANGES_READY * exchangeBytes) await new Promise<void>((resolve) => waiting.push(resolve));
    },
    takeShort() {
      let bytes = 0;
      const over = short.findIndex((frame, i) => (bytes += frameBytes(frame)) > exchangeBytes && i > 0);
      return short.splice(0, over < 0 ? short.length : over);
    },
    takeData(frameOf) {
      const frames: DataFrame[] = [];
      let bytes = 0;
      let taken = 0;
      for (const value of data) {
        if (frames.length > 0 && bytes + bytesOf(value) > exchangeBytes) break;
        taken++;
        dataBytes -= bytesOf(value);
        const frame = frameOf(value);
        if (frame === null) continue;
        frames.push(frame);
        bytes += bytesOf(value);
      }
      data = data.slice(taken);
      admit();
      return frames;
    },
    close() {
      isClosed = true;
      short = [];
      data = [];
      dataBytes = 0;
      admit();
    },
  };
}
