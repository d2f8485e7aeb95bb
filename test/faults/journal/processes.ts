/** The processes of a run: nodes, which are killed and come back, and loaders. Whoever ends otherwise is a violation. */
import path from 'node:path';
import { Child } from '../replication/child.ts';
import { Violation } from '../volumes/violation.ts';
import type { LoaderConfig, LoaderLine, LoaderOrder, NodeConfig, NodeLine, NodeOrder } from './lines.ts';

export interface ProcessOptions {
  readonly variables: NodeJS.ProcessEnv;
  readonly onViolation: (error: unknown) => void;
  readonly note: (line: string) => void;
}

export interface Node {
  /** It was told that somebody else owns the journal, at this time of the machine; null: not so far. */
  readonly fencedAtMs: number | null;
  /** Order was lost, which it said at this time, and no base has come since; null: no such thing. */
  readonly lostAtMs: number | null;
  start(): Promise<void>;
  kill(): Promise<void>;
  freeze(): void;
  thaw(): void;
  /** Its clock is so far from the machine's from now on, in later lives too. */
  jump(offsetMs: number): void;
}

export function createNode(config: NodeConfig, { variables, onViolation, note }: ProcessOptions): Node {
  let { clockOffsetMs } = config;
  let fencedAtMs: number | null = null;
  let lostAtMs: number | null = null;
  let child: Child<NodeOrder, NodeLine> | null = null;
  const say = (what: string): void => note(`${config.hostName}: ${what}`);

  return {
    get fencedAtMs() {
      return fencedAtMs;
    },
    get lostAtMs() {
      return lostAtMs;
    },
    async start() {
      const serves = Promise.withResolvers<void>();
      const one = new Child<NodeOrder, NodeLine>({
        entry: path.join(import.meta.dirname, 'node.ts'),
        args: [JSON.stringify({ ...config, clockOffsetMs })],
        variables,
        onLine(line) {
          if (line.kind === 'serves') serves.resolve();
          else if (line.kind === 'alarm') say(`alarm: ${line.message}`);
          else {
            say(`${line.state}${line.why === null ? '' : `: ${line.why}`}`);
            if (line.state === 'FENCED') fencedAtMs ??= line.atMs;
            if (line.state === 'BITMAP' || line.state === 'RESYNC') lostAtMs ??= line.atMs;
            if (line.state === 'PROTECTED' || line.state === 'CATCHING_UP') lostAtMs = null;
            if (line.state === 'FAILED') onViolation(new Violation(`${config.hostName} has failed: ${line.why}`));
          }
        },
      });
      child = one;
      void one.ended.then((how) => {
        if (child === one) onViolation(new Violation(`${config.hostName} ended by itself: ${how}`));
        serves.reject(new Violation(`${config.hostName} ended: ${how}`));
      });
      serves.promise.catch(() => undefined);
      await serves.promise;
      say('has begun');
    },
    async kill() {
      const one = child;
      child = null;
      one?.kill();
      if (one !== null) say('is killed');
      await one?.ended;
    },
    freeze() {
      child?.freeze();
      say('stands still');
    },
    thaw() {
      child?.thaw();
      say('goes on');
    },
    jump(offsetMs) {
      clockOffsetMs = offsetMs;
      child?.order({ kind: 'clock', offsetMs });
      say(`its clock jumps by ${offsetMs / 3_600_000} h`);
    },
  };
}

export interface Loader {
  load(): void;
  /** The machine of its server is lost. Before the server is back. */
  lose(): Promise<void>;
  /** What was under way by then stays in doubt. */
  stop(): Promise<void>;
  kill(): Promise<void>;
}

const STOPS_WITHIN_MS = 1500;

export function startLoader(config: LoaderConfig, { variables, onViolation }: ProcessOptions): Loader {
  let isWanted = true;
  let known = Promise.withResolvers<void>();
  const stopped = Promise.withResolvers<void>();
  const child = new Child<LoaderOrder, LoaderLine>({
    entry: path.join(import.meta.dirname, 'loader.ts'),
    args: [JSON.stringify(config)],
    variables,
    onLine(line) {
      if (line.kind === 'stopped') stopped.resolve();
      else if (line.kind === 'knows') known.resolve();
      else onViolation(new Violation(line.message));
    },
  });
  void child.ended.then((how) => {
    if (isWanted) onViolation(new Violation(`a loader ended by itself: ${how}`));
    stopped.resolve();
    known.resolve();
  });
  return {
    load: () => child.order({ kind: 'load' }),
    async lose() {
      known = Promise.withResolvers();
      child.order({ kind: 'lost' });
      await known.promise;
    },
    async stop() {
      child.order({ kind: 'stop', withinMs: STOPS_WITHIN_MS / 2 });
      // Its server may stand still, and keep the connection.
      const late = setTimeout(() => {
        isWanted = false;
        child.kill();
      }, STOPS_WITHIN_MS);
      await stopped.promise;
      clearTimeout(late);
    },
    async kill() {
      isWanted = false;
      child.kill();
      await child.ended;
    },
  };
}
