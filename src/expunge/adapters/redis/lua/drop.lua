-- Takes away what belongs to names that nobody uses any more: members, and marks. ARGV: epoch, then packed for each
-- name: bucket (4), node (16).
local blob, at = ARGV[2], 1
while at <= #blob do
  local bucket, node
  bucket, node, at = struct.unpack('>I4c16', blob, at)
  for _, kind in ipairs({ 's', 'm' }) do
    local key = key_of(kind, bucket)
    if redis.call('HGET', key, node) == SPILLED then
      local spilled = spill_key(key, node)
      for _, part in ipairs(redis.call('HKEYS', spilled)) do redis.call('UNLINK', spill_key(spilled, part)) end
      redis.call('UNLINK', spilled)
    end
    redis.call('HDEL', key, node)
  end
end
return 1
