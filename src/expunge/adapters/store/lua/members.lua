-- Reads packed members or marks. KEYS: sentinel, then keys.
-- ARGV: epoch, 'members' or 'marks', then for each: index of its key, field.
local read = ARGV[2] == 'marks' and all_marks or members
local answers = {}
for at = 3, #ARGV, 2 do
  answers[#answers + 1] = read(KEYS[tonumber(ARGV[at])], ARGV[at + 1])
end
return answers
