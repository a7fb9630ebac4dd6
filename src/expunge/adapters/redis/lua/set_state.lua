-- Notes on a case's marks what became of nodes. ARGV: epoch, lease, case, state, moment (6), task that becomes an owner (2,
-- or ''), whether it may be there again all the same ('' or not), then packed: bucket (4), node (16).
-- Answers the nodes that were stated after that moment: what was purged there has come back. Their marks stay as they
-- are, so that asking again (after a crash) answers the same. A mark that is GONE needs no owners any more: the task that
-- set it has been answered for.
if lease_passed(ARGV[2]) then return redis.error_reply(LEASE) end
local case, state, moment, blob, at, answers = ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[8], 1, {}
while at <= #blob do
  local bucket, node
  bucket, node, at = struct.unpack('>I4c16', blob, at)
  local key = key_of('m', bucket)
  local packed = redis.call('HGET', key, node)
  local mark = mark_in(key, node, packed, case)
  local later = mark and state == GONE and mark.state == GONE and millis(mark.since) >= millis(moment)
  local back = mark and state == GONE and mark.state == RESTATED and millis(mark.since) > millis(moment)
  if back then answers[#answers + 1] = node end
  -- That it was stated again is not forgotten by planning it once more: the receipt that is on its way must know.
  if mark and not later and not back and not (state == OPEN and mark.state == RESTATED) then
    if ARGV[6] ~= '' and mark.state ~= state then mark.widened = ARGV[6] end
    if mark.state == GONE and state ~= GONE then mark.till = nil end
    mark.state, mark.since = state, state ~= OPEN and moment or nil
    if state == GONE then mark.owner, mark.widened = nil, nil end
    if state == GONE and ARGV[7] ~= '' then mark.till = AGAIN end
    redis.call('HSET', key, node, with_mark(key, node, packed, mark))
  end
end
return answers
