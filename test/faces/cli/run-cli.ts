/** Runs a command line in this process, on a terminal that is a string, with an environment of its own. */
import { runCli } from '../../../src/faces/cli/program.ts';
import type { Terminal } from '../../../src/faces/cli/terminal.ts';
import type { Variables } from '../../../src/ground/configuration/configuration.ts';

export interface CliRun {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** Of a result that is bytes. */
  readonly bytes: Buffer;
}

export interface CliOptions {
  readonly variables: Variables;
  /** Called with what is said so far; true: as if Ctrl-C were pressed. */
  readonly interruptWhen?: (err: string) => boolean;
  /** What is piped in. */
  readonly input?: AsyncIterable<Uint8Array>;
}

async function* nothing(): AsyncGenerator<Uint8Array> {
  // Ends at once.
}

export async function cli(args: readonly string[], { variables, interruptWhen, input = nothing() }: CliOptions): Promise<CliRun> {
  let out = '';
  let err = '';
  const pieces: Uint8Array[] = [];
  const handlers = new Set<() => void>();
  const terminal: Terminal = {
    input: () => input,
    write: async (bytes) => void pieces.push(bytes),
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
      if (interruptWhen?.(err) === true) for (const handler of handlers) handler();
    },
    bar: null,
    onInterrupt(handler) {
      handlers.add(handler);
      return () => void handlers.delete(handler);
    },
  };
  const code = await runCli(args, variables, terminal);
  return { code, out, err, bytes: Buffer.concat(pieces) };
}

/** The JSON document of a run that succeeded. */
export async function cliJson<T>(args: readonly string[], options: CliOptions): Promise<T> {
  const run = await cli([...args, '--json'], options);
  if (run.code !== 0) throw new Error(`${args.join(' ')}: exit ${run.code}: ${run.err}`);
  return JSON.parse(run.out) as T;
}

export const errorOf = (run: CliRun): { readonly code: string; readonly message: string; readonly exitCode: number } =>
  (JSON.parse(run.err.trim().split('\n').at(-1) ?? '') as { error: { code: string; message: string; exitCode: number } }).error;
