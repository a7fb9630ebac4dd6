-- Writes memberships (a child of a parent, an asset of a subject) and then reads the marks of what they belong to.
-- ARGV: epoch, the membership's kind (c or s), then packed for each link: bucket (4), parent or subject (16), member (16).
-- Answers two values for each link whose node is marked: its number from 1, the packed marks.
local kind, blob, at, number, answers = ARGV[2], ARGV[3], 1, 0, {}
while at <= #blob do
  local bucket, node, member
  bucket, node, member, at = struct.unpack('>I4c16c16', blob, at)
  number = number + 1
  local head, tail = ends_of(bucket)
  add_member(head .. kind .. tail, node, member)
  local marks = all_marks(head .. 'm' .. tail, node)
  if marks ~= '' then answers[#answers + 1], answers[#answers + 2] = number, marks end
end
return answers
