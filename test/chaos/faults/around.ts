import { execFileSync } from 'node:child_process';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { queueKeys } from '../../../src/adapters/bullmq-keys.ts';
import { QUEUE } from '../../../src/app/queue-shards.ts';
import { auditFileOf } from '../../support/app.ts';
import { waitFor } from '../../support/servers/process.ts';
import type { World } from '../world.ts';
import { type Fault, GOAL_MS } from './fault.ts';

const OUTAGE_MS = 4_000;

/** Rows that a source's failure left behind. */
async function failedRows({ books }: World, code: RegExp): Promise<number> {
  const failed = (await books.rows()).filter(({ error }) => error !== null && code.test(error.code)).length;
  if (failed === 0) throw new Error(`no message met ${code}`);
  return failed;
}

function sourceFault(
  name: string,
  what: string,
  codes: RegExp,
  from: (world: World) => void,
  until: (world: World) => void,
): Fault {
  return {
    name,
    what,
    goalMs: GOAL_MS,
    async strike(world) {
      from(world);
      await delay(OUTAGE_MS);
      until(world);
      return {
        proof: `for ${OUTAGE_MS} ms`,
        overMs: Date.now(),
        prove: async (after) => `${await failedRows(after, codes)} executions of a message met it`,
      };
    },
  };
}

const sourceFaults: readonly Fault[] = [
  sourceFault(
    'source-down',
    'the source refuses connections for 4 s',
    /^E_(FETCH|SOURCE)/,
    ({ truth }) => truth.proxy.refuse(),
    ({ truth }) => truth.proxy.unblock(),
  ),
  sourceFault(
    'source-slow',
    'the source answers after 2.5 s, past the deadline of 1 s, for 4 s',
    /^E_(FETCH|SOURCE)/,
    ({ truth }) => truth.source.setMode('slow'),
    ({ truth }) => truth.source.setMode('ok'),
  ),
  sourceFault(
    'source-garbage',
    'the source answers 200 with HTML for 4 s',
    /^E_(RECORD|FETCH|SOURCE)/,
    ({ truth }) => truth.source.setMode('garbage'),
    ({ truth }) => truth.source.setMode('ok'),
  ),
  sourceFault(
    'source-behind',
    'the source answers with older records than the messages announce, for 4 s',
    /^E_SOURCE_BEHIND$/,
    ({ truth }) => truth.lag(),
    ({ truth }) => truth.catchUp(),
  ),
];

const auditLocked: Fault = {
  name: 'audit-locked',
  what: "another connection holds the audit file's write lock for 6 s",
  goalMs: GOAL_MS,
  async strike(world) {
    const file = new DatabaseSync(auditFileOf(world.config), { timeout: 10_000 });
    file.exec('begin immediate');
    await delay(6_000);
    const waiting = await world.look.xlen(outboxOf(world));
    file.exec('rollback');
    file.close();
    if (waiting === 0) throw new Error('no audit entry had to wait');
    return { proof: `${waiting} audit entries waited in Redis`, overMs: Date.now() };
  },
};

/** Audit entries that wait for their store. */
function outboxOf({ config }: World): string {
  return queueKeys(`{${config.queue.prefix}}`, QUEUE).auditOutbox;
}

const diskFull: Fault = {
  name: 'disk-full',
  what: 'the disk of the audit file full for 6 s (tmpfs)',
  goalMs: GOAL_MS,
  isNightly: true,
  auditOnSmallDisk: true,
  async strike(world) {
    const dir = auditDirOf(world);
    execFileSync('sh', ['-c', `dd if=/dev/zero of=${dir}/ballast bs=4k 2>/dev/null || true`]);
    const before = await world.books.rows();
    await delay(6_000);
    const free = execFileSync('df', ['--output=avail', dir], { encoding: 'utf8' }).split('\n')[1]?.trim();
    const waiting = await waitFor(async () => (await world.look.xlen(outboxOf(world))) || undefined, {
      what: 'audit entries to wait',
      timeoutMs: 20_000,
    });
    execFileSync('rm', [`${dir}/ballast`]);
    return {
      proof: `${free} KiB were free, ${waiting} audit entries waited in Redis (${before.length} rows before)`,
      overMs: Date.now(),
    };
  },
};

function auditDirOf({ config }: World): string {
  return auditFileOf(config).replace(/\/[^/]*$/, '');
}

export const faultsAround: readonly Fault[] = [...sourceFaults, auditLocked, diskFull];
