-- Keeps the body of a chunk and notes that it holds its obligations, unless another chunk holds one of them.
-- KEYS: sentinel, the case's owners, the body's key. ARGV: epoch, body, digest of the chunk (16), packed names (12 each).
-- The owners of a large case continue in hashes of their own, by the first two bytes of the name, so that all of them
-- stay in the compact encoding. Names come sorted, so neighbours go to one hash.
local MOST = 128
local digest, names = ARGV[3], ARGV[4]
local first = redis.call('HLEN', KEYS[2])
local few = first + #names / 12 <= MOST
local groups = {}

-- Whether all of these names are free or the chunk's own.
local function free(key, group)
  for _, owner in ipairs(redis.call('HMGET', key, unpack(group))) do
    if owner and owner ~= digest then return false end
  end
  return true
end

local at = 1
while at <= #names do
  local prefix, group = string.sub(names, at, at + 1), {}
  while at <= #names and #group < 1000 and string.sub(names, at, at + 1) == prefix do
    group[#group + 1] = string.sub(names, at, at + 11)
    at = at + 12
  end
  local key = KEYS[2] .. ':' .. prefix
  if not free(key, group) or first > 0 and not free(KEYS[2], group) then return 0 end
  groups[#groups + 1] = { few and KEYS[2] or key, group }
end
redis.call('SET', KEYS[3], ARGV[2])
for _, place in ipairs(groups) do
  local fields = {}
  for _, name in ipairs(place[2]) do
    fields[#fields + 1] = name
    fields[#fields + 1] = digest
  end
  redis.call('HSET', place[1], unpack(fields))
end
return 1
