/** What the processes of a run and their starter say to each other: a line of JSON each. */
import { writeSync } from 'node:fs';
import type { ProtectionState } from '../../../src/engine/volumes/disks/protection-port.ts';
import type { Patch } from '../../simulation/patches.ts';

/** How a process reaches its stores: `log`, `a`, `b` and `c`. Credentials are in its environment. */
export interface StorePlace {
  readonly url: string;
  readonly endpoint: string;
  readonly region: string;
}
export type StorePlaces = Readonly<Record<string, StorePlace>>;

export interface NodeConfig {
  readonly folder: string;
  readonly hostName: string;
  readonly stores: StorePlaces;
  readonly batchMs: number;
  readonly memberMsMax: number;
  readonly heldBytesMax: number | null;
  /** Its clock is so far from the machine's. */
  readonly clockOffsetMs: number;
  /** Keeps a ledger of what its syncs cover (durable.ts). */
  readonly ledger: boolean;
  /** Safeguards taken out of it. */
  readonly patches: readonly Patch[];
}

export type NodeOrder =
  /** Its clock jumps. */
  { readonly kind: 'clock'; readonly offsetMs: number };

export type NodeLine =
  | { readonly kind: 'serves' }
  | { readonly kind: 'state'; readonly state: ProtectionState; readonly why: string | null; readonly atMs: number }
  | { readonly kind: 'alarm'; readonly message: string };

export interface LoaderConfig {
  readonly history: string;
  readonly seed: number;
  /** Of the first change: ids of two loaders do not meet. */
  readonly firstId: number;
  readonly disks: readonly { readonly uri: string; readonly blocks: number }[];
  readonly depth: number;
}

export type LoaderOrder =
  | { readonly kind: 'load' }
  /** Its server's machine is lost: whatever was answered and not promised may be. Before the server is back. */
  | { readonly kind: 'lost' }
  /** Nothing new is asked for; what is under way is waited for, at the most so long. */
  | { readonly kind: 'stop'; readonly withinMs: number };

export type LoaderLine =
  | { readonly kind: 'knows' }
  | { readonly kind: 'stopped'; readonly changes: number; readonly promises: number }
  | { readonly kind: 'violation'; readonly message: string };

export const tell = (line: NodeLine | LoaderLine): void => {
  writeSync(1, `${JSON.stringify(line)}\n`);
};
