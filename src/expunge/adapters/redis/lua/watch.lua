-- Reads rows that a case looks at for holds; in the same step each of them notes that, and how it looked, so that whoever
-- changes it later tells the case. ARGV: epoch, the case's id turned over, then packed: bucket (4), node (16).
-- Answers the row of each node, or ''.
local watcher, blob, at, answers = ARGV[2], ARGV[3], 1, {}
while at <= #blob do
  local bucket, node
  bucket, node, at = struct.unpack('>I4c16', blob, at)
  local row = redis.call('HGET', key_of('a', bucket), node)
  local key = key_of('m', bucket)
  local packed = redis.call('HGET', key, node)
  local seen = row and string.sub(row, 1, 5) or NO_ROW
  local after = with_mark(key, node, packed, { reach = WATCHED, state = OPEN, case = watcher, digest = seen })
  if after ~= packed then redis.call('HSET', key, node, after) end
  answers[#answers + 1] = row or ''
end
return answers
