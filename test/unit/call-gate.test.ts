import { createServer } from 'node:http';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { type CallGate, type CallGateOptions, createCallGate } from '../../src/adapters/call-gate.ts';
import { systemClock } from '../../src/core/clock.ts';
import { CachewrightError, type ErrorDetails, fail } from '../../src/core/errors.ts';
import { mostPerSecond } from '../support/calls.ts';
import { listenOnLoopback } from '../support/servers/loopback.ts';

const never = new AbortController().signal;

function gateOf(options: Partial<CallGateOptions> = {}): CallGate {
  return createCallGate({
    service: 'shops',
    concurrency: 8,
    perSecond: undefined,
    timeoutMs: 2_000,
    maxWaitMs: 10_000,
    breaker: { failures: 3, halfOpenAfterMs: 150 },
    clock: systemClock(),
    ...options,
  });
}

/** A server that notes when requests arrive and how many it has in hand; it answers after 5 to 25 ms. */
async function countingServer() {
  const arrivals: number[] = [];
  let open = 0;
  let most = 0;
  const server = createServer((_, response) => {
    arrivals.push(performance.now());
    open += 1;
    most = Math.max(most, open);
    response.once('close', () => (open -= 1));
    setTimeout(() => response.end('{}'), 5 + (arrivals.length % 5) * 5);
  });
  const port = await listenOnLoopback(server);
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const call = async (signal: AbortSignal): Promise<string> =>
    (await fetch(`http://127.0.0.1:${port}`, { signal })).text();
  return { call, arrivals, most: () => most };
}

/** What a call throws: its code, and what it says beside it. */
async function refused(call: Promise<unknown>): Promise<{ code: string; details: ErrorDetails }> {
  const thrown: unknown = await call.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(thrown instanceof CachewrightError)) throw new Error('it was not refused', { cause: thrown });
  return { code: thrown.code, details: thrown.details };
}

const outage = async (): Promise<never> => {
  throw fail('E_FETCH_FAILED', { service: 'shops', reason: 'connection refused', outage: true });
};

const asksForPause = (retryAfterMs: number) => async (): Promise<never> => {
  throw fail('E_FETCH_FAILED', { service: 'shops', reason: 'HTTP 503', outage: true, retryAfterMs });
};

