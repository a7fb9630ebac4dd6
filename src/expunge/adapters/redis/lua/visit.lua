-- Marks nodes, then reads their rows and children: all of it in one step (rule "mark first"). The rules are `reach_of` and
-- `boundary` of domain/walk.py.
-- ARGV: epoch, lease, case, task (2), bounded (0 or 1), again (0 or 1), end of the reach (seconds, 0 for none), moment at
-- which the task's own nodes came back (6 bytes, or ''), then packed for the nodes of a bucket that are alike: bucket
-- (4), number of nodes (2), arrival (0 through, 1 containers, 2 root, 3 member, 4 either) with 8 added for the task's own (1), nodes
-- (16 each). Neighbours in one bucket are read together.
-- Answers first, packed for each node, what happened ('f' fresh, 'k' as fresh but marked before, 's' seen, 'b' boundary)
-- and the reach; then the row of each, or nothing; then for each that has children its number from 1 and the packed
-- children, 'S' for a hub.
-- A mark keeps the widest reach; a node that is reached more widely than before is visited again. With `again` the
-- children of a container are read even if another task marked it, unless it is clean.
if lease_passed(ARGV[2]) then return redis.error_reply(LEASE) end
local case, task, bounded, again = ARGV[3], ARGV[4], ARGV[5] == '1', ARGV[6] == '1'
local till, returned = tonumber(ARGV[7]), ARGV[8]
local CONTAINER, PASS_THROUGH = 1, 2
local THROUGH, CONTAINERS, ROOT, MEMBER, EITHER = 0, 1, 2, 3, 4
local WIDTH = { [CONTAINERS] = 0, [THROUGH] = 2, [ROOT] = 3 }
local words, found, children = {}, {}, {}

local function reach_of(arrival, flags)
  if arrival == ROOT then return ROOT end
  if not bounded then return THROUGH end
  if flags % 2 == CONTAINER then return CONTAINERS end
  if has(flags, PASS_THROUGH) and arrival == CONTAINERS then return CONTAINERS end
  return THROUGH
end

local function collected(row)
  local a, b, c, d, e = string.byte(row, 13, 17)
  return (((a * 256 + b) * 256 + c) * 256 + d) * 256 + e
end

local function is_boundary(arrival, flags, row)
  if arrival == THROUGH or arrival == ROOT then return false end
  local too_late = till > 0 and row and collected(row) > till
  local inside = bounded and flags % 4 == 0
  if arrival == EITHER then return too_late and inside end
  if arrival == MEMBER then return too_late end
  return inside
end

-- The mark after the visit; whether the node is another task's to plan; whether its children, if it is a hub, are this
-- task's to read: they are read by who owns the mark (whoever else met it would send the walk round a cycle of hubs for
-- ever); and whether it is a clean container, whose children are read when it is found to be clean no longer.
local function visited(mark, row, flags, reach, own)
  local digest = row and string.sub(row, 1, 5) or NO_ROW
  if not mark then
    return { reach = reach, state = OPEN, case = case, digest = digest, owner = task }, false, true, false
  end
  local wider = WIDTH[reach] > WIDTH[mark.reach]
  local seen = mark.owner ~= task and mark.widened ~= task and not wider and not own
  if wider then
    mark.reach = reach
    if not mark.owner then mark.owner = task elseif mark.owner ~= task then mark.widened = task end
  end
  local clean = again and flags % 2 == CONTAINER and mark.state == CLEAN and not wider
  local back = own and returned ~= '' and mark.state == GONE and millis(mark.since) < millis(returned)
  if back then
    mark.state, mark.since, mark.till, mark.owner = OPEN, nil, nil, mark.owner or task
    -- Should this task die now, it finds again that the children are its to read.
    if mark.owner ~= task then mark.widened = task end
  end
  if not seen then mark.digest = digest end
  return mark, seen, mark.owner == task or mark.widened == task, clean
end

-- The whole mark of a node that has none yet: the usual case, kept short.
local function fresh_mark(reach, row)
  return string.char(reach + OWNER) .. case .. (row and string.sub(row, 1, 5) or NO_ROW) .. task
end

local function answer(word, reach, row, kids)
  local number = #words + 1
  words[number] = word .. reach
  found[number] = row
  if kids then
    children[#children + 1] = number
    children[#children + 1] = kids
  end
end

-- Fields of a hash; small walks mostly find one node in a bucket.
local function read(key, nodes)
  if #nodes == 1 then return { redis.call('HGET', key, nodes[1]) } end
  return redis.call('HMGET', key, unpack(nodes))
end

local function group(bucket, nodes, arrival, own)
  local head, tail = ends_of(bucket)
  local marks = head .. 'm' .. tail
  local row_of, mark_of = read(head .. 'a' .. tail, nodes), read(marks, nodes)
  local kids_of = read(head .. 'c' .. tail, nodes)
  local writes = {}
  for number = 1, #nodes do
    local node, row, packed = nodes[number], row_of[number], mark_of[number]
    local flags = row and string.byte(row, 6) or PASS_THROUGH
    local reach, after = reach_of(arrival, flags), packed
    if is_boundary(arrival, flags, row) then
      answer('b', arrival, false, false)
    elseif not packed then
      after = fresh_mark(reach, row)
      answer('f', reach, row, kids_of[number])
    else
      local before = mark_in(marks, node, packed, case)
      local mark, seen, owned, clean = visited(before, row, flags, reach, own)
      local kids = not clean and (not seen or again and flags % 2 == CONTAINER) and kids_of[number]
      after = with_mark(marks, node, packed, mark)
      answer(seen and 's' or before and 'k' or 'f', mark.reach, row, (kids ~= SPILLED or owned) and kids)
    end
    if after ~= packed then
      writes[#writes + 1] = node
      writes[#writes + 1] = after
    end
  end
  if #writes > 0 then redis.call('HSET', marks, unpack(writes)) end
end

local blob, at = ARGV[9], 1
while at <= #blob do
  local bucket, count, word
  bucket, count, word, at = struct.unpack('>I4I2B', blob, at)
  local nodes = {}
  for number = 1, count do
    nodes[number] = string.sub(blob, at, at + 15)
    at = at + 16
  end
  group(bucket, nodes, word % 8, word >= 8)
end
return { table.concat(words), found, children }
