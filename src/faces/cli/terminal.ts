/**
 * The two streams of a command, as values: results go to `out` and to nothing else, so that they can be piped; what is said
 * while somebody waits goes to `err`. A test passes its own.
 */
export interface Terminal {
  /** What is piped in, once. */
  readonly input: () => AsyncIterable<Uint8Array>;
  /** Bytes of a result; resolves when whoever reads has taken them. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Where a moving progress bar may be drawn; null when stderr is no terminal. */
  readonly bar: NodeJS.WriteStream | null;
  /** Calls back at Ctrl-C instead of ending the process; returns how to stop that. */
  onInterrupt(handler: () => void): () => void;
}

export const processTerminal = (): Terminal => ({
  input: () => process.stdin,
  write: (bytes) => new Promise((resolve) => process.stdout.write(bytes, () => resolve())),
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  bar: process.stderr.isTTY ? process.stderr : null,
  onInterrupt(handler) {
    process.on('SIGINT', handler);
    return () => void process.off('SIGINT', handler);
  },
});
