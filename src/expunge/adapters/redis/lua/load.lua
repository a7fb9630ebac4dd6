-- Reads what a batch concerns in one partition of `cases`, in one round trip (rule "empty Redis" as in read.lua).
-- KEYS: sentinel. ARGV: epoch, partition, number of cases, their ids, then names of further values.
-- Answers the position, what stands, a reply for each case, a reply for each value. Of a small case, whose JSON begins
-- with a space, all is read: the case, its root, its chunks, and their bodies in the order of the chunks.
local base, partition, count = string.sub(KEYS[1], 1, -9), ARGV[2], tonumber(ARGV[3])

local function get(name, ...)
  return redis.call('GET', base .. table.concat({name, partition, ...}, ':'))
end

local cases, values = {}, {}
for at = 4, 3 + count do
  local id = ARGV[at]
  local case = get('case', id)
  local found = {case}
  if case and string.byte(case) == 32 then
    local chunks, bodies = redis.call('HGETALL', base .. 'chunks:' .. partition .. ':' .. id), {}
    for digest = 1, #chunks, 2 do bodies[#bodies + 1] = get('chunk', id, chunks[digest]) end
    found = {case, get('root', id), chunks, bodies}
  end
  cases[#cases + 1] = found
end
for at = 4 + count, #ARGV do values[#values + 1] = redis.call('GET', base .. ARGV[at]) end
return {get('pos'), get('standing'), cases, values}
