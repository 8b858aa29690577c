/** FNV-1a over UTF-16 units, signed 32 bits. Its low bits alone are alike for texts that end alike: mix it before cutting it short. */
export function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash;
}

/** One of so many slots, a power of two and 65,536 at most. */
export function slotOf(text: string, slots: number): number {
  const hash = fnv1a(text);
  return (hash ^ (hash >>> 16)) & (slots - 1);
}
