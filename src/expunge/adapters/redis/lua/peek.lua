-- Looks at nodes without marking them. ARGV: epoch, case, then packed: bucket (4), node (16).
-- Answers two values for each node: flags (1) and the case's packed mark; the row of a container, or ''.
local blob, at, answers = ARGV[3], 1, {}
while at <= #blob do
  local bucket, node
  bucket, node, at = struct.unpack('>I4c16', blob, at)
  local row = redis.call('HGET', key_of('a', bucket), node)
  local marks = key_of('m', bucket)
  local mark = mark_in(marks, node, redis.call('HGET', marks, node), ARGV[2])
  local flags = row and string.byte(row, 6) or 2
  answers[#answers + 1] = string.char(flags) .. (mark and packed_mark(mark) or '')
  answers[#answers + 1] = flags % 2 == 1 and row or ''
end
return answers
