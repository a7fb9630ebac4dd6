-- Reads the packed marks of nodes. ARGV: epoch, then packed for each node: bucket (4), node (16).
local blob, at, answers = ARGV[2], 1, {}
while at <= #blob do
  local bucket, node
  bucket, node, at = struct.unpack('>I4c16', blob, at)
  answers[#answers + 1] = all_marks(key_of('m', bucket), node)
end
return answers
