-- Takes rows away, of assets that are gone for every case that has been there, and of bare names of such assets.
-- ARGV: epoch, then packed for each: bucket (4), node (16), digest of the row that is a bare name (5; zeros for an
-- asset). Answers a string with a letter for each: '1' where there is no row now, '0' where it must stay.
local blob, at, answers = ARGV[2], 1, {}

-- Whether every case that has been there had it purged, and nobody has stated it since.
local function is_gone(marks)
  local place, cases = 1, 0
  while place <= #marks do
    local mark = read_mark(marks, place)
    if mark.reach ~= WATCHED then
      if mark.state ~= GONE or mark.till then return false end
      cases = cases + 1
    end
    place = place + mark_size(string.byte(marks, place))
  end
  return cases > 0
end

while at <= #blob do
  local bucket, node, name
  bucket, node, name, at = struct.unpack('>I4c16c5', blob, at)
  local rows, goes = key_of('a', bucket), false
  if name == NO_ROW then
    goes = is_gone(all_marks(key_of('m', bucket), node))
  else
    local row = redis.call('HGET', rows, node)
    goes = row and string.sub(row, 1, 5) == name
  end
  if goes then redis.call('HDEL', rows, node) end
  answers[#answers + 1] = goes and '1' or '0'
end
return table.concat(answers)
