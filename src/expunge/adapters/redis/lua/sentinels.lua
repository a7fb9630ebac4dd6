-- Every script begins with this: the first keys are the sentinels of all tags that it touches, the first argument the
-- epoch that they must hold. A tag whose sentinel is missing or of another epoch has forgotten something: nothing is
-- read or written there.
for _, key in ipairs(KEYS) do
  if string.sub(key, -8) ~= 'sentinel' then break end
  if redis.call('HGET', key, 'epoch') ~= ARGV[1] then
    return redis.error_reply('EPOCH the sentinel of this tag is missing or of another epoch')
  end
end
