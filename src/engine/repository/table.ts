/**
 * The table: the large half of a repository's state. Fingerprint -> (runs that use it, where it lies), and for each pack
 * what of it is live. A function of the log's first n records, like the ledger; it decides nothing, it is asked.
 *
 * R2: a count that reaches zero is final. The row goes, and a value whose bytes are still there is missing all the same.
 * Several values in two packs: the first live location wins, a later copy is garbage from birth.
 *
 * Two implementations, one suite: memory (tests, simulation, small rescues) and SQLite (a cache file; bounded memory).
 */
import type { PackRow } from './change.ts';
import type { Ledger } from './ledger.ts';
import type { Location } from './location.ts';

export interface TableRow {
  readonly runs: number;
  readonly location: Location;
}

export interface PackUse {
  readonly id: Buffer;
  readonly kind: 'extent' | 'node';
  readonly blobs: number;
  readonly bytes: number;
  readonly liveBlobs: number;
  readonly liveBytes: number;
}

export interface TableSize {
  readonly rows: number;
  readonly packs: number;
  /** Stored bytes of all packs in use, and of the live values in them. */
  readonly packBytes: number;
  readonly liveBytes: number;
}

/** A table in the making, beside the one that is in use. */
export interface TableLoader {
  packs(page: Iterable<PackUse>): void;
  parts(page: Iterable<{ readonly root: string; readonly name: string }>): void;
  /** After the packs that they lie in. */
  rows(page: Iterable<{ readonly fingerprint: Buffer } & TableRow>): void;
  /**
   * Puts what was loaded in the table's place, in one step, as the fold that ends at `ledger`. CONTENTION when the table
   * does not stand any more where it stood when loading began: another process was faster.
   */
  finish(ledger: Ledger): void;
}

/** What a record changes, applied in one go. */
export interface TableWriter {
  /** The packs that values of this record lie in. A pack without live values at the end of a record is forgotten. */
  addPacks(packs: readonly PackRow[]): void;
  /** `runs` more uses of a value. `brought`: where it lies if the table has no live row of it. */
  add(fingerprint: Buffer, runs: number, brought: Location | null): void;
  subtract(fingerprint: Buffer, runs: number): void;
  /** Moves a live value, if it still lies in one of `from` (pack ids in hex). */
  move(fingerprint: Buffer, from: ReadonlySet<string>, to: Location): void;
  /** The parts that a root part of a live diff names, itself included. */
  holdParts(root: string, names: readonly string[]): void;
  dropParts(root: string): void;
}

export interface Table {
  get(fingerprint: Buffer): TableRow | null;
  pack(id: Buffer): PackUse | null;
  /** Packs of which at most PACK_LIVE_SHARE_MIN is live, thinnest first. */
  thinPacks(limit: number): readonly PackUse[];
  /** Whether a live diff needs this part. */
  holdsPart(name: string): boolean;
  /** Counts everything: for reports. */
  size(): TableSize;
  /** Stored bytes of all packs in use; costs the packs, not the rows. */
  packBytes(): number;
  /** Rows in order of fingerprint; pack uses in order of id; parts by root. For checkpoints and audits. */
  rows(): Iterable<{ readonly fingerprint: Buffer } & TableRow>;
  packs(): Iterable<PackUse>;
  parts(): Iterable<{ readonly root: string; readonly name: string }>;
  /**
   * Runs `work` as one transaction on the table of prefix `from` (CONTENTION when it stands elsewhere) and keeps `ledger`
   * with it; returns the ids of packs that lost their last live value.
   */
  write(from: number, work: (writer: TableWriter) => void, ledger: Ledger): readonly Buffer[];
  /** The n that the table stands at, by whatever process wrote it last; null when the table does not know. */
  stamp(): number | null;
  /** The ledger as of the last write by whatever process shares this table; null when the table keeps none. */
  ledger(): Ledger | null;
  /**
   * Begins a table that shall take this one's place. Nothing of it shows before it is whole: whoever looks meanwhile, in
   * this process or another, would take a value that is not loaded yet for a dead one, and a sweep its pack for garbage.
   */
  loader(): TableLoader;
}
