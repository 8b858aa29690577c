/**
 * The fence: one Lua script that decides a whole group of writes and writes value and fence together.
 * The decisions are tabled in docs/versions.md; `memory-tiers.ts` says the same in TypeScript, and one suite holds both to it.
 */
import { createHash } from 'node:crypto';
import { messageId } from '../core/change.ts';
import { fail } from '../core/errors.ts';
import { decodeFence, encodeFence, FENCE_FORMAT, fenceKeyOf } from '../core/fence.ts';
import type { TierResult, TierWrite } from '../core/ports.ts';

/**
 * KEYS: the n value keys, then their n fence keys.
 * ARGV: a letter per write (see {@link letterOf}), the stride, then per write its text and its new fence; from stride 3
 * on also the fence seen, and with stride 5 the lives of value and fence in milliseconds (0: no expiry).
 *
 * A group of ordinary upserts (every fence lower, nothing expires) costs one MGET and one MSET; everything else is looked
 * at key by key. Versions are compared as text, since Lua numbers are doubles; only digits are ever compared with `<`,
 * which obeys the server's locale.
 *
 * Returns 1 when every write was set without a remark, else one text per write, see {@link resultOf}.
 */
export const FENCE_SCRIPT = `
local n, modes, stride = #KEYS / 2, ARGV[1], tonumber(ARGV[2])
local find, sub, byte, match = string.find, string.sub, string.byte, string.match
local fences = redis.call('MGET', unpack(KEYS, n + 1, 2 * n))
local replies, plain, bare, sets, setOf, gone = {}, true, {}, {}, {}, {}

local function parse(fence)
  return match(fence, '^1|([lto])|([cto%-])|(%d*)|([^|]*)|(%d+)|(.*)$')
end

local function compareBytes(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y then return x < y and -1 or 1 end
  end
  return #a - #b
end

local function compareDigits(a, b)
  if #a ~= #b then return #a - #b end
  return compareBytes(a, b)
end

local function comparePositions(a, b)
  if match(a, '^%d+$') and match(b, '^%d+$') then return compareDigits(a, b) end
  return compareBytes(a, b)
end

local function hasText(key)
  local length = redis.pcall('STRLEN', key)
  if type(length) == 'table' then return nil, 'X' .. length.err end
  return length > 0
end

local function write(i, fence, isDelete)
  local at = 2 + (i - 1) * stride
  if stride == 5 then
    local fencePx, done = ARGV[at + 5]
    if fencePx == '0' then done = redis.pcall('SET', KEYS[n + i], fence)
    else done = redis.pcall('SET', KEYS[n + i], fence, 'PX', fencePx) end
    if not done.err and not isDelete then
      if ARGV[at + 4] == '0' then done = redis.pcall('SET', KEYS[i], ARGV[at + 1])
      else done = redis.pcall('SET', KEYS[i], ARGV[at + 1], 'PX', ARGV[at + 4]) end
    end
    if done.err then return 'X' .. done.err end
    if isDelete then redis.call('DEL', KEYS[i]) end
    return
  end
  local m = #sets
  sets[m + 1], sets[m + 2] = KEYS[n + i], fence
  if isDelete then gone[#gone + 1] = KEYS[i] else sets[m + 3], sets[m + 4] = KEYS[i], ARGV[at + 1] end
  setOf[#setOf + 1] = i
end

local function tombstone(i, fence, note)
  local _, foreign = hasText(KEYS[i])
  return foreign or write(i, fence, true) or ('E' .. note)
end

local function upsert(i, fence, note)
  return write(i, fence, false) or ('S' .. note)
end

local function decideBare(i, mode, new)
  local _, foreign = hasText(KEYS[n + i])
  if foreign then return foreign end
  local there, foreign = hasText(KEYS[i])
  if foreign then return foreign end
  local lower = string.lower(mode)
  if lower == 's' or lower == 'o' or mode == 'z' or mode == 'x' then return 'C' end
  local note = there and (lower == 'u' and 'i' or 'v') or ''
  if mode == 'y' or mode ~= lower then return tombstone(i, new, note) end
  return upsert(i, new, note)
end

local function decideUnversioned(i, mode, new, cur, state, kind, digits, stream, epoch, position)
  local _, _, _, newStream, newEpoch, newPosition = parse(new)
  if stream == newStream and epoch == newEpoch then
    local order = comparePositions(newPosition, position)
    if order < 0 then return 'Ro' .. cur end
    if order == 0 and state ~= 'l' then return 'E' end
  end
  if mode ~= 'z' or ARGV[2 + (i - 1) * stride + 3] ~= cur then return 'C' end
  if state == 'o' then return tombstone(i, new, '') end
  return tombstone(i, '1|t|' .. kind .. '|' .. digits .. sub(new, 7), '')
end

local function decideTie(i, new, cur, stream, epoch, position)
  local there, foreign = hasText(KEYS[i])
  if foreign then return foreign end
  local _, _, _, newStream, newEpoch, newPosition = parse(new)
  if stream == newStream and epoch == newEpoch then
    local order = comparePositions(newPosition, position)
    if order < 0 then return 'Ro' .. cur end
    if order == 0 and there then return '=' end
    return upsert(i, new, '')
  end
  if not there then return upsert(i, new, '') end
  if redis.call('GET', KEYS[i]) == ARGV[2 + (i - 1) * stride + 1] then return '=' end
  return 'Re' .. cur
end

local function decide(i, mode, new, cur)
  local state, kind, digits, stream, epoch, position = parse(cur)
  if not state then return 'F' .. cur end
  if mode == 'x' or mode == 'y' or mode == 'z' then
    return decideUnversioned(i, mode, new, cur, state, kind, digits, stream, epoch, position)
  end
  local lower = string.lower(mode)
  local isDelete = mode ~= lower
  if state == 'o' then
    if lower ~= 'u' and (lower ~= 'o' or ARGV[2 + (i - 1) * stride + 3] ~= cur) then return 'C' end
    if isDelete then return tombstone(i, new, '') end
    return upsert(i, new, lower == 'u' and 'i' or '')
  end
  local _, newKind, newDigits = parse(new)
  if newKind ~= kind then return 'K' .. kind end
  local order = compareDigits(newDigits, digits)
  if order < 0 then return 'Ro' .. cur end
  if isDelete then
    if order == 0 and state == 't' then return 'E' end
    return tombstone(i, new, '')
  end
  if order > 0 then
    local _, foreign = hasText(KEYS[i])
    return foreign or upsert(i, new, '')
  end
  if state == 't' then return 'Rt' .. cur end
  return decideTie(i, new, cur, stream, epoch, position)
end

local function isOrdinary(i, mode, new, cur)
  local a, _, b, _, c = byte(cur, 1, 5)
  if a ~= 49 or b ~= 108 or c ~= byte(new, 5) or mode > 122 or mode < 97 then return false end
  local to, newTo = find(cur, '|', 7, true), find(new, '|', 7, true)
  if not to or newTo < to then return false end
  return newTo > to or sub(new, 7, newTo - 1) > sub(cur, 7, to - 1)
end

for i = 1, n do
  local cur, mode, new = fences[i], byte(modes, i), ARGV[2 + (i - 1) * stride + 2]
  if not cur then
    bare[#bare + 1] = i
  elseif mode < 120 and isOrdinary(i, mode, new, cur) then
    --CHECK
    local bad = write(i, new, false)
    replies[i] = bad or 'S'
    if bad then plain = false end
  else
    replies[i], plain = decide(i, sub(modes, i, i), new, cur), false
  end
end

if #bare > 0 then
  local asked = {}
  for at, i in ipairs(bare) do asked[2 * at - 1], asked[2 * at] = KEYS[i], KEYS[n + i] end
  local isEmpty = redis.call('EXISTS', unpack(asked)) == 0
  for _, i in ipairs(bare) do
    local mode = byte(modes, i)
    if isEmpty and (mode == 117 or mode == 110) then
      local bad = write(i, ARGV[2 + (i - 1) * stride + 2], false)
      replies[i] = bad or 'S'
      if bad then plain = false end
    else
      replies[i], plain = decideBare(i, sub(modes, i, i), ARGV[2 + (i - 1) * stride + 2]), false
    end
  end
end

if #sets > 0 then
  local done = redis.pcall('MSET', unpack(sets))
  if done.err then
    for _, i in ipairs(setOf) do replies[i] = 'X' .. done.err end
    return replies
  end
  if #gone > 0 then redis.call('DEL', unpack(gone)) end
end
if plain then return 1 end
return replies
`;
