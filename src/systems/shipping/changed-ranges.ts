/** A hint of what changed: a text file, one "offset length" in bytes a line, `#` for remarks. Refused as a whole when a line does not fit. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { HoldfastError } from '../../domain/errors.ts';

export interface ChangedRange {
  readonly offset: number;
  readonly length: number;
}

/** Ranges in one hint: 16 bytes each in memory, and more than a volume of a PiB has holes. */
const RANGES_MAX = 4_000_000;
const LINE = /^(\d{1,16})\s+(\d{1,16})$/;

export async function readChangedRanges(path: string): Promise<readonly ChangedRange[]> {
  const ranges: ChangedRange[] = [];
  let number = 0;
  try {
    for await (const line of createInterface({ input: createReadStream(path, 'utf8'), crlfDelay: Infinity })) {
      number++;
      const text = line.trim();
      if (text === '' || text.startsWith('#')) continue;
      const match = LINE.exec(text);
      const [offset, length] = [Number(match?.[1]), Number(match?.[2])];
      if (!match || !Number.isSafeInteger(offset + length) || ranges.length >= RANGES_MAX)
        throw new HoldfastError('HINT_INVALID', `line ${number} of ${path} is not "offset length"`, {
          field: 'changed.ranges',
          line: number,
        });
      ranges.push({ offset, length });
    }
  } catch (error) {
    if (error instanceof HoldfastError) throw error;
    throw new HoldfastError('HINT_INVALID', `${path} cannot be read`, { field: 'changed.ranges' }, error);
  }
  return ranges;
}
