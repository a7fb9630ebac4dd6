-- How many members of a group lie in each of a range of parts. ARGV: epoch, kind (c, s or o), field, then for c and s
-- the bucket twice; for o, a data source, the first bucket of a tag and the last: all members of a bucket lie in the
-- part of its tag. Answers packed pairs: part (1), size (4).
local kind, field = ARGV[2], ARGV[3]
local sizes, answers = {}, {}

local function count_parts(key)
  local packed = redis.call('HGET', key, field)
  if packed == SPILLED then
    local parts = redis.call('HGETALL', spill_key(key, field))
    for at = 1, #parts, 2 do
      local spilled = parts[at + 1] == SPILLED
      local size = spilled and redis.call('SCARD', spill_key(spill_key(key, field), parts[at])) or #parts[at + 1] / 16
      sizes[parts[at]] = (sizes[parts[at]] or 0) + size
    end
  else
    for at = 1, packed and #packed or 0, 16 do
      local part = part_of(string.sub(packed, at, at + 15))
      sizes[part] = (sizes[part] or 0) + 1
    end
  end
end

for bucket = tonumber(ARGV[4]), tonumber(ARGV[5]) do count_parts(key_of(kind, bucket)) end
for part, size in pairs(sizes) do answers[#answers + 1] = part .. struct.pack('>I4', size) end
return table.concat(answers)
