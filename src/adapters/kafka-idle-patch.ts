import { createRequire } from 'node:module';

/** The part of kafkajs's request queue that the patch touches. */
export interface RequestQueue {
  readonly pending: readonly unknown[];
  readonly throttledUntil: number;
  throttleCheckTimeoutId: unknown;
  checkPendingRequests(): void;
  scheduleCheckPendingRequests: (this: RequestQueue) => void;
  destroy(): void;
}
export type RequestQueueClass = { readonly prototype: RequestQueue; new (options: object): RequestQueue };

const PATCHED = Symbol.for('cachewright.kafka-idle-patch');

/** kafkajs's class, which it does not export. */
export function requestQueueClass(): RequestQueueClass {
  const found: RequestQueueClass = createRequire(import.meta.url)('kafkajs/src/network/requestQueue');
  return found;
}

/**
 * Keeps idle kafkajs clients quiet. Each broker connection re-arms a timer with a negative wait for ever, even when
 * nothing is pending: about 850 wake-ups a second, 6–8 % of a core, and a `TimeoutNegativeWarning` on Node 24
 * (https://github.com/tulios/kafkajs/issues/1751, unmended in the last release). With nothing pending and no throttle
 * there is nothing to check later: a request that is pushed, or ends, checks by itself.
 *
 * Called when a client is made, not at import; a second call does nothing.
 */
export function patchIdleKafka(): void {
  const { prototype } = requestQueueClass();
  if (PATCHED in prototype) return;
  const original = prototype.scheduleCheckPendingRequests;
  prototype.scheduleCheckPendingRequests = function scheduleWhenNeeded(this: RequestQueue): void {
    if (this.pending.length === 0 && this.throttledUntil <= Date.now()) return;
    original.call(this);
  };
  Object.defineProperty(prototype, PATCHED, { value: true });
}
