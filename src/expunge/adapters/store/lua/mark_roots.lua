-- Marks root nodes. KEYS: sentinel, then m: keys. ARGV: epoch, lease, case, task, then index of key, field for each.
if lease_passed(ARGV[2]) then return redis.error_reply('LEASE this process polled too long ago to mark') end
for at = 5, #ARGV, 2 do
  local key = KEYS[tonumber(ARGV[at])]
  if not mark_of(key, ARGV[at + 1], ARGV[3]) then
    set_mark(key, ARGV[at + 1], ARGV[3], ARGV[4] .. NONE .. '0' .. NONE .. NOT_CLEAN)
  end
end
return 1
