-- Which chunks hold obligations; see put_chunk.lua. KEYS: sentinel, the case's owners. ARGV: epoch, packed names.
local answers = {}
for at = 1, #ARGV[2], 12 do
  local name = string.sub(ARGV[2], at, at + 11)
  answers[#answers + 1] = redis.call('HGET', KEYS[2], name)
    or redis.call('HGET', KEYS[2] .. ':' .. string.sub(name, 1, 2), name) or ''
end
return answers
