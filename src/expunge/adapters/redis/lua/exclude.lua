-- Adds to what a container must leave out, up to a bound. KEYS: sentinel, set. ARGV: epoch, bound, members.
for at = 3, #ARGV do
  if redis.call('SCARD', KEYS[2]) >= tonumber(ARGV[2]) then return 0 end
  redis.call('SADD', KEYS[2], ARGV[at])
end
return 1
