import type { Consumer } from 'kafkajs';

/** Counts who wants a partition paused: it goes on when the last one has let go. A new membership begins with none. */
export class KafkaPauses {
  #consumer: Consumer | undefined;
  #holders = new Map<string, number>();

  /** kafkajs remembers pauses over a rebalance; what was paused and is resumed by nobody would stand still for ever. */
  attach(consumer: Consumer): void {
    this.#consumer = consumer;
    this.#holders = new Map();
    const left = consumer.paused();
    if (left.length > 0) consumer.resume(left);
  }

  isPaused(topic: string, partition: number): boolean {
    return (this.#holders.get(`${topic}/${partition}`) ?? 0) > 0;
  }

  /** @returns lets go; calling it twice does no harm, nor does calling it after another membership began */
  pause(topic: string, partition: number): () => void {
    const place = `${topic}/${partition}`;
    const holders = this.#holders;
    const consumer = this.#consumer;
    const held = (holders.get(place) ?? 0) + 1;
    holders.set(place, held);
    if (held === 1) quietly(() => consumer?.pause([{ topic, partitions: [partition] }]));
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      const left = (holders.get(place) ?? 1) - 1;
      holders.set(place, left);
      if (left === 0 && holders === this.#holders)
        quietly(() => consumer?.resume([{ topic, partitions: [partition] }]));
    };
  }
}

/** kafkajs throws when the consumer has ended meanwhile; then there is nothing to pause or resume. */
function quietly(steer: () => void): void {
  try {
    steer();
  } catch {
    // the next membership begins without pauses
  }
}
