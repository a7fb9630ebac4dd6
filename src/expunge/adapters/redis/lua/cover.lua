-- Says in every sentinel how far what was written reaches (rule "compared"). KEYS: sentinels. ARGV: epoch, then fields
-- (topic:partition) and their values (next:epoch:offset). Whoever writes an older value makes something be done twice.
for _, key in ipairs(KEYS) do
  if string.sub(key, -8) ~= 'sentinel' then break end
  redis.call('HSET', key, unpack(ARGV, 2))
end
return 1
