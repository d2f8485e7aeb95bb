/**
 * Where the stack says what it is doing while a person waits: one short line at a time, never on stdout, which belongs to
 * results.
 */
export type Progress = (line: string) => void;

export const stderrProgress: Progress = (line) => {
  process.stderr.write(`${line}\n`);
};

export const silentProgress: Progress = () => {};
