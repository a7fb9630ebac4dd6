-- Writes rows by compare-and-set, and the data source memberships that belong to them; then notes on the asset's marks
-- that are open or gone that it was stated again, and reads them: one step for each asset.
-- ARGV: epoch, then packed for each row: bucket (4), asset (16), digest of the row that is replaced (5, zeros for none),
-- when it was stated (6; zeros for a word that it is not there), length (4) and row, count (2) and digests (8 each) of
-- its data sources.
-- Answers three values for each row that is worth a word: its number from 1, the row that stands instead of the one
-- expected ('' if this one was written), the packed marks.
local blob, at, number, answers = ARGV[2], 1, 0, {}
local NEVER = string.rep('\0', 6)

local function restated(marks, field, stated)
  local packed = redis.call('HGET', marks, field)
  if not packed then return '' end
  if stated == NEVER then return all_marks(marks, field) end
  local before = all_marks(marks, field)
  local place, changed = 1, packed
  while place <= #before do
    local mark = read_mark(before, place)
    if mark.reach ~= WATCHED and (mark.state == OPEN or mark.state == RESTATED and millis(mark.since) < millis(stated)) then
      mark.state, mark.since = RESTATED, stated
      changed = with_mark(marks, field, changed, mark)
    elseif mark.reach ~= WATCHED and mark.state == GONE and not mark.till and millis(mark.since) < millis(stated) then
      mark.till = AGAIN
      changed = with_mark(marks, field, changed, mark)
    end
    place = place + mark_size(string.byte(before, place))
  end
  if changed ~= packed then redis.call('HSET', marks, field, changed) end
  return all_marks(marks, field)
end

while at <= #blob do
  local bucket, field, before, stated, length, sources
  bucket, field, before, stated, length, at = struct.unpack('>I4c16c5c6I4', blob, at)
  local row = string.sub(blob, at, at + length - 1)
  sources, at = struct.unpack('>I2', blob, at + length)
  number = number + 1
  local head, tail = ends_of(bucket)
  local rows = head .. 'a' .. tail
  local known = redis.call('HGET', rows, field)
  if known and known ~= row and string.sub(known, 1, 5) ~= before then
    answers[#answers + 1], answers[#answers + 2], answers[#answers + 3] = number, known, ''
  else
    if known ~= row then redis.call('HSET', rows, field, row) end
    for _ = 1, sources do
      add_member(head .. 'o' .. tail, string.sub(blob, at, at + 7), field)
      at = at + 8
    end
    local marks = restated(head .. 'm' .. tail, field, stated)
    if marks ~= '' then answers[#answers + 1], answers[#answers + 2], answers[#answers + 3] = number, '', marks end
    sources = 0
  end
  at = at + 8 * sources
end
return answers
