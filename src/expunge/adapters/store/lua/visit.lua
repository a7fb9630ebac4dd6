-- Marks a node, then reads its row and children, in one step (PROTOCOLS 11). The rule is
-- `reach_of` of domain/statement.py.
-- KEYS: sentinel, then a:, m: and c: of each bucket in turn.
-- ARGV: epoch, lease, case, task (8 bytes), bounded (0 or 1), again (0 or 1), then for each node: index of its a: key,
--       field, arrival (0 through, 1 containers, 2 root), own (0 or 1).
-- With `again` (a walk after the first plan) a container that is met loses its word that it is clean, and its children
-- are read even if another task has marked it: what is found now may be in them.
-- A mark keeps the widest reach; a node that is reached more widely than before is visited again.
-- Answers four values for each node: 'f' fresh, 's' seen or 'b' boundary; reach; row; packed children.
if lease_passed(ARGV[2]) then return redis.error_reply('LEASE this process polled too long ago to mark') end
local case, task, bounded, again = ARGV[3], ARGV[4], ARGV[5] == '1', ARGV[6] == '1'
local CONTAINER, PASS_THROUGH = 1, 2
local answers = {}

local WIDTH = {['1'] = 1, ['0'] = 2, ['2'] = 3}

local function reach_of(arrival, flags)
  if arrival == '2' then return '2' end
  if not bounded then return '0' end
  if flags % 2 == CONTAINER then return '1' end
  if flags == PASS_THROUGH then return arrival end
  return '0'
end

for at = 7, #ARGV, 4 do
  local first = tonumber(ARGV[at])
  local rows, marks, children = KEYS[first], KEYS[first + 1], KEYS[first + 2]
  local field, arrival, own = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3] == '1'
  local row = redis.call('HGET', rows, field)
  local flags = row and string.byte(row, 9) or PASS_THROUGH
  local container = flags % 2 == CONTAINER
  if bounded and arrival == '1' and flags == 0 then
    answers[#answers + 1] = 'b'
    answers[#answers + 1] = arrival
    answers[#answers + 1] = ''
    answers[#answers + 1] = ''
  else
    local reach = reach_of(arrival, flags)
    local mark = mark_of(marks, field, case)
    local owner, widened, clean, seen = task, NONE, NOT_CLEAN, false
    if mark then
      local known = string.sub(mark, 17, 17)
      local wider = WIDTH[reach] > WIDTH[known]
      owner, widened = string.sub(mark, 1, 8), string.sub(mark, 9, 16)
      seen = owner ~= task and widened ~= task and not wider and not own
      if not wider then reach = known elseif owner ~= task then widened = task end
      if not (again and container) then clean = string.sub(mark, 26, 33) end
    end
    local digest = seen and string.sub(mark, 18, 25) or row and string.sub(row, 1, 8) or NONE
    local body = owner .. widened .. reach .. digest .. clean
    if body ~= mark then set_mark(marks, field, case, body) end
    answers[#answers + 1] = seen and 's' or 'f'
    answers[#answers + 1] = reach
    answers[#answers + 1] = row or ''
    answers[#answers + 1] = seen and not (again and container) and '' or members(children, field)
  end
end
return answers
