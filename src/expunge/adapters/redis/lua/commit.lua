-- Runs a batch of writes under one position (rule "one script"). KEYS: sentinel, the position's key.
-- ARGV: epoch, the position as read ('' for none), the position after, then the writes: number of words, words.
-- All keys that the writes name share the slot of KEYS. With '-' as the position after, no position is involved.
-- Answers 0, and writes nothing, when the stored position is not the one that was read.
if ARGV[3] ~= '-' then
  if (redis.call('GET', KEYS[2]) or '') ~= ARGV[2] then return 0 end
  redis.call('SET', KEYS[2], ARGV[3])
end
local at = 4
while at <= #ARGV do
  local count = tonumber(ARGV[at])
  redis.call(unpack(ARGV, at + 1, at + count))
  at = at + 1 + count
end
return 1
