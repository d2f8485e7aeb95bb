/** Who does something in a repository, as its records name it: the run of the workflow, the same for all attempts. */
import { activityInfo } from '@temporalio/activity';

export const ownerNow = (): string => activityInfo().workflowExecution?.runId ?? 'none';
