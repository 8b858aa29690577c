import { type OfficeSettings, openDeadLetterOffice } from '../../src/app/dead-letter-office.ts';
import type { Parts } from '../../src/app/parts.ts';
import type { ConfigInput } from '../../src/config/schema.ts';
import type { Message } from '../../src/core/change.ts';
import type { DeadLetterOffice } from '../../src/core/dead-letter.ts';
import type { DeadLetterBox } from '../../src/core/ports.ts';
import type { AuditRecord } from '../../src/core/trail.ts';
import { FINAL, type RunningApp } from './app.ts';
import { waitFor } from './servers/process.ts';

/** A source whose records a test makes newer, breaks and mends. */
export function aShop() {
  const versions = new Map<string, number>();
  const broken = new Set<string>();
  const absent = new Set<string>();
  let isDown = false;
  return {
    versions,
    broken,
    absent,
    /** Every record is garbage: messages give up at once, and no breaker opens. */
    down(is: boolean): void {
      isDown = is;
    },
    fetchMany: async (ids: readonly string[]): Promise<Map<string, unknown>> =>
      new Map(
        ids
          .filter((id) => !absent.has(id))
          .map((id) => [
            id,
            isDown || broken.has(id)
              ? { error: 'out of order' }
              : { id, version: versions.get(id) ?? 1, name: `shop ${id}` },
          ]),
      ),
  };
}

/** A fetched service that gives up at the first failure, under keys of its own. */
export function shopServices(
  shop: ReturnType<typeof aShop>,
  keys: string,
): NonNullable<ConfigInput['services']> {
  return {
    shopInfoService: {
      source: { type: 'function', fetchMany: shop.fetchMany },
      key: `${keys}:shop:{id}`,
      version: { from: 'record', field: 'version', kind: 'counter' },
      retry: { attempts: 1 },
    },
  };
}

/** Messages of one stream, in order from a position on. */
export function messagesOf(
  bodies: readonly (object | string)[],
  { stream = 'changes-0', from = 0 }: { stream?: string; from?: number } = {},
): Message[] {
  return bodies.map((body, index) => ({
    origin: { stream, epoch: 0, position: String(from + index) },
    timestampMs: Date.now(),
    key: null,
    value: typeof body === 'string' ? body : JSON.stringify(body),
    headers: [],
  }));
}

/** Waits until so many letters lie in their queue, and none is under way any more. */
export function lettersLie(office: DeadLetterOffice, count: number): Promise<true> {
  return waitFor(
    async () => {
      const { total } = await office.list({}, 0);
      return total === count ? true : undefined;
    },
    { what: `${count} dead letters to lie there`, timeoutMs: 90_000, everyMs: 100 },
  );
}

/** The final row of each message's run with that count of redrives, once there are so many. */
export function finalsOf(
  running: RunningApp,
  redrive: number,
  count: number,
): Promise<ReadonlyMap<string, AuditRecord>> {
  return waitFor(
    async () => {
      const rows = (await running.rows()).filter((row) => row.redrive === redrive && FINAL.has(row.state));
      const ended = new Map(rows.map((row) => [row.message, row]));
      return ended.size >= count ? ended : undefined;
    },
    { what: `${count} runs of redrive ${redrive} to end`, timeoutMs: 90_000, everyMs: 250 },
  );
}

/** An office over the parts of an app, whose box may be another. */
export function officeOver(
  parts: Parts,
  more: {
    readonly box?: (real: DeadLetterBox) => DeadLetterBox;
    readonly queue?: OfficeSettings['queue'];
  } = {},
): DeadLetterOffice {
  const { config } = parts;
  const settings: OfficeSettings = {
    ...parts,
    limits: { ...config.limits, ...parts.limits },
    effectTimeoutMs: config.worker.effectTimeoutMs,
    box: more.box?.(parts.letters) ?? parts.letters,
    maxRedrives: config.deadLetters.maxRedrives,
    ...(more.queue !== undefined && { queue: more.queue }),
  };
  return openDeadLetterOffice(settings);
}
