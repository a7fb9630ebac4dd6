-- Writes a membership (a child of a parent, an asset of a subject) and then reads the marks of what it belongs to.
-- KEYS: sentinel, then the membership's key and m: of each bucket in turn.
-- ARGV: epoch, then for each link: index of its membership key, field (the parent or subject), member, and 1 where the
-- marks are wanted: with a node's last link. Answers, for each, the packed marks, or nothing.
local answers = {}
for at = 2, #ARGV, 4 do
  local key, marks = KEYS[tonumber(ARGV[at])], KEYS[tonumber(ARGV[at]) + 1]
  add_member(key, ARGV[at + 1], ARGV[at + 2])
  answers[#answers + 1] = ARGV[at + 3] == '1' and all_marks(marks, ARGV[at + 1]) or ''
end
return answers
