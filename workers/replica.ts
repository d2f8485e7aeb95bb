#!/usr/bin/env node
/** A replica: takes puts near their writers, and moves them to the store behind it (docs/replica.md). It needs no catalog and no Temporal. */
import { runReplicaProcess } from './replica-process.ts';
import { runMain } from './worker-main.ts';

await runMain(() => runReplicaProcess(process.env));
