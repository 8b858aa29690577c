/**
 * The fence: one Lua script that decides a whole group of writes, and writes value and fence together. What it decides is
 * tabled in docs/versions.md; `memory-tiers.ts` says the same in TypeScript, and one suite holds both to it.
 */

import { ANNOUNCE } from './redis-announcement.ts';

/**
 * KEYS: the n value keys, then their n fence keys, then the invalidation log and its counter. ARGV: one letter per write,
 * the number of columns, who writes ('': nothing is announced) and how many keys the log keeps, then the columns, n
 * arguments each: text, new fence, fence seen, life of the value and life of the fence in milliseconds (0: no expiry).
 * An ordinary group has two columns. `redis-fence-call.ts` makes these and names the letters.
 *
 * An ordinary group (upserts, nothing expires, every fence live and lower or no key known) costs one MGET of the fences, a
 * STRLEN per known value (it finds another program's type before MSET, which takes any, replaces it; one MGET of the values
 * would too, and costs two and a half times as much) and one MSET; everything else is looked at key by key. Versions stay
 * text, since Lua's numbers are doubles, and are compared byte by byte: Lua's `<` obeys the server's locale and is used
 * where the first difference is between digits only.
 *
 * A group in which anything was set, evicted or the same is announced as a whole: what it says of a refused key is old news
 * to everybody, and picking the others out would cost more than they do.
 *
 * Returns 1 when every write was set without a remark, else a text per write: see `redis-fence-call.ts`.
 */
