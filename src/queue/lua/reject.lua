-- Moves lines that can never run out of todo_tasks.
--
-- ARGV: 1 the field order in which the lines were read, then for each line four: line, where ("failed" or "quarantine"), reason (JSON string), group.
-- Returns: how many were moved; -1 when the queue has another field order: nothing was done.
-- Keeps: added first, removed last. A line that is not UTF-8 goes to the quarantine alone, since Python workers die of it in any hash.

if not order_agrees(ARGV[1]) then return -1 end
local moved = 0
for i = 2, #ARGV, 4 do
  local line = ARGV[i]
  if redis.call('HEXISTS', TODO, line) == 1 then
    if ARGV[i + 1] == 'quarantine' then
      redis.call('HSET', QUARANTINE, line, ARGV[i + 2])
    else
      redis.call('HSET', FAILED, line, redis.call('HGET', FAILED, line) or '')
      redis.call('HSET', REASON, line, ARGV[i + 2])
      group_put(line, ARGV[i + 3])
      redis.call('HINCRBY', TALLY, 'invalid', 1)
    end
    redis.call('HDEL', TODO, line)
    events[#events + 1] = 'V\t' .. ARGV[i + 1] .. '\t' .. brief(line)
    moved = moved + 1
  end
end
events_flush()
return moved
