#!/usr/bin/env node
/**
 * `npm run demo`: all that Holdfast promises of volumes, done on real files with real servers, checked and measured.
 *
 * However it ends (done, failed, Ctrl-C), its servers are stopped and its folder is removed, unless --keep leaves the folder.
 * The exit status says whether every step held: 0; that of the error that ended it; 130 after Ctrl-C.
 */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { CommanderError } from 'commander';
import { ERROR_KINDS, HoldfastError, isHoldfastError } from '../../domain/errors.ts';
import { renderError } from '../cli/render-error.ts';
import type { DemoContext } from './demo-context.ts';
import { makeDemoFolder } from './demo-folder.ts';
import { readDemoOptions, type DemoOptions } from './demo-options.ts';
import { renderEvidence, renderReports, reportJson } from './demo-report.ts';
import { demoSteps } from './demo-steps.ts';
import { Installation } from './installation.ts';
import { keepsake, serveUi } from './keepsake.ts';
import { createPrograms } from './programs.ts';
import { runSteps } from './run-steps.ts';
import { createStepDisplay } from './step-display.ts';

/** Building the server may take ten minutes; nothing else takes one. */
const STEP_MS_MAX = 20 * 60_000;
/** As shells say it: 128 and SIGINT. */
const INTERRUPTED = 130;

async function demo(options: DemoOptions): Promise<number> {
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort(new HoldfastError('JOB_CANCELLED', 'interrupted'));
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt).on('SIGHUP', interrupt);
  const { signal } = interrupted;
  const now = (): number => performance.now();
  const display = createStepDisplay(process.stderr, now);
  await using folder = await makeDemoFolder(options.within, () => options.keep);
  const programs = createPrograms(process.env['PATH'] ?? '', signal);
  const note = (text: string): void => display.note(text);
  await using installation = new Installation({
    ...{ folder, variables: process.env, ui: options.ui, progress: note },
    onDeath: (error) => interrupted.abort(error),
    secret: () => randomBytes(18).toString('base64url'),
  });
  const context: DemoContext = { options, folder, programs, installation, note, signal, story: {} };
  const reports = await runSteps(demoSteps(options), context, { signal, display, now, stepMsMax: STEP_MS_MAX });
  const failed = reports.find(({ ok }) => !ok);
  process.stdout.write(`\n${renderReports(reports)}\n${renderEvidence(programs.evidence, options, folder)}`);
  if (options.jsonFile !== null) await writeFile(options.jsonFile, reportJson(reports, failed === undefined));
  if (options.keep) process.stdout.write(await keepsake(context));
  if (options.ui && !signal.aborted) await serveUi(context, signal);
  const code = failed?.error?.code;
  if (code === 'JOB_CANCELLED') return INTERRUPTED;
  return code === undefined ? 0 : ERROR_KINDS[code].exitCode;
}

async function main(): Promise<number> {
  try {
    return await demo(await readDemoOptions(process.argv.slice(2)));
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode;
    const { text, exitCode } = renderError(error, { json: false, verbose: !isHoldfastError(error) });
    process.stderr.write(text);
    return exitCode;
  }
}

const exitCode = await main();
process.stdout.write('', () => process.exit(exitCode));
