-- Shared by every script that knows how the index is laid out.

-- Buckets and nodes come packed in one argument, because packing many small ones costs a client more than the work
-- itself. The number of a bucket is its tag, times 2^24, and its place within the tag.
local PREFIX = string.match(KEYS[1], '^(.*){%d+}sentinel$')
local function ends_of(bucket)
  local place = bucket % 16777216
  return PREFIX .. '{' .. (bucket - place) / 16777216 .. '}', ':' .. place
end
local function key_of(kind, bucket)
  local head, tail = ends_of(bucket)
  return head .. kind .. tail
end

-- Members (keys of 16 bytes) of a field, packed. Past SPILL_BYTES the field holds 'S' and the members move to a hash
-- beside it, one field for each second byte that can occur in a shard; a part that grows past the bound as well moves to
-- a plain set. So a hub of millions breaks nobody else's compact encoding, and no reply is larger than a part.
local SPILL_BYTES = 2048
local SPILLED = 'S'

local function spill_key(key, field) return key .. ':' .. field end

-- The part of a member: the second byte of its key, which also decides its shard (`shard_of` in domain/scope.py).
local function part_of(member) return string.sub(member, 2, 2) end

local function holds(packed, member)
  local at = 1
  while true do
    at = string.find(packed, member, at, true)
    if not at then return false end
    if (at - 1) % 16 == 0 then return true end
    at = at + 1
  end
end

local function add_part(key, field, member)
  local packed = redis.call('HGET', key, field) or ''
  if packed == SPILLED then
    redis.call('SADD', spill_key(key, field), member)
  elseif not holds(packed, member) then
    if #packed + 16 <= SPILL_BYTES then
      redis.call('HSET', key, field, packed .. member)
    else
      for at = 1, #packed, 16 do redis.call('SADD', spill_key(key, field), string.sub(packed, at, at + 15)) end
      redis.call('SADD', spill_key(key, field), member)
      redis.call('HSET', key, field, SPILLED)
    end
  end
end

local function add_member(key, field, member)
  local packed = redis.call('HGET', key, field) or ''
  if packed == SPILLED then
    add_part(spill_key(key, field), part_of(member), member)
  elseif not holds(packed, member) then
    if #packed + 16 <= SPILL_BYTES then
      redis.call('HSET', key, field, packed .. member)
    else
      for at = 1, #packed, 16 do
        local old = string.sub(packed, at, at + 15)
        add_part(spill_key(key, field), part_of(old), old)
      end
      add_part(spill_key(key, field), part_of(member), member)
      redis.call('HSET', key, field, SPILLED)
    end
  end
end

-- Marks: flags (1), case (16), digest of the row as planned (5), then what the flags name: the task that marked first
-- (2), the task that widened the reach (2), a moment in milliseconds (6), the end of the case's reach in seconds (5).
-- Both tasks own the node: each of them, when it is repeated after a crash, walks on from it. Two bytes of their ids are
-- enough: a task that takes another's node for its own walks a little further, and no less. Many cases on one node
-- spill into a hash of their own. `domain/marks.py` says what the states mean.
local REACH, STATE, OWNER, WIDENED, SINCE, UNTIL = 4, 4, 16, 32, 64, 128
local OPEN, CLEAN, GONE, RESTATED = 0, 1, 2, 3
-- Reaches, as `Arrival` has them; WATCHED is no reach: a case looked at the row for holds (watch.lua), and its id stands
-- there turned over, so that it is no mark of the case.
local CONTAINERS_ONLY, WATCHED = 1, 3
-- Of a mark that is GONE the end of the reach, which it has no use for, says that the asset was stated again since.
local AGAIN = string.rep('\255', 5)
local MARK_SPILL_BYTES = 1536
local NO_ROW = string.rep('\0', 5)

-- Moments are compared as numbers: Lua compares strings as the server's locale would sort them.
local function millis(moment)
  local a, b, c, d, e, f = string.byte(moment, 1, 6)
  return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end

local function has(flags, bit) return flags % (2 * bit) >= bit end

local function mark_size(flags)
  return 22 + (has(flags, OWNER) and 2 or 0) + (has(flags, WIDENED) and 2 or 0)
    + (has(flags, SINCE) and 6 or 0) + (has(flags, UNTIL) and 5 or 0)
end

local function read_mark(packed, at)
  local flags = string.byte(packed, at)
  local mark = {
    reach = flags % REACH, state = math.floor(flags / REACH) % STATE,
    case = string.sub(packed, at + 1, at + 16), digest = string.sub(packed, at + 17, at + 21),
  }
  at = at + 22
  if has(flags, OWNER) then mark.owner = string.sub(packed, at, at + 1); at = at + 2 end
  if has(flags, WIDENED) then mark.widened = string.sub(packed, at, at + 1); at = at + 2 end
  if has(flags, SINCE) then mark.since = string.sub(packed, at, at + 5); at = at + 6 end
  if has(flags, UNTIL) then mark.till = string.sub(packed, at, at + 4) end
  return mark
end

local function packed_mark(mark)
  local flags = mark.reach + REACH * mark.state + (mark.owner and OWNER or 0) + (mark.widened and WIDENED or 0)
    + (mark.since and SINCE or 0) + (mark.till and UNTIL or 0)
  return string.char(flags) .. mark.case .. mark.digest .. (mark.owner or '') .. (mark.widened or '')
    .. (mark.since or '') .. (mark.till or '')
end

-- Where a case's mark begins and ends in packed marks; nothing if it has none.
local function find_mark(packed, case)
  local at = 1
  while at <= #packed do
    local size = mark_size(string.byte(packed, at))
    if string.sub(packed, at + 1, at + 16) == case then return at, at + size - 1 end
    at = at + size
  end
end

-- A case's mark among the packed marks of a field (`packed` as the hash holds it).
local function mark_in(key, field, packed, case)
  if packed == SPILLED then
    local own = redis.call('HGET', spill_key(key, field), case)
    return own and read_mark(own, 1) or nil
  end
  local at = packed and find_mark(packed, case)
  return at and read_mark(packed, at) or nil
end

-- The field's new value with one mark set; a spilled one is written at once.
local function with_mark(key, field, packed, mark)
  local body = packed_mark(mark)
  if packed == SPILLED then
    redis.call('HSET', spill_key(key, field), mark.case, body)
    return packed
  end
  packed = packed or ''
  local first, last = find_mark(packed, mark.case)
  local all = first and string.sub(packed, 1, first - 1) .. body .. string.sub(packed, last + 1) or packed .. body
  if #all <= MARK_SPILL_BYTES then return all end
  local at = 1
  while at <= #all do
    local size = mark_size(string.byte(all, at))
    redis.call('HSET', spill_key(key, field), string.sub(all, at + 1, at + 16), string.sub(all, at, at + size - 1))
    at = at + size
  end
  return SPILLED
end

local function all_marks(key, field)
  local packed = redis.call('HGET', key, field)
  if packed == SPILLED then return table.concat(redis.call('HVALS', spill_key(key, field))) end
  return packed or ''
end

-- A lease that has passed: whoever lost its partition long ago must not mark any more. 0 means no lease.
local function lease_passed(until_ms)
  if until_ms == '0' then return false end
  local now = redis.call('TIME')
  return tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) > tonumber(until_ms)
end
local LEASE = 'LEASE this process may not mark any more: it was last a member of its group too long ago'
