/**
 * Batches on their way into an archive: one is filled while the one before it is put.
 *
 * The next batch is begun on the state that the log will have when the one before it is in. Nobody else moves partitions on while the claim is
 * open, so that is the state it gets, or the put fails and all that was built on it is dropped with its pipeline: the log says
 * where to go on.
 */
import { isHoldfastError } from '../../../domain/errors.ts';
import { ARCHIVE_BATCH_BYTES, ARCHIVE_BATCH_MS } from '../../../domain/limits.ts';
import type { TableArchive } from '../../../engine/tables/archive/archive.ts';
import { createBatch, type Batch, type GapCause, type SealedBatch } from '../../../engine/tables/archive/batch.ts';
import type { Duck } from '../../../engine/tables/archive/duck.ts';
import { applyEntry, type TableState } from '../../../engine/tables/archive/state.ts';
import { archiveBatch } from '../../../engine/tables/archive/writer.ts';
import type { Decoder, TableRecord } from '../../../engine/tables/events/event.ts';

export interface Putting {
  /** Takes the next record. True: full, wait for `rotate` before the next. */
  add(partition: string, record: TableRecord, cause: GapCause): boolean;
  /** Nothing up to here but a gap; the same. */
  endAt(partition: string, offset: number, cause: GapCause): boolean;
  /** Hands the batch on to be put, once the one before it is in. */
  rotate(): Promise<void>;
  /** Puts what there is if it is due and nothing is being put. Rejects with what a put failed with. */
  tick(nowMs: number): Promise<void>;
  /** Puts all that there is and waits; the next batch knows what the archive then knows. */
  settle(): Promise<void>;
  /** Waits for what is being put, whatever becomes of it: its folder is in use. */
  end(): Promise<void>;
}

export interface PuttingParts {
  readonly archive: TableArchive;
  readonly duck: Duck;
  readonly epoch: number;
  readonly decode: Decoder;
  readonly nowMs: () => number;
  /** A batch is in the log. */
  readonly onPut: (batch: SealedBatch, bytes: number) => void;
}

export function createPutting({ archive, duck, epoch, decode, nowMs, onPut }: PuttingParts): Putting {
  let batch: Batch = createBatch(archive.known(), decode);
  let bytes = 0;
  let begunMs: number | null = null;
  let putting: { readonly done: Promise<void>; settled: boolean } | null = null;

  const begin = (state: TableState): void => {
    batch = createBatch(state, decode);
    bytes = 0;
    begunMs = null;
  };

  const put = async (sealed: SealedBatch, ofBytes: number): Promise<void> => {
    await archiveBatch(archive, duck, epoch, sealed);
    onPut(sealed, ofBytes);
    await archive.checkpoint();
  };

  const inLog = async (): Promise<void> => {
    await putting?.done;
    putting = null;
  };

  const rotate = async (): Promise<void> => {
    await inLog();
    if (batch.empty()) return;
    const sealed = batch.seal();
    const under = { done: put(sealed, bytes), settled: false };
    putting = under;
    // Whoever waits for it hears of it; until then it must not end the process.
    under.done.catch(() => undefined).finally(() => (under.settled = true));
    begin(stateAfter(archive.known(), epoch, sealed));
  };

  const note = (size: number): void => {
    bytes += size;
    begunMs ??= nowMs();
  };
  const full = (): boolean => bytes >= ARCHIVE_BATCH_BYTES || batch.full();

  return {
    add(partition, record, cause) {
      if (batch.add(partition, record, cause)) note((record.key?.length ?? 0) + (record.value?.length ?? 0));
      return full();
    },
    endAt(partition, offset, cause) {
      batch.endAt(partition, offset, cause);
      note(0);
      return full();
    },
    rotate,
    async tick(now) {
      if (putting?.settled === true) await inLog();
      if (putting === null && begunMs !== null && now - begunMs >= ARCHIVE_BATCH_MS) await rotate();
    },
    async settle() {
      await rotate();
      await inLog();
      begin(archive.known());
    },
    async end() {
      // What it failed with was told, or is of no interest any more; a mistake of ours is not passed over.
      await putting?.done.catch((error: unknown) => {
        if (!isHoldfastError(error)) throw error;
      });
    },
  };
}

/** What the log will say when the batch is in, as far as the next one has to know. */
function stateAfter(state: TableState, epoch: number, { rows, columns, schemas, parts }: SealedBatch): TableState {
  const file = rows.length === 0 ? null : { bytes: 1, packs: [] };
  return applyEntry(
    state,
    { kind: 'BATCH', epoch, file, columns: [...columns], schemas: schemas.map((schema) => [...schema]), parts: [...parts] },
    state.n + 1,
  );
}
