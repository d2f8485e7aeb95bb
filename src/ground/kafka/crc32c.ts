/** CRC-32C (Castagnoli), the sum over each batch of Kafka records; node:zlib has the other polynomial. Four bytes a step. */
const POLYNOMIAL = 0x82f63b78;

function makeTables(): Uint32Array[] {
  const first = Uint32Array.from({ length: 256 }, (_, byte) => {
    let sum = byte;
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ POLYNOMIAL : sum >>> 1;
    return sum >>> 0;
  });
  const tables = [first];
  for (let i = 1; i < 4; i++) tables.push((tables[i - 1] ?? first).map((sum) => (first[sum & 0xff] ?? 0) ^ (sum >>> 8)));
  return tables;
}

const [T0, T1, T2, T3] = makeTables() as [Uint32Array, Uint32Array, Uint32Array, Uint32Array];

export function crc32c(bytes: Uint8Array): number {
  let sum = 0xffffffff;
  const { length } = bytes;
  const whole = length - (length % 4);
  let at = 0;
  for (; at < whole; at += 4) {
    // Bounds are kept above; a miss would be 0, and the sum false.
    sum ^= (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24);
    sum = (T3[sum & 0xff] ?? 0) ^ (T2[(sum >>> 8) & 0xff] ?? 0) ^ (T1[(sum >>> 16) & 0xff] ?? 0) ^ (T0[sum >>> 24] ?? 0);
  }
  for (; at < length; at++) sum = (T0[(sum ^ (bytes[at] ?? 0)) & 0xff] ?? 0) ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}
