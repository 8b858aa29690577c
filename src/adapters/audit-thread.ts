import { Worker } from 'node:worker_threads';
import { backoffMs, type BackoffRule } from '../core/backoff.ts';
import { asError, type CachewrightError, fail, isErrorCode, reasonOf } from '../core/errors.ts';
import type { AuditDefect, AuditLag, AuditReader, AuditQuery } from '../core/ports.ts';
import type { AuditRecord } from '../core/trail.ts';
import type {
  AuditThreadData,
  FromAuditThread,
  PostedError,
  ToAuditThread,
} from './audit-thread-messages.ts';

const RESTART: BackoffRule = { initialMs: 200, factor: 2, maxMs: 10_000, jitter: 0.2 };

/**
 * The thread holds a few entries at a time; without limits V8 would let its garbage grow to hundreds of megabytes
 * before it cared. A thread that dies of them is started again, and its entries are still in Redis.
 */
const THREAD_LIMITS = { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 24 };

/** How long a thread may take to end once its deadline has passed, milliseconds; then it is ended. */
const CLOSE_MARGIN_MS = 1_000;

export interface AuditThreadOptions extends AuditThreadData {
  readonly onLag: (lag: AuditLag) => void;
  readonly onDefect: (defect: AuditDefect) => void;
  /** Told about every failure; the thread goes on by itself. */
  readonly onError: (error: CachewrightError) => void;
  /** The thread's program; another one only in tests. */
  readonly program?: URL;
}

export interface AuditThread extends Pick<AuditReader, 'find' | 'count'> {
  /**
   * Resolves when the thread writes the file (`writing`), or when another process of this host does (`standby`): that one
   * then empties the outbox for both, and this one takes over when it is gone.
   *
   * @throws `E_AUDIT_STORE`, `E_FORMAT_NEWER` when the file cannot be opened
   */
  start(): Promise<'writing' | 'standby'>;
  /** Empties these outboxes too. */
  follow(outboxes: readonly string[]): Promise<void>;
  /** As last told; entries wait in Redis, so ingest must pause when they grow too many. */
  lag(): AuditLag;
  /** Writes what is in the outbox now; false when the deadline passed. */
  flush(deadlineMs: number): Promise<boolean>;
  /** Flushes and ends within the deadline and a second; false when entries were left (in Redis, for the next start). */
  close(deadlineMs?: number): Promise<boolean>;
}

type Answer = Extract<FromAuditThread, { readonly id: number }>;
/** Every question without its id. */
type Question = ToAuditThread extends infer Message
  ? Message extends ToAuditThread
    ? Omit<Message, 'id'>
    : never
  : never;

/** The main thread's side of the audit: starts the thread, starts it again when it dies, and asks it. */
export function createAuditThread(options: AuditThreadOptions): AuditThread {
  const { onLag, onDefect, onError, program = defaultProgram(), ...given } = options;
  let data: AuditThreadData = given;
  const pending = new Map<number, PromiseWithResolvers<Answer>>();
  const started = Promise.withResolvers<'writing' | 'standby'>();
  let worker: Worker | undefined;
  let lastLag: AuditLag = { entries: 0, ageMs: 0 };
  let questions = 0;
  let deaths = 0;
  let restart: NodeJS.Timeout | undefined;
  let state: 'new' | 'starting' | 'open' | 'closing' = 'new';

  const hear = (message: FromAuditThread): void => {
    switch (message.kind) {
      case 'ready':
      case 'standby':
        deaths = 0;
        if (state === 'starting') state = 'open';
        return started.resolve(message.kind === 'ready' ? 'writing' : 'standby');
      case 'lag':
        lastLag = message.lag;
        return onLag(message.lag);
      case 'defect':
        return onDefect(message.defect);
      case 'error':
        return hearError(restored(message.error));
      default:
        pending.get(message.id)?.resolve(message);
        pending.delete(message.id);
    }
  };

  const hearError = (error: CachewrightError): void => {
    if (state === 'starting' && error.code !== 'E_AUDIT_BUSY') started.reject(error);
    onError(error);
  };

  const launch = (): void => {
    const thread = new Worker(program, {
      workerData: data,
      name: 'cachewright-audit',
      resourceLimits: THREAD_LIMITS,
    });
    let reason = 'it ended';
    thread.on('message', hear);
    thread.on('error', (error) => {
      reason = reasonOf(error);
    });
    thread.once('exit', () => {
      if (worker === thread) bury(reason);
    });
    worker = thread;
  };

  const bury = (reason: string): void => {
    worker = undefined;
    const error = fail('E_AUDIT_STORE', { reason: `the audit thread died: ${reason}` });
    for (const question of pending.values()) question.reject(error);
    pending.clear();
    if (state === 'closing') return;
    hearError(error);
    deaths += 1;
    restart = setTimeout(launch, backoffMs(RESTART, deaths, Math.random()));
  };

  const ask = (question: Question): Promise<Answer> => {
    if (worker === undefined)
      return Promise.reject(fail('E_AUDIT_STORE', { reason: 'the audit thread is not running' }));
    const answer = Promise.withResolvers<Answer>();
    questions += 1;
    pending.set(questions, answer);
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread is no window
    worker.postMessage({ ...question, id: questions });
    return answer.promise.then((message) => {
      if (message.kind === 'failed') throw restored(message.error);
      return message;
    });
  };

  return {
    start() {
      if (state === 'new') {
        state = 'starting';
        launch();
      }
      return started.promise;
    },
    lag: () => lastLag,
    async find(query: AuditQuery): Promise<AuditRecord[]> {
      const answer = await ask({ kind: 'find', query });
      return answer.kind === 'found' ? [...answer.records] : [];
    },
    async count() {
      const answer = await ask({ kind: 'count' });
      return answer.kind === 'counted' ? answer.rows : 0;
    },
    async follow(outboxes) {
      const more = outboxes.filter((outbox) => !data.outboxes.includes(outbox));
      if (more.length === 0) return;
      // A thread that dies meanwhile is started again with them.
      data = { ...data, outboxes: [...data.outboxes, ...more] };
      if (worker !== undefined) await ask({ kind: 'follow', outboxes: more });
    },
    async flush(deadlineMs) {
      const answer = await ask({ kind: 'flush', deadlineMs });
      return answer.kind === 'flushed' && answer.isDone;
    },
    async close(deadlineMs = 0) {
      state = 'closing';
      clearTimeout(restart);
      const thread = worker;
      if (thread === undefined) return false;
      const timer = setTimeout(() => void thread.terminate(), deadlineMs + CLOSE_MARGIN_MS);
      try {
        const answer = await ask({ kind: 'close', deadlineMs });
        // The store is closed; the driver of Redis may keep a timer for a while.
        await thread.terminate();
        return answer.kind === 'closed' && answer.isFlushed;
      } catch (thrown) {
        onError(asError(thrown));
        return false;
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

/** Beside the sources it is TypeScript, in the package JavaScript: as this file itself. */
function defaultProgram(): URL {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return new URL(`../audit/writer-thread.${extension}`, import.meta.url);
}

function restored({ code, details }: PostedError): CachewrightError {
  return fail(isErrorCode(code) ? code : 'E_UNEXPECTED', details);
}
