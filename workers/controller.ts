#!/usr/bin/env node
/** A controller: serves workflows, short and bulk work, and its own host's queue; needs the stores and nothing else. */
import { ERROR_KINDS, isHoldfastError } from '../src/domain/errors.ts';
import { runWorkerProcess } from './worker-process.ts';

try {
  await runWorkerProcess('controller', process.env);
} catch (error) {
  if (!isHoldfastError(error)) throw error;
  process.stderr.write(`error ${error.code}: ${error.message}\n  ${ERROR_KINDS[error.code].hint}\n`);
  process.exitCode = ERROR_KINDS[error.code].exitCode;
}
