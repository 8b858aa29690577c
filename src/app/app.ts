import { hostname } from 'node:os';
import { changeMessage, compileChart, machineName } from '../../machines/index.ts';
import { createAuditThread } from '../adapters/audit-thread.ts';
import { queueKeys } from '../adapters/bullmq-closing-script.ts';
import { createDeadLetterMover } from '../adapters/bullmq-dead-letters.ts';
import { createChunkQueue } from '../adapters/bullmq-queue.ts';
import { createChunkWorker } from '../adapters/bullmq-worker.ts';
