-- Moves lines that can never run out of the queue.
--
-- Returns: how many were moved; -1 when the queue has another field order: then nothing was done.
-- Guarantees: added first, removed last. A line that is not UTF-8 goes only to the quarantine, since Python workers crash on it in any hash.
-- Records: ARG, EACH, in queue/records.rs.

if not order_agrees(ARGV[ARG.order]) then return -1 end
local moved = 0
for i = ARG.size + 1, #ARGV, EACH.size do
  local line = ARGV[i + EACH.line]
  bring_home(line)
  if is_waiting(line) then
    if ARGV[i + EACH.destination] == 'quarantine' then
      redis.call('HSET', QUARANTINE, line, ARGV[i + EACH.reason])
    else
      redis.call('HSET', FAILED, line, redis.call('HGET', FAILED, line) or '')
      redis.call('HSET', REASON, line, ARGV[i + EACH.reason])
      is_not_retried(line)
      group_put(line, ARGV[i + EACH.group])
      redis.call('HINCRBY', TALLY, 'invalid', 1)
    end
    members.flip(line, 'x')
    no_longer_wait { line }
    events[#events + 1] = 'V\t' .. ARGV[i + EACH.destination] .. '\t' .. brief(line)
    moved = moved + 1
  end
end
members.flush(turns.at_zero)
events_flush()
return moved