export const FENCE_SCRIPT = `${ANNOUNCE}
local letters, columns, writer = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local n = #letters
local find, sub, byte, match, lower = string.find, string.sub, string.byte, string.match, string.lower
local fences = redis.call('MGET', unpack(KEYS, n + 1, 2 * n))
local replies, isPlain, bare = {}, true, {}
local sets, m, setBy, gone = {}, 0, {}, {}

local TEXT, FENCE, SEEN, VALUE_MS, FENCE_MS = 4, 4 + n, 4 + 2 * n, 4 + 3 * n, 4 + 4 * n

local function parse(fence) return match(fence, '^1|([lto])|([cto%-])|(%d*)|([^|]*)|(%d+)|(.*)$') end

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

-- nil: the two are of different streams or epochs
local function comparePlaces(new, stream, epoch, position)
  local _, _, _, newStream, newEpoch, newPosition = parse(new)
  if stream ~= newStream or epoch ~= newEpoch then return nil end
  if find(position .. newPosition, '^%d+$') then return compareDigits(newPosition, position) end
  return compareBytes(newPosition, position)
end

-- whether a text is there, and the reply when something else is; an empty text counts as none
local function look(key)
  local length = redis.pcall('STRLEN', key)
  if type(length) == 'table' then return false, 'X' .. length.err end
  return length > 0
end

local function setOne(key, text, lifeMs)
  if lifeMs == '0' then return redis.pcall('SET', key, text) end
  return redis.pcall('SET', key, text, 'PX', lifeMs)
end

local function writeTimed(i, fence, isDelete)
  local done = setOne(KEYS[n + i], fence, ARGV[FENCE_MS + i])
  if not done.err and not isDelete then done = setOne(KEYS[i], ARGV[TEXT + i], ARGV[VALUE_MS + i]) end
  if done.err then return 'X' .. done.err end
  if isDelete then redis.call('DEL', KEYS[i]) end
end

-- nil, or the reply when the write failed
local function write(i, fence, isDelete)
  if columns == 5 then return writeTimed(i, fence, isDelete) end
  sets[m + 1], sets[m + 2] = KEYS[n + i], fence
  m = m + 2
  if isDelete then
    gone[#gone + 1] = KEYS[i]
  else
    sets[m + 1], sets[m + 2] = KEYS[i], ARGV[TEXT + i]
    m = m + 2
  end
  setBy[#setBy + 1] = i
end

local function upsert(i, fence, note) return write(i, fence, false) or 'S' .. note end

-- an upsert over what may be another program's
local function replace(i, fence, note)
  local _, foreign = look(KEYS[i])
  return foreign or upsert(i, fence, note)
end

local function bury(i, fence, note)
  local _, foreign = look(KEYS[i])
  return foreign or write(i, fence, true) or 'E' .. note
end

local function decideBare(i, letter, new)
  local _, isForeign = look(KEYS[n + i])
  if isForeign then return isForeign end
  local isThere, foreign = look(KEYS[i])
  if foreign then return foreign end
  local small = lower(letter)
  if small == 's' or small == 'o' or small == 'z' or small == 'x' then return 'C' end
  local note = isThere and (small == 'u' and 'i' or 'v') or ''
  if small == 'y' or small ~= letter then return bury(i, new, note) end
  return upsert(i, new, note)
end

local function decideUnversioned(i, letter, new, old, state, kind, digits, stream, epoch, position)
  local order = comparePlaces(new, stream, epoch, position)
  if order and order < 0 then return 'Ro' .. old end
  if order == 0 and state ~= 'l' then return 'E' end
  if letter ~= 'z' or ARGV[SEEN + i] ~= old then return 'C' end
  if state == 'o' then return bury(i, new, '') end
  return bury(i, '1|t|' .. kind .. '|' .. digits .. sub(new, 7), '')
end

local function decideEqual(i, new, old, stream, epoch, position)
  local isThere, foreign = look(KEYS[i])
  if foreign then return foreign end
  local order = comparePlaces(new, stream, epoch, position)
  if order and order < 0 then return 'Ro' .. old end
  if not isThere or (order and order > 0) then return upsert(i, new, '') end
  if order == 0 or redis.call('GET', KEYS[i]) == ARGV[TEXT + i] then return '=' end
  return 'Re' .. old
end

local function decide(i, letter, new, old)
  local state, kind, digits, stream, epoch, position = parse(old)
  if not state then return 'F' .. old end
  local small = lower(letter)
  if byte(small) >= 120 then
    return decideUnversioned(i, letter, new, old, state, kind, digits, stream, epoch, position)
  end
  local isDelete = small ~= letter
  if state == 'o' then
    if small ~= 'u' and (small ~= 'o' or ARGV[SEEN + i] ~= old) then return 'C' end
    if isDelete then return bury(i, new, '') end
    return replace(i, new, small == 'u' and 'i' or '')
  end
  local _, newKind, newDigits, newStream, newEpoch = parse(new)
  if newKind ~= kind or (kind == 'o' and newStream ~= stream) then return 'K' .. old end
  local order = kind == 'o' and compareDigits(newEpoch, epoch) or 0
  if order == 0 then order = compareDigits(newDigits, digits) end
  if order < 0 then return 'Ro' .. old end
  if isDelete then return order == 0 and state == 't' and 'E' or bury(i, new, '') end
  if order > 0 then return replace(i, new, '') end
  if state == 't' then return 'Rt' .. old end
  return decideEqual(i, new, old, stream, epoch, position)
end

-- a higher version of the same kind over a live fence, decided without taking it apart; offsets only where what stands
-- between version and position, stream and epoch, is the same. Versions of one length with different last digits are
-- compared with what surrounds them: cutting them out makes strings, which costs more than everything else here
local function isHigher(new, old)
  local format, _, state, _, kind = byte(old, 1, 5)
  if format ~= 49 or state ~= 108 or kind ~= byte(new, 5) then return false end
  local to, newTo = find(old, '|', 7, true), find(new, '|', 7, true)
  if not to or newTo < to then return false end
  if kind == 111 and sub(old, to, 6 - to) ~= sub(new, newTo, 6 - newTo) then return false end
  if newTo > to then return true end
  if byte(old, to - 1) ~= byte(new, to - 1) then return new > old end
  return sub(new, 7, newTo - 1) > sub(old, 7, to - 1)
end

local function note(i, reply)
  replies[i] = reply
  if reply ~= 'S' then isPlain = false end
end

-- upserts with a version, and nothing expires: those over a lower one of ours are set here, and have no reply
local isOrdinary = columns < 5 and not find(letters, '[^a-w]')
for i = 1, n do
  local old, new = fences[i], ARGV[FENCE + i]
  if not old then
    bare[#bare + 1] = i
  elseif isOrdinary and isHigher(new, old) and type(redis.pcall('STRLEN', KEYS[i])) == 'number' then
    sets[m + 1], sets[m + 2], sets[m + 3], sets[m + 4] = KEYS[n + i], new, KEYS[i], ARGV[TEXT + i]
    m = m + 4
  else
    note(i, decide(i, sub(letters, i, i), new, old))
  end
end

local areFree = false
if #bare > 0 then
  local asked = {}
  for at, i in ipairs(bare) do asked[2 * at - 1], asked[2 * at] = KEYS[i], KEYS[n + i] end
  areFree = redis.call('EXISTS', unpack(asked)) == 0
end
for _, i in ipairs(bare) do
  local letter = sub(letters, i, i)
  if areFree and (letter == 'u' or letter == 'n') then
    note(i, upsert(i, ARGV[FENCE + i], ''))
  else
    note(i, decideBare(i, letter, ARGV[FENCE + i]))
  end
end

if m > 0 then
  local done = redis.pcall('MSET', unpack(sets))
  if done.err then
    for _, i in ipairs(setBy) do note(i, 'X' .. done.err) end
    for i = 1, n do if not replies[i] then note(i, 'X' .. done.err) end end
  elseif #gone > 0 then
    redis.call('DEL', unpack(gone))
  end
end
local isChanged = isPlain
for i = 1, isPlain and 0 or n do
  replies[i] = replies[i] or 'S'
  isChanged = isChanged or find(replies[i], '^[SE=]') ~= nil
end
if isChanged and writer ~= '' then
  local payload = table.concat(KEYS, '\\n', 1, n) .. '\\n' .. table.concat(ARGV, '\\n', FENCE + 1, FENCE + n)
  announce(KEYS[2 * n + 1], KEYS[2 * n + 2], n, tonumber(ARGV[4]), writer, payload)
end
return isPlain and 1 or replies
`;
