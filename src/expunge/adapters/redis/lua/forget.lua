-- Takes ids out of the rows of assets that are gone for every case which has been there; and rows away that are bare
-- names of such assets. ARGV: epoch, then packed for each: bucket (4), node (16), digest of the row that was read (5),
-- length (4) and the row that takes its place, none for a name.
-- Answers a string with a letter for each: '1' where that was done, '0' where the row must stay.
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
  local bucket, node, digest, length
  bucket, node, digest, length, at = struct.unpack('>I4c16c5I4', blob, at)
  local after = string.sub(blob, at, at + length - 1)
  at = at + length
  local rows = key_of('a', bucket)
  local row = redis.call('HGET', rows, node)
  local same = row and string.sub(row, 1, 5) == digest
  if same and length == 0 then
    redis.call('HDEL', rows, node)
  elseif same and is_gone(all_marks(key_of('m', bucket), node)) then
    redis.call('HSET', rows, node, after)
  else
    same = false
  end
  answers[#answers + 1] = same and '1' or '0'
end
return table.concat(answers)
