/** What the parts of the bench of journals have in common: figures of several rounds, and how they are told. */
export const MIB = 1024 * 1024;

export const percentile = (numbers: readonly number[], share: number): number =>
  numbers.toSorted((a, b) => a - b)[Math.min(numbers.length - 1, Math.floor(numbers.length * share))] ?? NaN;
export const median = (numbers: readonly number[]): number => percentile(numbers, 0.5);
export const rounded = (n: number, digits = 3): number => Number(n.toFixed(digits));
export const secondsSince = (begun: number): number => (performance.now() - begun) / 1000;

/** As a share of what is beside it, round by round. */
export const shareOf = (ours: readonly number[], beside: readonly number[]): number =>
  rounded(median(ours.map((one, i) => one / (beside[i] ?? NaN))));

export const say = (text: string): void => void process.stderr.write(`${text}\n`);
