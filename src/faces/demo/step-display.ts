/**
 * One line a step while the demo runs: on a terminal it is alive (the seconds, what is under way), in a log it is written
 * once, when the step has ended.
 */
import type { StepDisplay } from './run-steps.ts';
import type { StepReport } from './step.ts';

export interface Writer {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

const REDRAW_MS = 100;
const NAME_WIDTH = 14;
/** A terminal that does not know its width says 0. */
const COLUMNS_MIN = 40;

export const formatSeconds = (seconds: number): string => `${seconds.toFixed(1)} s`;

const heading = (mark: string, name: string, seconds: number): string =>
  `${mark.padEnd(5)}${name.padEnd(NAME_WIDTH)}${formatSeconds(seconds).padStart(8)}  `;

const endLine = ({ name, title, ok, seconds, error }: StepReport): string =>
  `${heading(ok ? 'ok' : 'FAIL', name, seconds)}${error === null ? title : `${error.code}: ${error.message}`}\n`;

export function createStepDisplay(out: Writer, now: () => number): StepDisplay {
  if (out.isTTY !== true) return { begin: () => undefined, note: () => undefined, end: (report) => void out.write(endLine(report)) };
  let timer: NodeJS.Timeout | null = null;
  let under = '';
  return {
    begin({ name, title }) {
      const begunMs = now();
      under = title;
      const draw = (): void => {
        const line = `${heading('..', name, (now() - begunMs) / 1000)}${under}`;
        out.write(`\r\u001b[K${line.slice(0, Math.max(COLUMNS_MIN, out.columns ?? 80) - 1)}`);
      };
      draw();
      timer = setInterval(draw, REDRAW_MS);
    },
    note(text) {
      under = text;
    },
    end(report) {
      if (timer !== null) clearInterval(timer);
      timer = null;
      out.write(`\r\u001b[K${endLine(report)}`);
    },
  };
}
