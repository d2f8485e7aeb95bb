/**
 * The one translation at this edge: a HoldfastError becomes an ApplicationFailure whose type is its code, retryable or not
 * as the table says. Anything else is a mistake of ours and is not retried for ever.
 */
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { isHoldfastError } from '../src/domain/errors.ts';
import { keepBeating } from './pulse.ts';

function toFailure(error: unknown): Error {
  if (error instanceof ApplicationFailure || error instanceof CancelledFailure) return error;
  if (isHoldfastError(error))
    return ApplicationFailure.create({
      message: error.message,
      type: error.code,
      nonRetryable: !error.retryable,
      details: [error.details],
    });
  return ApplicationFailure.create({
    message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    type: 'INTERNAL',
    nonRetryable: true,
  });
}

type Operation = (...args: never[]) => Promise<unknown>;

/** Wraps each operation of a record: it beats while it runs, and what it throws crosses to Temporal as above. */
export function translated<Operations extends Readonly<Record<string, Operation>>>(operations: Operations): Operations {
  const wrap =
    (operation: Operation): Operation =>
    async (...args) => {
      try {
        using _ = keepBeating();
        return await operation(...args);
      } catch (error) {
        throw toFailure(error);
      }
    };
  // Same names, same signatures: only what is thrown changes.
  return Object.fromEntries(Object.entries(operations).map(([name, operation]) => [name, wrap(operation)])) as Operations;
}
