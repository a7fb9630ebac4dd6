-- Marks roots. ARGV: epoch, lease, case, task (2), end of the reach (5 bytes, or ''), then packed: bucket (4), node (16).
if lease_passed(ARGV[2]) then return redis.error_reply(LEASE) end
local blob, at = ARGV[6], 1
while at <= #blob do
  local bucket, node
  bucket, node, at = struct.unpack('>I4c16', blob, at)
  local key = key_of('m', bucket)
  local packed = redis.call('HGET', key, node)
  if not mark_in(key, node, packed, ARGV[3]) then
    local mark = { reach = 0, state = OPEN, case = ARGV[3], digest = NO_ROW, owner = ARGV[4] }
    if ARGV[5] ~= '' then mark.till = ARGV[5] end
    redis.call('HSET', key, node, with_mark(key, node, packed, mark))
  end
end
return 1
