#!/usr/bin/env node
/** Archives tables: consumes their topics into their archives; needs Kafka, the stores and Temporal, and no volume. */
import { runTablesProcess } from './tables-process.ts';
import { runMain } from './worker-main.ts';

await runMain(() => runTablesProcess(process.env));
