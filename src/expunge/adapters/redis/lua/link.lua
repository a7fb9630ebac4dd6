-- Writes memberships (a child of a parent, an asset of a subject) and then reads the marks of what they belong to.
-- ARGV: epoch, the membership's kind (c or s), then packed for each link: bucket (4), parent or subject (16), member (16),
-- whether the member is a container (1), when it was made (6). Links of one node come one after the other.
-- Answers three values for each node that has marks which may concern its new members: the number of its first link from
-- 1, how many links it has, the packed marks. The marks are read when all of its members are written.
local kind, blob, at, number, answers = ARGV[2], ARGV[3], 1, 0, {}

-- What a mark's first byte says: its size, whether its reach may concern a container and anything else, and where to read
-- since when it is clean (0: nowhere). A parent may have ten thousand marks, so this is worked out once for each such byte.
local looks = {}
local function look(flags)
  local reach, state = flags % REACH, math.floor(flags / REACH) % STATE
  local since = 22 + (has(flags, OWNER) and 2 or 0) + (has(flags, WIDENED) and 2 or 0)
  local found = {
    size = mark_size(flags), containers = reach ~= WATCHED, others = reach ~= WATCHED and reach ~= CONTAINERS_ONLY,
    since = state == CLEAN and since or 0,
  }
  looks[flags] = found
  return found
end

-- What was made from something clean after that is not late, and from a container only containers are reached.
local function concerning(packed, containers, earliest)
  local kept, place, byte = {}, 1, string.byte
  while place <= #packed do
    local flags = byte(packed, place)
    local known = looks[flags] or look(flags)
    local concerns = known.others or containers and known.containers
    if concerns and known.since > 0 then
      local a, b, c, d, e, f = byte(packed, place + known.since, place + known.since + 5)
      concerns = ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f >= earliest
    end
    if concerns then kept[#kept + 1] = string.sub(packed, place, place + known.size - 1) end
    place = place + known.size
  end
  return table.concat(kept)
end

while at <= #blob do
  local bucket, node = struct.unpack('>I4c16', blob, at)
  local head, tail = ends_of(bucket)
  local first, containers, earliest = number + 1, kind == 's', math.huge
  while at <= #blob and string.sub(blob, at + 4, at + 19) == node do
    local member, container, made
    member, container, made, at = struct.unpack('>c16Bc6', blob, at + 20)
    add_member(head .. kind .. tail, node, member)
    containers, earliest = containers or container == 1, math.min(earliest, millis(made))
    number = number + 1
  end
  local marks = concerning(all_marks(head .. 'm' .. tail, node), containers, earliest)
  if marks ~= '' then
    answers[#answers + 1], answers[#answers + 2], answers[#answers + 3] = first, number - first + 1, marks
  end
end
return answers
