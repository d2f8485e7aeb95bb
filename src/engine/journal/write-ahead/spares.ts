/**
 * Files of a write-ahead file that were segments, and will be (docs/journal.md, section 6).
 *
 * Invariant: a file is written over when it is known for sure not to be a segment any more, and becomes one when its header is durable. So what has a
 * segment's name always has the header that belongs to it, whenever the machine is lost.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { SPARE_SEGMENTS_MAX } from '../../../domain/limits.ts';
import type { SegmentFile, SegmentFiles } from './segment-files.ts';

const SPARE = /^[0-9]{20}\.spare$/;
const spareOf = (segment: string): string => segment.replace(/\.wal$/, '.spare');

const sparesIn = async (folder: string): Promise<readonly string[]> =>
  (await readdir(folder)).filter((name) => SPARE.test(name)).map((name) => join(folder, name));

/** They hold nothing that anybody needs. */
export async function removeSpares(folder: string, { remove }: Pick<SegmentFiles, 'remove'>): Promise<void> {
  for (const path of await sparesIn(folder)) await remove(path);
}

export class Spares {
  readonly #folder: string;
  readonly #files: SegmentFiles;
  /** One that is shorter grows while it is written, as a new one does. */
  readonly #segmentBytes: number;
  #paths: string[];

  private constructor(folder: string, files: SegmentFiles, segmentBytes: number, paths: readonly string[]) {
    this.#folder = folder;
    this.#files = files;
    this.#segmentBytes = segmentBytes;
    this.#paths = [...paths];
  }

  /** With those that an earlier life has left. */
  static async find(folder: string, files: SegmentFiles, segmentBytes: number): Promise<Spares> {
    const paths = await sparesIn(folder);
    for (const path of paths.slice(SPARE_SEGMENTS_MAX)) await files.remove(path);
    return new Spares(folder, files, segmentBytes, paths.slice(0, SPARE_SEGMENTS_MAX));
  }

  /** Removes a segment, durably: it becomes a spare, or is gone. */
  async take(segment: string): Promise<void> {
    const { remove, rename, syncFolder } = this.#files;
    const isKept = this.#paths.length < SPARE_SEGMENTS_MAX && (await stat(segment)).size >= this.#segmentBytes;
    if (isKept) await rename(segment, spareOf(segment));
    else await remove(segment);
    await syncFolder(this.#folder);
    if (isKept) this.#paths.push(spareOf(segment));
  }

  /** Makes a segment that begins with this header, durably: of a spare, if there is one. */
  async make(segment: string, header: Buffer): Promise<SegmentFile> {
    const { create, open, rename, syncFolder } = this.#files;
    const spare = this.#paths.shift();
    const file = await (spare === undefined ? create(segment) : open(spare));
    await file.write(header, 0);
    if (spare !== undefined) await rename(spare, segment);
    await syncFolder(this.#folder);
    return file;
  }
}
