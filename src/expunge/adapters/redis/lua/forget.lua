-- Takes ids out of the rows of assets that are gone, where no case has been there but those that are forgotten: the rule
-- is `is_gone` of domain/lineage/marks.py. ARGV: epoch, the ids of those cases (16 each), then packed: bucket (4), node
-- (16), digest of the row that was read (5), length (4) and the row that takes its place.
-- Answers a string with a letter for each: '1' where that was done, '0' where the row must stay.
local blob, at, answers, forgotten = ARGV[3], 1, {}, {}
for first = 1, #ARGV[2], 16 do forgotten[string.sub(ARGV[2], first, first + 15)] = true end

local function is_gone(marks)
  local place, last, stated = 1, nil, false
  while place <= #marks do
    local mark = read_mark(marks, place)
    if mark.reach ~= WATCHED then
      if not forgotten[mark.case] then return false end
      if mark.state == GONE then
        local since, again = millis(mark.since), mark.till ~= nil
        if not last or since > last then
          last, stated = since, again
        elseif since == last then
          stated = stated or again
        end
      end
    end
    place = place + mark_size(string.byte(marks, place))
  end
  return last ~= nil and not stated
end

while at <= #blob do
  local bucket, node, digest, length
  bucket, node, digest, length, at = struct.unpack('>I4c16c5I4', blob, at)
  local after = string.sub(blob, at, at + length - 1)
  at = at + length
  local rows = key_of('a', bucket)
  local row = redis.call('HGET', rows, node)
  local goes = row and string.sub(row, 1, 5) == digest and is_gone(all_marks(key_of('m', bucket), node))
  if goes then redis.call('HSET', rows, node, after) end
  answers[#answers + 1] = goes and '1' or '0'
end
return table.concat(answers)
