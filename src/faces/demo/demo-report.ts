/** What is printed when the demo has ended: the table, and what a sceptic types to see it without trusting us. */
import type { DemoOptions } from './demo-options.ts';
import type { DemoFolder } from './demo-folder.ts';
import type { Evidence } from './programs.ts';
import { formatSeconds } from './step-display.ts';
import type { StepReport } from './step.ts';

const WIDTH = 14;

export function renderReports(reports: readonly StepReport[]): string {
  const rows = reports.flatMap(({ name, title, ok, seconds, lines, error }) => [
    `${name.padEnd(WIDTH)}${formatSeconds(seconds).padStart(8)}  ${ok ? title : `FAILED: ${error?.code ?? ''}: ${error?.message ?? ''}`}`,
    ...lines.map((line) => `${' '.repeat(WIDTH + 10)}${line}`),
  ]);
  const total = reports.reduce((sum, { seconds }) => sum + seconds, 0);
  const passed = reports.filter(({ ok }) => ok).length;
  return `${'STEP'.padEnd(WIDTH)}${'TIME'.padStart(8)}  WHAT HAPPENED\n${rows.join('\n')}\n\n${passed} of ${reports.length} steps ok, ${formatSeconds(total)}\n`;
}

const AFTERWARDS = `
To try these by hand: npm run demo -- --keep leaves the folder, with a file that sets the environment.
To look at the jobs in Temporal's UI: npm run demo -- --ui serves it until Ctrl-C and prints its address.
`;

export const renderEvidence = (evidence: readonly Evidence[], { keep, ui }: DemoOptions, folder: DemoFolder): string =>
  evidence.length === 0
    ? ''
    : `Checked by programs that are not ours, and by ours from the outside (D=${folder.root}):\n${evidence
        .map(({ line, said }) => `  ${line.replaceAll(folder.root, '$D')}\n      ${said}\n`)
        .join('')}${keep || ui ? '' : AFTERWARDS}`;

export const reportJson = (reports: readonly StepReport[], ok: boolean): string =>
  `${JSON.stringify(
    {
      ok,
      steps: reports.map(({ name, ok: held, seconds, figures, error }) => ({
        name,
        ok: held,
        seconds,
        figures,
        ...(error ? { error } : {}),
      })),
    },
    null,
    2,
  )}\n`;
