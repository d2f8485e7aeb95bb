/**
 * The one place where an error becomes text and an exit status. All of it comes from the table of codes; whatever is not a
 * HoldfastError is a mistake of ours: INTERNAL, its stack under --verbose only.
 */
import { ERROR_KINDS, HoldfastError, isHoldfastError, type ErrorDetails, messageOf } from '../../domain/errors.ts';

export interface ErrorStyle {
  readonly json: boolean;
  readonly verbose: boolean;
}

export interface RenderedError {
  readonly text: string;
  readonly exitCode: number;
}

/** Details a person needs beside the message; the rest is in JSON. */
const SHOWN_DETAILS: ReadonlySet<string> = new Set(['field', 'expected', 'found']);
const CAUSES_MAX = 4;

export function asHoldfastError(error: unknown): HoldfastError {
  if (isHoldfastError(error)) return error;
  const message = messageOf(error);
  return new HoldfastError('INTERNAL', message || 'an error without a message', {}, error);
}

function causesOf(error: Error): readonly string[] {
  const causes: string[] = [];
  let said = error.message;
  for (let cause = error.cause; cause instanceof Error && causes.length < CAUSES_MAX; cause = cause.cause) {
    if (cause.message !== '' && !said.includes(cause.message)) causes.push(cause.message);
    said += cause.message;
  }
  return causes;
}

const showDetails = (details: ErrorDetails): readonly string[] =>
  Object.entries(details)
    .filter(([name, value]) => SHOWN_DETAILS.has(name) && value !== null)
    .map(([name, value]) => `  ${name}: ${Array.isArray(value) ? value.join(', ') : String(value)}`);

export function renderError(thrown: unknown, { json, verbose }: ErrorStyle): RenderedError {
  const error = asHoldfastError(thrown);
  const { hint, exitCode, retryable } = ERROR_KINDS[error.code];
  const causes = causesOf(error);
  const stack =
    verbose && error.stack !== undefined ? (error.cause instanceof Error ? (error.cause.stack ?? error.stack) : error.stack) : null;
  if (json) {
    const { code, message, details } = error;
    const document = { error: { code, message, details, causes, hint, retryable, exitCode, ...(stack === null ? {} : { stack }) } };
    return { text: `${JSON.stringify(document)}\n`, exitCode };
  }
  const lines = [
    `error ${error.code}: ${error.message}`,
    ...showDetails(error.details),
    ...causes.map((cause) => `  because: ${cause}`),
    `  next: ${hint}`,
    ...(stack === null ? [] : [stack]),
  ];
  return { text: `${lines.join('\n')}\n`, exitCode };
}
