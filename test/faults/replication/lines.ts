/** What the processes of a run and their starter say to each other: a line of JSON each, written synchronously by those who may be killed next. */
import { writeSync } from 'node:fs';
import type { ProofLevel } from '../../../src/engine/replication/frames.ts';
import type { Figures } from '../../../src/engine/replication/sending/figures.ts';
import type { Kill } from './points.ts';

export interface SendOrder {
  readonly kind: 'send';
  readonly snapshot: string;
  readonly owner: string;
  readonly attempt: number;
  readonly takesOver: boolean;
  readonly proof: ProofLevel;
  readonly kill: Kill | null;
}

export type ReceiverOrder =
  | { readonly kind: 'arm'; readonly kill: Kill | null }
  /** Ends what sessions have left, as its hourly round does. */
  | { readonly kind: 'tend' };

export type SenderLine =
  | { readonly kind: 'reached'; readonly point: string }
  | { readonly kind: 'committed'; readonly root: string; readonly figures: Figures }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string; readonly isOurs: boolean };

export type ReceiverLine =
  | { readonly kind: 'reached'; readonly point: string }
  | { readonly kind: 'serves'; readonly port: number }
  | { readonly kind: 'tended' }
  | { readonly kind: 'closed'; readonly what: string }
  | { readonly kind: 'alarm'; readonly message: string };

export const tell = (line: SenderLine | ReceiverLine): void => {
  writeSync(1, `${JSON.stringify(line)}\n`);
};

/** Tells where it is, and dies there. */
export const die = (point: string): void => {
  tell({ kind: 'reached', point });
  process.kill(process.pid, 'SIGKILL');
};
