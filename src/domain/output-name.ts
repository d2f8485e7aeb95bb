/** One line that a person, and the id of a job, knows an output by. */
import type { PastOutput } from './past-states.ts';

export function outputName(output: PastOutput): string {
  switch (output.kind) {
    case 'file':
      return output.path;
    case 'topic':
      return `topic ${output.topic}`;
    case 'postgres':
      return `table ${output.table} of ${output.server.database} at ${output.server.host}:${output.server.port}`;
  }
}
