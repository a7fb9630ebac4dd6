-- Keeps the body of a chunk and notes that it holds its obligations, unless another chunk holds one of them.
-- KEYS: sentinel, the case's owners, the body's key. ARGV: epoch, body, digest of the chunk, names of obligations.
for at = 4, #ARGV do
  local owner = redis.call('HGET', KEYS[2], ARGV[at])
  if owner and owner ~= ARGV[3] then return 0 end
end
redis.call('SET', KEYS[3], ARGV[2])
for at = 4, #ARGV do redis.call('HSET', KEYS[2], ARGV[at], ARGV[3]) end
return 1
