-- Writes a membership (a child of a parent, an asset of a subject) and then reads the marks of what it belongs to.
-- KEYS: sentinel, then the membership's key and m: of each bucket in turn.
-- ARGV: epoch, then for each link: index of its membership key, field (the parent or subject), member.
-- Answers, for each, the packed marks.
local answers = {}
for at = 2, #ARGV, 3 do
  local key, marks = KEYS[tonumber(ARGV[at])], KEYS[tonumber(ARGV[at]) + 1]
  add_member(key, ARGV[at + 1], ARGV[at + 2])
  answers[#answers + 1] = all_marks(marks, ARGV[at + 1])
end
return answers
