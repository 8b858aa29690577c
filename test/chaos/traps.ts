import { appendFileSync } from 'node:fs';
import type { PortWraps } from '../../src/app/parts.ts';
import { messageId } from '../../src/core/change.ts';
import type { Coherence, CoherenceStats, Execution } from '../../src/core/ports.ts';
import { formatVersion } from '../../src/core/version.ts';
import type { AcceptedWrite } from '../reliability/history.ts';

/**
 * Where a process can be caught. The first five are the active states of the chart, before the state's work is done; the
 * others lie between two steps that a crash must be able to part.
 */
export const TRAP_POINTS = [
  'received',
  'parsed',
  'fetched',
  'localCached',
  'evicting',
  /** Redis has the write, the process does not know yet. */
  'written',
  /** The execution is closed, the job is not. */
  'closed',
  /** Chunks are in the queue, the mark does not say so. */
  'enqueued',
  /** The mark has moved, nothing is committed. */
  'marked',
] as const;
export type TrapPoint = (typeof TRAP_POINTS)[number];

/** What a trap does to its own process: end it, stop it until SIGCONT, or keep its event loop for a while. */
export type TrapAction =
  | { readonly kind: 'kill' }
  | { readonly kind: 'stop' }
  | { readonly kind: 'block'; readonly ms: number };

/** What the harness sends to an instance. */
export type InstanceOrder =
  /** `passes`: how often the point is passed unharmed before. */
  | { readonly kind: 'arm'; readonly point: TrapPoint; readonly action: TrapAction; readonly passes: number }
  /** Fill the heap until it is over. */
  | { readonly kind: 'hog' };

/** What an instance notes in its ledger, a file, so that its own death takes nothing along. */
export type LedgerLine =
  | { readonly kind: 'sprung'; readonly point: TrapPoint; readonly atMs: number }
  /** How the local tier follows the others' writes, at the start and whenever that changes. */
  | {
      readonly kind: 'coherence';
      readonly state: CoherenceStats['state'];
      readonly resyncs: CoherenceStats['resyncs'];
      readonly atMs: number;
    }
  /** Redis took a write that this process offered, and told it so. */
  | ({ readonly kind: 'accepted' } & AcceptedWrite);

const COHERENCE_LOOK_MS = 100;

export function createTraps(ledgerFile: string) {
  let armed: (InstanceOrder & { kind: 'arm' }) | undefined;
  let passesLeft = 0;
  const note = (lines: readonly LedgerLine[]): void => {
    if (lines.length > 0)
      appendFileSync(ledgerFile, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  };
  const pass = (point: TrapPoint): void => {
    if (armed?.point !== point) return;
    if (passesLeft > 0) {
      passesLeft -= 1;
      return;
    }
    const { action } = armed;
    armed = undefined;
    note([{ kind: 'sprung', point, atMs: Date.now() }]);
    spring(action);
  };
  return {
    arm(order: InstanceOrder & { kind: 'arm' }): void {
      passesLeft = order.passes;
      armed = order;
    },
    /** Looks at it ever and again; a test of blindness is longer than that. */
    watch(coherence: Coherence): void {
      let told = '';
      const look = (): void => {
        const { state, resyncs } = coherence.stats();
        const now = JSON.stringify([state, resyncs]);
        if (now !== told) note([{ kind: 'coherence', state, resyncs, atMs: Date.now() }]);
        told = now;
      };
      setInterval(look, COHERENCE_LOOK_MS).unref();
    },
    wraps: wrapsOf(pass, (point) => armed?.point === point, note),
  };
}

function spring(action: TrapAction): void {
  if (action.kind !== 'block') process.kill(process.pid, action.kind === 'kill' ? 'SIGKILL' : 'SIGSTOP');
  // A signal may take a moment: nothing of this process goes on until it is there.
  const ms = { kill: 60_000, stop: 200, block: action.kind === 'block' ? action.ms : 0 }[action.kind];
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

function wrapsOf(
  pass: (point: TrapPoint) => void,
  isArmed: (point: TrapPoint) => boolean,
  note: (lines: readonly LedgerLine[]) => void,
): PortWraps {
  /** The last enqueue that was asked for. */
  let enqueued: Promise<void> = Promise.resolve();
  return {
    parse: (parse) => (message) => {
      pass('received');
      return parse(message);
    },
    localTier: (tier) => ({
      ...tier,
      stage(entries, token) {
        pass('fetched');
        return tier.stage(entries, token);
      },
    }),
    redisTier: (tier) => ({
      ...tier,
      fences(keys) {
        pass('parsed');
        return tier.fences(keys);
      },
      async write(writes, as) {
        if (writes.some(({ op }) => op === 'upsert')) pass('localCached');
        if (writes.some(({ op }) => op === 'delete')) pass('evicting');
        const results = await tier.write(writes, as);
        const lines = results.flatMap(({ kind }, index): LedgerLine[] => {
          const write = writes[index];
          if (write?.version == null || (kind !== 'set' && kind !== 'evicted')) return [];
          const { key, op, origin } = write;
          const version = formatVersion(write.version);
          const told = { key, version, op, message: messageId(origin), epoch: origin.epoch };
          return [{ kind: 'accepted', ...told, atMs: Date.now() }];
        });
        note(lines);
        pass('written');
        return results;
      },
    }),
    queue: (queue) => ({
      ...queue,
      enqueue(chunks, sent) {
        enqueued = queue.enqueue(chunks, sent);
        return enqueued;
      },
    }),
    marks: (marks) => ({
      ...marks,
      async move(stream, from, to) {
        // A move of the commit alone follows one of the queue.
        const isOfQueue = from?.enqueued !== to.enqueued;
        if (isOfQueue) pass('enqueued');
        const isMoved = await marks.move(stream, from, to);
        if (isMoved && isOfQueue) pass('marked');
        return isMoved;
      },
      async moveBehind(stream, from, to, jobs) {
        // Sent without waiting for the queue's answer: to die between the two it has to wait.
        if (isArmed('enqueued')) await enqueued.catch(() => undefined);
        pass('enqueued');
        const moved = await marks.moveBehind(stream, from, to, jobs);
        if (moved === 'moved') pass('marked');
        return moved;
      },
    }),
    attempt: (attempt) => (execution) =>
      attempt({
        ...execution,
        async close(closing) {
          const result = await execution.close(closing);
          pass('closed');
          return result;
        },
      } satisfies Execution),
  };
}
