#!/usr/bin/env node
/** The receiver of an installation: takes snapshots that others send (docs/replication.md), whether Temporal runs or not. */
import { runReceiverProcess } from './receiver-process.ts';
import { runMain } from './worker-main.ts';

await runMain(() => runReceiverProcess(process.env));
