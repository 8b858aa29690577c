import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import type { ConfigInput } from '../../src/config/schema.ts';
import { leftovers } from '../support/servers/leftovers.ts';
import type { Order, Reply } from './coherent-orders.ts';

/** A process of the coherence scenario. It obeys one order at a time. */
export interface CoherentProcess {
  /** @throws what the process failed with, or that it has ended */
  ask<Kind extends Reply['kind']>(order: Order, kind: Kind): Promise<Reply & { kind: Kind }>;
  stop(): Promise<void>;
}

const ENTRY = join(import.meta.dirname, 'coherent-child.ts');

/** Starts one and waits until it serves. It never outlives this process. */
export async function startCoherentProcess(config: ConfigInput): Promise<CoherentProcess> {
  const child = fork(ENTRY, [JSON.stringify(config)], { stdio: 'inherit' });
  const release = leftovers().holdChild(child.pid ?? 0, 'SIGKILL');
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  void ended.then(release);
  await nextReply(child, 'done');
  return {
    ask(order, kind) {
      const reply = nextReply(child, kind);
      child.send(order);
      return reply;
    },
    async stop() {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await ended;
      clearTimeout(timer);
    },
  };
}

function nextReply<Kind extends Reply['kind']>(
  child: ChildProcess,
  kind: Kind,
): Promise<Reply & { kind: Kind }> {
  return new Promise((resolve, reject) => {
    const over = (): void => reject(new Error('a process of the fleet has ended'));
    child.once('exit', over);
    child.once('message', (reply: Reply) => {
      child.off('exit', over);
      if (isOf(reply, kind)) resolve(reply);
      else reject(new Error(reply.kind === 'failed' ? reply.reason : `${reply.kind} instead of ${kind}`));
    });
  });
}

function isOf<Kind extends Reply['kind']>(reply: Reply, kind: Kind): reply is Reply & { kind: Kind } {
  return reply.kind === kind;
}
