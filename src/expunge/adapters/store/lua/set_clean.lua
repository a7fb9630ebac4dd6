-- Notes on a case's marks since when its data is out of nodes. KEYS: sentinel, then m: keys.
-- ARGV: epoch, case, moment (8 bytes), then for each node: index of its key, field.
for at = 4, #ARGV, 2 do
  local key = KEYS[tonumber(ARGV[at])]
  local mark = mark_of(key, ARGV[at + 1], ARGV[2])
  if mark then set_mark(key, ARGV[at + 1], ARGV[2], string.sub(mark, 1, 25) .. ARGV[3]) end
end
return 1
