/**
 * What a sector holds, told by itself: which change put it there, where, on which disk. A sector of zeros is value 0; one that is
 * no whole stamp of its own place is NO_VALUE, whatever it is: torn, of another sector, or nobody's.
 */
export const SECTOR_BYTES = 512;
export const NO_VALUE = 0xffff_ffff;

const WORDS = SECTOR_BYTES / 4;
const TAG_WORDS = 4;
/** Noise, so that what is stored has a size; the rest of a sector repeats it. */
const NOISE_WORDS = 32;

const mix = (sector: number, value: number, disk: number): number =>
  (Math.imul(sector + 1, 0x9e37_79b1) ^ Math.imul(value, 0x85eb_ca6b) ^ Math.imul(disk + 1, 0xc2b2_ae35)) >>> 0;

const next = (word: number): number => {
  let x = word | 1;
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  return x >>> 0;
};

/** Sectors [from, to) as a change with this serial leaves them. */
export function stampOf(disk: number, from: number, to: number, serial: number): Buffer {
  const words = new Uint32Array((to - from) * WORDS);
  for (let sector = from, at = 0; sector < to; sector++, at += WORDS) {
    words[at] = sector;
    words[at + 1] = serial;
    words[at + 2] = disk;
    words[at + 3] = mix(sector, serial, disk);
    for (let i = at + TAG_WORDS; i < at + NOISE_WORDS; i++) words[i] = next(words[i - 1] ?? 0);
    for (let done = NOISE_WORDS; done < WORDS; done += NOISE_WORDS) words.copyWithin(at + done, at, at + NOISE_WORDS);
  }
  return Buffer.from(words.buffer);
}

const wordsOf = (bytes: Buffer): Uint32Array =>
  bytes.byteOffset % 4 === 0
    ? new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
    : new Uint32Array(Uint8Array.from(bytes).buffer);

/** The value of each sector of these bytes, which begin with sector `from`. */
export function valuesOf(bytes: Buffer, from: number): Uint32Array {
  const words = wordsOf(bytes);
  const values = new Uint32Array(words.length / WORDS);
  for (let i = 0; i < values.length; i++) values[i] = valueAt(words, i * WORDS, from + i);
  return values;
}

function valueAt(words: Uint32Array, at: number, sector: number): number {
  const end = at + WORDS;
  const [place = 0, serial = 0, disk = 0, check = 0] = words.subarray(at, at + TAG_WORDS);
  if ((place | serial | disk | check) === 0) {
    for (let i = at; i < end; i++) if (words[i] !== 0) return NO_VALUE;
    return 0;
  }
  if (place !== sector || check !== mix(place, serial, disk)) return NO_VALUE;
  for (let i = at + TAG_WORDS; i < at + NOISE_WORDS; i++) if (words[i] !== next(words[i - 1] ?? 0)) return NO_VALUE;
  for (let i = at + NOISE_WORDS; i < end; i++) if (words[i] !== words[i - NOISE_WORDS]) return NO_VALUE;
  return serial;
}
