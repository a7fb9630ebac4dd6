-- Runs plain reads once the sentinels of all tags that they touch were found (rule "empty Redis"): a Redis that has forgotten
-- something answers "nothing" to them, and nothing is what nobody may decide on.
-- ARGV: epoch, then the commands: number of words, words. Answers one reply for each.
local at, answers = 2, {}
while at <= #ARGV do
  local count = tonumber(ARGV[at])
  answers[#answers + 1] = redis.call(unpack(ARGV, at + 1, at + count))
  at = at + 1 + count
end
return answers
