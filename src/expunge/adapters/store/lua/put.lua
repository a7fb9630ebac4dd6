-- Writes rows by compare-and-set, and the data source memberships that belong to them.
-- KEYS: sentinel, then a: and o: of each bucket in turn.
-- ARGV: epoch, then for each row: index of its a: key, field, the row as read ('' for none), the row as merged,
--       number of data sources, their digests. Answers 1 for each row that was written, 0 where it had changed.
local answers = {}
local at = 2
while at <= #ARGV do
  local rows, sources = KEYS[tonumber(ARGV[at])], KEYS[tonumber(ARGV[at]) + 1]
  local field, before, after, count = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 4])
  local known = redis.call('HGET', rows, field) or ''
  if known == before then
    if before ~= after then redis.call('HSET', rows, field, after) end
    for source = 1, count do add_member(sources, ARGV[at + 4 + source], field) end
    answers[#answers + 1] = 1
  else
    answers[#answers + 1] = 0
  end
  at = at + 5 + count
end
return answers
