-- Keeps the body of a chunk and notes that it holds its obligations, unless another chunk holds one of them.
-- KEYS: sentinel, the case's owners, the body's key. ARGV: epoch, body, digest of the chunk (16), packed names (12 each).
-- The owners of a large case continue in hashes of their own, so that all of them stay in the compact encoding.
local MOST = 500
local digest, names = ARGV[3], ARGV[4]

local function continued(name) return KEYS[2] .. ':' .. string.sub(name, 1, 2) end

local function owner_of(name)
  return redis.call('HGET', KEYS[2], name) or redis.call('HGET', continued(name), name)
end

for at = 1, #names, 12 do
  local owner = owner_of(string.sub(names, at, at + 11))
  if owner and owner ~= digest then return 0 end
end
redis.call('SET', KEYS[3], ARGV[2])
local few = redis.call('HLEN', KEYS[2]) + #names / 12 <= MOST
for at = 1, #names, 12 do
  local name = string.sub(names, at, at + 11)
  redis.call('HSET', few and KEYS[2] or continued(name), name, digest)
end
return 1
