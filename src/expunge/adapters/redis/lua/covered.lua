-- How far what was written reaches (rule "compared"): of every field of these sentinels the earliest value, and how
-- many of them have it. KEYS: sentinels. ARGV: epoch. Answers field, value, number, field, value, number, ...
local first, value, count = {}, {}, {}
for _, key in ipairs(KEYS) do
  if string.sub(key, -8) ~= 'sentinel' then break end
  local found = redis.call('HGETALL', key)
  for at = 1, #found, 2 do
    local field = found[at]
    if field ~= 'epoch' then
      local reached = tonumber(string.match(found[at + 1], '^%d+'))
      count[field] = (count[field] or 0) + 1
      if first[field] == nil or reached < first[field] then
        first[field], value[field] = reached, found[at + 1]
      end
    end
  end
end
local answer = {}
for field, number in pairs(count) do
  answer[#answer + 1] = field
  answer[#answer + 1] = value[field]
  answer[#answer + 1] = number
end
return answer
