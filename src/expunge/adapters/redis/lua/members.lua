-- The members of a group in a range of parts, packed; see sizes.lua for the arguments. Then: first part, last part.
local kind, field, first, last = ARGV[2], ARGV[3], tonumber(ARGV[6]), tonumber(ARGV[7])
local answers = {}

local function within(part) return part >= first and part <= last end

local function read(key)
  local packed = redis.call('HGET', key, field)
  if packed == SPILLED then
    for part = first, last do
      local inner = spill_key(key, field)
      local found = redis.call('HGET', inner, string.char(part))
      if found == SPILLED then
        found = table.concat(redis.call('SMEMBERS', spill_key(inner, string.char(part))))
      end
      answers[#answers + 1] = found or ''
    end
  elseif packed and first == 0 and last == 255 then
    answers[#answers + 1] = packed
  else
    for at = 1, packed and #packed or 0, 16 do
      local member = string.sub(packed, at, at + 15)
      if within(string.byte(part_of(member))) then answers[#answers + 1] = member end
    end
  end
end

for bucket = tonumber(ARGV[4]), tonumber(ARGV[5]) do read(key_of(kind, bucket)) end
return table.concat(answers)
