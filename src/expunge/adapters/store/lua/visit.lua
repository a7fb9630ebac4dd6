-- Marks a node, then reads its row and children, in one step (PROTOCOLS 11). The rule is `_reach` of memory.py.
-- KEYS: sentinel, then a:, m: and c: of each bucket in turn.
-- ARGV: epoch, lease, case, task (8 bytes), bounded (0 or 1), then for each node: index of its a: key, field,
--       arrival (0 through, 1 containers, 2 root), own (0 or 1).
-- A mark keeps the widest reach; a node that is reached more widely than before is visited again.
-- Answers four values for each node: 'f' fresh, 's' seen or 'b' boundary; reach; row; packed children.
if lease_passed(ARGV[2]) then return redis.error_reply('LEASE this process polled too long ago to mark') end
local case, task, bounded = ARGV[3], ARGV[4], ARGV[5] == '1'
local CONTAINER, PASS_THROUGH = 1, 2
local answers = {}

local WIDTH = {['1'] = 1, ['0'] = 2, ['2'] = 3}

local function reach_of(arrival, flags)
  if arrival == '2' then return '2' end
  if not bounded then return '0' end
  if flags == CONTAINER or flags == CONTAINER + PASS_THROUGH then return '1' end
  if flags == PASS_THROUGH then return arrival end
  return '0'
end

for at = 6, #ARGV, 4 do
  local first = tonumber(ARGV[at])
  local rows, marks, children = KEYS[first], KEYS[first + 1], KEYS[first + 2]
  local field, arrival, own = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3] == '1'
  local row = redis.call('HGET', rows, field)
  local flags = row and string.byte(row, 9) or PASS_THROUGH
  if bounded and arrival == '1' and flags == 0 then
    answers[#answers + 1] = 'b'
    answers[#answers + 1] = arrival
    answers[#answers + 1] = ''
    answers[#answers + 1] = ''
  else
    local reach = reach_of(arrival, flags)
    local mark = mark_of(marks, field, case)
    local wider = mark and WIDTH[reach] > WIDTH[string.sub(mark, 9, 9)]
    local seen = mark and string.sub(mark, 1, 8) ~= task and not wider and not own
    if mark and not wider then reach = string.sub(mark, 9, 9) end
    if not seen then
      local digest = row and string.sub(row, 1, 8) or string.rep('\0', 8)
      set_mark(marks, field, case, task .. reach .. digest .. (mark and string.sub(mark, 18, 25) or NOT_CLEAN))
    end
    answers[#answers + 1] = seen and 's' or 'f'
    answers[#answers + 1] = reach
    answers[#answers + 1] = row or ''
    answers[#answers + 1] = seen and '' or members(children, field)
  end
end
return answers
