/** The one source of chance of a run: sfc32, seeded by its number alone, so that a seed is the same run on any machine. */

export interface Random {
  /** From 0 up to 1. */
  next(): number;
  below(n: number): number;
  /** From `from` up to, but not including, `to`. */
  between(from: number, to: number): number;
  chance(p: number): boolean;
  pick<T>(items: readonly T[]): T;
  weighted<T extends string>(weights: Readonly<Record<T, number>>): T;
  bytes(size: number): Buffer;
}

export function createRandom(seed: number): Random {
  let [a, b, c, d] = [0x9e3779b9, 0x243f6a88, seed | 0, Math.floor(seed / 2 ** 32) + 1];
  const u32 = (): number => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + t;
    c |= 0;
    return t >>> 0;
  };
  for (let i = 0; i < 16; i++) u32();
  const next = (): number => u32() / 2 ** 32;
  const below = (n: number): number => Math.floor(next() * n);
  return {
    next,
    below,
    between: (from, to) => from + below(to - from),
    chance: (p) => next() < p,
    pick(items) {
      const item = items[below(items.length)];
      if (item === undefined) throw new Error('a pick from nothing');
      return item;
    },
    weighted(weights) {
      const entries = Object.entries<number>(weights);
      let at = next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
      for (const [name, weight] of entries) if ((at -= weight) < 0) return name as keyof typeof weights;
      return entries[0]?.[0] as keyof typeof weights;
    },
    bytes(size) {
      const out = Buffer.allocUnsafe(size);
      for (let i = 0; i < size; i++) {
        if ((i & 3) === 0 && i + 4 <= size) {
          out.writeUInt32LE(u32(), i);
          i += 3;
        } else out[i] = u32() & 0xff;
      }
      return out;
    },
  };
}
