/**
 * Offsets of IANA time zones, from the zone data that Node's `Intl` carries.
 */

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** Transitions happen at quarters of an hour; a quarter whose ends agree has one offset throughout. */
const QUARTER_MS = 15 * MINUTE_MS;
/** Quarters remembered per zone before the memory starts anew: about 1 MB. */
const MAX_QUARTERS = 10_000;

interface Zone {
  readonly format: Intl.DateTimeFormat;
  readonly quarters: Map<number, number>;
}

const zones = new Map<string, Zone>();

/**
 * How far a zone's clock is ahead of UTC when it shows a local time, in milliseconds.
 *
 * A local time that the zone skips or shows twice (clocks put forward or back) is read with the offset in force *before*
 * the change: the first of two instants, or, for a skipped time, as if the clock had gone on. This is what RFC 5545 does.
 *
 * @param localMs the local time as if it were UTC, epoch milliseconds
 * @throws RangeError when the zone is not known
 */
export function offsetOfLocal(localMs: number, timezone: string): number {
  const before = offsetAt(localMs - DAY_MS, timezone);
  const after = offsetAt(localMs + DAY_MS, timezone);
  if (before === after || offsetAt(localMs - before, timezone) === before) return before;
  return offsetAt(localMs - after, timezone) === after ? after : before;
}

/** How far a zone's clock is ahead of UTC at an instant, in milliseconds. */
function offsetAt(utcMs: number, timezone: string): number {
  const zone = zoneOf(timezone);
  const quarter = Math.floor(utcMs / QUARTER_MS);
  const known = zone.quarters.get(quarter);
  if (known !== undefined) return known;
  const start = askOffset(zone.format, quarter * QUARTER_MS);
  if (start !== askOffset(zone.format, (quarter + 1) * QUARTER_MS - 1)) return askOffset(zone.format, utcMs);
  if (zone.quarters.size >= MAX_QUARTERS) zone.quarters.clear();
  zone.quarters.set(quarter, start);
  return start;
}

function zoneOf(timezone: string): Zone {
  const known = zones.get(timezone);
  if (known !== undefined) return known;
  const format = new Intl.DateTimeFormat('en-US', { timeZone: timezone, timeZoneName: 'longOffset' });
  const zone = { format, quarters: new Map<number, number>() };
  zones.set(timezone, zone);
  return zone;
}

/** `1/1/2026, GMT+01:00` → 3,600,000; plain `GMT` → 0. Offsets before 1972 may have seconds. */
function askOffset(format: Intl.DateTimeFormat, utcMs: number): number {
  const parts = /GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/.exec(format.format(utcMs));
  const [, sign, hours = '0', minutes = '0', seconds = '0'] = parts ?? [];
  const offset = ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1000;
  return sign === '-' ? -offset : offset;
}
