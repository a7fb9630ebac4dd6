-- Gives people's names the marks that others of the same people have, of cases that have none there.
-- ARGV: epoch, then packed for each name: bucket (4), node (16), length (4) and packed marks. Answers how many it gave.
local blob, at, given = ARGV[2], 1, 0
while at <= #blob do
  local bucket, node, length
  bucket, node, length, at = struct.unpack('>I4c16I4', blob, at)
  local marks, place = string.sub(blob, at, at + length - 1), 1
  at = at + length
  local key = key_of('m', bucket)
  while place <= #marks do
    local mark, packed = read_mark(marks, place), redis.call('HGET', key, node)
    if not mark_in(key, node, packed, mark.case) then
      redis.call('HSET', key, node, with_mark(key, node, packed, mark))
      given = given + 1
    end
    place = place + mark_size(string.byte(marks, place))
  end
end
return given
