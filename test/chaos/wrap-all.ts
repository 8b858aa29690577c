import type { PortWraps } from '../../src/app/parts.ts';

/** Several layers around the same ports, the first next to the port. */
export function wrapAll(layers: readonly PortWraps[]): PortWraps {
  const all =
    <Port>(pick: (layer: PortWraps) => ((port: Port) => Port) | undefined) =>
    (port: Port): Port =>
      layers.reduce((inner, layer) => pick(layer)?.(inner) ?? inner, port);
  return {
    parse: all((layer) => layer.parse),
    localTier: all((layer) => layer.localTier),
    redisTier: all((layer) => layer.redisTier),
    queue: all((layer) => layer.queue),
    marks: all((layer) => layer.marks),
    attempt: all((layer) => layer.attempt),
  };
}
