-- Sets waiting lines aside, so that no worker claims them until restore.lua puts them back: the tasks of other command lines in a directory of --local.
--
-- Returns: how many lines were set aside.
-- Guarantees: a line is in ASIDE before it waits no longer; the call is safe to repeat. The records of its attempts and failures stay.
-- Records: EACH, in queue/records.rs.

local moved = 0
for i = 1, #ARGV, EACH.size do
  local line, class = ARGV[i + EACH.line], ARGV[i + EACH.class]
  if is_waiting(line) then
    local held = redis.call('HGET', HELD, line)
    local score = gates.find(class, line)
    for _, lane in ipairs(gates.lanes_of(class, line)) do score = score or redis.call('ZSCORE', READY .. 'c:' .. lane, line) end
    if held then score = select(2, held_parts(held)) end
    redis.call('HSET', ASIDE, line, score or '')
    index_forget(class, line)
    no_longer_wait { line }
    moved = moved + 1
  end
end
index_flush()
return moved
