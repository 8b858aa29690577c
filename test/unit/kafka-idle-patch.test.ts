import { afterEach, describe, expect, it } from 'vitest';
import { patchIdleKafka, type RequestQueue, requestQueueClass } from '../../src/adapters/kafka-idle-patch.ts';

describe("kafkajs's idle request queues", () => {
  const queues: RequestQueue[] = [];
  const logger = { debug: () => undefined, warn: () => undefined };
  const aQueue = (): RequestQueue => {
    const QueueClass = requestQueueClass();
    const queue = new QueueClass({
      maxInFlightRequests: null,
      requestTimeout: 1_000,
      clientId: 'c',
      broker: 'b',
      logger,
    });
    queues.push(queue);
    return queue;
  };
  afterEach(() => {
    for (const queue of queues.splice(0)) queue.destroy();
  });

  // In this order: the patch is for the whole process.
  it('still arm a timer with nothing to do; when this fails, the patch is no longer needed: remove it', () => {
    const queue = aQueue();
    queue.checkPendingRequests();
    expect(queue.pending).toHaveLength(0);
    expect(queue.throttleCheckTimeoutId).not.toBeNull();
  });

  it('arm none once patched', () => {
    patchIdleKafka();
    patchIdleKafka();
    const queue = aQueue();
    queue.checkPendingRequests();
    expect(queue.throttleCheckTimeoutId).toBeNull();
  });

  it('still arm one when a request waits, or the broker throttles', () => {
    patchIdleKafka();
    const waiting = aQueue();
    Object.assign(waiting, { maxInFlightRequests: 0, pending: [{}] });
    waiting.checkPendingRequests();
    expect(waiting.throttleCheckTimeoutId).not.toBeNull();
    const throttled = aQueue();
    Object.assign(throttled, { throttledUntil: Date.now() + 1_000 });
    throttled.checkPendingRequests();
    expect(throttled.throttleCheckTimeoutId).not.toBeNull();
  });
});
