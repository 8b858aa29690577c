import { clusterSuite } from './cluster-suite.ts';

clusterSuite({
  name: 'three KRaft brokers',
  need: 'kafka',
  kafka: { mode: 'kraft' },
  found: ({ brokers }) => ({ brokers: [...brokers] }),
});
