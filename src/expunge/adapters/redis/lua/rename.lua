-- Writes rows in which people have other names, by compare-and-set; marks that say how such a row looked say how it
-- looks now. ARGV: epoch, then packed for each row: bucket (4), node (16), digest of the row that was read (5), length
-- (4) and the row that takes its place. Answers a string with a letter for each: '1' where that was done.
local blob, at, answers = ARGV[2], 1, {}

local function looks_so(key, field, before, after)
  local packed = redis.call('HGET', key, field)
  if not packed then return end
  local marks, place, changed = all_marks(key, field), 1, packed
  while place <= #marks do
    local mark = read_mark(marks, place)
    if mark.digest == before then
      mark.digest = after
      changed = with_mark(key, field, changed, mark)
    end
    place = place + mark_size(string.byte(marks, place))
  end
  if changed ~= packed then redis.call('HSET', key, field, changed) end
end

while at <= #blob do
  local bucket, node, digest, length
  bucket, node, digest, length, at = struct.unpack('>I4c16c5I4', blob, at)
  local after = string.sub(blob, at, at + length - 1)
  at = at + length
  local rows = key_of('a', bucket)
  local row = redis.call('HGET', rows, node)
  local goes = row and string.sub(row, 1, 5) == digest
  if goes then
    redis.call('HSET', rows, node, after)
    looks_so(key_of('m', bucket), node, digest, string.sub(after, 1, 5))
  end
  answers[#answers + 1] = goes and '1' or '0'
end
return table.concat(answers)
