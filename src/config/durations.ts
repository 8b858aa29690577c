const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** `'30s'`, `'500ms'`, `'2m'`, `'1h'`, `'1d'` in milliseconds; undefined when the text is no duration. */
export function parseDuration(text: string): number | undefined {
  const [, count = '', unit = ''] = /^(\d{1,12})(ms|s|m|h|d)$/.exec(text.trim()) ?? [];
  const unitMs = UNITS_MS[unit];
  return unitMs === undefined ? undefined : Number(count) * unitMs;
}

/** A duration in the largest unit that shows it exactly: `10 s`, `7 d`, `1500 ms`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0';
  const [unit, unitMs] =
    Object.entries(UNITS_MS)
      .toReversed()
      .find(([, unitMs]) => ms % unitMs === 0) ?? [];
  return unit === undefined || unitMs === undefined ? `${ms} ms` : `${ms / unitMs} ${unit}`;
}

/** Bytes in the largest unit that shows them exactly: `1 MiB`, `300 bytes`. */
export function formatBytes(bytes: number): string {
  const [unit, size] =
    [['GiB', 2 ** 30] as const, ['MiB', 2 ** 20] as const, ['KiB', 2 ** 10] as const].find(
      ([, size]) => bytes >= size && bytes % size === 0,
    ) ?? [];
  return unit === undefined || size === undefined ? `${bytes} bytes` : `${bytes / size} ${unit}`;
}

/** `1048576` as `1,048,576`. */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US');
}
