/**
 * What crosses the wire, decoded by who stands between: what was pushed in each session, and whether the receiver heard an
 * epoch that it must not hear any more.
 *
 * An exchange of an older epoch that begins after OPENED of a newer one has passed is refused, or told how the session ended;
 * nothing of it is noted, kept or counted (N7). Late and doubled exchanges are judged as all others.
 */
import type { AnswerFrame, FirstFrame, RequestFrame, SessionMessageFrame } from '../../../src/engine/replication/frames.ts';
import { frameBytes } from '../../../src/engine/replication/sending/frame-bytes.ts';
import { ANSWER_READERS } from '../../../src/engine/replication/wire/answers.ts';
import { FrameDecoder, type FrameReader } from '../../../src/engine/replication/wire/frame-decoder.ts';
import { REQUEST_READERS } from '../../../src/engine/replication/wire/requests.ts';
import { Violation } from '../volumes/violation.ts';

/** Of a session, all its attempts and senders together. */
export interface Pushed {
  /** By name: bytes of one frame, and how often it was said. */
  readonly names: Map<string, { readonly bytes: number; times: number }>;
  /** Of all requests, repeated ones included. */
  bytes: number;
}

export interface Said {
  readonly first: FirstFrame;
  readonly rest: readonly SessionMessageFrame[];
  /** The newest epoch of the lineage that was known to have been opened when it was said. */
  readonly epochThen: number;
  /** When it went to the receiver, in milliseconds of this process. */
  readonly atMs: number;
}

export interface WireWatch {
  /** An exchange goes to the receiver; null: its bytes are none. */
  said(body: Buffer): Said | null;
  /** What the receiver has answered; throws a Violation. */
  answered(said: Said, body: Buffer): readonly AnswerFrame[];
  pushedIn(snapshot: string): Pushed;
}

const framesIn = <Frame>(readers: ReadonlyMap<number, FrameReader<Frame>>, body: Buffer): Frame[] => {
  const decoder = new FrameDecoder(readers);
  const frames = [...decoder.push(body)];
  decoder.end();
  return frames;
};

const isFirst = (frame: RequestFrame | undefined): frame is FirstFrame => frame?.kind === 'OPEN' || frame?.kind === 'SESSION';

/** Answers that say that a message had its effect. */
const HEARD: readonly AnswerFrame['kind'][] = ['NOTED', 'KEPT', 'MISSING', 'WITHHELD'];

export function createWireWatch(): WireWatch {
  const epochs = new Map<string, number>();
  const sessions = new Map<string, Pushed>();

  const pushedIn = (snapshot: string): Pushed => {
    const pushed = sessions.get(snapshot) ?? { names: new Map(), bytes: 0 };
    sessions.set(snapshot, pushed);
    return pushed;
  };

  return {
    pushedIn,
    said(body) {
      const [first, ...others] = framesIn(REQUEST_READERS, body);
      if (!isFirst(first)) return null;
      const rest = others.filter((frame): frame is SessionMessageFrame => !isFirst(frame));
      const pushed = pushedIn(first.snapshot);
      pushed.bytes += body.length;
      for (const frame of rest) {
        if (frame.kind !== 'DATA') continue;
        const name = pushed.names.get(frame.name) ?? { bytes: frameBytes(frame), times: 0 };
        name.times++;
        pushed.names.set(frame.name, name);
      }
      return { first, rest, epochThen: epochs.get(first.lineage) ?? 0, atMs: performance.now() };
    },
    answered({ first, epochThen }, body) {
      const answers = framesIn(ANSWER_READERS, body);
      for (const answer of answers)
        if (answer.kind === 'OPENED') epochs.set(first.lineage, Math.max(epochs.get(first.lineage) ?? 0, answer.epoch));
      const heard = answers.find(({ kind }) => HEARD.includes(kind));
      if (first.kind === 'SESSION' && first.epoch < epochThen && heard !== undefined)
        throw new Violation(
          `${first.lineage}: an exchange of epoch ${first.epoch} is answered ${heard.kind} after ${epochThen} was opened`,
        );
      return answers;
    },
  };
}
