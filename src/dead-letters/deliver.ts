import { DEAD_LETTER_FORMAT } from '../core/dead-letter.ts';
import { asError, fail, reasonOf } from '../core/errors.ts';
import type { Clock, DeadLetter, DeadLetterTopic, Log, Outbox, OutboxEntry } from '../core/ports.ts';

/** Letters and characters of one delivery; brokers take batches of 1 MiB by default. */
const MAX_LETTERS = 200;
const MAX_CHARACTERS = 500_000;
const IDLE_MS = 250;
const STANDBY_MS = 1_000;
const MAX_PAUSE_MS = 10_000;
/** How long a letter that alone was refused rests before it is offered again, milliseconds. */
const REST_MS = 60_000;
/** With so many at rest a whole topic is at fault: no more are read until the first may be offered again. */
const MAX_RESTING = 1_000;

export interface DeadLetterDelivery {
  start(): void;
  /** Delivers what is there now, one batch; returns how many letters left the outbox. */
  flush(): Promise<number>;
  close(): Promise<void>;
}

export interface DeliveryOptions {
  readonly outbox: Outbox;
  readonly topic: DeadLetterTopic;
  /** One process of a fleet delivers at a time, so that letters are not seen twice without need. */
  readonly lease: { hold(): Promise<boolean>; release(): Promise<void> };
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Delivers dead letters from their outbox to a Kafka topic, for ever: an entry leaves only when all in-sync replicas have
 * its letter. At least once: a crash in between delivers again. A letter that alone is refused (too large, its topic is
 * missing) stays and rests, and holds up no other.
 */
export function createDeadLetterDelivery(options: DeliveryOptions): DeadLetterDelivery {
  const { outbox, topic, lease, clock, log } = options;
  const stop = new AbortController();
  /** Entry id → when it is offered again. */
  const resting = new Map<string, number>();
  let loop: Promise<void> = Promise.resolve();

  const flush = async (): Promise<number> => {
    const nowMs = clock.now();
    for (const [id, untilMs] of resting) if (untilMs <= nowMs) resting.delete(id);
    if (resting.size >= MAX_RESTING) return 0;
    const found = await outbox.read(MAX_LETTERS + resting.size);
    const entries = fitting(found.filter(({ id }) => !resting.has(id)));
    const offered = entries.flatMap(read);
    if (offered.length === 0) return 0;
    const outcomes = await topic.deliver(offered.map(({ letter }) => letter));
    const taken = offered.filter((_, index) => outcomes[index] === null).map(({ id }) => id);
    const refused = new Map<string, string[]>();
    offered.forEach(({ id, letter }, index) => {
      const error = outcomes[index];
      if (error === null) return;
      resting.set(id, nowMs + REST_MS);
      const reason = error?.message ?? 'it was not told why';
      refused.set(reason, [...(refused.get(reason) ?? []), letter.message]);
    });
    for (const [err, messages] of refused) tell(messages.length, messages[0] ?? '', err);
    await outbox.remove(taken);
    return taken.length;
  };

  /** One line per reason: a missing topic refuses many. */
  const tell = (letters: number, message: string, err: string): void =>
    log.error(
      { letters, message, err, againInMs: REST_MS },
      'dead letters were not taken by Kafka; they lie in their queue and are offered again',
    );

  const read = ({ id, json }: OutboxEntry): { id: string; letter: DeadLetter }[] => {
    try {
      return [{ id, letter: letterOf(json) }];
    } catch (thrown) {
      resting.set(id, clock.now() + REST_MS);
      tell(1, id, asError(thrown).message);
      return [];
    }
  };

  const run = async (): Promise<void> => {
    let failures = 0;
    while (!stop.signal.aborted) {
      let pauseMs = STANDBY_MS;
      try {
        if (await lease.hold()) pauseMs = (await flush()) > 0 ? 0 : IDLE_MS;
        failures = 0;
      } catch (error) {
        failures += 1;
        pauseMs = Math.min(MAX_PAUSE_MS, IDLE_MS * 2 ** failures);
        log.warn(
          { err: reasonOf(error), againInMs: pauseMs },
          'dead letters could not be delivered to Kafka; they wait in their outbox',
        );
      }
      if (pauseMs > 0) await clock.sleep(pauseMs, stop.signal).catch(() => undefined);
    }
    await lease.release().catch(() => undefined);
  };

  return {
    start() {
      loop = run();
    },
    flush,
    async close() {
      stop.abort();
      await loop;
      await topic.close();
    },
  };
}

/** The first entries that make one batch; a larger one goes alone. */
function fitting(entries: readonly OutboxEntry[]): readonly OutboxEntry[] {
  let characters = 0;
  const end = entries.findIndex(({ json }, index) => {
    characters += json.length;
    return index > 0 && (characters > MAX_CHARACTERS || index >= MAX_LETTERS);
  });
  return end === -1 ? entries : entries.slice(0, end);
}

function letterOf(json: string): DeadLetter {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our own format, whose number is checked
  const letter = JSON.parse(json) as DeadLetter;
  if (letter.format <= DEAD_LETTER_FORMAT) return letter;
  throw fail('E_FORMAT_NEWER', { what: 'dead letter', format: letter.format, known: DEAD_LETTER_FORMAT });
}
