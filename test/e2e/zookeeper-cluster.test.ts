import { clusterSuite } from './cluster-suite.ts';

// As the original was configured: only ZooKeeper is named, the brokers are found there.
clusterSuite({
  name: 'three brokers found in ZooKeeper',
  need: 'zookeeper',
  kafka: { mode: 'zookeeper' },
  found: ({ zookeeper = '' }) => ({ zookeeper }),
});
