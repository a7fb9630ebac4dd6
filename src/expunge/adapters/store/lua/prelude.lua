-- Shared by every script: the first key is the sentinel of the slot's tag, the first argument the epoch it must hold.
-- A tag whose sentinel is missing or of another epoch has forgotten something: nothing is read or written there.
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return redis.error_reply('EPOCH the sentinel of this tag is missing or of another epoch')
end

-- A packed list of 16-byte keys; past SPILL_BYTES it moves to a set of its own, and the field holds 'S'.
local SPILL_BYTES = 1536
local SPILLED = 'S'

local function spill_key(key, field)
  return key .. ':' .. field
end

local function add_member(key, field, member)
  local packed = redis.call('HGET', key, field)
  if packed == SPILLED then
    return redis.call('SADD', spill_key(key, field), member)
  end
  packed = packed or ''
  for at = 1, #packed, 16 do
    if string.sub(packed, at, at + 15) == member then return 0 end
  end
  if #packed + 16 > SPILL_BYTES then
    local spilled = spill_key(key, field)
    for at = 1, #packed, 16 do
      redis.call('SADD', spilled, string.sub(packed, at, at + 15))
    end
    redis.call('SADD', spilled, member)
    redis.call('HSET', key, field, SPILLED)
  else
    redis.call('HSET', key, field, packed .. member)
  end
  return 1
end

local function members(key, field)
  local packed = redis.call('HGET', key, field)
  if packed == SPILLED then
    return table.concat(redis.call('SMEMBERS', spill_key(key, field)))
  end
  return packed or ''
end

-- Marks: 49 bytes each: case (16), the task that marked first (8), the task that widened the reach (8, or zeros), reach
-- (1), digest of the row as planned (8), clean since (8: milliseconds since 1970, big-endian, 0 if not). Spilled into a
-- hash. Both tasks own the node: each of them, when it is repeated after a crash, walks on from it.
local MARK = 49
local MARK_SPILL_BYTES = 1568
local NONE = string.rep('\0', 8)
local NOT_CLEAN = string.rep('\0', 8)

local function all_marks(key, field)
  local packed = redis.call('HGET', key, field)
  if packed == SPILLED then
    local flat = redis.call('HGETALL', spill_key(key, field))
    local parts = {}
    for at = 1, #flat, 2 do parts[#parts + 1] = flat[at] .. flat[at + 1] end
    return table.concat(parts)
  end
  return packed or ''
end

local function mark_of(key, field, case)
  local packed = redis.call('HGET', key, field)
  if packed == SPILLED then
    return redis.call('HGET', spill_key(key, field), case)
  end
  packed = packed or ''
  for at = 1, #packed, MARK do
    if string.sub(packed, at, at + 15) == case then
      return string.sub(packed, at + 16, at + MARK - 1)
    end
  end
  return false
end

local function set_mark(key, field, case, body)
  local packed = redis.call('HGET', key, field)
  if packed == SPILLED then
    redis.call('HSET', spill_key(key, field), case, body)
    return
  end
  packed = packed or ''
  for at = 1, #packed, MARK do
    if string.sub(packed, at, at + 15) == case then
      redis.call('HSET', key, field, string.sub(packed, 1, at - 1) .. case .. body .. string.sub(packed, at + MARK))
      return
    end
  end
  if #packed + MARK > MARK_SPILL_BYTES then
    local spilled = spill_key(key, field)
    for at = 1, #packed, MARK do
      redis.call('HSET', spilled, string.sub(packed, at, at + 15), string.sub(packed, at + 16, at + MARK - 1))
    end
    redis.call('HSET', spilled, case, body)
    redis.call('HSET', key, field, SPILLED)
  else
    redis.call('HSET', key, field, packed .. case .. body)
  end
end

-- A lease that has passed: whoever lost its partition long ago must not mark any more. 0 means no lease.
local function lease_passed(until_ms)
  if until_ms == '0' then return false end
  local now = redis.call('TIME')
  return tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) > tonumber(until_ms)
end
