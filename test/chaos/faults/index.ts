import { faultsAround } from './around.ts';
import type { Fault } from './fault.ts';
import { kafkaFaults } from './kafka.ts';
import { processFaults } from './processes.ts';
import { redisFaults } from './redis.ts';
import { storm } from './storm.ts';

/** Every fault of the suite, nightly ones too. */
export const FAULTS: readonly Fault[] = [
  ...processFaults,
  ...redisFaults,
  ...kafkaFaults,
  ...faultsAround,
  storm,
];

export function faultNamed(name: string): Fault | undefined {
  return FAULTS.find((fault) => fault.name === name);
}
