/**
 * A step of the demo as data: a name, what a person is told that it does, and a function from the context to figures.
 *
 * Steps know nothing of how they are run or shown; the runner knows nothing of Holdfast. A step that finds something else than
 * it should throws (`require`), and nothing after it runs: a figure in the table was measured in a run in which all before it held.
 */
import { HoldfastError, type ErrorCode } from '../../domain/errors.ts';

export type Figure = string | number | boolean | null | readonly (string | number)[];
/** Flat, with the unit in each name: what `--json` writes. */
export type Figures = Readonly<Record<string, Figure>>;

export interface Outcome {
  readonly figures: Figures;
  /** What happened, for a person: one fact a line. */
  readonly lines: readonly string[];
}

export interface Step<Context> {
  readonly name: string;
  readonly title: string;
  run(context: Context): Promise<Outcome>;
}

export interface StepReport extends Outcome {
  readonly name: string;
  readonly title: string;
  readonly ok: boolean;
  readonly seconds: number;
  readonly error: { readonly code: ErrorCode; readonly message: string } | null;
}

/** A claim of the demo: when it does not hold, the step has failed, and says what was found. */
export function requireThat(holds: boolean, otherwise: string): asserts holds {
  if (!holds) throw new HoldfastError('PROOF_FAILED', otherwise);
}

/** What an earlier step has left. */
export function left<T>(value: T | null | undefined, what: string): T {
  if (value === null || value === undefined) throw new HoldfastError('INTERNAL', `a step needs ${what}, which no step before it has made`);
  return value;
}