describe('the call gate', () => {
  it('never has more calls at the server than the concurrency', async () => {
    const { call, arrivals, most } = await countingServer();
    const gate = gateOf({ concurrency: 4 });
    await Promise.all(Array.from({ length: 100 }, () => gate.run(never, call)));
    expect(arrivals).toHaveLength(100);
    expect(most()).toBe(4);
  });

  it('never lets more calls arrive in any one second than the rate', async () => {
    const { call, arrivals } = await countingServer();
    const gate = gateOf({ perSecond: 15 });
    await Promise.all(Array.from({ length: 40 }, () => gate.run(never, call)));
    expect(arrivals).toHaveLength(40);
    expect(mostPerSecond(arrivals)).toBeLessThanOrEqual(15);
  });

  it('opens after outages in a row, refuses at once, tries once and closes', async () => {
    const gate = gateOf();
    for (let i = 0; i < 3; i += 1)
      expect((await refused(gate.run(never, outage))).code).toBe('E_FETCH_FAILED');
    const call = vi.fn<() => Promise<string>>(async () => 'well again');
    const { code, details } = await refused(gate.run(never, call));
    expect(code).toBe('E_SOURCE_OPEN');
    expect(Number(details['retryAfterMs'])).toBeGreaterThan(0);
    expect(Number(details['retryAfterMs'])).toBeLessThanOrEqual(150);
    expect(call).not.toHaveBeenCalled();
    await expect.poll(() => gate.run(never, call).catch(() => ''), { timeout: 3_000 }).toBe('well again');
    expect(await gate.run(never, call)).toBe('well again');
    expect(call).toHaveBeenCalledTimes(2);
  });

  it('opens again when the one trial fails, while the others are refused', async () => {
    const gate = gateOf();
    for (let i = 0; i < 3; i += 1) await refused(gate.run(never, outage));
    const call = vi.fn<() => Promise<never>>(outage);
    await expect
      .poll(async () => [await refused(gate.run(never, call)), call.mock.calls.length], { timeout: 3_000 })
      .toEqual([{ code: 'E_SOURCE_OPEN', details: { service: 'shops', retryAfterMs: 150 } }, 1]);
    expect((await refused(gate.run(never, call))).code).toBe('E_SOURCE_OPEN');
    expect(call).toHaveBeenCalledTimes(1);
  });

  it.each([
    ['404', fail('E_FETCH_FAILED', { service: 'shops', reason: 'HTTP 404', status: 404 })],
    ['an answer that is not JSON', fail('E_FETCH_NOT_JSON', { service: 'shops', reason: 'it is HTML' })],
    ['an answer that is too large', fail('E_FETCH_TOO_LARGE', { service: 'shops', max: 1 })],
    ['a redirect', fail('E_FETCH_REDIRECTED', { service: 'shops', location: 'elsewhere' })],
  ])('does not open for %s, however often', async (_, error) => {
    const gate = gateOf();
    for (let i = 0; i < 10; i += 1) {
      expect((await refused(gate.run(never, () => Promise.reject(error)))).code).toBe(error.code);
    }
    expect(await gate.run(never, async () => 'asked')).toBe('asked');
  });

  it('sends away who waited longer than allowed, and says when to come back', async () => {
    const gate = gateOf({ concurrency: 1, maxWaitMs: 50 });
    const stop = new AbortController();
    const first = refused(gate.run(stop.signal, hanging));
    const { code, details } = await refused(gate.run(never, async () => 'not asked'));
    expect(code).toBe('E_SOURCE_BUSY');
    expect(Number(details['retryAfterMs'])).toBeGreaterThan(0);
    stop.abort(new Error('enough'));
    expect((await first).code).toBe('E_ABORTED');
  });

  it('stops the call itself when the signal fires, and gives its turn to the next', async () => {
    const gate = gateOf({ concurrency: 1 });
    const stop = new AbortController();
    const begun = Promise.withResolvers<AbortSignal>();
    const stopped = gate.run(stop.signal, (signal) => {
      begun.resolve(signal);
      return hanging(signal);
    });
    const inner = await begun.promise;
    const next = gate.run(never, async () => 'next');
    stop.abort(new Error('shutting down'));
    expect((await refused(stopped)).code).toBe('E_ABORTED');
    expect(inner.aborted).toBe(true);
    expect(await next).toBe('next');
  });

  it('gives the next turn only after the pause that the call before it was asked for', async () => {
    const gate = gateOf({ concurrency: 1 });
    const first = refused(gate.run(never, asksForPause(300)));
    const next = gate.run(never, async () => performance.now());
    expect((await first).code).toBe('E_FETCH_FAILED');
    const pausedMs = performance.now();
    expect((await next) - pausedMs).toBeGreaterThan(200);
  });

  it('heeds the pause that a failed trial was asked for', async () => {
    const gate = gateOf({ breaker: { failures: 1, halfOpenAfterMs: 20 }, maxWaitMs: 100 });
    await refused(gate.run(never, outage));
    const call = vi.fn<() => Promise<never>>(asksForPause(60_000));
    await expect
      .poll(() => refused(gate.run(never, call)), { timeout: 3_000 })
      .toMatchObject({
        code: 'E_SOURCE_BUSY',
        details: { limit: 'it asked for a pause' },
      });
    expect(call).toHaveBeenCalledTimes(1);
  });

  it('gives the call a signal that fires when its time is up', async () => {
    const gate = gateOf({ timeoutMs: 30 });
    const { code, details } = await refused(gate.run(never, hanging));
    expect([code, details['timeoutMs']]).toEqual(['E_FETCH_TIMEOUT', 30]);
  });
});

/** Ends only with its signal. */
function hanging(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(new Error('stopped')), { once: true });
  });
}
